//! What an offload is to do: the command line to terms and two places. Nothing of it asks the gateway.

use std::{path::PathBuf, sync::Arc, time::Duration};

use swarmwire_client::{
    home::hashes_path,
    offload::{BadTerms, Offload, Terms},
};
use swarmwire_common::{escape::escape, hashes::HashStore, wire::sync::Direction};

use crate::{
    cli::OffloadArguments,
    commands::now,
    exit::Failure,
    place::{GatewayRef, Place, Remote},
};

/// One offload, as the command line asks for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) gateway: GatewayRef,
    /// The command line's word for the side at the gateway.
    pub(super) remote_argument: &'static str,
    pub(super) offload: Offload,
    pub(super) retry: Duration,
}

impl Job {
    pub(super) fn new(arguments: &OffloadArguments) -> Result<Self, Failure> {
        let terms = terms(arguments).map_err(Failure::usage)?;
        let (remote, local, remote_argument) = places(arguments)?;
        let direction =
            if arguments.push || remote_argument == "DST" { Direction::Push } else { Direction::Pull };
        let local = std::path::absolute(&local).map_err(|err| {
            Failure::usage(format!("`{}`: {err}", escape(local.as_os_str().as_encoded_bytes())))
        })?;
        let offload = Offload {
            direction,
            remote: remote.path.path,
            local,
            terms,
            jobs: arguments.jobs,
            hashes: hashes_path().map(|path| Arc::new(HashStore::new(path, || now().into()))),
            clock: now,
        };
        Ok(Self { gateway: remote.gateway, remote_argument, offload, retry: arguments.retry })
    }
}

fn terms(arguments: &OffloadArguments) -> Result<Terms, BadTerms> {
    let mut terms = Terms::new(arguments.above, arguments.until)?.keeping_newest(arguments.keep_newest);
    if let Some(bytes) = arguments.capacity {
        terms = terms.with_capacity(bytes)?;
    }
    if let Some(expression) = &arguments.matching {
        terms = terms.matching(expression)?;
    }
    Ok(match arguments.older_than {
        Some(age) => terms.older_than(age),
        None => terms,
    })
}

/// The side at the gateway, the one here, and what the command line calls the first.
fn places(arguments: &OffloadArguments) -> Result<(Remote, PathBuf, &'static str), Failure> {
    let parse =
        |argument, name| Place::parse(argument).map_err(|err| Failure::usage(format!("{name}: {err}")));
    let (source, destination) = (&arguments.source, &arguments.destination);
    let shown = |argument: &std::ffi::OsStr| escape(argument.as_encoded_bytes()).into_owned();
    match (parse(source, "SRC")?, parse(destination, "DST")?) {
        (Place::Remote(remote), Place::Local(local)) => Ok((remote, local, "SRC")),
        (Place::Local(local), Place::Remote(remote)) => Ok((remote, local, "DST")),
        (Place::Local(_), Place::Local(_)) => Err(Failure::usage(format!(
            "neither SRC `{}` nor DST `{}` is at a gateway; write one of them as GW:PATH, like `web1:logs` (`swarm gateways` \
             lists the names)",
            shown(source),
            shown(destination),
        ))),
        (Place::Remote(_), Place::Remote(_)) => Err(Failure::usage(format!(
            "both SRC `{}` and DST `{}` are at a gateway; one of them must be on this machine (a local path with a `:` is \
             written `./…`)",
            shown(source),
            shown(destination),
        ))),
    }
}
