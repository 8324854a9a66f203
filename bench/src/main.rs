//! `swarmwire-bench`: the laboratory's command line, and nothing else. `cargo demo` is an alias of its `demo`.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, builder::RangedU64ValueParser};
use swarmwire_bench::{
    compare::{self, Workload},
    demo, report as measured,
};

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
        /// What to move: `small` files of 2 to 8 KiB in 200 directories, or `large`, four files of 512 MiB.
        #[arg(long, value_enum, default_value_t = Workload::Small)]
        workload: Workload,
        /// Files of the workload `small`.
        #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
        files: u64,
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
    /// Makes the summary and the plots of a measurement's directory again, from the rows in it.
    Report {
        /// The directory: `bench/results/<date>-<label>`.
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let out = &mut io::stdout().lock();
    let result = match Cli::parse().command {
        Command::Demo { dir } => demo::run(dir.as_deref(), out),
        Command::Compare { workload, files, runs, dir, durability } => {
            compare::run(&compare::Options { workload, files, runs, dir, durability }, out)
        }
        Command::Report { dir } => measured::write(&dir),
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
