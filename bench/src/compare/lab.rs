//! A comparison in progress: it goes through the cases, gives every entrant its turn, and keeps what each run has shown.
//!
//! A row is written as soon as its run has ended, so that a comparison that is broken off leaves what it has measured. Nothing here knows what a
//! peer does, or what a run costs: that is in `peer` and in `trial`.

use std::{fs, io::Write, time::Duration};

use anyhow::{Result, bail};

use super::{
    Entrant, Options,
    memory::touch,
    row,
    stage::{Ends, Stage},
    trial::{self, Ending, Trial},
};
use crate::{
    change::Change,
    figures::{grouped, megabytes},
    ground::Ground,
    link::Link,
    peer::{Mode, Site},
    record::{Machine, Outcome, Progress, Run},
    report::{self, Appender, Directory},
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
            grouped(tree.files),
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
                writeln!(out, "  {}", row::line(&run))?;
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
        row::fill(&mut run, &trial);
        run.arrived_bytes = stage.arrived_bytes();
        match &trial.ending {
            Ending::Succeeded => row::judge(&mut run, &stage.verify()?),
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
        touch(files, bytes)?;
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
                sheets.progress.write(Progress::of(&run, at.as_secs_f64(), *bytes))?;
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
