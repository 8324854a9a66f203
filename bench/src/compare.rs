//! `cargo lab compare`: the same work for every peer, in turns, each result verified, everything that it cost in one table.
//!
//! Fair by construction: peers take turns (A B A B …) after a round that is not counted; each run starts from the same trees and a server of its
//! own; the memory that it will dirty is touched before it, because a virtual machine's first touch of a page costs several times more; nobody makes anything
//! durable unless everybody does. Ratios are taken round by round. A peer that is missing, fails or does not end is shown, and the others go on.

mod contestant;
mod lab;
pub(crate) mod memory;
mod row;
mod stage;
pub(crate) mod trial;

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

pub(crate) use contestant::Entrant;
pub use contestant::{Peers, Tcp};
pub(crate) use lab::Lab;

use crate::{
    binaries::Binaries,
    change::Change,
    link::{self, Link},
    peer::Mode,
    work::Work,
    workload::Workload,
};

/// What statfs(2) calls a tmpfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// What to measure. Every combination of workload, change, mode and link is a case of its own.
#[derive(Clone, Debug)]
pub struct Options {
    /// The trees.
    pub workloads: Vec<Workload>,
    /// What happens to them before the measured sync.
    pub changes: Vec<Change>,
    /// Which ways.
    pub modes: Vec<Mode>,
    /// Who takes part.
    pub peers: Peers,
    /// The peer to which ratios are taken.
    pub baseline: Option<String>,
    /// How TCP is set up; empty leaves it as the machine has it.
    pub tcp: Vec<Tcp>,
    /// What lies between the ends; empty is loopback.
    pub links: Vec<Link>,
    /// Counted runs of each peer.
    pub runs: u32,
    /// The file system on which the trees lie: `tmpfs` or `disk`.
    pub fs: String,
    /// An existing directory on it.
    pub place: PathBuf,
    /// Whether a `syncfs` of the destination belongs to every run.
    pub durable: bool,
    /// How long a run may take.
    pub deadline: Option<Duration>,
    /// The report's name and the directory for reports; nothing prints only.
    pub report: Option<(String, PathBuf)>,
    /// What trees, changes and losses follow.
    pub seed: u64,
    /// The command line, for the report.
    pub command: String,
}

/// Measures; writes a table for each case to `out`, and the report.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    for link in &options.links {
        link::check::expect_below_ceiling(link)?;
    }
    if !options.tcp.is_empty() && !rustix::process::geteuid().is_root() {
        bail!("--tcp needs root: a congestion control is set in network namespaces of the comparison's own");
    }
    let work = Work::begin(&options.place)?;
    expect_space(&work, options)?;
    let contestants = options.peers.contestants(&options.tcp);
    expect_baseline(options.baseline.as_deref(), &contestants)?;
    let binaries = Binaries::build(work.nursery())?;
    let entrants = contestants.into_iter().map(|contestant| Entrant::new(contestant, &binaries)).collect();
    let mut lab = Lab::open(options, &work, entrants)?;
    for workload in &options.workloads {
        lab.workload(workload, out)?;
    }
    lab.close(out).map(drop)
}

/// The directory for trees on a file system of this kind, `tmpfs` or `disk`.
pub fn place_of(fs: &str) -> &'static Path {
    Path::new(if fs == "disk" { "/var/tmp" } else { "/dev/shm" })
}

/// The tree, a copy of it for changes, and the destination must fit, with what a peer stages beside it, on a file system of the right kind.
fn expect_space(work: &Work, options: &Options) -> Result<()> {
    let place = options.place.display();
    let is_tmpfs = rustix::fs::statfs(work.path())?.f_type == TMPFS_MAGIC;
    if is_tmpfs != (options.fs == "tmpfs") {
        bail!("{place} is {}a tmpfs, and --fs asks for {}", if is_tmpfs { "" } else { "not " }, options.fs);
    }
    let copies = if options.changes.iter().all(|&change| change == Change::Fresh) { 2 } else { 3 };
    for workload in &options.workloads {
        let bytes = workload.bytes_max()?;
        work.expect_space(bytes * copies + bytes / 4)
            .with_context(|| format!("failed to make room for {workload}"))?;
    }
    Ok(())
}

fn expect_baseline(baseline: Option<&str>, contestants: &[contestant::Contestant]) -> Result<()> {
    let Some(baseline) = baseline else { return Ok(()) };
    let names: Vec<String> = contestants.iter().map(ToString::to_string).collect();
    if !contestants.iter().any(|contestant| contestant.peer.id == baseline)
        && !names.iter().any(|name| name == baseline)
    {
        bail!("the baseline {baseline:?} does not take part; these do: {}", names.join(", "));
    }
    Ok(())
}
