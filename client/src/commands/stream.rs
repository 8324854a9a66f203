//! `swarm stream`: the items of a subroutine at a gateway, as they come.

use std::time::Instant;

use serde::Serialize;
use swarmwire_client::{
    ConnectOptions, Controller, RequestError,
    controller::calling::{CallOptions, Items, Payload},
};

use super::calling::{Failed, JsonBytes, calling, line, print};
use crate::{cli::StreamArguments, exit::Exit};

#[derive(Serialize)]
struct Item {
    event: &'static str,
    ident: i64,
    #[serde(flatten)]
    bytes: JsonBytes,
}

#[derive(Serialize)]
struct Summary {
    event: &'static str,
    items: u64,
    failed: usize,
    bytes: u64,
    seconds: f64,
}

/// Bytes that are printed at once, where so many are there.
const PRINTED_BYTES_TARGET: usize = 64 * 1024;

pub(super) async fn run(arguments: StreamArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let limits = arguments.called.limits.begin();
    let payload = arguments.called.payload()?;
    calling(arguments.called.callee(), limits.connecting(options), async |controller| {
        stream(controller, payload, limits.options(), &arguments).await
    })
    .await
}

async fn stream(
    controller: &Controller,
    payload: Payload,
    options: CallOptions,
    arguments: &StreamArguments,
) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let (mut count, mut bytes) = (0, 0);
    let begun = controller.stream(&arguments.called.name, payload, options).await;
    let ended = match begun {
        Ok(mut items) => print_items(&mut items, arguments, (&mut count, &mut bytes)).await?,
        Err(err) => Err(err),
    };
    if arguments.json {
        if let Err(err) = &ended {
            print(line(&Failed::new(1, err))?).await?;
        }
        let (failed, seconds) = (usize::from(ended.is_err()), start.elapsed().as_secs_f64());
        print(line(&Summary { event: "summary", items: count, failed, bytes, seconds })?).await?;
    }
    ended?;
    Ok(Exit::Done)
}

/// Prints what comes, and counts it; within, how the stream ended.
async fn print_items(
    items: &mut Items,
    arguments: &StreamArguments,
    (count, bytes): (&mut u64, &mut u64),
) -> anyhow::Result<Result<(), RequestError>> {
    let mut text = Vec::new();
    let mut ended = Ok(());
    while arguments.limit.is_none_or(|limit| *count < limit) {
        let (ident, item) = match items.next().await {
            Ok(Some(item)) => item,
            Ok(None) => break,
            Err(err) => {
                // What came before it counts.
                ended = Err(err);
                break;
            }
        };
        *count += 1;
        *bytes += item.len() as u64;
        if arguments.json {
            text.append(&mut line(&Item { event: "item", ident, bytes: JsonBytes::new(&item) })?);
        } else if arguments.raw {
            text.extend_from_slice(&u32::try_from(item.len())?.to_be_bytes());
            text.extend_from_slice(&item);
        } else {
            text.extend_from_slice(&item);
            text.push(b'\n');
        }
        if !items.has_more() || text.len() >= PRINTED_BYTES_TARGET {
            print(std::mem::take(&mut text)).await?;
        }
    }
    print(text).await?;
    Ok(ended)
}
