//! `swarm verify`: both trees compared by content, with nothing moved or changed.
//!
//! A dry run of the engine that tells every difference; what differs is told as a change of it.

use std::time::Instant;

use serde::Serialize;
use swarmwire_client::ConnectOptions;

use super::{
    account::Account,
    changes::{Changes, Counts, Form},
    job::Job,
    local, name_failures,
    run::{Ending, Runner},
    selecting,
    summary::{FailedEntry, SkippedEntry, failed, skipped},
};
use crate::{
    cli::VerifyArguments,
    commands::interrupt::Interrupt,
    commands::{Way, now},
    exit::Exit,
    output::Output,
    progress::{Audience, Progress},
    units,
};

/// The object of `--json`; the names are a contract.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    event: &'static str,
    identical: bool,
    entries_total: u64,
    files_identical: u64,
    missing: u64,
    extra: u64,
    differing: u64,
    entries_failed: u64,
    entries_skipped: u64,
    bytes_total: u64,
    seconds: f64,
    failed: Vec<FailedEntry<'a>>,
    skipped: Vec<SkippedEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(in crate::commands) async fn run(
    arguments: &VerifyArguments,
    options: ConnectOptions,
) -> anyhow::Result<Exit> {
    let mut job = Job::comparing(arguments)?;
    job.selection = selecting::selection(&arguments.selecting, now())?;
    let way = Way::find(&job.gateway, job.remote_argument(), options)?;
    let end = local::open(&job).await?;
    let mut interrupt = Interrupt::listen()?;
    let controller = tokio::select! {
        controller = way.connect() => controller?,
        () = interrupt.wait() => return Ok(Exit::Interrupted),
    };
    let form = if arguments.json { Form::Objects } else { Form::Lines };
    let progress = Progress::new(match arguments {
        VerifyArguments { quiet: true, .. } => Audience::Nobody,
        VerifyArguments { json: true, .. } => Audience::Programs,
        _ => Audience::People,
    });
    let runner = Runner::new(&job, &way, (progress, Changes::of_comparison(form)), interrupt, Instant::now());
    let (account, ending, changes) = runner.run(controller, end).await?;
    let counts = changes.counts();
    if !arguments.quiet && !changes.finish().await? {
        return Ok(Exit::Interrupted);
    }
    tell(arguments, &account, &ending, counts)?;
    match ending {
        Ending::Complete if counts.any() || account.report.entries_failed > 0 => Ok(Exit::Partial),
        Ending::Complete => Ok(Exit::Done),
        Ending::Interrupted => Ok(Exit::Interrupted),
        Ending::Broken(err) => Err(err),
    }
}

fn tell(
    arguments: &VerifyArguments,
    account: &Account,
    ending: &Ending,
    counts: Counts,
) -> anyhow::Result<()> {
    name_failures(&account.report)?;
    let summary = Summary::new(account, ending, counts);
    let mut output = Output::new();
    if arguments.json {
        output.json(&summary)?;
    } else if !arguments.quiet {
        output.line(&summary.line())?;
        for (path, kind) in &account.report.skipped {
            output.line(&format!("skipped: {path} ({})", kind.as_str()))?;
        }
    }
    output.flush()?;
    Ok(())
}

impl<'a> Summary<'a> {
    fn new(account: &'a Account, ending: &Ending, counts: Counts) -> Self {
        let report = &account.report;
        let is_complete = matches!(ending, Ending::Complete);
        Self {
            event: "summary",
            identical: is_complete && !counts.any() && report.entries_failed == 0,
            entries_total: report.entries_total,
            files_identical: report.files_unchanged,
            missing: counts.missing,
            extra: counts.extra,
            differing: counts.differing,
            entries_failed: report.entries_failed,
            entries_skipped: report.entries_skipped,
            bytes_total: report.bytes_total,
            seconds: account.time.as_secs_f64(),
            failed: failed(report),
            skipped: skipped(report),
            error: ending.error(),
        }
    }

    fn line(&self) -> String {
        let word = if self.identical { "identical" } else { "not identical" };
        let noun = if self.files_identical == 1 { "file" } else { "files" };
        let mut line = format!("{word}: {} {noun} the same", units::count(self.files_identical));
        for (count, word) in [
            (self.missing, "missing"),
            (self.extra, "extra"),
            (self.differing, "different"),
            (self.entries_skipped, "skipped"),
            (self.entries_failed, "failed"),
        ] {
            if count > 0 {
                line.push_str(&format!("; {} {word}", units::count(count)));
            }
        }
        line.push_str(&format!("; {:.1} s", self.seconds));
        if self.error.is_some() {
            line.push_str("; not complete");
        }
        line
    }
}
