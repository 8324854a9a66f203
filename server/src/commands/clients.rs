//! `swarmd clients`: who has joined, in the order of joining.

use std::fmt::Write;

use serde::Serialize;
use swarmwire_common::escape::escape_str;
use swarmwire_server::clients::{self, Client};

use super::{open_existing, print};
use crate::cli::ClientsArgs;

pub(super) fn run(args: &ClientsArgs) -> anyhow::Result<()> {
    let clients = clients::load(&open_existing(&args.state)?)?;
    let text = if args.json {
        clients.iter().map(json).collect::<Result<String, _>>()?
    } else if clients.is_empty() {
        "no machine has joined yet; `swarmd invite` makes an invitation\n".to_owned()
    } else {
        table(&clients)
    };
    Ok(print(&text)?)
}

/// One client as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    fingerprint: String,
    name: &'a str,
    allow: String,
    path: String,
    joined: String,
}

fn json(client: &Client) -> serde_json::Result<String> {
    let line = Line {
        fingerprint: client.fingerprint.to_string(),
        name: &client.name,
        allow: client.grant.allow.to_string(),
        path: String::from_utf8_lossy(client.grant.path.as_bytes()).into_owned(),
        joined: joined(client),
    };
    Ok(serde_json::to_string(&line)? + "\n")
}

fn joined(client: &Client) -> String {
    humantime::format_rfc3339_seconds(client.joined).to_string()
}

fn table(clients: &[Client]) -> String {
    let mut text = format!("{:64}  {:20}  {:20}  {:15}  NAME\n", "FINGERPRINT", "JOINED", "ALLOW", "PATH");
    for client in clients {
        let (allow, path) = (client.grant.allow.to_string(), client.grant.path.to_string());
        let (joined, name) = (joined(client), escape_str(&client.name));
        writeln!(text, "{}  {joined:20}  {allow:20}  {path:15}  {name}", client.fingerprint)
            .expect("a string takes everything");
    }
    text
}
