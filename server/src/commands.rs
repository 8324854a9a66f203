//! What `swarmd` can be told to do, one file each.

mod clients;
mod invite;
mod revoke;
mod serve;

use std::{
    io::{self, Write},
    time::SystemTime,
};

use swarmwire_certs::private::PrivateError;
use swarmwire_server::state::State;

use crate::{
    cli::{Cli, Command, StateArg},
    config,
};

/// Does what the command line says.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => serve::run(cli.serve).await,
        Some(Command::Invite(args)) => invite::run(&args),
        Some(Command::Clients(args)) => clients::run(&args),
        Some(Command::Revoke(args)) => revoke::run(&args),
    }
}

/// The state of a gateway that has run here before.
fn open_existing(arg: &StateArg) -> anyhow::Result<State> {
    let path = state_path(arg)?;
    State::open_existing(&path).map_err(|err| match err {
        PrivateError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => anyhow::anyhow!(
            "no gateway has its state in {}: start swarmd there once, or name the directory with --state",
            path.display()
        ),
        other => other.into(),
    })
}

fn state_path(arg: &StateArg) -> anyhow::Result<std::path::PathBuf> {
    Ok(match &arg.state {
        Some(path) => path.clone(),
        None => config::default_state()?,
    })
}

/// Puts lines on standard output. Whoever stops reading them (`| head`) has had enough.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[expect(clippy::disallowed_methods, reason = "a command is where the clock is read")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
