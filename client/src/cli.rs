//! The command line of `swarm`, and nothing else: the doc comments are the help.

mod calling;
mod offloading;
mod preserving;
mod selecting;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};
use swarmwire_certs::KeyExchange;
use swarmwire_common::{
    limits,
    path::RelPath,
    transport::Congestion,
    wire::sync::{Compress, Durability},
};

use crate::{
    place::parse_backup,
    units::{ByteRate, parse_compress, parse_duration, parse_rate, parse_size},
};
pub(crate) use calling::{
    CallArguments, CalledArguments, LimitArguments, SendArguments, ServicesArguments, StreamArguments,
};
pub(crate) use offloading::OffloadArguments;
pub(crate) use preserving::PreservingArguments;
pub(crate) use selecting::SelectingArguments;

/// What the options of every connection stand under, behind those of the command itself.
const CONNECTION: &str = "Connection";

/// Moves directory trees to and from machines that run `swarmd`, and calls their subroutines, encrypted and verified.
///
/// A gateway is joined once with an invitation (`swarm join`) and then known by a name.
/// GW:PATH is a path below a gateway's root; a local path that has a `:` is written `./…`.
///
/// Exit codes: 0 all done; 1 failure before any transfer, or of a call; 2 usage; 3 some entries or calls failed, the others are in place;
/// 4 connection or trust failure; 5 denied by the grant; 6 the gateway is busy; 130 interrupted.
#[derive(Parser)]
#[command(name = "swarm", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The key exchange to offer
    #[arg(
        long,
        global = true,
        value_name = "KIND",
        default_value = "post-quantum",
        env = "SWARMWIRE_KEY_EXCHANGE",
        help_heading = CONNECTION
    )]
    pub(crate) key_exchange: KeyExchangeChoice,
    /// How fast to send, in a push; a pull goes by the choice of `swarmd`
    #[arg(
        long,
        global = true,
        value_name = "KIND",
        default_value = "auto",
        env = "SWARMWIRE_CONGESTION",
        help_heading = CONNECTION
    )]
    pub(crate) congestion: CongestionChoice,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Join a gateway with an invitation from `swarmd invite`
    Join(JoinArguments),
    /// List the gateways that this machine has joined
    Gateways(GatewaysArguments),
    /// Measure the round-trip time to a gateway
    Ping(PingArguments),
    /// List what is at a gateway
    Ls(LsArguments),
    /// Sync a file or directory to or from a gateway
    ///
    /// Exactly one of SRC and DST is remote: GW:PATH or swarm://HOST[:PORT]/PATH. With a trailing slash SRC means the
    /// contents of the directory, without it the directory itself lands inside DST. What is in place already is not
    /// sent again; what is only at DST stays, unless `--delete` is given.
    Sync(Box<SyncArguments>),
    /// Compare two trees, one of them at a gateway, by content
    ///
    /// SRC and DST are those of `swarm sync`, and so is what is compared with what. Nothing is moved or changed at either side. Each
    /// difference is told: what is missing or extra at DST, and what differs in type, size, content, time, mode or target. The exit code
    /// is 0 if there is none and 3 otherwise. Needs `pull` in the grant, whichever side is at the gateway.
    Verify(Box<VerifyArguments>),
    /// Move the oldest files away from a disk that is too full
    ///
    /// When more than ABOVE is in use of the disk on which SRC lies, or with --capacity of that, files of SRC are moved to DST below their own
    /// paths, the oldest first, until no more than UNTIL is in use: copied, verified, durable at DST, and only then removed from SRC, if they
    /// are still what was copied. Interrupted, it goes on where it was with the next run. A file at DST whose name another one takes is kept
    /// below DST/.offload-earlier. Needs `list`, `pull` and `delete` in the grant; to a gateway `push`.
    Offload(Box<OffloadArguments>),
    /// Call a subroutine of a gateway and print the bytes that it gives
    Call(CallArguments),
    /// Print the items that a subroutine of a gateway gives, as they come, a line for each
    ///
    /// A signal ends the subroutine as well.
    Stream(StreamArguments),
    /// Send a file, or standard input, to a subroutine of a gateway and print the integer that it gives
    Send(SendArguments),
    /// List the subroutines of a gateway that this machine may call
    Services(ServicesArguments),
    /// Stop a gateway (needs `admin` in the grant)
    Stop(StopArguments),
    /// Print a completion script
    Completions(CompletionsArguments),
    /// Print the manual pages
    Man(ManArguments),
}

#[derive(Args)]
pub(crate) struct JoinArguments {
    /// swarm://HOST:PORT/?gateway=…&token=…, or `-` to read it from standard input
    pub(crate) uri: String,
    /// What the gateway is called here [default: its host]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Args)]
pub(crate) struct GatewaysArguments {
    /// One JSON object per gateway
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct PingArguments {
    /// Name of the gateway
    #[arg(value_name = "GW")]
    pub(crate) gateway: OsString,
    /// How many round trips
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// Bytes of each, at most 1MiB
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = parse_size)]
    pub(crate) size: u64,
    /// One JSON object per round trip, and a summary
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct LsArguments {
    /// GW:PATH or swarm://HOST[:PORT]/PATH
    #[arg(value_name = "GW:PATH")]
    pub(crate) place: OsString,
    /// List subdirectories too
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// One JSON object per entry
    #[arg(long)]
    pub(crate) json: bool,
    /// Read regular files at the gateway and show their BLAKE3 hash, as b3sum does
    #[arg(long)]
    pub(crate) hash: bool,
}

#[derive(Args)]
pub(crate) struct SyncArguments {
    /// Where from: a local path, GW:PATH or swarm://HOST[:PORT]/PATH
    #[arg(value_name = "SRC")]
    pub(crate) source: OsString,
    /// Where to: a local path, GW:PATH or swarm://HOST[:PORT]/PATH
    #[arg(value_name = "DST")]
    pub(crate) destination: OsString,
    /// Compare files of equal size by their content, not by their modification time
    #[arg(long)]
    pub(crate) checksum: bool,
    #[command(flatten)]
    pub(crate) selecting: SelectingArguments,
    #[command(flatten)]
    pub(crate) preserving: PreservingArguments,
    /// Remove what DST has and SRC does not, once all else is in place and if all of SRC could be listed
    #[arg(long)]
    pub(crate) delete: bool,
    /// Remove at most this many entries and leave the rest, which is a failure
    #[arg(long, value_name = "N", requires = "delete")]
    pub(crate) max_delete: Option<u64>,
    /// Move what is replaced or removed at DST to DIR, which is below DST, and leave DIR alone otherwise
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().try_map(|text| parse_backup(&text)))]
    pub(crate) backup_dir: Option<RelPath>,
    /// Remove each file from SRC once it is durable at DST and if it has not changed; directories and links stay
    #[arg(long, conflicts_with_all = ["delete", "copy_links", "watch"])]
    pub(crate) remove_source_files: bool,
    /// Leave files alone that are newer at DST
    #[arg(long, short, conflicts_with = "ignore_existing")]
    pub(crate) update: bool,
    /// Leave files and links alone that are at DST already
    #[arg(long)]
    pub(crate) ignore_existing: bool,
    /// Say what would be done and why, and do nothing
    #[arg(long, short = 'n', conflicts_with_all = ["quiet", "metrics_file"])]
    pub(crate) dry_run: bool,
    /// Name each entry that is changed
    #[arg(long, short, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// When a file takes its name: at once, after a barrier for many, or after a barrier of its own
    #[arg(long, value_name = "WHEN", default_value = "batch", env = "SWARMWIRE_DURABILITY")]
    pub(crate) durability: DurabilityChoice,
    /// Compress what is sent: `auto` (where it makes the sync faster), `never`, or always at a LEVEL of zstd from 1 to 19
    #[arg(long, value_name = "auto|never|LEVEL", default_value = "auto", value_parser = parse_compress, env = "SWARMWIRE_COMPRESS")]
    pub(crate) compress: Compress,
    /// Send at most this much content per second, like 10MiB/s [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, env = "SWARMWIRE_BWLIMIT")]
    pub(crate) bwlimit: Option<ByteRate>,
    /// Threads that read or write files at each end; a gateway may start fewer
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::JOBS_DEFAULT,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(limits::JOBS_MAX)),
        env = "SWARMWIRE_JOBS"
    )]
    pub(crate) jobs: u8,
    /// In a pull, keep at most so much of large files that interrupted syncs leave unfinished beside DST, the oldest going first; 0 keeps
    /// none. A gateway's limit is that of `swarmd` [default: 64GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) partial_limit: Option<u64>,
    /// How long to try again after the connection was lost [default: 30s, with --watch as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "SWARMWIRE_RETRY")]
    pub(crate) retry: Option<Duration>,
    /// Go on: sync what changes in SRC, within a second of its happening, until a signal comes
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) watch: bool,
    /// With --watch, look at all of SRC this often, for what may have been missed
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration, requires = "watch")]
    pub(crate) rescan: Duration,
    /// One JSON object per event on standard output: the start, progress, changes that are named, and last the summary
    #[arg(long)]
    pub(crate) json: bool,
    /// Show what both sides spent their time on, and what was the bottleneck
    #[arg(long)]
    pub(crate) stats: bool,
    /// Write metrics of this run for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
    /// Show nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Args)]
pub(crate) struct VerifyArguments {
    /// What should be: a local path, GW:PATH or swarm://HOST[:PORT]/PATH
    #[arg(value_name = "SRC")]
    pub(crate) source: OsString,
    /// What is compared with it: a local path, GW:PATH or swarm://HOST[:PORT]/PATH
    #[arg(value_name = "DST")]
    pub(crate) destination: OsString,
    #[command(flatten)]
    pub(crate) selecting: SelectingArguments,
    /// Threads that read files at each end; a gateway may start fewer
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::JOBS_DEFAULT,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(limits::JOBS_MAX)),
        env = "SWARMWIRE_JOBS"
    )]
    pub(crate) jobs: u8,
    /// How long to try again after the connection was lost
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration, env = "SWARMWIRE_RETRY")]
    pub(crate) retry: Duration,
    /// One JSON object per event on standard output: progress, differences, and last the summary
    #[arg(long)]
    pub(crate) json: bool,
    /// Show nothing but errors; the exit code tells
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Args)]
pub(crate) struct StopArguments {
    /// Name of the gateway
    #[arg(value_name = "GW")]
    pub(crate) gateway: OsString,
}

#[derive(Args)]
pub(crate) struct CompletionsArguments {
    /// For which shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct ManArguments {
    /// Write one page per command into this directory instead
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum KeyExchangeChoice {
    /// X25519 combined with ML-KEM-768, safe against recordings that a quantum computer reads later
    PostQuantum,
    /// X25519 alone, for machines where each millisecond of a handshake counts
    Classical,
}

impl From<KeyExchangeChoice> for KeyExchange {
    fn from(choice: KeyExchangeChoice) -> Self {
        match choice {
            KeyExchangeChoice::PostQuantum => Self::PostQuantum,
            KeyExchangeChoice::Classical => Self::Classical,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum CongestionChoice {
    /// As fast as the path delivers, with short queues, whatever it loses by chance
    Auto,
    /// CUBIC, which slows down for every loss
    Cubic,
    /// An early BBR, which slows down for none and fills queues
    Bbr,
}

impl From<CongestionChoice> for Congestion {
    fn from(choice: CongestionChoice) -> Self {
        match choice {
            CongestionChoice::Auto => Self::Auto,
            CongestionChoice::Cubic => Self::Cubic,
            CongestionChoice::Bbr => Self::Bbr,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DurabilityChoice {
    /// The kernel writes when it likes
    None,
    /// One barrier for many files
    Batch,
    /// One barrier per file
    File,
}

impl From<DurabilityChoice> for Durability {
    fn from(choice: DurabilityChoice) -> Self {
        match choice {
            DurabilityChoice::None => Self::None,
            DurabilityChoice::Batch => Self::Batch,
            DurabilityChoice::File => Self::File,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
