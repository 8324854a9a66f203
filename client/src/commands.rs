//! One file per command, and what they share: this machine's identity, the gateways it knows, and the way to them.

mod call;
mod calling;
mod completions;
mod gateways;
mod interrupt;
mod join;
mod ls;
mod man;
mod offload;
mod ping;
mod send;
mod services;
mod stop;
mod stream;
mod sync;

use std::{ffi::OsStr, time::SystemTime};

use swarmwire_certs::Identity;
use swarmwire_client::{ConnectError, ConnectOptions, Controller, Home, Target, gateways::Gateways};
use swarmwire_common::transport::PathMemory;
use tokio::task::spawn_blocking;

use crate::{
    cli::{Cli, Command},
    exit::{Exit, Failure},
    place::GatewayRef,
};

/// Runs the command to its end.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let options = ConnectOptions {
        key_exchange: cli.key_exchange.into(),
        congestion: cli.congestion.into(),
        ..ConnectOptions::default()
    };
    match cli.command {
        Command::Join(arguments) => join::run(&arguments, options).await,
        Command::Gateways(arguments) => gateways::run(&arguments),
        Command::Ping(arguments) => ping::run(&arguments, options).await,
        Command::Ls(arguments) => ls::run(&arguments, options).await,
        Command::Sync(arguments) => sync::run(&arguments, options).await,
        Command::Verify(arguments) => sync::verify(&arguments, options).await,
        Command::Offload(arguments) => offload::run(&arguments, options).await,
        Command::Call(arguments) => call::run(arguments, options).await,
        Command::Stream(arguments) => stream::run(arguments, options).await,
        Command::Send(arguments) => send::run(arguments, options).await,
        Command::Services(arguments) => services::run(arguments, options).await,
        Command::Stop(arguments) => stop::run(&arguments, options).await,
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// A gateway that this machine has joined, and all that it takes to dial it.
struct Way {
    name: String,
    target: Target,
    identity: Identity,
    options: ConnectOptions,
    home: Home,
    paths: PathMemory,
}

impl Way {
    /// Looks the gateway up; `argument` is the command line's word for what named it. Blocks on the disk, at a time when nothing
    /// else runs.
    fn find(gateway: &GatewayRef, argument: &str, options: ConnectOptions) -> anyhow::Result<Self> {
        let home = Home::from_environment()?;
        let gateways = home.gateways()?;
        let (name, target) = match gateway {
            GatewayRef::Name(name) => {
                let target = gateways.get(name);
                (name, target.ok_or_else(|| Failure::usage(unknown_name(gateway, argument, &gateways)))?)
            }
            GatewayRef::Address { host, port } => gateways
                .find_address(host, *port)
                .ok_or_else(|| Failure::connection(unknown_address(gateway, argument, &gateways)))?,
        };
        let (name, target, identity) = (name.to_string(), target.clone(), home.identity(now())?);
        Ok(Self { name, target, identity, options, paths: home.paths(), home })
    }

    async fn connect(&self) -> Result<Controller, ConnectError> {
        let controller = Controller::connect(&self.target, &self.identity, self.options).await?;
        if let Some(path) = self.paths.get(self.target.gateway, controller.address().ip(), now()) {
            controller.resume(&path);
        }
        Ok(controller)
    }

    /// Remembers what a connection has found out about its path, for the next one. What cannot be kept is missed by nobody.
    async fn remember(&self, controller: &Controller) {
        let Some(path) = controller.seen_path() else { return };
        let (home, gateway, address) = (self.home.clone(), self.target.gateway, controller.address().ip());
        let remembering = spawn_blocking(move || {
            // Others may have added to it meanwhile.
            let mut paths = home.paths();
            if !paths.note(gateway, address, &path, now()) {
                return Ok(());
            }
            home.remember_paths(&paths)
        });
        if let Ok(Err(err)) = remembering.await {
            tracing::debug!(%err, "what the path is like cannot be remembered");
        }
    }
}

/// The gateway that an argument names alone.
fn parse_gateway(argument: &OsStr) -> anyhow::Result<GatewayRef> {
    Ok(GatewayRef::parse(argument).map_err(|err| Failure::usage(format!("GW: {err}")))?)
}

fn unknown_name(gateway: &GatewayRef, argument: &str, gateways: &Gateways) -> String {
    // Only these could have been local.
    let local =
        if matches!(argument, "SRC" | "DST") { "; a local path with a `:` is written `./…`" } else { "" };
    format!("{argument}: there is no gateway called `{gateway}`; {}{local}", known(gateways))
}

fn unknown_address(gateway: &GatewayRef, argument: &str, gateways: &Gateways) -> String {
    format!("{argument}: no gateway has been joined at {gateway}; {}", known(gateways))
}

fn known(gateways: &Gateways) -> String {
    let mut names = gateways.iter().map(|(name, target)| format!("{name} ({target})"));
    let Some(first) = names.next() else {
        return "none has been joined yet: ask for an invitation (`swarmd invite`) and run `swarm join`"
            .to_owned();
    };
    format!("known are {}", names.fold(first, |list, name| format!("{list}, {name}")))
}

/// The wall clock, for certificates and records.
#[expect(clippy::disallowed_methods, reason = "an edge: commands hand the time down")]
fn now() -> SystemTime {
    SystemTime::now()
}
