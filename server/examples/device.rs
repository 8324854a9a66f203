//! One device that two controllers steer: each sees at once what the other does, and no two moves are mixed up.
//!
//! ```sh
//! cargo run -p swarmwire-server --example device -- /tmp/device     # prints two invitations: swarm://…
//! swarm join 'swarm://…' --name device
//! cargo run -p swarmwire-client --example steer_device -- device 1 10
//! ```

#![expect(clippy::print_stdout, reason = "an edge: it is what the example is run for")]

#[path = "shared/serving.rs"]
mod serving;

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use swarmwire_server::subroutines::{Context, Failure, Subroutine, Subroutines};
use tokio::sync::watch;

/// Where the device is, and who has moved it there.
#[derive(Clone, Debug, Default)]
struct Position {
    /// One more with each move.
    revision: i64,
    at: i64,
    by: Option<String>,
}

impl Position {
    fn to_json(&self) -> Bytes {
        json!({ "revision": self.revision, "at": self.at, "by": self.by }).to_string().into()
    }
}

#[derive(Deserialize)]
struct Move {
    by: i64,
}

/// Where it is now, and then each new place. Who reads slowly sees the newest, with the revision as its ident.
fn places(
    device: &watch::Sender<Position>,
) -> impl Stream<Item = Result<(i64, Bytes), Failure>> + Send + use<> {
    let mut seen = device.subscribe();
    seen.mark_changed();
    stream::unfold(seen, async |mut seen| {
        seen.changed().await.ok()?;
        let position = seen.borrow_and_update().clone();
        Some((Ok((position.revision, position.to_json())), seen))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let device = Arc::new(watch::Sender::new(Position::default()));
    let watched = Arc::clone(&device);
    let watch = Subroutine::stream(move |_: Context, (): ()| {
        let places = places(&watched);
        async move { Ok::<_, Failure>(places) }
    });
    let shift = Subroutine::batch(move |context: Context, Move { by }| {
        // One move at a time: the value is locked while it is changed.
        device.send_modify(|position| {
            position.revision += 1;
            position.at += by;
            position.by = Some(context.caller().to_string());
        });
        let moved = device.borrow().to_json();
        async move { Ok::<_, Failure>(moved) }
    });
    let subroutines = Subroutines::new();
    subroutines.register("watch", watch)?;
    subroutines.register("move", shift.taking("by"))?;
    serving::serve(subroutines, 2).await
}
