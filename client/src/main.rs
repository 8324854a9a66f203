//! `swarm`: the command line around the controller library.
//!
//! Here are the process's edges: arguments, log, runtime, exit code. What each command does is in `commands`.

mod cli;
mod commands;
mod exit;
mod metrics;
mod output;
mod place;
mod progress;
mod units;

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Parser;
use exit::Exit;
use swarmwire_common::{heap, root::descriptors};
use tracing_subscriber::EnvFilter;

/// How long threads that a broken-off sync leaves behind may clean up. They look up between two pieces of a file.
const CLEANUP_TIME_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    descriptors::raise_limit();
    heap::keep_freed();
    log_to_stderr();
    let exit = run(cli).unwrap_or_else(|err| {
        let exit = Exit::of(&err);
        if exit != Exit::Done {
            // Nobody is left to tell where standard error is closed.
            let _ = writeln!(std::io::stderr(), "swarm: {err:#}");
        }
        exit
    });
    exit.into()
}

fn run(cli: cli::Cli) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(commands::run(cli));
    runtime.shutdown_timeout(CLEANUP_TIME_MAX);
    result
}

/// Errors alone, unless `SWARMWIRE_LOG` says otherwise, for instance `SWARMWIRE_LOG=debug`.
fn log_to_stderr() {
    let filter = EnvFilter::builder()
        .with_env_var("SWARMWIRE_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::ERROR.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
