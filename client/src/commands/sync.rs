//! `swarm sync`: one directory transfer, from the arguments to the summary.
//!
//! What is to be done (`job`, `selecting`), the local side of it (`local`), doing it with all attempts (`run`, `backoff`), with `--watch` on and on
//! (`run/watching`, `standing`), and what is told of it (`changes`, `account`, `summary`, `stats`).

mod account;
pub(super) mod backoff;
mod changes;
mod job;
mod local;
mod run;
mod selecting;
mod standing;
mod stats;
mod summary;
mod verify;

use std::{io::Write, time::Instant};

use swarmwire_client::ConnectOptions;
use swarmwire_common::{sync::Report, wire::sync::Direction};
use tokio::task::spawn_blocking;

use super::interrupt::Interrupt;
use super::{Way, now};
use crate::{
    cli::SyncArguments,
    exit::Exit,
    metrics::{MetricsFile, Sample},
    output::{Output, entry_failed},
    progress::{Audience, Progress},
};
use account::Account;
use changes::{Changes, Form};
use job::Job;
use run::{Ending, Runner};
use summary::{Started, Summary};
pub(super) use verify::run as verify;

pub(super) async fn run(arguments: &SyncArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let mut job = Job::new(arguments)?;
    job.selection = selecting::selection(&arguments.selecting, now())?;
    let metrics = arguments.metrics_file.as_deref().map(MetricsFile::new).transpose()?;
    let way = Way::find(&job.gateway, job.remote_argument(), options)?;
    let end = local::open(&job).await?;
    let mut interrupt = Interrupt::listen()?;
    let controller = tokio::select! {
        controller = way.connect() => controller?,
        () = interrupt.wait() => return Ok(Exit::Interrupted),
    };
    let form = if arguments.json { Form::Objects } else { Form::Lines };
    let changes = Changes::new(form, arguments.dry_run);
    // Lines that name changes and a line that is drawn over and over would be in each other's way.
    let progress = Progress::new(match arguments {
        SyncArguments { quiet: true, .. } => Audience::Nobody,
        SyncArguments { json: true, .. } => Audience::Programs,
        _ if job.options.itemize => Audience::Nobody,
        _ => Audience::People,
    });
    if arguments.json && !arguments.quiet {
        Output::object(&Started::new(job.direction))?;
    }
    let runner = Runner::new(&job, &way, (progress, changes), interrupt, Instant::now());
    let (account, ending, changes) = if arguments.watch {
        drop(end);
        runner.with_metrics(metrics.as_ref()).run_watching(controller, arguments.rescan).await?
    } else {
        runner.run(controller, end).await?
    };
    let shown = changes.finish().await;
    if let Some(metrics) = &metrics {
        let success = matches!(ending, Ending::Complete) && account.report.entries_failed == 0;
        write_metrics(metrics, job.direction, &account, success).await;
    }
    if !shown? {
        return Ok(Exit::Interrupted);
    }
    tell(arguments, &job, &account, &ending)?;
    match ending {
        Ending::Complete if account.report.entries_failed > 0 => Ok(Exit::Partial),
        Ending::Complete => Ok(Exit::Done),
        Ending::Interrupted => Ok(Exit::Interrupted),
        Ending::Broken(err) => Err(err),
    }
}

fn tell(arguments: &SyncArguments, job: &Job, account: &Account, ending: &Ending) -> anyhow::Result<()> {
    name_failures(&account.report)?;
    let mut output = Output::new();
    let mut summary = Summary::new(job.direction, account, ending);
    if arguments.stats {
        summary = summary.with_stages();
    }
    if arguments.json {
        output.json(&summary)?;
    } else if !arguments.quiet {
        for line in summary.lines() {
            output.line(&line)?;
        }
        if arguments.stats {
            for line in stats::lines(job.direction, account) {
                output.line(&line)?;
            }
        }
    }
    output.flush()?;
    Ok(())
}

/// Names what has failed on standard error.
fn name_failures(report: &Report) -> anyhow::Result<()> {
    for failure in &report.failed {
        entry_failed(failure.path.as_bytes(), &failure.reason);
    }
    let unnamed = report.entries_failed.saturating_sub(u64::try_from(report.failed.len())?);
    if unnamed > 0 {
        // Nobody is left to tell where standard error is closed.
        let _ = writeln!(std::io::stderr(), "swarm: failed: {unnamed} more, not named");
    }
    Ok(())
}

/// What is in place stays whatever happens here, so a failure is told and changes nothing.
async fn write_metrics(file: &MetricsFile, direction: Direction, account: &Account, success: bool) {
    let sample = Sample {
        direction,
        report: &account.report,
        stages: &account.stages,
        bytes_wire_sent: account.bytes_wire_sent,
        bytes_wire_received: account.bytes_wire_received,
        path: account.path,
        time: account.time,
        success,
    };
    let written = async { spawn_blocking(file.writing(&sample, now())?).await? };
    if let Err(err) = written.await {
        // Nobody is left to tell where standard error is closed.
        let _ = writeln!(std::io::stderr(), "swarm: {err:#}");
    }
}
