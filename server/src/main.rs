//! `swarmd`, the gateway: the command line around the library.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. Errors go to standard error, once.

mod cli;
mod commands;
mod config;
mod logging;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::{cli::Cli, config::UsageError};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread for the endpoint and the conversations; file work runs on blocking threads beside it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
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
