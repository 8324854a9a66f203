//! Doing a sync: attempts over connections, until it is complete, given up or interrupted.
//!
//! Only a connection that was there and is lost is tried again; what fails before the first transfer is the command's error.
//! What is committed stays, and the next attempt finds it in place.

mod watching;

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use quinn::PathStats;
use swarmwire_client::{ConnectError, Controller, RequestError};
use swarmwire_common::{
    escape::escape_str,
    sync::{Event, EventQueue, Outcome, Report, SyncError, Tally, events},
    wire::{status::Status, sync::SyncOptions},
};
use tokio::time::{Instant as Start, MissedTickBehavior, interval_at, sleep, timeout};

use super::{
    account::{Account, report_of},
    backoff::Backoff,
    changes::Changes,
    job::Job,
    local::{self, LocalEnd},
};
use crate::{
    commands::{Way, interrupt::Interrupt},
    metrics::MetricsFile,
    progress::Progress,
};

/// How long an interrupted sync may take to give its report. Its threads look up between two pieces of a file.
const BREAK_OFF_TIME_MAX: Duration = Duration::from_secs(2);

/// How a sync ended that had begun.
#[derive(Debug)]
pub(super) enum Ending {
    /// All entries were dealt with, though some may have failed.
    Complete,
    /// By a signal.
    Interrupted,
    /// For good.
    Broken(anyhow::Error),
}

impl Ending {
    /// Why it did not get to its end, for programs.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::Complete => None,
            Self::Interrupted => Some("interrupted".to_owned()),
            Self::Broken(err) => Some(format!("{err:#}")),
        }
    }
}

/// A sync under way.
pub(super) struct Runner<'a> {
    job: &'a Job,
    way: &'a Way,
    progress: Progress,
    changes: Changes,
    interrupt: Interrupt,
    backoff: Backoff,
    account: Account,
    start: Instant,
    /// Written after each round of a sync that goes on.
    metrics: Option<&'a MetricsFile>,
}

/// What a transfer came to.
struct Transferred {
    attempt: Attempt,
    /// What it did, if it began.
    counted: Option<(Report, Arc<Tally>)>,
    /// What the path was when it was broken off, if it was.
    path_then: Option<PathStats>,
}

/// What became of one attempt.
enum Attempt {
    Complete,
    Interrupted,
    NotBegun(RequestError),
    Broken(SyncError),
}

/// A signal has come.
struct Interrupted;

type Transfer<'a> = Pin<Box<dyn Future<Output = Result<Outcome, RequestError>> + 'a>>;

impl<'a> Runner<'a> {
    pub(super) fn new(
        job: &'a Job,
        way: &'a Way,
        (progress, changes): (Progress, Changes),
        interrupt: Interrupt,
        start: Instant,
    ) -> Self {
        let (backoff, account) = (Backoff::new(job.retry), Account::default());
        Self { job, way, progress, changes, interrupt, backoff, account, start, metrics: None }
    }

    /// Keeps the metrics up to date while it goes on.
    pub(super) fn with_metrics(self, metrics: Option<&'a MetricsFile>) -> Self {
        Self { metrics, ..self }
    }

    /// Runs to the end. An error means that no transfer began.
    pub(super) async fn run(
        mut self,
        controller: Controller,
        end: LocalEnd,
    ) -> anyhow::Result<(Account, Ending, Changes)> {
        let first = self.attempt(controller, end).await;
        if let Attempt::NotBegun(err) = first {
            self.progress.clear();
            return Err(err.into());
        }
        let mut attempt = first;
        let ending = loop {
            let (err, is_transient) = match attempt {
                Attempt::Complete => break Ending::Complete,
                Attempt::Interrupted => break Ending::Interrupted,
                Attempt::NotBegun(err) => classify(err),
                Attempt::Broken(err) => classify_broken(err),
            };
            if !is_transient {
                break Ending::Broken(err);
            }
            match self.reconnect(err).await {
                Ok((controller, end)) => attempt = self.attempt(controller, end).await,
                Err(ending) => break ending,
            }
        };
        self.progress.clear();
        self.account.files_to_send = self.changes.files_to_send();
        Ok((self.account, ending, self.changes))
    }

    /// One sync over one connection.
    async fn attempt(&mut self, controller: Controller, end: LocalEnd) -> Attempt {
        let options = self.job.options_after(self.account.report.entries_deleted);
        let Transferred { attempt, counted, path_then } = self.transfer(&controller, end, options).await;
        self.account.time = self.start.elapsed();
        let mut stats = controller.stats();
        stats.path = path_then.unwrap_or(stats.path);
        self.account.add_connection(&stats);
        self.way.remember(&controller).await;
        controller.close().await;
        if let Some((report, tally)) = counted {
            self.account.add(report, &tally);
            if tally.bytes_moved.load(Relaxed) + tally.committed.load(Relaxed) > 0 {
                self.backoff.progressed();
            }
        }
        attempt
    }

    /// One sync over a connection that lives on, unless a signal comes.
    async fn transfer(
        &mut self,
        controller: &Controller,
        end: LocalEnd,
        options: SyncOptions,
    ) -> Transferred {
        let tally = Arc::new(Tally::default());
        let (telling, queue) = events();
        self.changes.begin();
        let transfer: Transfer<'_> = match end.telling(telling) {
            LocalEnd::Source(source) => {
                Box::pin(controller.push(source, &self.job.remote, options, Arc::clone(&tally)))
            }
            LocalEnd::Destination(destination) => {
                Box::pin(controller.pull(&self.job.remote, destination, options, Arc::clone(&tally)))
            }
        };
        let (result, path_then) = self.attend(transfer, controller, (&tally, &queue)).await;
        let is_interrupted = path_then.is_some();
        let outcome = match result {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) | None if is_interrupted => Outcome { report: report_of(&tally), error: None },
            Some(Err(err)) => {
                return Transferred { attempt: Attempt::NotBegun(err), counted: None, path_then };
            }
            None => unreachable!("only an interrupted transfer ends without a result"),
        };
        let attempt = match outcome.error {
            _ if is_interrupted => Attempt::Interrupted,
            Some(err) => Attempt::Broken(err),
            None => Attempt::Complete,
        };
        Transferred { attempt, counted: Some((outcome.report, tally)), path_then }
    }

    /// Waits for `transfer` while showing how it goes; when a signal comes, breaks it off and waits a little for its report. Gives
    /// what the path was when it was broken off, if it was: a path that is closing shows a window that was opened for the goodbye.
    async fn attend(
        &mut self,
        mut transfer: Transfer<'_>,
        controller: &Controller,
        (tally, queue): (&Tally, &EventQueue),
    ) -> (Option<Result<Outcome, RequestError>>, Option<PathStats>) {
        // A short round of many has nothing to show.
        let delay = self.account.rounds.map(|_| self.progress.interval()).unwrap_or_default();
        let mut tick = interval_at(Start::now() + delay, self.progress.interval());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                result = &mut transfer => {
                    let is_interrupted = self.show_rest(queue).await.is_err();
                    return (Some(result), is_interrupted.then(|| controller.stats().path));
                }
                Some(event) = queue.next(), if !self.changes.is_showing() => {
                    self.changes.take(std::iter::once(event).chain(waiting(queue)).collect());
                }
                () = self.changes.shown(), if self.changes.is_showing() => {
                    if self.changes.has_failed() {
                        self.progress.end_for_programs();
                    }
                }
                () = self.interrupt.wait() => break,
                _ = tick.tick(), if !self.changes.is_showing() => {
                    if let Some(line) = self.progress.show(tally, Instant::now()) {
                        self.changes.line(line);
                    }
                }
            }
        }
        // Nobody takes what is told from here on.
        queue.close();
        let path = controller.stats().path;
        controller.break_off(Status::Cancelled);
        (timeout(BREAK_OFF_TIME_MAX, transfer).await.ok(), Some(path))
    }

    /// Shows what is left in the queue, unless a signal comes first.
    async fn show_rest(&mut self, queue: &EventQueue) -> Result<(), Interrupted> {
        loop {
            tokio::select! {
                () = self.changes.shown() => {}
                () = self.interrupt.wait() => return Err(Interrupted),
            }
            let rest: Vec<_> = waiting(queue).collect();
            if rest.is_empty() {
                return Ok(());
            }
            self.changes.take(rest);
        }
    }

    /// Dials and opens the local side again, as often as the time allows.
    async fn reconnect(&mut self, mut cause: anyhow::Error) -> Result<(Controller, LocalEnd), Ending> {
        loop {
            let Some(pause) = self.backoff.lost(Instant::now()) else {
                return Err(Ending::Broken(gave_up(cause, self.backoff.limit())));
            };
            tracing::warn!(cause = format!("{cause:#}"), "the connection was lost; trying again");
            self.progress.say("the connection was lost; trying again");
            let again = async {
                sleep(pause).await;
                let end = local::open(self.job).await?;
                Ok((self.way.connect().await?, end))
            };
            let result: anyhow::Result<_> = tokio::select! {
                result = again => result,
                () = self.interrupt.wait() => return Err(Ending::Interrupted),
            };
            match result {
                Ok(both) => return Ok(both),
                Err(err) if err.downcast_ref().is_some_and(ConnectError::is_transient) => cause = err,
                Err(err) => return Err(Ending::Broken(err)),
            }
        }
    }
}

/// The events that are there already.
fn waiting(queue: &EventQueue) -> impl Iterator<Item = Event> {
    std::iter::from_fn(|| queue.try_next())
}

fn classify(err: RequestError) -> (anyhow::Error, bool) {
    let is_transient = err.is_transient();
    (err.into(), is_transient)
}

/// What the gateway gave up for is told like a refusal, since it is one that came late.
fn classify_broken(err: SyncError) -> (anyhow::Error, bool) {
    match err {
        SyncError::Link(err) => classify(err.into()),
        SyncError::Aborted { status, reason } => {
            let detail = escape_str(&reason).into_owned();
            classify(RequestError::Refused { status, detail, retry_after_ms: 0 })
        }
        err => (err.into(), false),
    }
}

fn gave_up(cause: anyhow::Error, limit: Duration) -> anyhow::Error {
    if limit.is_zero() {
        return cause;
    }
    cause.context(anyhow!("gave up after {}", humantime::format_duration(limit)))
}
