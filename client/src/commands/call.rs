//! `swarm call`: a batch at a gateway, once or many times.

mod failures;

use std::{
    io::{self, IsTerminal},
    pin::pin,
    time::Instant,
};

use futures_util::StreamExt;
use serde::Serialize;
use swarmwire_client::{
    ConnectOptions, Controller,
    controller::calling::{CallOptions, Payload},
};

use self::failures::Failures;
use super::calling::{Failed, JsonBytes, calling, lacks_newline, line, print};
use crate::{cli::CallArguments, exit::Exit};

#[derive(Serialize)]
struct Reply {
    event: &'static str,
    call: usize,
    id: u64,
    #[serde(flatten)]
    bytes: JsonBytes,
}

#[derive(Serialize)]
struct Summary {
    event: &'static str,
    calls: usize,
    failed: usize,
    bytes: usize,
    seconds: f64,
}

pub(super) async fn run(arguments: CallArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let limits = arguments.called.limits.begin();
    let payload = arguments.called.payload()?;
    calling(arguments.called.callee(), limits.connecting(options), async |controller| {
        if arguments.repeat == 1 && !arguments.json {
            return once(controller, payload, limits.options(), &arguments).await;
        }
        several(controller, &payload, limits.options(), &arguments).await
    })
    .await
}

/// The bytes as they come.
async fn once(
    controller: &Controller,
    payload: Payload,
    options: CallOptions,
    arguments: &CallArguments,
) -> anyhow::Result<Exit> {
    let mut batch = controller.batch(&arguments.called.name, payload, options).await?;
    let is_for_people = !arguments.raw && io::stdout().is_terminal();
    let mut lacks = false;
    while let Some(piece) = batch.next().await? {
        lacks = lacks_newline(&piece) || (lacks && piece.is_empty());
        print(piece).await?;
    }
    if lacks && is_for_people {
        print("\n").await?;
    }
    Ok(Exit::Done)
}

/// Results in the order of their ids, as they come, and failures between them.
async fn several(
    controller: &Controller,
    payload: &Payload,
    options: CallOptions,
    arguments: &CallArguments,
) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let handlers = usize::try_from(arguments.parallel)?;
    let payloads = std::iter::repeat_n(payload.clone(), usize::try_from(arguments.repeat)?);
    let swarm = controller.swarm(handlers);
    let mut replies = pin!(swarm.calls(&arguments.called.name, payloads, options));
    let (mut calls, mut bytes, mut failures) = (0, 0, Failures::default());
    while let Some((place, reply)) = replies.next().await {
        calls += 1;
        let call = place + 1;
        match reply {
            Ok(reply) if arguments.json => {
                bytes += reply.bytes.len();
                let event = Reply { event: "reply", call, id: reply.id, bytes: JsonBytes::new(&reply.bytes) };
                print(line(&event)?).await?;
            }
            Ok(reply) => {
                let lacks = !arguments.raw && lacks_newline(&reply.bytes);
                print(reply.bytes).await?;
                if lacks {
                    print("\n").await?;
                }
            }
            Err(err) => {
                if arguments.json {
                    print(line(&Failed::new(call, &err))?).await?;
                }
                failures.add(call, err);
            }
        }
    }
    if arguments.json {
        let (failed, seconds) = (failures.count(), start.elapsed().as_secs_f64());
        print(line(&Summary { event: "summary", calls, failed, bytes, seconds })?).await?;
    }
    failures.end(arguments.called.callee(), calls)
}
