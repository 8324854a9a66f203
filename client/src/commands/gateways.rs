//! `swarm gateways`: the list of joined gateways.

use serde::Serialize;
use swarmwire_client::Home;

use crate::{cli::GatewaysArguments, exit::Exit, output::Output};

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    host: &'a str,
    port: u16,
    fingerprint: String,
}

pub(super) fn run(arguments: &GatewaysArguments) -> anyhow::Result<Exit> {
    let gateways = Home::from_environment()?.gateways()?;
    let mut output = Output::new();
    for (name, target) in gateways.iter() {
        let fingerprint = target.gateway.to_string();
        if arguments.json {
            output.json(&Line { name: name.as_str(), host: &target.host, port: target.port, fingerprint })?;
        } else {
            output.line(&format!("{name}  {target}  {fingerprint}"))?;
        }
    }
    output.flush()?;
    Ok(Exit::Done)
}
