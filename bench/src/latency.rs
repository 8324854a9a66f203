//! `cargo lab latency`: how long a 64-byte ping takes on a connection that is idle, and on one that moves a tree at the same time.
//!
//! Swarmwire's ping is an echo by the gateway on a channel that stays open; beside it a push of the tree again and again. ssh's is an echo by
//! `cat` in a session that stays open; beside it an archive through another session of the same connection (`ControlMaster`), again and again. Both have
//! AES-128-GCM, no compression, and one measuring process at the near end ([`pinger`]), which pings at a fixed rate and counts each ping from the moment
//! when it was due ([`schedule`]). ssh's pings pass two processes that Swarmwire's do not: the master at the near end, since ssh is no library, and
//! `cat` at the far one. A side that is missing or fails is shown, and the other goes on.

mod contender;
mod measured;
pub mod pinger;
pub(crate) mod quantiles;
mod schedule;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries::Binaries,
    compare::Tcp,
    figures::grouped,
    ground::Ground,
    link::{self, Link},
    peer::ssh,
    record::{Latency, Machine},
    report::{self, Appender, Directory},
    work::Work,
    workload::Workload,
};
use contender::{Contender, Load, Scene};
use measured::Measured;
use schedule::PING_BYTES;

/// Pings of one distribution that are kept in memory and passed on as JSON: at 200 a second, an hour and a half.
const PINGS_MAX: u64 = 1_000_000;

/// Trees that lie in the place at once: the source, what has arrived and is being removed, and what arrives.
const TREES: u64 = 3;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// What lies between the ends, after loopback, which comes first in any case.
    pub links: Vec<Link>,
    /// How TCP is set up for ssh over a link; empty leaves it as the machine has it.
    pub tcp: Vec<Tcp>,
    /// Seconds for which the pings of one distribution are counted.
    pub seconds: u32,
    /// Pings a second.
    pub rate: u32,
    /// What is pushed meanwhile.
    pub workload: Workload,
    /// An existing directory for the trees.
    pub place: PathBuf,
    /// The report's name and the directory for reports; nothing prints only.
    pub report: Option<(String, PathBuf)>,
    /// What tree and losses follow.
    pub seed: u64,
    /// The command line, for the report.
    pub command: String,
}

/// Measures, prints a line for each distribution, and writes the report.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    options.check()?;
    let work = Work::begin(&options.place)?;
    work.expect_space(options.workload.bytes_max()? * TREES)
        .with_context(|| format!("failed to make room for {TREES} times {}", options.workload))?;
    let binaries = Binaries::build(work.nursery())?;
    let tree = work.path().join("tree");
    fs::create_dir(&tree)?;
    options.workload.generate(&tree, options.seed)?;
    let directory =
        options.report.as_ref().map(|(label, parent)| options.directory(label, parent)).transpose()?;
    let mut account = Account::open(directory.as_ref())?;
    let lab = Lab { options, work: &work, binaries, tree };
    writeln!(out, "{}", options.title())?;
    for link in [None].into_iter().chain(options.links.iter().map(Some)) {
        lab.measure(link, &mut account, out)?;
    }
    if let Some(directory) = &directory {
        report::write(directory.path())?;
        writeln!(out, "report: {}", directory.path().join("summary.md").display())?;
    }
    if account.distributions == 0 {
        bail!("failed to measure anything: every side has failed, as shown above");
    }
    Ok(())
}

impl Options {
    fn check(&self) -> Result<()> {
        if self.rate == 0 || self.seconds == 0 {
            bail!("failed to plan the pings: rate and seconds must be at least 1");
        }
        let pings = u64::from(self.rate) * u64::from(self.seconds);
        if pings > PINGS_MAX {
            let (pings, most) = (grouped(pings), grouped(PINGS_MAX));
            bail!(
                "failed to plan {pings} pings: one distribution has at most {most}; lower the rate or the seconds"
            );
        }
        self.links.iter().try_for_each(link::expect_below_ceiling)
    }

    fn directory(&self, label: &str, parent: &Path) -> Result<Directory> {
        let mut machine = Machine::read(self.command.clone())?;
        machine.peers = vec![
            ("swarm".to_owned(), format!("swarmwire {}", env!("CARGO_PKG_VERSION"))),
            ("ssh".to_owned(), ssh::find().unwrap_or_else(|| "not found".to_owned())),
        ];
        Directory::create(parent, label, &machine)
    }

    /// Who takes part over loopback or over a link.
    fn contenders(&self, link: Option<&Link>) -> Vec<Contender> {
        let mut contenders = vec![Contender::Swarm];
        match link {
            Some(_) if !self.tcp.is_empty() => {
                contenders.extend(self.tcp.iter().cloned().map(|tcp| Contender::Ssh(Some(tcp))));
            }
            _ => contenders.push(Contender::Ssh(None)),
        }
        contenders
    }

    fn title(&self) -> String {
        format!(
            "{PING_BYTES}-byte pings, {} a second for {} s, idle and beside a push of `{}` on the same connection; milliseconds from when each was due",
            self.rate, self.seconds, self.workload
        )
    }
}

/// What all measurements share.
struct Lab<'a> {
    options: &'a Options,
    work: &'a Work,
    binaries: Binaries,
    tree: PathBuf,
}

impl Lab<'_> {
    /// Measures everybody over `link`, or over loopback.
    fn measure(&self, link: Option<&Link>, account: &mut Account, out: &mut impl Write) -> Result<()> {
        let ground = match link {
            Some(link) => Ground::linked(self.work.nursery(), link, self.options.seed)?,
            None => Ground::loopback(self.work.nursery())?,
        };
        let name = link.map_or_else(|| "loopback".to_owned(), Link::to_string);
        writeln!(out, "\n{name}\n{}", measured::heading())?;
        let top = tempfile::tempdir_in(self.work.path())?;
        let scene = Scene {
            ground: &ground,
            binaries: &self.binaries,
            top: top.path(),
            tree: &self.tree,
            rate: self.options.rate,
            seconds: self.options.seconds,
        };
        for contender in self.options.contenders(link) {
            let peer = contender.to_string();
            for load in [Load::Idle, Load::Bulk] {
                let sample = scene.sample(&contender, load);
                match sample.and_then(|sample| Measured::new(&name, &peer, load, sample)) {
                    Ok(measured) => account.add(&measured, out)?,
                    Err(error) => writeln!(out, "{peer:<12}{load:<6}failed: {error:#}")?,
                }
            }
        }
        Ok(())
    }
}

/// What has been measured so far.
struct Account {
    /// Where rows are kept, if they are.
    rows: Option<Appender<Latency>>,
    distributions: usize,
}

impl Account {
    fn open(directory: Option<&Directory>) -> Result<Self> {
        Ok(Self { rows: directory.map(Directory::append).transpose()?, distributions: 0 })
    }

    fn add(&mut self, measured: &Measured, out: &mut impl Write) -> Result<()> {
        writeln!(out, "{}", measured.line())?;
        self.distributions += 1;
        match &mut self.rows {
            Some(rows) => measured.rows().try_for_each(|row| rows.write(row)),
            None => Ok(()),
        }
    }
}
