//! `cargo lab leaks`: very many calls of every kind and streams that are given up, after which either end must hold what it held before.
//!
//! A tenth of the same goes first and is not looked at: it fills what is filled once, buffers and pools. Then handlers, descriptors, threads and children
//! must be as many as before, and memory may have grown by [`GROWTH_BYTES_MAX`]. A process that has not come to rest is given time.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use swarmwire_client::{
    Controller,
    controller::calling::{CallOptions, Payload},
};
use swarmwire_common::{value::Arguments as Values, wire::status::Status};

use super::{AT_A_TIME, Peer, end::ServerArguments, peer::content, serve};
use crate::{figures::megabytes, ground::Ground, process, process::tree, work::Work as Workplace};

/// The name of the client's command.
const CLIENT: &str = "call-leak";

/// How much more memory an end may have resident afterwards: what an allocator scatters. Eight bytes that every one of a million calls leaves are more.
const GROWTH_BYTES_MAX: u64 = 8 << 20;

/// How long nothing may have changed for a process to be at rest: a gateway gives memory back within 10 s of its last call, and tokio ends the thread that
/// does so after 10 s without work.
const REST: Duration = Duration::from_secs(22);

/// How long that may take.
const REST_TIME_MAX: Duration = Duration::from_secs(120);

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(3600);

/// How long an answer about metrics may take.
const METRICS_PATIENCE: Duration = Duration::from_secs(10);

/// What goes first is this part of everything.
const WARM_UP_DIVISOR: u32 = 10;

/// One call in so many starts a program, and so does one stream in a tenth as many.
const PROGRAM_EVERY: u32 = 1000;

/// How often.
#[derive(Clone, Debug)]
pub struct Options {
    /// Calls, of all kinds.
    pub calls: u32,
    /// Streams that are given up.
    pub streams: u32,
    /// An existing directory for what little is written.
    pub place: PathBuf,
}

/// The client's command line.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Arguments {
    /// The directory that both ends know.
    #[arg(long)]
    pub(super) home: PathBuf,
    /// The gateway's process.
    #[arg(long)]
    server: u32,
    /// Calls, of all kinds.
    #[arg(long)]
    calls: u32,
    /// Streams that are given up.
    #[arg(long)]
    streams: u32,
}

impl Arguments {
    fn command(&self) -> Command {
        let mut command = process::command("/proc/self/exe");
        command.arg(CLIENT).arg("--home").arg(&self.home);
        for (name, number) in
            [("--server", self.server), ("--calls", self.calls), ("--streams", self.streams)]
        {
            command.arg(name).arg(number.to_string());
        }
        command
    }
}

/// What both ends hold at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    gateway: Uses,
    client: Uses,
}

/// What a process holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Uses {
    handlers: u64,
    descriptors: usize,
    threads: usize,
    children: usize,
    resident_bytes: u64,
}

impl Uses {
    fn of(process: u32) -> Self {
        Self {
            handlers: 0,
            descriptors: tree::descriptors(process),
            threads: tree::threads(process),
            children: tree::descendants(process).len(),
            resident_bytes: tree::resident_bytes(&[process]),
        }
    }

    /// All that is counted, and must not change.
    fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("handlers", self.handlers),
            ("descriptors", self.descriptors as u64),
            ("threads", self.threads as u64),
            ("children", self.children as u64),
        ]
    }

    /// What is more than it was, in words.
    fn grown_since(&self, before: &Self, end: &str) -> Vec<String> {
        let counted = self.counts().into_iter().zip(before.counts());
        let mut grown: Vec<String> = counted
            .filter(|(after, before)| after.1 != before.1)
            .map(|((name, after), (_, before))| {
                format!("{name} of the {end}: {before} before, {after} after")
            })
            .collect();
        if self.resident_bytes > before.resident_bytes + GROWTH_BYTES_MAX {
            let [before, after] = [before.resident_bytes, self.resident_bytes].map(megabytes);
            grown.push(format!("memory of the {end}: {before} before, {after} after"));
        }
        grown
    }
}

/// Calls, prints what was held before and after, and fails if that differs.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let workplace = Workplace::begin(&options.place)?;
    let ground = Ground::loopback(workplace.nursery())?;
    let home = workplace.path().to_owned();
    let (server, ready) = serve(&ground, &ServerArguments::new(Peer::Swarm, home.clone(), &ground)?)?;
    let client = Arguments { home, server: ready.process, calls: options.calls, streams: options.streams };
    let told = ground.near().run(&client.command(), DEADLINE)?.success();
    let told = told.with_context(|| server.last_words())?;
    let held: Vec<Held> = serde_json::from_str(&told).context("failed to understand the client")?;
    let [before, after] = &held[..] else { bail!("the client has not looked twice") };
    write!(out, "{}", table(before, after))?;
    let mut grown = after.gateway.grown_since(&before.gateway, "gateway");
    grown.extend(after.client.grown_since(&before.client, "client"));
    ensure!(grown.is_empty(), "something is left of what was called: {}", grown.join("; "));
    Ok(())
}

fn table(before: &Held, after: &Held) -> String {
    let mut text = format!("{:<10} {:<12} {:>10} {:>10}\n", "end", "what", "before", "after");
    for (end, before, after) in
        [("gateway", &before.gateway, &after.gateway), ("client", &before.client, &after.client)]
    {
        let mut row = |what: &str, before: String, after: String| {
            writeln!(text, "{end:<10} {what:<12} {before:>10} {after:>10}")
                .expect("a string takes everything");
        };
        for ((name, before), (_, after)) in before.counts().into_iter().zip(after.counts()) {
            row(name, before.to_string(), after.to_string());
        }
        row("memory", megabytes(before.resident_bytes), megabytes(after.resident_bytes));
    }
    text
}

/// Both rounds, and what was held after each.
pub(super) async fn rounds(
    controller: &Controller,
    gateway: SocketAddr,
    arguments: &Arguments,
) -> Result<Vec<Held>> {
    let mut held = Vec::new();
    for divisor in [WARM_UP_DIVISOR, 1] {
        round(controller, arguments.calls / divisor, arguments.streams / divisor).await?;
        held.push(at_rest(gateway, arguments.server).await?);
    }
    Ok(held)
}

async fn round(controller: &Controller, calls: u32, streams: u32) -> Result<()> {
    let at_a_time = usize::try_from(AT_A_TIME).expect("usize has 32 bits or more");
    let calling = stream::iter(0..calls).map(|number| call(controller, number));
    calling.buffer_unordered(at_a_time).try_collect::<()>().await.context("a call failed")?;
    let giving_up = stream::iter(0..streams).map(|number| give_up(controller, number));
    giving_up.buffer_unordered(at_a_time).try_collect::<()>().await.context("a stream failed")
}

const OPTIONS: CallOptions = CallOptions { deadline: None, wait: Duration::ZERO };

/// One of the kinds of calls.
async fn call(controller: &Controller, number: u32) -> Result<()> {
    if number.is_multiple_of(PROGRAM_EVERY) {
        let back = controller.call("cat", Payload::raw("through a program"), OPTIONS).await?;
        ensure!(back == "through a program", "a program gave something else");
        return Ok(());
    }
    match number % 8 {
        // Larger than a reply may be.
        0 => echo(controller, 40_000, OPTIONS).await,
        1 => {
            let buffer = content(100_000);
            let count = controller.send("count", &buffer[..], OPTIONS).await?;
            ensure!(count == 100_000, "{count} bytes of a buffer arrived");
            Ok(())
        }
        2 => {
            let mut items = controller.stream("some", Values::new().with(20_i64), OPTIONS).await?;
            let mut count = 0;
            while items.next().await?.is_some() {
                count += 1;
            }
            ensure!(count == 20, "{count} items arrived");
            Ok(())
        }
        3 => match controller.call("nothing", (), OPTIONS).await {
            Err(error) if error.status() == Some(Status::NotFound) => Ok(()),
            other => bail!("a name that is not there gave {other:?}"),
        },
        4 => echo(controller, 64, CallOptions { deadline: Some(DEADLINE), ..OPTIONS }).await,
        _ => echo(controller, 64, OPTIONS).await,
    }
}

async fn echo(controller: &Controller, bytes: u32, options: CallOptions) -> Result<()> {
    let payload: Bytes = content(bytes);
    let back = controller.call("echo", Payload::raw(payload.clone()), options).await?;
    ensure!(back == payload, "an echo differs");
    Ok(())
}

/// A stream that is dropped after its first item.
async fn give_up(controller: &Controller, number: u32) -> Result<()> {
    let mut items = if number.is_multiple_of(PROGRAM_EVERY / 10) {
        controller.stream("yes", Payload::raw(""), OPTIONS).await?
    } else {
        controller.stream("items", Values::new().with(64_u32), OPTIONS).await?
    };
    items.next().await?.context("a stream without an end has ended")?;
    Ok(())
}

/// What both ends hold once nothing of that changes any more.
async fn at_rest(gateway: SocketAddr, server: u32) -> Result<Held> {
    let begin = Instant::now();
    let mut held = look(gateway, server)?;
    let mut since = Instant::now();
    while since.elapsed() < REST {
        ensure!(begin.elapsed() < REST_TIME_MAX, "an end does not come to rest: {held:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = look(gateway, server)?;
        let counts = |held: &Held| (held.gateway.counts(), held.client.counts());
        if counts(&now) != counts(&held) {
            since = Instant::now();
        }
        held = now;
    }
    Ok(held)
}

fn look(gateway: SocketAddr, server: u32) -> Result<Held> {
    // Before the metrics are asked for, which takes a descriptor, too.
    let mut held = Held { gateway: Uses::of(server), client: Uses::of(std::process::id()) };
    held.gateway.handlers = handlers(gateway).context("failed to read the gateway's metrics")?;
    Ok(held)
}

/// Handlers in use, by the gateway's own account. Its process is another, so that this may block.
fn handlers(gateway: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect_timeout(&gateway, METRICS_PATIENCE)?;
    stream.set_read_timeout(Some(METRICS_PATIENCE))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let value = answer.lines().find_map(|line| line.strip_prefix("swarmwire_handlers_in_use "));
    value.context("there is no such metric")?.parse().context("a metric is not a number")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli;

    #[test]
    fn the_command_means_what_it_was_made_from() {
        let arguments = Arguments { home: "/h e".into(), server: 7, calls: 3, streams: 2 };
        let command = arguments.command();
        let line = ["lab".as_ref()].into_iter().chain(command.get_args());
        let read = cli::Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).command;
        assert!(matches!(read, cli::Command::CallLeak(it) if it == arguments));
    }

    #[test]
    fn what_has_grown_is_named_and_a_little_memory_is_nothing() {
        let before = Uses { threads: 3, resident_bytes: 10 << 20, ..Uses::default() };
        let little = Uses { resident_bytes: before.resident_bytes + GROWTH_BYTES_MAX, ..before.clone() };
        assert_eq!(little.grown_since(&before, "gateway"), [""; 0]);
        let more = Uses { threads: 4, resident_bytes: 20 << 20, ..before.clone() };
        let grown = more.grown_since(&before, "client");
        assert_eq!(
            grown,
            [
                "threads of the client: 3 before, 4 after",
                "memory of the client: 10.5 MB before, 21.0 MB after"
            ]
        );
        let fewer = Uses { threads: 2, ..before.clone() };
        assert_eq!(fewer.grown_since(&before, "client").len(), 1);
    }
}
