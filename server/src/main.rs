//! `swarmd`, the gateway: the command line around the library.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. Errors go to standard error, once.

mod cli;
mod commands;
mod config;
mod logging;

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Parser;
use swarmwire_common::{heap, limits, root::descriptors};

use crate::{cli::Cli, config::UsageError};

/// Threads that file work may have: three and the peer's jobs for each of the most handlers that can be asked for, so that these are the bound.
const BLOCKING_THREADS_MAX: usize = (3 + limits::PEER_JOBS_MAX as usize) * 16_384;

/// How long threads that are at a file may take to notice the end. One that waits for a dead disk never does.
const CLEANUP_TIME_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    descriptors::raise_limit();
    heap::keep_freed();
    // One thread for the endpoint and the conversations; file work runs on blocking threads beside it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(commands::run(cli));
            runtime.shutdown_timeout(CLEANUP_TIME_MAX);
            result
        }
        Err(err) => Err(anyhow::Error::new(err).context("failed to start the runtime")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            // Nobody is left to tell if even this fails.
            let _ = writeln!(std::io::stderr(), "swarmd: {err:#}");
            ExitCode::from(if err.is::<UsageError>() { 2 } else { 1 })
        }
    }
}
