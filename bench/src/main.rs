//! `swarmwire-bench`: the laboratory's command line, and nothing else. `cargo demo` is an alias of its `demo`.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, builder::RangedU64ValueParser};
use swarmwire_bench::{compare, demo, workload::Workload};

/// Shows and measures what Swarmwire does on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a gateway, joins it, syncs a directory up and back down, and verifies every file.
    Demo {
        /// The directory to sync; it is only read [default: a generated one of 2,000 log files].
        dir: Option<PathBuf>,
    },
    /// Measures push and pull side by side with an rsync daemon on the same tree.
    Compare {
        /// What to move: small, medium, large, tiny, hundredk, rotated, mini, files:N or dir:PATH.
        #[arg(long, value_name = "NAME", default_value = "small")]
        workload: Workload,
        /// Timed runs of each program in each direction; the first, untimed run comes on top.
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
        runs: usize,
        /// Where the trees go; a temporary directory below it is made and removed.
        #[arg(long, default_value = "/dev/shm")]
        dir: PathBuf,
        /// What Swarmwire promises about durability: `none` (as rsync), `batch` or `file`.
        #[arg(long, default_value = "batch", value_parser = ["none", "batch", "file"])]
        durability: String,
    },
}

fn main() -> ExitCode {
    let out = &mut io::stdout().lock();
    let result = match Cli::parse().command {
        Command::Demo { dir } => demo::run(dir.as_deref(), out),
        Command::Compare { workload, runs, dir, durability } => {
            compare::run(&compare::Options { workload, runs, dir, durability }, out)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the edge: the one place that says what went wrong")]
fn report(error: &anyhow::Error) {
    eprintln!("swarmwire-bench: {error:#}");
}
