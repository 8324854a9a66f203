//! `swarm offload`: the oldest files moved away from a disk that is too full, once or again and again.
//!
//! What is to be done (`job`) and what is told of it (`telling`) are apart; the work itself is `swarmwire_client::offload`.

mod job;
mod telling;

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use swarmwire_client::{
    ConnectError, ConnectOptions, RequestError,
    offload::{Account, Journal, OffloadError, State},
};
use swarmwire_common::wire::status::Status;
use tokio::time::{sleep, sleep_until, timeout};

use super::{Way, interrupt::Interrupt, sync::backoff::Backoff};
use crate::{
    cli::OffloadArguments,
    exit::Exit,
    output::{Output, entry_failed},
};
use job::Job;
use telling::{Entry, Planned, Summary};

/// How long an interrupted offload may take to end in an orderly way. Its threads look up between two pieces of a file.
const BREAK_OFF_TIME_MAX: Duration = Duration::from_secs(2);

/// How a round ended.
#[derive(Debug)]
enum Ending {
    Complete,
    Interrupted,
    Broken(anyhow::Error),
}

/// A round, and how it ended.
struct Round {
    account: Account,
    ending: Ending,
    time: Duration,
}

pub(super) async fn run(arguments: &OffloadArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let job = Job::new(arguments)?;
    let way = Way::find(&job.gateway, job.remote_argument, options)?;
    let mut interrupt = Interrupt::listen()?;
    if arguments.dry_run {
        return tokio::select! {
            exit = rehearse(arguments, &job, &way) => exit,
            () = interrupt.wait() => Ok(Exit::Interrupted),
        };
    }
    let journal = job.offload.journal(way.home.offloads()?, way.target.gateway, &way.name)?;
    match arguments.every {
        None => once(arguments, &job, &way, &journal, &mut interrupt).await,
        Some(every) => again(arguments, (&job, &way, &journal), &mut interrupt, every).await,
    }
}

async fn rehearse(arguments: &OffloadArguments, job: &Job, way: &Way) -> anyhow::Result<Exit> {
    let interrupted = job.offload.interrupted(&way.home.offloads()?, way.target.gateway)?;
    let controller = way.connect().await?;
    let plan = job.offload.plan(&controller, interrupted.as_ref()).await;
    controller.close().await;
    let plan = plan?;
    plan.failed.iter().for_each(|failure| entry_failed(failure.path.as_bytes(), &failure.reason));
    let mut output = Output::new();
    for file in &plan.files {
        if arguments.json {
            output.json(&Entry::new(file))?;
        } else {
            output.line(&telling::line(file, super::now()))?;
        }
    }
    let summary = Planned::new(job, &plan);
    if arguments.json {
        output.json(&summary)?;
    } else {
        output.line(&summary.line())?;
    }
    output.flush()?;
    Ok(if plan.failed.is_empty() { Exit::Done } else { Exit::Partial })
}

async fn once(
    arguments: &OffloadArguments,
    job: &Job,
    way: &Way,
    journal: &Arc<Journal>,
    interrupt: &mut Interrupt,
) -> anyhow::Result<Exit> {
    let Round { account, ending, time } = round(job, way, journal, interrupt).await;
    match ending {
        // Nothing was looked at, or nothing came of it; the error says all.
        Ending::Broken(err) if account.before.is_none() || !arguments.json && account.has_done_nothing() => {
            return Err(err);
        }
        Ending::Interrupted if account.before.is_none() => return Ok(Exit::Interrupted),
        _ => {}
    }
    name_failures(&account);
    let error = match &ending {
        Ending::Complete => None,
        Ending::Interrupted => Some("interrupted".to_owned()),
        Ending::Broken(err) => Some(format!("{err:#}")),
    };
    let summary = Summary::new("summary", job, &account, (time, error)).with_journal(journal);
    // What broke off is told as an error anyway, and of an interruption who interrupts knows.
    let stays_full = matches!(ending, Ending::Complete) && exit(&account) != Exit::Done;
    show(arguments, &summary, stays_full)?;
    match ending {
        Ending::Complete => Ok(exit(&account)),
        Ending::Interrupted => Ok(Exit::Interrupted),
        Ending::Broken(err) => Err(err),
    }
}

/// Round after round, until a signal comes or no further one could succeed.
async fn again(
    arguments: &OffloadArguments,
    (job, way, journal): (&Job, &Way, &Arc<Journal>),
    interrupt: &mut Interrupt,
    every: Duration,
) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let (mut total, mut rounds) = (Account::default(), 0);
    let ended = loop {
        let next = Instant::now() + every;
        let Round { account, ending, time } = round(job, way, journal, interrupt).await;
        rounds += 1;
        let has_failed = !account.failed.is_empty() || account.state == State::Unreached;
        name_failures(&account);
        let error = match &ending {
            Ending::Broken(err) => Some(format!("{err:#}")),
            Ending::Complete | Ending::Interrupted => None,
        };
        if account.files_moved > 0 || has_failed || error.is_some() {
            let told = Summary::new("round", job, &account, (time, error)).with_rounds(rounds);
            show(arguments, &told, has_failed)?;
        }
        total.add_later(account);
        match ending {
            Ending::Interrupted => break Ok(Exit::Interrupted),
            Ending::Broken(err) if is_permanent(&err) => break Err(err),
            Ending::Broken(err) if !arguments.json => {
                // Nobody is left to tell where standard error is closed.
                let _ = writeln!(std::io::stderr(), "swarm: {err:#}; trying again in {}", short(every));
            }
            Ending::Complete | Ending::Broken(_) => {}
        }
        tokio::select! {
            () = sleep_until(next.into()) => {}
            () = interrupt.wait() => break Ok(Exit::Interrupted),
        }
    };
    let error = ended.as_ref().err().map(|err: &anyhow::Error| format!("{err:#}"));
    let summary = Summary::new("summary", job, &total, (start.elapsed(), error));
    let summary = summary.with_journal(journal).with_rounds(rounds);
    show(arguments, &summary, false)?;
    ended
}

/// Shows how it went: where only errors are to be seen, on standard error if it has not gone well.
fn show(arguments: &OffloadArguments, summary: &Summary, has_failed: bool) -> anyhow::Result<()> {
    if arguments.json {
        return Ok(Output::object(summary)?);
    }
    let line = summary.line();
    if !arguments.quiet {
        print(&line)?;
    } else if has_failed {
        // Nobody is left to tell where standard error is closed.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    Ok(())
}

/// One offload, with all attempts that it takes.
async fn round(job: &Job, way: &Way, journal: &Arc<Journal>, interrupt: &mut Interrupt) -> Round {
    let start = Instant::now();
    let (mut account, mut backoff) = (Account::default(), Backoff::new(job.retry));
    let ending = loop {
        let before = account.files_moved;
        let err = match attempt(job, way, journal, (&mut account, interrupt)).await {
            Ok(Some(())) => break Ending::Complete,
            Ok(None) => break Ending::Interrupted,
            Err(err) => err,
        };
        if account.files_moved > before {
            backoff.progressed();
        }
        // What cannot be reached in the beginning is not there.
        if account.before.is_none() || !is_transient(&err) {
            break Ending::Broken(err);
        }
        let Some(pause) = backoff.lost(Instant::now()) else {
            let limit = backoff.limit();
            let gave_up = || format!("gave up after {}", humantime::format_duration(limit));
            break Ending::Broken(if limit.is_zero() { err } else { err.context(gave_up()) });
        };
        tracing::warn!(cause = format!("{err:#}"), "an offload broke off; trying again");
        tokio::select! {
            () = sleep(pause) => {}
            () = interrupt.wait() => break Ending::Interrupted,
        }
    };
    Round { account, ending, time: start.elapsed() }
}

/// One offload over one connection; none where a signal came.
async fn attempt(
    job: &Job,
    way: &Way,
    journal: &Arc<Journal>,
    (account, interrupt): (&mut Account, &mut Interrupt),
) -> anyhow::Result<Option<()>> {
    let controller = tokio::select! {
        controller = way.connect() => controller?,
        () = interrupt.wait() => return Ok(None),
    };
    let ended = {
        let mut running = Box::pin(job.offload.run(&controller, journal, account));
        tokio::select! {
            ended = &mut running => Some(ended),
            () = interrupt.wait() => {
                controller.break_off(Status::Cancelled);
                // What it says is that it was broken off.
                let _ended = timeout(BREAK_OFF_TIME_MAX, running).await;
                None
            }
        }
    };
    way.remember(&controller).await;
    controller.close().await;
    ended.transpose().map_err(anyhow::Error::from)
}

/// Whether another attempt may help in the midst of an offload, in the beginning of which there was room for it.
fn is_transient(err: &anyhow::Error) -> bool {
    err.downcast_ref().is_some_and(|err: &OffloadError| err.is_transient() || err.is_busy())
        || err.downcast_ref().is_some_and(ConnectError::is_transient)
}

/// Whether every further round would end like this one, until somebody does something about it.
fn is_permanent(err: &anyhow::Error) -> bool {
    let of_status = |status| {
        matches!(
            status,
            Status::Denied
                | Status::Unknown
                | Status::UnknownService
                | Status::UnsupportedVersion
                | Status::Invalid
        )
    };
    match (err.downcast_ref::<OffloadError>(), err.downcast_ref::<ConnectError>()) {
        (Some(OffloadError::Request(RequestError::Refused { status, .. })), _) => of_status(*status),
        (Some(OffloadError::NoSize | OffloadError::OnePlace), _) => true,
        (_, Some(err)) => !err.is_transient(),
        _ => false,
    }
}

fn exit(account: &Account) -> Exit {
    if account.failed.is_empty() && account.state != State::Unreached { Exit::Done } else { Exit::Partial }
}

fn name_failures(account: &Account) {
    account.failed.iter().for_each(|(path, reason)| entry_failed(path.as_bytes(), reason));
}

fn short(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}

fn print(line: &str) -> anyhow::Result<()> {
    let mut output = Output::new();
    output.line(line)?;
    Ok(output.flush()?)
}
