//! `swarm services`: the subroutines of a gateway that this machine may call.

use serde::Serialize;
use swarmwire_client::ConnectOptions;
use swarmwire_common::{escape::escape_str, wire::call::ServiceInfo};

use super::calling::{line, over, print};
use crate::{cli::ServicesArguments, exit::Exit};

#[derive(Serialize)]
struct Service<'a> {
    event: &'static str,
    name: &'a str,
    kind: &'static str,
    codecs: Vec<&'static str>,
    arguments: &'a str,
    calls: u64,
    running: u32,
    concurrency: Option<u32>,
    workers: Option<u32>,
}

pub(super) async fn run(arguments: ServicesArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let gateway = arguments.gateway.clone();
    over(&gateway, options, async |controller| {
        let services = controller.services().await?;
        let text = if arguments.json { objects(&services)? } else { table(&services).into_bytes() };
        print(text).await?;
        Ok(Exit::Done)
    })
    .await
}

fn objects(services: &[ServiceInfo]) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    for service in services {
        text.append(&mut line(&Service {
            event: "service",
            name: &service.name,
            kind: service.kind.as_str(),
            codecs: service.codecs.iter().map(|codec| codec.as_str()).collect(),
            arguments: &service.arguments,
            calls: service.calls,
            running: service.running,
            concurrency: (service.concurrency > 0).then_some(service.concurrency),
            workers: service.workers,
        })?);
    }
    Ok(text)
}

/// Columns for people.
fn table(services: &[ServiceInfo]) -> String {
    if services.is_empty() {
        return "there is no subroutine that this machine may call\n".to_owned();
    }
    let head = ["NAME", "KIND", "CALLS", "RUNNING", "WORKERS", "ARGUMENTS"].map(ToOwned::to_owned);
    let rows = services.iter().map(|service| {
        let running = match service.concurrency {
            0 => service.running.to_string(),
            most => format!("{} of {most}", service.running),
        };
        [
            escape_str(&service.name).into_owned(),
            service.kind.as_str().to_owned(),
            service.calls.to_string(),
            running,
            service.workers.map_or_else(|| "-".to_owned(), |workers| workers.to_string()),
            escape_str(&service.arguments).into_owned(),
        ]
    });
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:width$}  ");
        }
        text += (line + &row[5]).trim_end();
        text.push('\n');
    }
    text
}
