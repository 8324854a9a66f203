//! A sync that goes on (`--watch`): all of it once, then what changes, round after round, until a signal ends it.
//!
//! A round is an ordinary sync of the paths that have changed, over the connection that is there. All is looked at again in the
//! beginning, every `--rescan`, when changes were missed, and after an outage. What fails stands until a later round has put it in place.

use std::{
    future::pending,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use swarmwire_client::{Controller, RequestError, controller::Watching};
use swarmwire_common::{
    escape::escape_str,
    filter::List,
    sync::Report,
    watch::{End, News, Pace, Seen, Watch, describe},
    wire::{status::Status, sync::Direction},
};
use tokio::{task::spawn_blocking, time::sleep_until};

use super::{Attempt, Changes, Ending, LocalEnd, Runner, classify, classify_broken, local};
use crate::{
    commands::{
        now,
        sync::{
            account::{Account, Added},
            job::Job,
            selecting,
            standing::{Due, Standing},
            summary::Round,
            write_metrics,
        },
    },
    output::{Output, entry_failed},
    units,
};

/// Silence after which changes have settled: a program that writes several files has mostly written them.
const QUIET: Duration = Duration::from_millis(100);

/// The longest that a change waits for others, so that it is at the destination within a second.
const PATIENCE: Duration = Duration::from_millis(500);

/// Least and longest pause between two rounds. It is as long as the last round took, so that a tree that always changes has half of
/// the disks' time at most; each round has a barrier of its own.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// What a sync that goes on knows beside what each round needs.
#[derive(Debug)]
pub(super) struct Course {
    rescan: Duration,
    standing: Standing,
    rounds: u64,
    /// What of the connection is in the account.
    added: Added,
    /// That nothing is heard was told.
    is_deaf_told: bool,
}

/// Who tells of changes.
#[derive(Debug)]
enum Ear {
    Here(Watch, Option<(u64, u64)>),
    There(Watching),
    /// Nobody can.
    Deaf,
}

impl Ear {
    fn news(&self) -> Option<&News> {
        match self {
            Self::Here(watch, _) => Some(watch.news()),
            Self::There(watching) => Some(watching.news()),
            Self::Deaf => None,
        }
    }

    async fn next(&self, pace: &Pace) -> Result<Seen, End> {
        match self.news() {
            Some(news) => news.next(pace).await,
            None => pending().await,
        }
    }
}

/// Why a session over one connection ended.
enum Over {
    Ended(Ending),
    /// Nothing had been synced yet.
    NotBegun(anyhow::Error),
    /// It may go on over another connection.
    Lost(anyhow::Error),
}

impl From<RequestError> for Over {
    fn from(err: RequestError) -> Self {
        match classify(err) {
            (err, true) => Self::Lost(err),
            (err, false) => Self::Ended(Ending::Broken(err)),
        }
    }
}

/// What wakes a session.
enum Woken {
    Seen(Seen),
    /// What was watched is another thing now, or nobody tells any more.
    Gone,
    /// It is time to look at everything.
    Time,
}

impl Runner<'_> {
    /// Runs until a signal comes or it cannot go on. An error means that no transfer began.
    pub(in super::super) async fn run_watching(
        mut self,
        controller: Controller,
        rescan: Duration,
    ) -> anyhow::Result<(Account, Ending, Changes)> {
        let mut course = Course {
            rescan,
            standing: Standing::default(),
            rounds: 0,
            added: Added::default(),
            is_deaf_told: false,
        };
        let mut controller = controller;
        let ending = loop {
            course.added = Added::default();
            let over = self.session(&controller, &mut course).await;
            self.account.time = self.start.elapsed();
            self.account.add_connection_since(&controller.stats(), &mut course.added);
            self.way.remember(&controller).await;
            controller.close().await;
            match over {
                Over::NotBegun(err) => {
                    self.progress.clear();
                    return Err(err);
                }
                Over::Ended(ending) => break ending,
                Over::Lost(err) => match self.reconnect(err).await {
                    Ok((again, _)) => controller = again,
                    Err(ending) => break ending,
                },
            }
        };
        self.progress.clear();
        self.account.rounds = Some(course.rounds);
        Ok((self.account, ending, self.changes))
    }

    /// Syncs over one connection as long as it lasts.
    async fn session(&mut self, controller: &Controller, course: &mut Course) -> Over {
        let has_begun = course.rounds > 0;
        match self.listen_and_sync(controller, course).await {
            Ok(never) => match never {},
            Err(Over::Ended(Ending::Broken(err)) | Over::Lost(err)) if !has_begun && course.rounds == 0 => {
                Over::NotBegun(err)
            }
            Err(over) => over,
        }
    }

    async fn listen_and_sync(
        &mut self,
        controller: &Controller,
        course: &mut Course,
    ) -> Result<std::convert::Infallible, Over> {
        loop {
            let ear = self.prick_up(controller, course).await?;
            self.round(controller, course, (&ear, None)).await?;
            let mut rescan_at = Instant::now() + course.rescan;
            let mut pause = PAUSE.0;
            loop {
                self.progress.say(&self.up_to_date(course));
                let pace =
                    Pace { quiet: QUIET, patience: PATIENCE, not_before: Some(Instant::now() + pause) };
                let list = match self.wake(controller, &ear, &pace, rescan_at).await? {
                    Woken::Gone => break,
                    Woken::Seen(seen) => match self.list_of(seen) {
                        Some(list) if list.paths().is_empty() => continue,
                        list => list,
                    },
                    Woken::Time => None,
                };
                if !self.is_still_there(&ear).await? {
                    break;
                }
                let start = Instant::now();
                let is_full = list.is_none();
                self.round(controller, course, (&ear, list)).await?;
                pause = start.elapsed().clamp(PAUSE.0, PAUSE.1);
                if is_full {
                    rescan_at = Instant::now() + course.rescan;
                }
            }
        }
    }

    /// Listens for changes before anything is looked at, so that none is missed.
    async fn prick_up(&mut self, controller: &Controller, course: &mut Course) -> Result<Ear, Over> {
        let ear = tokio::select! {
            ear = ear(self.job, controller) => ear?,
            () = self.interrupt.wait() => return Err(Over::Ended(Ending::Interrupted)),
        };
        let refused = match ear {
            Err(reason) => reason,
            Ok(ear) => {
                let ready = async {
                    match ear.news() {
                        Some(news) => news.ready().await,
                        None => Ok(()),
                    }
                };
                let ready = tokio::select! {
                    ready = ready => ready,
                    err = controller.closed() => return Err(err.into()),
                    () = self.interrupt.wait() => return Err(Over::Ended(Ending::Interrupted)),
                };
                match ready {
                    Ok(()) => return Ok(ear),
                    Err(End::Gone) => return Err(Over::Lost(anyhow!("what is watched has gone"))),
                    Err(End::Refused(reason)) => reason,
                }
            }
        };
        if std::mem::replace(&mut course.is_deaf_told, true) {
            return Ok(Ear::Deaf);
        }
        // Nobody is left to tell where standard error is closed.
        let _ = writeln!(
            std::io::stderr(),
            "swarm: changes cannot be watched: {}; all is looked at every {}",
            escape_str(&refused),
            humantime::format_duration(course.rescan),
        );
        Ok(Ear::Deaf)
    }

    /// Waits for something to do.
    async fn wake(
        &mut self,
        controller: &Controller,
        ear: &Ear,
        pace: &Pace,
        rescan_at: Instant,
    ) -> Result<Woken, Over> {
        tokio::select! {
            () = self.interrupt.wait() => Err(Over::Ended(Ending::Interrupted)),
            err = controller.closed() => Err(err.into()),
            heard = ear.next(pace) => match heard {
                Ok(seen) => Ok(Woken::Seen(seen)),
                Err(End::Gone) if matches!(ear, Ear::There(_)) => {
                    Err(Over::Lost(anyhow!("the gateway tells no more of what changes")))
                }
                Err(End::Gone | End::Refused(_)) => Ok(Woken::Gone),
            },
            () = sleep_until(rescan_at.into()) => Ok(Woken::Time),
        }
    }

    /// Whether what was typed still is what is watched here.
    async fn is_still_there(&self, ear: &Ear) -> Result<bool, Over> {
        let Ear::Here(_, watched) = ear else { return Ok(true) };
        match local::open(self.job).await {
            Ok(LocalEnd::Source(source)) => Ok(source.identity() == *watched),
            Ok(LocalEnd::Destination(_)) => Ok(true),
            Err(err) => Err(Over::Ended(Ending::Broken(err))),
        }
    }

    /// The paths that a round is about; `None` for all.
    fn list_of(&self, seen: Seen) -> Option<List> {
        let seen = match self.job.selection.list() {
            Some(list) => seen.within(list),
            None => seen,
        };
        let Seen::Paths(paths) = seen else { return None };
        let mut list = List::default();
        // Too many for one list are as good as all.
        paths.into_iter().try_for_each(|path| list.push(path)).ok()?;
        Some(list)
    }

    /// Syncs what is listed, or all.
    async fn round(
        &mut self,
        controller: &Controller,
        course: &mut Course,
        (ear, list): (&Ear, Option<List>),
    ) -> Result<(), Over> {
        let (start, ended) = (Instant::now(), |err| Over::Ended(Ending::Broken(err)));
        let mut selection = selecting::at(self.job, now()).with_missing_ok();
        if let Some(list) = &list {
            selection = selection.listing(list.clone());
        }
        let end = local::open_selecting(self.job, Arc::new(selection)).await.map_err(ended)?;
        let transferred = self.transfer(controller, end, self.job.options).await;
        let counted = transferred.counted.as_ref().map(|(report, tally)| (report, &**tally));
        if let Some((report, tally)) = counted {
            self.account.add_round(report, tally, list.is_none());
        }
        match transferred.attempt {
            Attempt::Complete => {}
            Attempt::Interrupted => return Err(Over::Ended(Ending::Interrupted)),
            Attempt::NotBegun(err) => return self.put_back(err, (ear, list)),
            Attempt::Broken(err) => {
                // What it had put in place is not undone.
                course.rounds += 1;
                return Err(match classify_broken(err) {
                    (err, true) => Over::Lost(err),
                    (err, false) => ended(err),
                });
            }
        }
        let Some((report, _)) = counted else { return Ok(()) };
        self.backoff.progressed();
        course.rounds += 1;
        self.account.rounds = Some(course.rounds);
        self.settle(course, report, (ear, list.as_ref()));
        let wire = self.account.add_connection_since(&controller.stats(), &mut course.added);
        self.account.time = self.start.elapsed();
        self.keep_metrics().await;
        self.tell_round(course, (report, ear), (list.is_none(), start), wire).map_err(ended)
    }

    /// A round that did not begin. A gateway that is busy is asked again in a moment, for the same.
    fn put_back(&self, err: RequestError, (ear, list): (&Ear, Option<List>)) -> Result<(), Over> {
        match (ear.news(), list) {
            (Some(news), Some(list)) if err.status() == Some(Status::Busy) => {
                news.tell(list.paths().iter().cloned(), Instant::now());
                Ok(())
            }
            _ => Err(err.into()),
        }
    }

    /// Does what is to be done about the failures of a round.
    fn settle(&mut self, course: &mut Course, report: &Report, (ear, list): (&Ear, Option<&List>)) {
        let Due { to_retry, to_name } = course.standing.take(report, list);
        to_name.iter().for_each(|failure| entry_failed(failure.path.as_bytes(), &failure.reason));
        match ear.news() {
            Some(news) if !to_retry.is_empty() => news.tell(to_retry, Instant::now()),
            _ => {}
        }
        (self.account.report.entries_failed, self.account.report.failed) = course.standing.all();
    }

    fn tell_round(
        &mut self,
        course: &Course,
        (report, ear): (&Report, &Ear),
        (is_full, start): (bool, Instant),
        (sent, received): (u64, u64),
    ) -> anyhow::Result<()> {
        let round = Round {
            event: "round",
            round: course.rounds,
            kind: if is_full { "full" } else { "changes" },
            files_sent: report.files_sent,
            bytes_sent: report.bytes_sent,
            bytes_wire_sent: sent,
            bytes_wire_received: received,
            entries_deleted: report.entries_deleted,
            entries_failed: report.entries_failed,
            seconds: start.elapsed().as_secs_f64(),
            caught_up: ear.news().is_none_or(News::is_idle),
        };
        if self.progress.is_for_programs() {
            Output::object(&round)?;
        }
        Ok(())
    }

    async fn keep_metrics(&self) {
        if let Some(metrics) = self.metrics {
            let success = self.account.report.entries_failed == 0;
            write_metrics(metrics, self.job.direction, &self.account, success).await;
        }
    }

    fn up_to_date(&self, course: &Course) -> String {
        let report = &self.account.report;
        let mut line = format!(
            "watching; {} files ({}) in {} rounds",
            units::count(report.files_sent),
            units::bytes(report.bytes_sent),
            units::count(course.rounds),
        );
        for (count, word) in [(report.entries_deleted, "deleted"), (report.entries_failed, "failed")] {
            if count > 0 {
                line.push_str(&format!("; {} {word}", units::count(count)));
            }
        }
        line
    }
}

/// Begins to watch the source, on this machine or at the gateway; or says why its system does not let that be done.
async fn ear(job: &Job, controller: &Controller) -> Result<Result<Ear, String>, Over> {
    if job.direction == Direction::Pull {
        return match controller.watch(&job.remote.path, &job.selection).await {
            Ok(watching) => Ok(Ok(Ear::There(watching))),
            Err(RequestError::Refused {
                status: Status::Unavailable | Status::UnknownService,
                detail,
                ..
            }) => Ok(Err(detail)),
            Err(err) => Err(err.into()),
        };
    }
    let ended = |err| Over::Ended(Ending::Broken(err));
    let LocalEnd::Source(source) = local::open(job).await.map_err(ended)? else {
        unreachable!("the local side of a push is the source")
    };
    let watched = spawn_blocking(move || (source.watch(Arc::default()), source.identity()));
    let (watch, identity) = watched.await.context("failed to watch").map_err(ended)?;
    Ok(watch.map(|watch| Ear::Here(watch, identity)).map_err(|err| describe(&err)))
}
