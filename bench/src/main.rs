//! `swarmwire-bench`: runs one command of the laboratory. `cargo demo` is an alias of its `demo`, `cargo lab` of the whole.

use std::{env, io, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use swarmwire_bench::{
    calls,
    cli::{
        CallsArguments, Cli, Command, CompareArguments, CrowdArguments, FairArguments, FileSystem,
        GuardArguments, LatencyArguments, LeaksArguments, ReportArguments, ScaleArguments,
    },
    compare, crowd, demo, fair, guard, latency, link, peer,
    process::keeper,
    report, scale, work,
};

/// What trees and losses follow where no other seed is asked for.
const SEED: u64 = 3;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let out = &mut io::stdout();
    match command {
        Command::Demo { dir } => demo::run(dir.as_deref(), out),
        Command::Compare(arguments) => compare::run(&compare_options(arguments), out),
        Command::Peers => peer::list(out),
        Command::Link(arguments) => link::check::run(&link::check::Options { quick: arguments.quick }, out),
        Command::Latency(arguments) => latency::run(&latency_options(arguments), out),
        Command::PingBeside(arguments) => latency::pinger::run(&arguments, out),
        Command::Calls(arguments) => calls::run(&calls_options(arguments), out),
        Command::Leaks(arguments) => calls::leaks::run(&leaks_options(&arguments), out),
        Command::CallServe(arguments) => calls::end::serve(&arguments),
        Command::CallMeasure(arguments) => calls::end::measure(&arguments, out),
        Command::CallLeak(arguments) => calls::end::leak(&arguments, out),
        Command::Fair(arguments) => fair::run(&fair_options(arguments), out),
        Command::Crowd(arguments) => crowd::run(&crowd_options(arguments), out),
        Command::Scale(arguments) => scale::run(&scale_options(arguments), out),
        Command::Guard(arguments) => guard::run(&arguments.revision.clone(), &guard_options(arguments)?, out),
        Command::Report { dir } => report::write(&dir),
        Command::Keep(arguments) => keeper::run(&arguments),
        Command::Clean => work::clean(),
    }
}

fn compare_options(arguments: CompareArguments) -> compare::Options {
    let fs = match arguments.fs {
        FileSystem::Tmpfs => "tmpfs",
        FileSystem::Disk => "disk",
    };
    compare::Options {
        workloads: arguments.workload,
        changes: arguments.change,
        modes: arguments.mode,
        peers: arguments.peers,
        baseline: arguments.baseline,
        tcp: arguments.tcp,
        links: arguments.links.link,
        runs: arguments.runs,
        fs: fs.to_owned(),
        place: compare::place_of(fs).to_owned(),
        durable: arguments.durable,
        deadline: arguments.deadline,
        report: report_of(arguments.report),
        seed: arguments.seed,
        command: command_line(),
    }
}

fn guard_options(arguments: GuardArguments) -> Result<compare::Options> {
    Ok(compare::Options {
        workloads: arguments.workload,
        changes: arguments.change,
        modes: vec![peer::Mode::Push, peer::Mode::Pull],
        peers: "swarm".parse()?,
        baseline: None,
        tcp: vec![],
        links: vec![],
        runs: arguments.runs,
        fs: "tmpfs".to_owned(),
        place: compare::place_of("tmpfs").to_owned(),
        durable: false,
        deadline: None,
        report: report_of(arguments.report),
        seed: SEED,
        command: command_line(),
    })
}

fn latency_options(arguments: LatencyArguments) -> latency::Options {
    latency::Options {
        links: arguments.links.link,
        tcp: arguments.tcp,
        seconds: arguments.seconds,
        rate: arguments.rate,
        workload: arguments.workload,
        place: compare::place_of("tmpfs").to_owned(),
        report: report_of(arguments.report),
        seed: SEED,
        command: command_line(),
    }
}

fn calls_options(arguments: CallsArguments) -> calls::Options {
    calls::Options {
        peers: arguments.peers,
        kinds: arguments.kinds,
        payloads: arguments.payloads,
        streams: arguments.streams,
        runs: arguments.runs,
        seconds: arguments.seconds,
        place: compare::place_of("tmpfs").to_owned(),
        report: report_of(arguments.report),
        seed: SEED,
        command: command_line(),
    }
}

fn leaks_options(arguments: &LeaksArguments) -> calls::leaks::Options {
    calls::leaks::Options {
        calls: arguments.calls,
        streams: arguments.streams,
        place: compare::place_of("tmpfs").to_owned(),
    }
}

fn fair_options(arguments: FairArguments) -> fair::Options {
    fair::Options {
        links: arguments.link,
        beside: arguments.beside,
        congestion: arguments.congestion,
        seconds: arguments.seconds,
        head_start: arguments.head_start,
        place: compare::place_of("tmpfs").to_owned(),
        report: report_of(arguments.report),
        seed: arguments.seed,
        command: command_line(),
    }
}

fn crowd_options(arguments: CrowdArguments) -> crowd::Options {
    crowd::Options {
        controllers: arguments.controllers,
        workload: arguments.workload,
        place: compare::place_of("tmpfs").to_owned(),
        seed: arguments.seed,
    }
}

fn scale_options(arguments: ScaleArguments) -> scale::Options {
    scale::Options {
        sizes: arguments.files,
        modes: arguments.mode,
        runs: arguments.runs,
        place: compare::place_of("tmpfs").to_owned(),
        report: report_of(arguments.report),
        seed: SEED,
        command: command_line(),
    }
}

fn report_of(arguments: ReportArguments) -> Option<(String, PathBuf)> {
    arguments.label.map(|label| (label, arguments.out))
}

/// What was typed, as far as a report can repeat it.
fn command_line() -> String {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    format!("cargo lab {}", arguments.join(" "))
}

#[expect(clippy::print_stderr, reason = "the edge: the one place that says what went wrong")]
fn tell(error: &anyhow::Error) {
    eprintln!("swarmwire-bench: {error:#}");
}
