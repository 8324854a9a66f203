//! `swarmd invite`: stores an invitation and prints the line by which it is used, and nothing else, on standard output.

use std::{os::unix::ffi::OsStrExt, time::Duration};

use anyhow::Context;
use swarmwire_certs::{JoinUri, Token};
use swarmwire_common::path::RelPath;
use swarmwire_server::{
    grants::Grant,
    invitations,
    state::{State, host_name},
};

use super::{print, state_path, wall_clock};
use crate::{cli::InviteArgs, config::UsageError};

pub(super) fn run(args: &InviteArgs) -> anyhow::Result<()> {
    let path = match &args.path {
        Some(path) => RelPath::parse(path.as_bytes())
            .map_err(|err| UsageError(format!("--path {}: {err}", path.display())))?,
        None => RelPath::root(),
    };
    let state = State::open(&state_path(&args.state)?)?;
    let grant = Grant { allow: args.allow.clone(), path };
    let line = make(&state, &grant, args.expires.into(), args.host.as_deref())?;
    Ok(print(&format!("{line}\n"))?)
}

/// Stores an invitation to `grant`; gives the command that uses it. Blocks.
pub(super) fn make(
    state: &State,
    grant: &Grant,
    lifetime: Duration,
    host: Option<&str>,
) -> anyhow::Result<String> {
    let now = wall_clock();
    let expires = now
        .checked_add(lifetime)
        .filter(|_| !lifetime.is_zero())
        .ok_or_else(|| UsageError("--expires: give a time between a second and a few years".to_owned()))?;
    let recorded = state.address()?.map(|address| address.listen);
    let (host, port) = reachable(host, recorded).ok_or_else(|| {
        let path = state.shell_path();
        UsageError(format!(
            "no gateway has run with the state directory {path}, so its address is not known: start it once with \
             `swarmd --root DIR --state {path}`, or say where it will listen with --host HOST:PORT"
        ))
    })?;
    let token = Token::random().context("failed to get random bytes from the system")?;
    let gateway = state.identity(now)?.fingerprint();
    let uri = JoinUri { host, port, gateway, token }.to_string_with_secret();
    let uri = JoinUri::parse(&uri).map_err(|err| {
        UsageError(format!("this host cannot be invited to ({err}); name it with --host HOST[:PORT]"))
    })?;
    invitations::create(state, &uri.token, grant, now, expires)?;
    Ok(format!("swarm join '{}'", uri.to_string_with_secret()))
}

/// Where the other machine finds the gateway: what the operator says, and what is known for the rest.
fn reachable(host: Option<&str>, recorded: Option<std::net::SocketAddr>) -> Option<(String, u16)> {
    let port = recorded.map(|address| address.port());
    let Some(host) = host else {
        let ip = recorded?.ip();
        return Some((if ip.is_unspecified() { host_name() } else { ip.to_string() }, port?));
    };
    // An IPv6 address has colons of its own, and stands in brackets where a port follows.
    if let Some((host, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return Some((host.to_owned(), rest.strip_prefix(':').map_or(port, |port| port.parse().ok())?));
    }
    match host.rsplit_once(':') {
        Some((name, given)) if !name.contains(':') => Some((name.to_owned(), given.parse().ok()?)),
        _ => Some((host.to_owned(), port?)),
    }
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_host_is_completed_by_what_the_gateway_recorded() {
        for (host, recorded, expected) in [
            (Some("web1"), Some("0.0.0.0:4433"), Some(("web1", 4433))),
            (Some("web1:99"), None, Some(("web1", 99))),
            (Some("web1"), None, None),
            (Some("web1:port"), Some("0.0.0.0:4433"), None),
            (Some("2001:db8::1"), Some("[::]:4433"), Some(("2001:db8::1", 4433))),
            (Some("[2001:db8::1]"), Some("[::]:4433"), Some(("2001:db8::1", 4433))),
            (Some("[2001:db8::1]:99"), None, Some(("2001:db8::1", 99))),
            (None, Some("127.0.0.1:4433"), Some(("127.0.0.1", 4433))),
            (None, None, None),
        ] {
            let found = reachable(host, recorded.map(|address| address.parse().unwrap()));
            assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)), "{host:?} {recorded:?}");
        }
        let (host, _) = reachable(None, Some("0.0.0.0:4433".parse().unwrap())).unwrap();
        assert_eq!(host, super::host_name());
    }
}
