//! `cargo lab compare`: the same work for every peer, in turns, each result verified, everything that it cost in one table.
//!
//! Fair by construction: peers take turns (A B A B …) after a round that is not counted; each run starts from the same trees and a server of its
//! own; the memory that it will dirty is touched before it, because a virtual machine's first touch of a page costs several times more; nobody makes anything
//! durable unless everybody does. Ratios are taken round by round. A peer that is missing, fails or does not end is shown, and the others go on.

mod contestant;
mod stage;
pub(crate) mod trial;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

pub(crate) use contestant::Contestant;
pub use contestant::{Peers, Tcp};
use stage::{Ends, Stage};
use trial::{Ending, Trial};

use crate::{
    binaries::Binaries,
    change::Change,
    figures::megabytes,
    ground::Ground,
    link::{self, Link},
    peer::{Mode, Site},
    record::{Machine, Outcome, Progress, Run},
    report::{self, Appender, Directory},
    verify::Comparison,
    work::Work,
    workload::Workload,
};

/// How long the uncounted round over a link may take for each peer: it fills caches on both ends, which are one machine.
const WARM_UP_ON_LINK: Duration = Duration::from_secs(5);

/// How long a run over a link may take, unless asked otherwise.
const LINK_DEADLINE: Duration = Duration::from_secs(60);

/// How long a run over loopback may take, unless asked otherwise.
const LOOPBACK_DEADLINE: Duration = Duration::from_secs(600);

/// A peer whose uncounted run took longer than this is not run again: that run is its only one, and what a warm-up saves is lost in it.
const SLOW: Duration = Duration::from_secs(10);

/// The most memory that is touched before a run, as a share of what is available.
const TOUCHED_SHARE: u64 = 2;

/// What an inode and its names cost in memory, about, for what is touched before a run.
const INODE_BYTES: u64 = 2048;

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
    let work = Work::begin(&options.place)?;
    expect_space(&work, options)?;
    let binaries = Binaries::build(work.nursery())?;
    let contestants: Vec<Entrant> = options
        .peers
        .contestants(&options.tcp)
        .into_iter()
        .map(|contestant| Entrant::new(contestant, &binaries))
        .collect();
    let mut lab = Lab::open(options, &work, contestants)?;
    for workload in &options.workloads {
        lab.workload(workload, out)?;
    }
    lab.close(out).map(drop)
}

/// A contestant with the Swarmwire that it stands for, and the name under which it appears.
#[derive(Clone, Debug)]
pub(crate) struct Entrant {
    pub(crate) contestant: Contestant,
    pub(crate) name: String,
    pub(crate) binaries: Binaries,
}

impl Entrant {
    pub(crate) fn new(contestant: Contestant, binaries: &Binaries) -> Self {
        Self { name: contestant.peer.id.to_owned(), contestant, binaries: binaries.clone() }
    }

    /// A name for its directory.
    fn directory(&self) -> String {
        self.contestant.to_string().replace('/', "-") + &self.name
    }
}

/// A comparison in progress.
pub(crate) struct Lab<'a> {
    options: &'a Options,
    work: &'a Work,
    entrants: Vec<Entrant>,
    sheets: Option<Sheets>,
    runs: Vec<Run>,
}

/// The report, while it is written.
struct Sheets {
    directory: Directory,
    runs: Appender<Run>,
    progress: Appender<Progress>,
}

/// What distinguishes one case from another.
#[derive(Clone, Debug)]
struct Case<'a> {
    workload: &'a Workload,
    change: Change,
    mode: Mode,
    link: Option<&'a Link>,
    /// Whether a round that is not counted comes first.
    warm_up: bool,
}

impl<'a> Lab<'a> {
    pub(crate) fn open(options: &'a Options, work: &'a Work, entrants: Vec<Entrant>) -> Result<Self> {
        let sheets = options.report.as_ref().map(|(label, parent)| {
            let mut machine = Machine::read(options.command.clone())?;
            machine.peers = entrants.iter().map(version_of).collect();
            machine.peers.dedup();
            let directory = Directory::create(parent, label, &machine)?;
            Ok::<_, anyhow::Error>(Sheets {
                runs: directory.append()?,
                progress: directory.append()?,
                directory,
            })
        });
        Ok(Self { options, work, entrants, sheets: sheets.transpose()?, runs: vec![] })
    }

    /// All cases of one workload.
    pub(crate) fn workload(&mut self, workload: &Workload, out: &mut impl Write) -> Result<()> {
        let (ends, tree) = Ends::make(self.work.path(), workload, self.options.seed)?;
        writeln!(
            out,
            "{workload}: {} files, {}, manifest {}",
            tree.files,
            megabytes(tree.bytes),
            tree.manifest
        )?;
        let links: Vec<Option<&Link>> = if self.options.links.is_empty() {
            vec![None]
        } else {
            self.options.links.iter().map(Some).collect()
        };
        for link in links {
            let ground = match link {
                Some(link) => Ground::linked(self.work.nursery(), link, self.options.seed)?,
                None => Ground::loopback(self.work.nursery())?,
            };
            let cases = self
                .options
                .changes
                .iter()
                .flat_map(|&change| self.options.modes.iter().map(move |&mode| (change, mode)));
            for (index, (change, mode)) in cases.enumerate() {
                // What the first case over a link has warmed up is a fraction of a second, and a warm-up takes as long as a run.
                let warm_up = link.is_none() || index == 0;
                self.case(&Case { workload, change, mode, link, warm_up }, &ends, &ground, out)?;
            }
        }
        ends.remove()
    }

    /// All runs of one case, and its table.
    fn case(&mut self, case: &Case<'_>, ends: &Ends, ground: &Ground, out: &mut impl Write) -> Result<()> {
        let first = self.runs.len();
        let mut stage = Stage::set(ends, ground, (case.change, case.mode), self.options.seed)?;
        let mut takes_part = vec![true; self.entrants.len()];
        for round in u32::from(!case.warm_up)..=self.options.runs {
            for (entrant, takes_part) in self.entrants.clone().iter().zip(&mut takes_part) {
                if !*takes_part {
                    continue;
                }
                let (mut run, curve) = self.round(case, entrant, &mut stage, round)?;
                // A warm-up over a link need not be completed; everybody else who fails or times out has had his chance.
                let cut = round == 0 && case.link.is_some() && run.outcome == Outcome::Unfinished;
                let slow = round == 0 && run.wall_seconds > SLOW.as_secs_f64();
                *takes_part = cut || (run.outcome == Outcome::Complete && !slow);
                if *takes_part && round == 0 {
                    continue;
                }
                run.run = run.run.max(u32::from(run.outcome != Outcome::Missing));
                writeln!(out, "  {}", line(&run))?;
                self.keep(run, &curve)?;
            }
        }
        stage.strike()?;
        writeln!(out, "{}", report::table(&self.runs[first..], self.options.baseline.as_deref()))?;
        out.flush()?;
        Ok(())
    }

    /// One run of one peer, as a row.
    fn round(
        &self,
        case: &Case<'_>,
        entrant: &Entrant,
        stage: &mut Stage<'_>,
        round: u32,
    ) -> Result<(Run, Vec<(Duration, u64)>)> {
        let mut run = self.row(case, entrant, round);
        if entrant.contestant.version.is_none() {
            run.outcome = Outcome::Missing;
            run.run = 0;
            run.note = format!("not found; `{}` installs it", entrant.contestant.peer.install);
            return Ok((run, vec![]));
        }
        let deadline = match case.link {
            Some(_) if round == 0 => WARM_UP_ON_LINK,
            Some(_) => self.options.deadline.unwrap_or(LINK_DEADLINE),
            None => self.options.deadline.unwrap_or(LOOPBACK_DEADLINE),
        };
        let trial = self.trial(entrant, stage, deadline);
        (run.files, run.bytes) = stage.size();
        let trial = match trial {
            Ok(trial) => trial,
            Err(error) => {
                run.outcome = Outcome::Failed;
                run.note = format!("{error:#}");
                return Ok((run, vec![]));
            }
        };
        fill(&mut run, &trial);
        run.arrived_bytes = stage.arrived_bytes();
        match &trial.ending {
            Ending::Succeeded => judge(&mut run, &stage.verify()?),
            Ending::TimedOut => {
                run.outcome = Outcome::Unfinished;
                run.note = format!("stopped after {} s", deadline.as_secs());
            }
            Ending::Failed(reason) => {
                run.outcome = Outcome::Failed;
                run.note.clone_from(reason);
            }
        }
        Ok((run, trial.curve))
    }

    /// Makes the trees ready, prepares the peer, and times it.
    fn trial(&self, entrant: &Entrant, stage: &mut Stage<'_>, deadline: Duration) -> Result<Trial> {
        let (peer, ground) = (entrant.contestant.peer, stage.ground());
        let home = self.work.path().join("homes").join(home_name(entrant, ground));
        fs::create_dir_all(&home)?;
        let site = Site { ground, home: &home, root: stage.root(), binaries: &entrant.binaries };
        if let Some(tcp) = &entrant.contestant.tcp {
            ground.set_tcp(tcp.control(), tcp.buffer_max())?;
        }
        let transfer = stage.transfer(self.options.durable);
        let bring = peer.remembers.then_some(|| {
            let first =
                trial::run(ground, (peer.prepare)(&site, &transfer)?, &transfer, LOOPBACK_DEADLINE, false)?;
            match first.ending {
                Ending::Succeeded => Ok(()),
                Ending::TimedOut => bail!("it did not end within {} s", LOOPBACK_DEADLINE.as_secs()),
                Ending::Failed(reason) => bail!("{reason}"),
            }
        });
        stage.reset(bring)?;
        let prepared = (peer.prepare)(&site, &transfer)?;
        let (files, bytes) = stage.size();
        touch_memory(bytes + files * INODE_BYTES)?;
        trial::run(ground, prepared, &transfer, deadline, self.options.durable)
    }

    fn row(&self, case: &Case<'_>, entrant: &Entrant, round: u32) -> Run {
        Run {
            workload: case.workload.to_string(),
            change: case.change.to_string(),
            mode: case.mode.to_string(),
            link: case.link.map_or_else(|| "loopback".to_owned(), ToString::to_string),
            fs: self.options.fs.clone(),
            durable: self.options.durable,
            peer: entrant.name.clone(),
            tcp: entrant.contestant.tcp.as_ref().map(ToString::to_string).unwrap_or_default(),
            run: round,
            ..Run::default()
        }
    }

    /// Writes a row, so that a comparison that is broken off leaves what it has measured.
    fn keep(&mut self, run: Run, curve: &[(Duration, u64)]) -> Result<()> {
        if let Some(sheets) = &mut self.sheets {
            sheets.runs.write(run.clone())?;
            // One curve shows the course of a case; more would only make the report large.
            let points = if run.run == 1 { curve } else { &[] };
            for (at, bytes) in points {
                sheets.progress.write(Progress {
                    workload: run.workload.clone(),
                    change: run.change.clone(),
                    mode: run.mode.clone(),
                    link: run.link.clone(),
                    peer: run.peer.clone(),
                    tcp: run.tcp.clone(),
                    run: run.run,
                    seconds: at.as_secs_f64(),
                    wire_bytes: *bytes,
                })?;
            }
        }
        self.runs.push(run);
        Ok(())
    }

    /// Writes the report, says where it is, and gives all rows.
    pub(crate) fn close(self, out: &mut impl Write) -> Result<Vec<Run>> {
        if let Some(sheets) = self.sheets {
            let path = sheets.directory.path();
            report::write(path)?;
            writeln!(out, "report: {}", path.join("summary.md").display())?;
        }
        Ok(self.runs)
    }
}

fn version_of(entrant: &Entrant) -> (String, String) {
    let version = entrant.contestant.version.clone().unwrap_or_else(|| "not found".to_owned());
    (entrant.name.clone(), version)
}

/// Addresses differ from ground to ground, and identities remember them.
fn home_name(entrant: &Entrant, ground: &Ground) -> String {
    format!("{}-{}", entrant.directory(), ground.far().address())
}

/// Takes over what was measured.
fn fill(run: &mut Run, trial: &Trial) {
    run.wall_seconds = trial.wall.as_secs_f64();
    run.client_user_seconds = trial.client.user.as_secs_f64();
    run.client_system_seconds = trial.client.system.as_secs_f64();
    run.client_peak_bytes = trial.client.peak_bytes;
    run.server_user_seconds = trial.server.user.as_secs_f64();
    run.server_system_seconds = trial.server.system.as_secs_f64();
    run.server_peak_bytes = trial.server.peak_bytes;
    run.wire_sent_bytes = trial.crossed.sent;
    run.wire_received_bytes = trial.crossed.received;
    run.wire_bytes = Some(trial.crossed.bytes);
    run.packets = trial.crossed.packets;
    run.queue_drops = trial.crossed.queue_drops;
    run.random_losses = trial.crossed.random_losses;
}

/// Whether the result is what it should be, and what it lacks.
fn judge(run: &mut Run, comparison: &Comparison) {
    if let Some(wrong) = comparison.wrong.first() {
        run.outcome = Outcome::Failed;
        run.note = format!("the result is wrong in {} places: {wrong}", comparison.wrong.len());
        return;
    }
    let mut notes: Vec<String> = vec![];
    if !comparison.lost.is_empty() {
        let lost: Vec<String> = comparison.lost.iter().map(ToString::to_string).collect();
        notes.push(format!("did not keep {}", lost.join(", ")));
    }
    if !comparison.extra.is_empty() {
        notes.push(format!("left {} old names", comparison.extra.len()));
    }
    run.note = notes.join("; ");
}

/// One run as a line.
fn line(run: &Run) -> String {
    let name = if run.tcp.is_empty() { run.peer.clone() } else { format!("{}/{}", run.peer, run.tcp) };
    let what = match run.outcome {
        Outcome::Complete => format!("{:8.3} s", run.wall_seconds),
        Outcome::Unfinished => format!("unfinished after {:.0} s", run.wall_seconds),
        Outcome::Failed => "failed".to_owned(),
        Outcome::Missing => "missing".to_owned(),
    };
    let note = if run.note.is_empty() { String::new() } else { format!("  ({})", run.note) };
    format!("run {} {name:<16} {what}{note}", run.run)
}

/// Writes to as much memory as a run will, so that the run finds its pages in the guest.
fn touch_memory(bytes: u64) -> Result<()> {
    let touched = bytes.min(available_memory()? / TOUCHED_SHARE);
    // Ones: zeros would be given by the kernel without a page being touched.
    std::hint::black_box(vec![1_u8; usize::try_from(touched)?]);
    Ok(())
}

/// `MemAvailable` of proc(5).
fn available_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes: u64 = line
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .context("the kernel does not tell the available memory")?;
    Ok(kibibytes * 1024)
}

/// The tree, a copy of it for changes, and the destination must fit, with what a peer stages beside it.
fn expect_space(work: &Work, options: &Options) -> Result<()> {
    let copies = if options.changes.iter().all(|&change| change == Change::Fresh) { 2 } else { 3 };
    for workload in &options.workloads {
        let bytes = workload.bytes_max()?;
        work.expect_space(bytes * copies + bytes / 4)
            .with_context(|| format!("failed to make room for {workload}"))?;
    }
    Ok(())
}

/// The directory for trees on a file system of this kind.
pub fn place_of(fs: &str) -> &'static Path {
    Path::new(if fs == "disk" { "/var/tmp" } else { "/dev/shm" })
}
