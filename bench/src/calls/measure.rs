//! The loop that calls, the same for every peer, and what it finds.
//!
//! Calls are counted one after the other: the next begins when the one before is over, in each of the places at a time. A fifth of the time goes before,
//! uncounted. What one process cannot know of itself, the processor time and memory of the other end, is read off `/proc`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};

use super::{
    peer::{Caller, Items, Peer, content},
    work::{Kind, Work},
};
use crate::{
    latency::quantiles::{Distribution, MEDIAN, P99, P999},
    process::tree,
    record::Call,
};

/// The part of the time that goes before what is counted.
const WARM_UP_DIVISOR: u32 = 5;

/// Idle streams that are opened at a time.
const OPENING: usize = 64;

/// Between two looks at the clock of a stream of items, at most, and a hundredth of those that have come.
const ITEMS_OF_A_LOOK: u64 = 1000;

/// What to do.
#[derive(Clone, Debug)]
pub(super) struct Measuring {
    pub(super) peer: Peer,
    pub(super) work: Work,
    pub(super) time: Duration,
    /// The other end's process.
    pub(super) server: u32,
    /// What is synced beside it, and where the other end keeps what arrives.
    pub(super) beside: Option<(PathBuf, PathBuf)>,
}

/// Does the work of one run; the row has everything but its number.
pub(super) async fn run<C: Caller>(caller: &C, measuring: &Measuring) -> Result<Call> {
    let Work { kind, bytes, at_a_time } = measuring.work;
    let warm_up = measuring.time / WARM_UP_DIVISOR;
    match kind {
        Kind::Calls | Kind::Beside => {
            let payload = content(bytes);
            ensure!(caller.call(payload.clone()).await? == payload, "what came back is not what was sent");
            calls(caller, &payload, at_a_time, warm_up).await?;
            let meter = Meter::start(measuring);
            let times = calls(caller, &payload, at_a_time, measuring.time).await?;
            let count = times.len() as u64;
            let row = meter.stop(count);
            Ok(with_quantiles(row, times))
        }
        Kind::Items => {
            let mut items = caller.items(bytes).await?;
            count_items(&mut items, warm_up).await?;
            let meter = Meter::start(measuring);
            let count = count_items(&mut items, measuring.time).await?;
            Ok(meter.stop(count))
        }
        Kind::Idle => {
            // What the first stream costs is not what each costs.
            let first = caller.idle().await?;
            let meter = Meter::start(measuring);
            let opening = stream::iter(0..at_a_time).map(|_| caller.idle()).buffer_unordered(OPENING);
            let streams: Vec<C::Idle> = opening.try_collect().await?;
            let row = meter.stop(streams.len() as u64);
            drop((first, streams));
            Ok(row)
        }
    }
}

/// Calls for so long, and gives how long each took.
pub(super) async fn calls(
    caller: &impl Caller,
    payload: &Bytes,
    at_a_time: u32,
    time: Duration,
) -> Result<Vec<Duration>> {
    let end = Instant::now() + time;
    let place = async || {
        let mut times = Vec::new();
        loop {
            let start = Instant::now();
            if start >= end {
                return anyhow::Ok(times);
            }
            let back = caller.call(payload.clone()).await?;
            times.push(start.elapsed());
            ensure!(back.len() == payload.len(), "{} of {} bytes came back", back.len(), payload.len());
        }
    };
    Ok(try_join_all((0..at_a_time).map(|_| place())).await?.concat())
}

async fn count_items(items: &mut impl Items, time: Duration) -> Result<u64> {
    let end = Instant::now() + time;
    let (mut count, mut look_at) = (0, 0);
    loop {
        count += items.take().await?;
        // A clock for each of a million items would be measured, too.
        if count >= look_at {
            if Instant::now() >= end {
                return Ok(count);
            }
            look_at = count + ITEMS_OF_A_LOOK.min(count / 100);
        }
    }
}

/// What the ends have used since a moment.
pub(super) struct Meter<'a> {
    measuring: &'a Measuring,
    start: Instant,
    client: Duration,
    server: Duration,
    server_bytes: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn start(measuring: &'a Measuring) -> Self {
        let server_bytes = tree::resident_bytes(&[measuring.server]);
        let [client, server] = [std::process::id(), measuring.server].map(tree::cpu_time);
        Self { measuring, start: Instant::now(), client, server, server_bytes }
    }

    /// `count` calls, items or streams were done.
    pub(super) fn stop(self, count: u64) -> Call {
        let Self { measuring: Measuring { peer, work, server, .. }, .. } = self;
        let seconds = self.start.elapsed().as_secs_f64();
        let used = |process, before| tree::cpu_time(process).saturating_sub(before).as_secs_f64();
        Call {
            peer: peer.to_string(),
            work: work.kind.as_str().to_owned(),
            bytes: work.bytes.into(),
            at_a_time: work.at_a_time.into(),
            count,
            seconds,
            client_cpu_seconds: used(std::process::id(), self.client),
            server_cpu_seconds: used(*server, self.server),
            server_before_bytes: self.server_bytes,
            server_after_bytes: tree::resident_bytes(&[*server]),
            ..Call::default()
        }
    }
}

/// The row with the times of its calls.
pub(super) fn with_quantiles(row: Call, times: Vec<Duration>) -> Call {
    let Some(distribution) = Distribution::new(times) else { return row };
    let at = |units| distribution.at(units).as_secs_f64() * 1e6;
    Call { p50_microseconds: at(MEDIAN), p99_microseconds: at(P99), p999_microseconds: at(P999), ..row }
}
