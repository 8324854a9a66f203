//! A simulated sensor board: three endless feeds, and a motor that takes commands, a hundred in a second or more.
//!
//! ```sh
//! cargo run -p swarmwire-server --example sensor_board -- /tmp/board     # prints an invitation: swarm://…
//! swarm join 'swarm://…' --name board
//! cargo run -p swarmwire-client --example watch_sensors -- board
//! ```

#![expect(clippy::print_stdout, reason = "an edge: it is what the example is run for")]

#[path = "shared/serving.rs"]
mod serving;

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use swarmwire_server::subroutines::{Context, Failure, Subroutine, Subroutines};
use tokio::time::{Instant, MissedTickBehavior, interval};

type Measure = fn(&Board) -> f64;

/// What is measured, and how often in a second.
const FEEDS: [(&str, u32, Measure); 3] = [
    ("temperature", 10, Board::temperature),
    ("vibration", 1000, Board::vibration),
    ("position", 100, Board::position),
];

/// The board: a motor that turns, gets warm and shakes.
struct Board {
    motor: Mutex<Motor>,
    start: Instant,
}

struct Motor {
    /// Turns in a second, from -1 to 1.
    speed: f64,
    /// Turns, when the speed was set.
    position: f64,
    since: Instant,
}

impl Board {
    fn new() -> Self {
        let start = Instant::now();
        Self { motor: Mutex::new(Motor { speed: 0.0, position: 0.0, since: start }), start }
    }

    /// Sets the speed; gives the turns so far.
    fn turn(&self, speed: f64) -> f64 {
        let mut motor = self.motor.lock().expect("no holder panics");
        *motor = Motor { speed, position: motor.position(), since: Instant::now() };
        motor.position
    }

    fn position(&self) -> f64 {
        self.motor.lock().expect("no holder panics").position()
    }

    fn temperature(&self) -> f64 {
        let speed = self.motor.lock().expect("no holder panics").speed;
        20.0 + 40.0 * speed.abs()
    }

    fn vibration(&self) -> f64 {
        let speed = self.motor.lock().expect("no holder panics").speed;
        speed * (self.start.elapsed().as_secs_f64() * std::f64::consts::TAU * 50.0).sin()
    }
}

impl Motor {
    fn position(&self) -> f64 {
        self.position + self.speed * self.since.elapsed().as_secs_f64()
    }
}

/// Samples for ever, numbered, as JSON. When nobody wants more, it is dropped where it waits.
fn samples(
    board: Arc<Board>,
    per_second: u32,
    measure: Measure,
) -> impl Stream<Item = Result<(i64, Bytes), Failure>> + Send + 'static {
    let mut pace = interval(Duration::from_secs(1) / per_second);
    // A reader that is slow gets fewer samples, not old ones.
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    stream::unfold((board, pace, 0), move |(board, mut pace, number)| async move {
        pace.tick().await;
        let sample = json!({ "at": board.start.elapsed().as_secs_f64(), "value": measure(&board) });
        Some((Ok((number, sample.to_string().into())), (board, pace, number + 1)))
    })
}

#[derive(Deserialize)]
struct Command {
    speed: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let board = Arc::new(Board::new());
    let subroutines = Subroutines::new();
    for (name, per_second, measure) in FEEDS {
        let board = Arc::clone(&board);
        let feed = move |_: Context, (): ()| {
            let samples = samples(Arc::clone(&board), per_second, measure);
            async move { Ok::<_, Failure>(samples) }
        };
        subroutines.register(name, Subroutine::stream(feed))?;
    }
    let motor = Subroutine::batch(move |_: Context, Command { speed }| {
        let turned = if (-1.0..=1.0).contains(&speed) {
            Ok(json!({ "position": board.turn(speed) }).to_string())
        } else {
            Err(Failure::invalid(format!("the motor turns at -1 to 1, not at {speed}")))
        };
        async move { turned }
    });
    subroutines.register("motor", motor.taking("speed"))?;
    serving::serve(subroutines, 1).await
}
