//! The laboratory's command line: clap's derivation, and nothing else. The doc comments are the help.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::RangedU64ValueParser};

use crate::{
    calls::{Kind, Peer, end, leaks},
    change::Change,
    compare::{Peers, Tcp},
    latency::pinger,
    link::Link,
    peer::Mode,
    process::keeper,
    workload::Workload,
};

/// Shows and measures what Swarmwire does on this machine, beside its peers.
#[derive(Debug, Parser)]
#[command(version, bin_name = "cargo lab")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The laboratory's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts a gateway, joins it, syncs a directory up and back down, and verifies every file.
    Demo {
        /// The directory to sync; it is only read [default: a generated one of 2,000 log files].
        dir: Option<PathBuf>,
    },
    /// Gives the same work to every peer, in turns, and prints what it cost each.
    Compare(CompareArguments),
    /// Says which peers are found, and how to install the others.
    Peers,
    /// The emulated link.
    Link(LinkArguments),
    /// Measures 64-byte pings on a connection, idle and beside a bulk transfer on the same connection.
    Latency(LatencyArguments),
    /// Measures calls of subroutines beside other programs that call, and beside the bare streams below ours.
    Calls(CallsArguments),
    /// Calls a gateway very often and in many ways, and fails if anything of it is left at either end.
    Leaks(LeaksArguments),
    /// Measures how a push and a TCP connection share the queue of a link.
    Fair(FairArguments),
    /// Measures what one gateway does with many controllers that push at once.
    Crowd(CrowdArguments),
    /// Measures how time and memory grow with the number of files.
    Scale(ScaleArguments),
    /// Compares this tree with another revision, on a short set of cases.
    Guard(GuardArguments),
    /// Makes summary and plots of a report again, from the rows in its directory.
    Report {
        /// A directory that another command has written.
        dir: PathBuf,
    },
    /// Pings over one connection (started by the laboratory itself).
    #[command(hide = true)]
    PingBeside(pinger::Arguments),
    /// Answers calls (started by the laboratory itself).
    #[command(hide = true)]
    CallServe(end::ServerArguments),
    /// Calls (started by the laboratory itself).
    #[command(hide = true)]
    CallMeasure(end::ClientArguments),
    /// Calls and looks at what is left (started by the laboratory itself).
    #[command(hide = true)]
    CallLeak(leaks::Arguments),
    /// Runs one command and ends all that it started (started by the laboratory itself).
    #[command(hide = true)]
    Keep(keeper::Arguments),
    /// Removes a temporary directory once its owner has ended (started by the laboratory itself).
    #[command(hide = true)]
    Clean,
}

/// `compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Trees, with commas: small, medium, large, tiny, hundredk, fivek, rotated, mini, files:N, dir:PATH.
    #[arg(long, value_name = "W", value_delimiter = ',', default_value = "small")]
    pub workload: Vec<Workload>,
    /// What happened to the synced tree, with commas: none, append, rotate, touch, rename, edit, delete; or fresh, for an empty destination.
    #[arg(long, value_name = "C", value_delimiter = ',', default_value = "fresh")]
    pub change: Vec<Change>,
    /// Which ways, with commas: push, pull.
    #[arg(long, value_delimiter = ',', default_value = "push,pull")]
    pub mode: Vec<Mode>,
    /// Who takes part, with commas, or `all`; `cargo lab peers` lists them.
    #[arg(long, default_value = "swarm,rsyncd")]
    pub peers: Peers,
    /// The peer to which ratios are taken [default: rsyncd if it takes part, otherwise the first that is not swarm].
    #[arg(long, value_name = "PEER")]
    pub baseline: Option<String>,
    /// How TCP peers are set up, with commas: a congestion control of the kernel, with `+large` for buffers up to 64 MiB. Needs root.
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<Tcp>,
    /// Counted runs of each peer; an uncounted one comes before.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub runs: u32,
    /// Where the trees lie: tmpfs (/dev/shm) or disk (/var/tmp).
    #[arg(long, value_enum, default_value_t = FileSystem::Tmpfs)]
    pub fs: FileSystem,
    /// Follow every run with a `syncfs` of the destination, and count it.
    #[arg(long)]
    pub durable: bool,
    /// How long a run may take [default: 60s over a link, 10m otherwise].
    #[arg(long, value_parser = humantime::parse_duration)]
    pub deadline: Option<Duration>,
    /// What trees and losses follow.
    #[arg(long, default_value_t = 3)]
    pub seed: u64,
    /// What lies between the ends.
    #[command(flatten)]
    pub links: Links,
    /// Where a report goes.
    #[command(flatten)]
    pub report: ReportArguments,
}

/// What lies between the ends.
#[derive(Debug, Args)]
pub struct Links {
    /// An emulated link, for instance rtt=100ms,loss=0.1%,rate=1gbit,queue=2mb[,jitter=…,reorder=…,mtu=…][,then=10s:…], or veth,mtu=1500; may be
    /// given several times. Needs root [default: loopback].
    #[arg(long)]
    pub link: Vec<Link>,
}

/// Where a report goes.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Write a report to OUT/DATE-LABEL.
    #[arg(long)]
    pub label: Option<String>,
    /// Where reports are written.
    #[arg(long, value_name = "DIR", default_value = "bench/results")]
    pub out: PathBuf,
}

/// `link`.
#[derive(Debug, Args)]
pub struct LinkArguments {
    /// Prove the emulator on this machine: round trip, loss, rate, queue, changes in mid-run, and its ceiling. Needs root.
    #[arg(long, required = true)]
    pub check: bool,
    /// Fewer points, in a few seconds.
    #[arg(long)]
    pub quick: bool,
}

/// `latency`.
#[derive(Debug, Args)]
pub struct LatencyArguments {
    /// What is pushed beside the pings: a tree, as for `compare`.
    #[arg(long, value_name = "W", default_value = "medium")]
    pub workload: Workload,
    /// Seconds for which the pings of one distribution are counted.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub seconds: u32,
    /// Pings a second.
    #[arg(long, value_name = "HZ", default_value_t = 200, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub rate: u32,
    /// How TCP is set up for ssh over a link, as for `compare`. Needs root.
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<Tcp>,
    /// What is measured after loopback.
    #[command(flatten)]
    pub links: Links,
    /// Where a report goes.
    #[command(flatten)]
    pub report: ReportArguments,
}

/// `calls`.
#[derive(Debug, Args)]
pub struct CallsArguments {
    /// Who takes part, with commas; ratios are to `swarm`, and `quinn` is the floor.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "swarm,quinn,tonic,tonic-large,irpc")]
    pub peers: Vec<Peer>,
    /// What is measured, with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "calls,items,idle,beside")]
    pub kinds: Vec<Kind>,
    /// Bytes there and back in a call, with commas.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "64,4096,1048576", value_parser = RangedU64ValueParser::<u32>::new().range(1..=4_000_000))]
    pub payloads: Vec<u32>,
    /// Idle streams.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=16_000))]
    pub streams: u32,
    /// Counted runs of each peer; an uncounted one comes before.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100))]
    pub runs: u32,
    /// Seconds of each run.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = RangedU64ValueParser::<u32>::new().range(1..=60))]
    pub seconds: u32,
    /// Where a report goes.
    #[command(flatten)]
    pub report: ReportArguments,
}

/// `leaks`.
#[derive(Debug, Args)]
pub struct LeaksArguments {
    /// Calls, of all kinds.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100_000_000))]
    pub calls: u32,
    /// Streams that are given up.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    pub streams: u32,
}

/// `fair`.
#[derive(Debug, Args)]
pub struct FairArguments {
    /// What sends beside the push, one after the other, with commas, as `--tcp` of `compare`.
    #[arg(long, value_delimiter = ',', default_value = "cubic,bbr")]
    pub beside: Vec<Tcp>,
    /// The `--congestion` of the push, one after the other, with commas.
    #[arg(long, value_delimiter = ',', default_value = "auto")]
    pub congestion: Vec<String>,
    /// Seconds for which both are counted, after five that are not.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub seconds: u32,
    /// How long the TCP connection sends alone before.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    pub head_start: Duration,
    /// What losses follow.
    #[arg(long, default_value_t = 3)]
    pub seed: u64,
    /// The link, for instance rtt=40ms,rate=100mbit,queue=500kb. Needs root.
    #[arg(long, required = true)]
    pub link: Vec<Link>,
    /// Where a report goes.
    #[command(flatten)]
    pub report: ReportArguments,
}

/// `crowd`.
#[derive(Debug, Args)]
pub struct CrowdArguments {
    /// Numbers of controllers, one after the other, with commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,10,100")]
    pub controllers: Vec<NonZeroU32>,
    /// What each of them pushes: a tree, as for `compare`.
    #[arg(long, value_name = "W", default_value = "tiny")]
    pub workload: Workload,
    /// What the tree follows.
    #[arg(long, default_value_t = 3)]
    pub seed: u64,
}

/// `scale`.
#[derive(Debug, Args)]
pub struct ScaleArguments {
    /// Numbers of files, with commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    pub files: Vec<NonZeroU64>,
    /// Which ways, with commas: push, pull.
    #[arg(long, value_delimiter = ',', default_value = "push,pull")]
    pub mode: Vec<Mode>,
    /// Runs of each size.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub runs: u32,
    /// Where a report goes.
    #[command(flatten)]
    pub report: ReportArguments,
}

/// `guard`.
#[derive(Debug, Args)]
pub struct GuardArguments {
    /// The revision to compare with, as git names it.
    #[arg(default_value = "HEAD")]
    pub revision: String,
    /// Trees, as for `compare`.
    #[arg(long, value_name = "W", value_delimiter = ',', default_value = "small,medium")]
    pub workload: Vec<Workload>,
    /// Changes, as for `compare`.
    #[arg(long, value_name = "C", value_delimiter = ',', default_value = "fresh,none")]
    pub change: Vec<Change>,
    /// Counted runs of each revision.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub runs: u32,
    /// Where a report goes.
    #[command(flatten)]
    pub report: ReportArguments,
}

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileSystem {
    /// In memory.
    Tmpfs,
    /// On a disk.
    Disk,
}
