//! `swarm completions`: a script for the shell that completes commands and options.

use clap::CommandFactory;

use crate::{
    cli::{Cli, CompletionsArguments},
    exit::Exit,
    output::Output,
};

pub(super) fn run(arguments: &CompletionsArguments) -> anyhow::Result<Exit> {
    // Into memory first: the generator panics where a pipe breaks.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "swarm", &mut script);
    let mut output = Output::new();
    output.raw(&script)?;
    output.flush()?;
    Ok(Exit::Done)
}
