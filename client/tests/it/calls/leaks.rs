//! Many calls of every kind and streams that are given up leave nothing behind, at either end.
//!
//! Both ends are in a process of their own, this test program once more, so that what other tests hold is not counted. The laboratory's `leaks` does the same with
//! a million calls.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use swarmwire_client::{
    Controller,
    controller::calling::{CallOptions, Payload},
};
use swarmwire_common::wire::{
    call::{CallKind, Codec},
    status::Status,
};
use swarmwire_server::subroutines::{
    Context, Failure, Input, Subroutine, Subroutines, command::CommandOptions,
};

use super::{count_to, echo, integer, none_lives, numbers, status, with_gateway};
use crate::world::World;

/// Set in the process that calls.
const ROLE: &str = "SWARMWIRE_LEAKS";

const ROUNDS: usize = 4;

/// More are made only where the memory has grown in each of those.
const ROUNDS_MAX: usize = 12;

/// In each round.
const CALLS: u32 = 5_000;
const STREAMS: u32 = 75;

/// At a time: half of the handlers, since one of a stream that was given up is free a moment later.
const AT_A_TIME: usize = 32;

/// Where all are taken all the same, it is tried again.
const OPTIONS: CallOptions = CallOptions { deadline: None, wait: Duration::from_secs(30) };

/// One call in so many has a result that does not fit into a reply.
const LARGE_EVERY: u32 = 100;

/// One call in so many is of a program, and one stream in a tenth as many.
const PROGRAM_EVERY: u32 = 200;

/// What stays of a call stays in every round. An allocator that scatters what is freed takes more in some of them, and in one at least not more than this: 400 bytes of
/// each call are as much, which the smallest task or stream is several times over.
const GROWTH_BYTES_MAX: u64 = 400 * CALLS as u64;

/// Longer than anything takes to end; then it stays.
const REST_TIME_MAX: Duration = Duration::from_secs(30);

#[test]
fn nothing_is_left_of_many_calls_and_of_streams_that_were_given_up() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["calls::leaks::calls_where_it_is_told_to", "--exact", "--nocapture"])
        .env(ROLE, "")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// Nothing, unless this process was started for it.
#[test]
fn calls_where_it_is_told_to() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let living = tokio::sync::watch::Sender::new(0);
    let subroutines = Subroutines::new();
    let count = Subroutine::send(async |_: Context, mut input: Input| {
        let mut count = 0;
        while let Some(bytes) = input.next().await? {
            count += integer(bytes.len());
        }
        Ok::<_, Failure>(count)
    });
    for (name, subroutine) in [
        ("echo", echo()),
        ("items", count_to(&living)),
        ("count", count),
        ("cat", program("cat", CallKind::Batch)),
        ("yes", program("yes", CallKind::Stream)),
    ] {
        subroutines.register(name, subroutine).unwrap();
    }
    with_gateway(&subroutines, async |controller, world| {
        let mut held: Vec<Held> = Vec::new();
        let is_at_rest = |pair: &[Held]| pair[1].resident_bytes <= pair[0].resident_bytes + GROWTH_BYTES_MAX;
        while held.len() < ROUNDS || !held.windows(2).any(is_at_rest) {
            assert!(held.len() < ROUNDS_MAX, "memory grows with every round: {held:?}");
            round(&controller, CALLS, STREAMS).await;
            none_lives(&living).await;
            held.push(no_more_than(held.first(), world).await);
        }
    });
}

async fn round(controller: &Controller, calls: u32, streams: u32) {
    stream::iter(0..calls)
        .map(|number| call(controller, number))
        .buffer_unordered(AT_A_TIME)
        .collect::<()>()
        .await;
    let streams = stream::iter(0..streams).map(|number| give_up(controller, number));
    streams.buffer_unordered(AT_A_TIME).collect::<()>().await;
}

/// One of the kinds of calls.
async fn call(controller: &Controller, number: u32) {
    match number % 8 {
        _ if number.is_multiple_of(PROGRAM_EVERY) => {
            let back = controller.call("cat", Payload::raw("meow"), OPTIONS).await.unwrap();
            assert_eq!(back, "meow");
        }
        _ if number % LARGE_EVERY == 1 => echoes(controller, 40_000, OPTIONS).await,
        1 => {
            let count = controller.send("count", &[7; 50_000][..], OPTIONS).await.unwrap();
            assert_eq!(count, 50_000);
        }
        2 => {
            let items = controller.stream("items", numbers(20, 100), OPTIONS).await.unwrap();
            assert_eq!(items.into_stream().count().await, 20);
        }
        3 => {
            let err = controller.call("nothing", (), OPTIONS).await.unwrap_err();
            assert_eq!(status(&err), Status::NotFound);
        }
        4 => echoes(controller, 64, CallOptions { deadline: Some(REST_TIME_MAX), ..OPTIONS }).await,
        _ => echoes(controller, 64, OPTIONS).await,
    }
}

async fn echoes(controller: &Controller, bytes: usize, options: CallOptions) {
    let payload = Bytes::from(vec![7; bytes]);
    assert!(controller.call("echo", Payload::raw(payload.clone()), options).await.unwrap() == payload);
}

/// A stream that is dropped after its first item.
async fn give_up(controller: &Controller, number: u32) {
    let (name, payload) = if number.is_multiple_of(PROGRAM_EVERY / 10) {
        ("yes", Payload::raw(""))
    } else {
        ("items", Payload::from(numbers(i64::MAX, 64)))
    };
    let mut items = controller.stream(name, payload, OPTIONS).await.unwrap();
    items.next().await.unwrap().unwrap();
}

/// What this process holds, both ends of it.
#[derive(Debug)]
struct Held {
    handlers: f64,
    descriptors: usize,
    threads: usize,
    children: usize,
    resident_bytes: u64,
}

impl Held {
    fn look(world: &World) -> Self {
        let entries = |directory| fs::read_dir(directory).unwrap().count();
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        // A thread may end meanwhile.
        let lists = tasks.filter_map(|task| fs::read_to_string(task.join("children")).ok());
        let memory = fs::read_to_string("/proc/self/status").unwrap();
        let resident = memory.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
        Self {
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            children: lists.map(|list| list.split_whitespace().count()).sum(),
            resident_bytes: resident.unwrap().trim().parse::<u64>().unwrap() * 1024,
            handlers: world.metric("swarmwire_handlers_in_use"),
        }
    }

    /// Nothing that runs, and of what stands no more than before.
    fn is_at_rest(&self, before: Option<&Self>) -> bool {
        let stands = before
            .is_none_or(|before| self.descriptors <= before.descriptors && self.threads <= before.threads);
        // One child stays: what ends the programs if this process is killed.
        self.handlers == 0.0 && self.children == 1 && stands
    }
}

/// Waits until nothing runs and there is no more than before, the memory apart.
async fn no_more_than(before: Option<&Held>, world: &World) -> Held {
    let start = Instant::now();
    loop {
        let held = Held::look(world);
        if held.is_at_rest(before) {
            return held;
        }
        assert!(start.elapsed() < REST_TIME_MAX, "{before:?} before, {held:?} after");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn program(name: &str, kind: CallKind) -> Subroutine {
    let options = CommandOptions::new([name], kind);
    Subroutine::command(CommandOptions { max_output: u64::MAX, codec: Codec::Raw, ..options }).unwrap()
}
