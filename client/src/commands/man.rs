//! `swarm man`: the manual pages, made of the same text as the help.

use anyhow::Context;
use clap::CommandFactory;

use crate::{
    cli::{Cli, ManArguments},
    exit::Exit,
    output::Output,
};

pub(super) fn run(arguments: &ManArguments) -> anyhow::Result<Exit> {
    if let Some(directory) = &arguments.out {
        let fail = || format!("failed to write the manual pages into {}", directory.display());
        std::fs::create_dir_all(directory).with_context(fail)?;
        clap_mangen::generate_to(Cli::command(), directory).with_context(fail)?;
        return Ok(Exit::Done);
    }
    let mut command = Cli::command();
    command.build();
    let mut pages = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut pages)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("swarm-{}", subcommand.get_name());
        clap_mangen::Man::new(subcommand.clone()).title(name).render(&mut pages)?;
    }
    let mut output = Output::new();
    output.raw(&pages)?;
    output.flush()?;
    Ok(Exit::Done)
}
