//! `swarm join`: trades an invitation for a place in the gateway's list, and pins the gateway's key.
//!
//! The key in the invitation is checked before anything is said, and everything that could keep us from storing the gateway is
//! checked before the token is spent.

use std::{io::Read, str::FromStr};

use anyhow::Context;
use swarmwire_certs::JoinUri;
use swarmwire_client::{
    ConnectOptions, Controller, Home, Target,
    gateways::{GatewayName, Gateways},
};
use swarmwire_common::escape::escape_str;

use super::now;
use crate::{
    cli::JoinArguments,
    exit::{Exit, Failure},
    output::Output,
};

/// Bytes read from standard input: a URI with the longest host takes a tenth of it.
const URI_BYTES_MAX: u64 = 4096;

pub(super) async fn run(arguments: &JoinArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let uri = read_uri(&arguments.uri)?;
    let wanted = arguments.name.as_deref().map(GatewayName::from_str).transpose();
    let wanted = wanted.map_err(|err| Failure::usage(format!("--name: {err}")))?;
    let target = Target { host: uri.host.clone(), port: uri.port, gateway: uri.gateway };

    let home = Home::from_environment()?;
    let mut gateways = home.gateways()?;
    let name = wanted.unwrap_or_else(|| default_name(&gateways, &target));
    gateways.check_free(&name, target.gateway)?;
    let is_new = !home.has_identity()?;
    let identity = home.identity(now())?;

    let controller = Controller::connect(&target, &identity, options).await?;
    let joined = controller.join(&uri.token, &own_name()).await;
    controller.close().await;
    let joined = joined.context("the gateway did not accept the invitation")?;
    gateways.store(&name, &target)?;

    let mut output = Output::new();
    if is_new {
        output.line(&format!("this machine's identity is {}", identity.fingerprint()))?;
    }
    output.line(&format!("joined {name} at {target}"))?;
    output.line(&format!("allowed: {} below {}", escape_str(&joined.allow), joined.path))?;
    output.line(&format!("next: swarm ls {name}:"))?;
    output.flush()?;
    Ok(Exit::Done)
}

/// The name under which the gateway is known already, or else its host.
fn default_name(gateways: &Gateways, target: &Target) -> GatewayName {
    match gateways.find_key(target.gateway) {
        Some((name, _)) => name.clone(),
        None => GatewayName::from_host(&target.host),
    }
}

fn read_uri(argument: &str) -> anyhow::Result<JoinUri> {
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        std::io::stdin()
            .take(URI_BYTES_MAX)
            .read_to_string(&mut text)
            .context("failed to read the invitation from standard input")?;
    }
    // People paste the whole line that `swarmd invite` prints.
    let text = text.trim().trim_start_matches("swarm join").trim().trim_matches('\'');
    Ok(JoinUri::parse(text).map_err(|err| {
        Failure::usage(format!(
            "URI: {err}; expected swarm://HOST:PORT/?gateway=…&token=…, as `swarmd invite` prints it"
        ))
    })?)
}

/// What this machine is called in the gateway's list of clients.
fn own_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}
