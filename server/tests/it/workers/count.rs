//! How many workers there are, and what a call may take up.

use std::{
    collections::BTreeSet,
    fs, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use rustix::process::Signal;
use swarmwire_client::Controller;
use tokio::io::{AsyncRead, ReadBuf};

use super::{OPTIONS, Place, failure, held, lives, metric, next, pid, text, until, words, workers};
use crate::process::Running;

#[tokio::test]
async fn the_count_follows_the_load_between_its_bounds() {
    let place = Place::new();
    let rest = "workers = { min = 1, max = 3, idle = '100ms' }";
    let (swarmd, controller) = place.with(&[place.section("stream", "stream", rest)]).await;
    let count = r#"swarmwire_workers{name="stream"}"#;
    until(&controller, "one is started ahead", async || workers(&controller, "stream").await == 1).await;
    let mut streams = Vec::new();
    let mut pids = BTreeSet::new();
    for _ in 0..3 {
        let (items, pid) = held(&controller, "stream").await;
        streams.push(items);
        assert!(pids.insert(pid), "each call has a process of its own");
    }
    assert_eq!((workers(&controller, "stream").await, metric(&swarmd, count).await), (3, Some(3)));
    let busy = controller.stream("stream", words(["hold"]), OPTIONS).await.unwrap_err().to_string();
    assert!(busy.contains("busy: `stream` is called as often as it may be at a time"), "{busy}");

    drop(streams);
    until(&controller, "it goes down", async || workers(&controller, "stream").await == 1).await;
    until(&controller, "they are gone", async || pids.iter().filter(|pid| lives(pid)).count() == 1).await;
    // The one that is left serves, and is left alone.
    let (_items, pid) = held(&controller, "stream").await;
    assert!(pids.contains(&pid));
    assert_eq!(metric(&swarmd, count).await, Some(1));
}

#[tokio::test]
async fn without_a_least_number_none_is_kept() {
    let place = Place::new();
    let rest = "workers = { min = 0, max = 2, idle = '1ms' }";
    let (_swarmd, controller) = place.with(&[place.section("batch", "batch", rest)]).await;
    assert_eq!(workers(&controller, "batch").await, 0);
    let first = pid(&controller, "batch").await;
    until(&controller, "it ends", async || workers(&controller, "batch").await == 0 && !lives(&first)).await;
    assert_ne!(pid(&controller, "batch").await, first);
}

#[tokio::test]
async fn a_slow_caller_holds_the_worker_and_loses_nothing() {
    let place = Place::new();
    let (_swarmd, controller) =
        place.with(&[place.section("stream", "stream", "max_output = '1GiB'\nworkers = { max = 1 }")]).await;
    let marked = place.path("marked");
    let given = words(["large"]).with(200).with(place.text("marked"));
    let mut items = controller.stream("stream", given, OPTIONS).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap().1.len(), 1 << 20);
    let made = || {
        let text = fs::read_to_string(&marked).unwrap();
        text.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let made = settled(&controller, made).await;
    assert!(made < 100, "{made} items of 1 MiB were made for a caller that takes none");
    for _ in 1..200 {
        assert_eq!(items.next().await.unwrap().unwrap().1.len(), 1 << 20);
    }
    assert!(items.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_slow_worker_holds_the_sender_and_loses_nothing() {
    const SIZE: u64 = 100_000_000;
    let place = Place::new();
    let (_swarmd, controller) = place.with(&[place.section("send", "send", "workers = { max = 1 }")]).await;
    let line = format!("wait {}\n", place.text("go")).into_bytes();
    let taken = Arc::new(AtomicU64::new(0));
    let data = Data { line, left: SIZE, taken: Arc::clone(&taken) };
    let observing = async {
        let taken = settled(&controller, || taken.load(SeqCst)).await;
        assert!(0 < taken && taken < SIZE / 2, "{taken} bytes were taken for a worker that takes none");
        fs::write(place.path("go"), "").unwrap();
    };
    let (sent, ()) = tokio::join!(controller.send("send", data, OPTIONS), observing);
    assert_eq!(sent.unwrap(), i64::try_from(SIZE).unwrap());
}

/// A count that does not change during a hundred round trips.
async fn settled(controller: &Controller, count: impl Fn() -> u64) -> u64 {
    let (mut last, mut unchanged) = (count(), 0);
    while unchanged < 100 {
        controller.ping(&[0; 1000]).await.unwrap();
        let now = count();
        unchanged = if now == last && now > 0 { unchanged + 1 } else { 0 };
        last = now;
    }
    last
}

/// A line, and then so many bytes.
struct Data {
    line: Vec<u8>,
    left: u64,
    taken: Arc<AtomicU64>,
}

impl AsyncRead for Data {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let line = std::mem::take(&mut this.line);
        if line.is_empty() {
            let count = buffer.remaining().min(usize::try_from(this.left).unwrap());
            buffer.put_slice(&vec![0; count]);
            this.left -= count as u64;
            this.taken.fetch_add(count as u64, SeqCst);
        } else {
            buffer.put_slice(&line);
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_work_and_keeps_its_process() {
    let place = Place::new();
    let rest = "workers = { max = 1 }";
    let sections = [place.section("batch", "batch", rest), place.section("stream", "stream", rest)];
    let (swarmd, controller) = place.with(&sections).await;
    let mut items =
        controller.stream("stream", words(["closed", &place.text("closed")]), OPTIONS).await.unwrap();
    let first = next(&mut items).await.unwrap().unwrap();
    let first = first.split(' ').next().unwrap();
    drop(items);
    until(&controller, "its generator is closed", async || place.path("closed").exists()).await;
    let (_items, after) = when_free(&controller).await;
    assert_eq!(after, first);

    let first = pid(&controller, "batch").await;
    let waiting = controller.call("batch", words(["patient", &place.text("noticed")]), OPTIONS);
    let leaving = async {
        let running = r#"swarmwire_handlers_in_use"#;
        // One for the stream that is held.
        until(&controller, "it runs", async || metric(&swarmd, running).await == Some(2)).await;
    };
    tokio::select! {
        ended = waiting => panic!("it ended by itself: {ended:?}"),
        () = leaving => {}
    }
    until(&controller, "it notices", async || place.path("noticed").exists()).await;
    until(&controller, "it is free", async || metric(&swarmd, "swarmwire_handlers_in_use").await == Some(1))
        .await;
    assert_eq!(pid(&controller, "batch").await, first);
}

/// The same once the worker has come to the end of the call before.
async fn when_free(controller: &Controller) -> (swarmwire_client::controller::calling::Items, String) {
    let patient = swarmwire_client::controller::calling::CallOptions { wait: super::PATIENCE, ..OPTIONS };
    let mut items = controller.stream("stream", words(["hold"]), patient).await.unwrap();
    let pid = next(&mut items).await.unwrap().unwrap();
    (items, pid)
}

#[tokio::test]
async fn thousands_of_calls_leave_nothing_behind() {
    let place = Place::new();
    let sections = [
        place.section("batch", "batch", "workers = { min = 2, max = 2 }"),
        place.section("stream", "stream", "workers = { min = 2, max = 2 }"),
    ];
    let (swarmd, controller) = place.with(&sections).await;
    for name in ["batch", "stream"] {
        until(&controller, "they are started", async || workers(&controller, name).await == 2).await;
    }
    let fed = |swarmd: &Running| fs::read_dir(format!("/proc/{}/fd", swarmd.pid())).unwrap().count();
    let mut before = None;
    for round in 0..4 {
        for _ in 0..500 {
            let (one, two) = tokio::join!(
                controller.call("batch", words(["echo"]), OPTIONS),
                controller.call("batch", words(["echo"]), OPTIONS)
            );
            assert_eq!((&one.unwrap()[..], &two.unwrap()[..]), (&b"[[], {}]"[..], &b"[[], {}]"[..]));
        }
        for _ in 0..50 {
            let failed = failure(&controller, "batch", words(["raise", "no"])).await;
            assert!(failed.contains("ValueError"), "{failed}");
            drop(when_free(&controller).await);
        }
        let idle = async || metric(&swarmd, "swarmwire_handlers_in_use").await == Some(0);
        until(&controller, "all is over", idle).await;
        let children = children(&swarmd);
        // Four workers, and what ends them if the gateway is killed.
        assert_eq!(children.len(), 5, "{children:?}");
        if round == 0 {
            before = Some((children, fed(&swarmd)));
        } else {
            let (pids, descriptors) = before.as_ref().unwrap();
            assert_eq!(&children, pids);
            until(&controller, "descriptors are left", async || fed(&swarmd) <= *descriptors).await;
        }
    }
    assert_eq!(text(&controller, "batch", words(["echo", "x"])).await, r#"[["x"], {}]"#);
    let (status, ..) = swarmd.end(Signal::TERM);
    assert!(status.success());
}

/// The processes that `swarmd` has started.
fn children(swarmd: &Running) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", swarmd.pid())).unwrap();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let all: Vec<String> = tasks.map(|task| of(task.unwrap())).collect();
    all.iter().flat_map(|pids| pids.split_whitespace()).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn one_may_be_idle_for_longer_than_there_is_time() {
    let place = Place::new();
    let section = place.section("batch", "batch", "workers = { min = 0, max = 1, idle = '400000000000y' }");
    let (_swarmd, controller) = place.with(&[section]).await;
    let first = pid(&controller, "batch").await;
    assert_eq!(pid(&controller, "batch").await, first);
}
