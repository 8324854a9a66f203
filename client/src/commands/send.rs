//! `swarm send`: a buffer to a subroutine at a gateway, and its integer.

use std::{fs::File, io, path::Path};

use serde::Serialize;
use swarmwire_client::ConnectOptions;

use super::calling::{Callee, Failed, calling, line, print, unreadable};
use crate::{cli::SendArguments, exit::Exit};

#[derive(Serialize)]
struct Returned {
    event: &'static str,
    value: i64,
}

pub(super) async fn run(arguments: SendArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let limits = arguments.limits.begin();
    let file = if arguments.data == Path::new("-") {
        None
    } else {
        let file = open(&arguments.data).map_err(|err| unreadable("--data", &arguments.data, &err))?;
        Some(tokio::fs::File::from_std(file))
    };
    let callee = Callee { name: &arguments.name, gateway: &arguments.gateway };
    calling(callee, limits.connecting(options), async |controller| {
        let sent = match file {
            Some(file) => controller.send(&arguments.name, file, limits.options()).await,
            None => controller.send(&arguments.name, tokio::io::stdin(), limits.options()).await,
        };
        let told = match &sent {
            Ok(value) if arguments.json => line(&Returned { event: "returned", value: *value })?,
            Ok(value) => format!("{value}\n").into_bytes(),
            Err(err) if arguments.json => line(&Failed::new(1, err))?,
            Err(_) => Vec::new(),
        };
        print(told).await?;
        sent?;
        Ok(Exit::Done)
    })
    .await
}

/// Opens what can be read. A directory can be opened, and nothing comes out of it.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}
