//! `swarm ping`: round trips through the whole stack, with as many bytes as wanted.

use std::time::Duration;

use serde::Serialize;
use swarmwire_client::{ConnectOptions, Controller};
use swarmwire_common::limits;

use super::{Way, parse_gateway};
use crate::{
    cli::PingArguments,
    exit::{Exit, Failure},
    output::Output,
    units,
};

#[derive(Serialize)]
struct Ping {
    event: &'static str,
    bytes: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct Summary {
    event: &'static str,
    count: usize,
    bytes: usize,
    seconds_min: f64,
    seconds_mean: f64,
    seconds_max: f64,
}

pub(super) async fn run(arguments: &PingArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let gateway = parse_gateway(&arguments.gateway)?;
    let size = usize::try_from(arguments.size).ok().filter(|&size| size <= limits::PING_BYTES_MAX);
    let size = size.ok_or_else(|| {
        let (size, max) = (units::bytes(arguments.size), limits::PING_BYTES_MAX);
        Failure::usage(format!("--size: a ping carries at most {max} bytes (1MiB), not {size}"))
    })?;
    let way = Way::find(&gateway, "GW", options)?;
    let controller = way.connect().await?;
    let result = ping(&controller, &way.name, size, arguments).await;
    controller.close().await;
    result
}

async fn ping(
    controller: &Controller,
    name: &str,
    size: usize,
    arguments: &PingArguments,
) -> anyhow::Result<Exit> {
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
    let mut times = Vec::new();
    let mut output = Output::new();
    for _ in 0..arguments.count {
        let time = controller.ping(&payload).await?;
        times.push(time);
        if arguments.json {
            output.json(&Ping { event: "ping", bytes: size, seconds: time.as_secs_f64() })?;
        } else {
            output.line(&format!(
                "{size} bytes from {name} ({}): {}",
                controller.address(),
                milliseconds(time)
            ))?;
        }
        output.flush()?;
    }
    let count = arguments.count;
    let min = times.iter().min().copied().unwrap_or_default();
    let max = times.iter().max().copied().unwrap_or_default();
    let mean = times.iter().sum::<Duration>() / count;
    if arguments.json {
        output.json(&Summary {
            event: "summary",
            count: times.len(),
            bytes: size,
            seconds_min: min.as_secs_f64(),
            seconds_mean: mean.as_secs_f64(),
            seconds_max: max.as_secs_f64(),
        })?;
    } else {
        let (min, mean, max) = (milliseconds(min), milliseconds(mean), milliseconds(max));
        output.line(&format!("{count} round trips: least {min}, mean {mean}, most {max}"))?;
    }
    output.flush()?;
    Ok(Exit::Done)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}
