//! Reads the three feeds of `sensor_board` and commands its motor a hundred times a second meanwhile, over one connection.
//!
//! `watch_sensors GATEWAY [COMMANDS]`

#![expect(clippy::print_stdout, reason = "an edge: it is what the example is run for")]

#[path = "shared/joined.rs"]
mod joined;

use std::{
    cell::Cell,
    error::Error,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use swarmwire_client::{Controller, RequestError, controller::calling::CallOptions};
use swarmwire_common::value::Arguments;
use tokio::time::interval;

const FEEDS: [&str; 3] = ["temperature", "vibration", "position"];
const COMMANDS_PER_SECOND: u32 = 100;

/// Takes samples until there are no more commands. Gives how many, and the last one.
async fn watch(
    controller: &Controller,
    feed: &str,
    is_over: &Cell<bool>,
) -> Result<(u64, String), RequestError> {
    let (mut count, mut last) = (0, String::new());
    let on_sample = |_: i64, sample: bytes::Bytes| {
        count += 1;
        last = String::from_utf8_lossy(&sample).into_owned();
        // To stop is to end the feed at the board.
        if is_over.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    controller.stream_to(feed, (), CallOptions::default(), on_sample, || {}).await?;
    Ok((count, last))
}

/// Sends the commands at their pace. Gives the longest time until one was answered.
async fn command(controller: &Controller, commands: u32) -> Result<Duration, RequestError> {
    let mut pace = interval(Duration::from_secs(1) / COMMANDS_PER_SECOND);
    let mut longest = Duration::ZERO;
    for number in 0..commands {
        pace.tick().await;
        let sent = Instant::now();
        let speed = (f64::from(number) / 50.0).sin();
        controller.call("motor", Arguments::new().with(speed), CallOptions::default()).await?;
        longest = longest.max(sent.elapsed());
    }
    Ok(longest)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let gateway = arguments.next().ok_or("which gateway?")?;
    let commands: u32 = arguments.next().map_or(Ok(300), |text| text.parse())?;
    let controller = joined::connect(&gateway).await?;
    let is_over = Cell::new(false);
    let commanding = async {
        let longest = command(&controller, commands).await;
        is_over.set(true);
        longest
    };
    let [first, second, third] = FEEDS.map(|feed| watch(&controller, feed, &is_over));
    let (longest, first, second, third) = tokio::join!(commanding, first, second, third);
    for (feed, watched) in FEEDS.iter().zip([first, second, third]) {
        let (count, last) = watched?;
        println!("{feed}: {count} samples, the last {last}");
    }
    println!("motor: {commands} commands, each answered within {:.1} ms", longest?.as_secs_f64() * 1e3);
    controller.close().await;
    Ok(())
}
