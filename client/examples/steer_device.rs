//! Moves `device`, and watches it: what this controller does, and what others do.
//!
//! `steer_device GATEWAY STEP MOVES`

#![expect(clippy::print_stdout, reason = "an edge: it is what the example is run for")]

#[path = "shared/joined.rs"]
mod joined;

use std::error::Error;

use serde::Deserialize;
use swarmwire_client::{Controller, controller::calling::CallOptions};
use swarmwire_common::value::Arguments;

#[derive(Deserialize)]
struct Position {
    revision: i64,
    at: i64,
    by: Option<String>,
}

/// Moves it so many times, each by `step`. Gives the last revision that was its own.
async fn steer(controller: &Controller, step: i64, moves: u32) -> Result<i64, Box<dyn Error>> {
    let mut last = 0;
    for _ in 0..moves {
        let reply = controller.call("move", Arguments::new().with(step), CallOptions::default()).await?;
        let position: Position = serde_json::from_slice(&reply)?;
        if position.revision <= last {
            return Err(format!("move {} came after {last}", position.revision).into());
        }
        last = position.revision;
    }
    Ok(last)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [gateway, step, moves] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "give GATEWAY STEP MOVES")?;
    let controller = joined::connect(&gateway).await?;
    let mut places = controller.stream("watch", (), CallOptions::default()).await?;
    let last = steer(&controller, step.parse()?, moves.parse()?).await?;
    loop {
        let (revision, bytes) = places.next().await?.ok_or("the device is gone")?;
        if revision >= last {
            let position: Position = serde_json::from_slice(&bytes)?;
            let by = position.by.as_deref().unwrap_or("nobody");
            println!("at {} after {} moves, the last by {by}", position.at, position.revision);
            break;
        }
    }
    controller.close().await;
    Ok(())
}
