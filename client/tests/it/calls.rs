//! Subroutines through the library: the three kinds, their ends, and what must not happen.

mod ends;
mod leaks;
mod places;
mod slow;
mod swarms;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use swarmwire_client::{
    ConnectOptions, Controller, Home, RequestError, blocking,
    controller::calling::{CallOptions, Payload},
};
use swarmwire_common::{value::Arguments, wire::status::Status};
use swarmwire_server::subroutines::{Args, Context, Failure, Input, Reply, Subroutine, Subroutines};
use tokio::{io::AsyncRead, sync::watch};

use crate::world::{ControllerHome, World, now};

const OPTIONS: CallOptions = CallOptions { deadline: None, wait: Duration::ZERO };

/// A gateway with these subroutines and a controller that may call them, in a runtime of the test's.
fn with_gateway(subroutines: &Subroutines, test: impl AsyncFnOnce(Controller, &World)) {
    with_grant("call", subroutines, test);
}

fn with_grant(allow: &str, subroutines: &Subroutines, test: impl AsyncFnOnce(Controller, &World)) {
    let world = World::start_with(|options| {
        options.subroutines = subroutines.clone();
        options.metrics = Some(([127, 0, 0, 1], 0).into());
    });
    let home = world.joined(allow);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let controller = connected(&home).await;
        test(controller, &world).await;
    });
}

async fn connected(home: &ControllerHome) -> Controller {
    let home = Home::open(&home.path()).unwrap();
    let gateways = home.gateways().unwrap();
    let (_, target) = gateways.iter().next().unwrap();
    let identity = home.identity(now()).unwrap();
    Controller::connect(target, &identity, ConnectOptions::default()).await.unwrap()
}

fn status(err: &RequestError) -> Status {
    err.status().unwrap_or_else(|| panic!("{err} has no status"))
}

/// Content that tells where it belongs.
fn low_byte(number: impl TryInto<u64, Error: std::fmt::Debug>) -> u8 {
    number.try_into().unwrap().to_le_bytes()[0]
}

fn integer(count: impl TryInto<i64, Error: std::fmt::Debug>) -> i64 {
    count.try_into().unwrap()
}

/// A call that always works, to see that the connection does.
fn echo() -> Subroutine {
    Subroutine::batch(async |_: Context, args: Args| Ok::<_, Failure>(args.bytes().clone()))
}

async fn works(controller: &Controller) {
    let back = controller.call("echo", Payload::raw("still there"), OPTIONS).await.unwrap();
    assert_eq!(back, "still there");
}

/// Counts those that live.
struct Alive(watch::Sender<u64>);

impl Alive {
    fn new(living: &watch::Sender<u64>) -> Self {
        living.send_modify(|count| *count += 1);
        Self(living.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn none_lives(living: &watch::Sender<u64>) {
    let waiting = async { living.subscribe().wait_for(|&count| count == 0).await.map(drop) };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it lives on").unwrap();
}

/// Never ends by itself.
fn forever(living: &watch::Sender<u64>) -> Subroutine {
    let living = living.clone();
    Subroutine::batch(move |_: Context, (): ()| {
        let alive = Alive::new(&living);
        async move {
            std::future::pending::<()>().await;
            drop(alive);
            Ok::<_, Failure>(Bytes::new())
        }
    })
}

#[derive(Deserialize)]
struct Sum {
    a: i64,
    b: i64,
    #[serde(default)]
    times: Option<u32>,
}

fn sum() -> Subroutine {
    Subroutine::batch(async |_: Context, Sum { a, b, times }: Sum| {
        Ok::<_, Failure>(((a + b) * i64::from(times.unwrap_or(1))).to_string())
    })
}

#[test]
fn a_batch_takes_arguments_by_position_and_name_in_every_codec_and_its_ids_grow() {
    let subroutines = Subroutines::new();
    subroutines.register("sum", sum()).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, world| {
        for (number, payload) in [
            Payload::from(Arguments::new().with(2_i64).with(3_i64)),
            Arguments::new().with(2_u8).with_named("b", 3_i32).into(),
            Payload::json("[2, 3]"),
            Payload::json(r#"{"b": 3, "a": 2, "times": null}"#),
            Payload::json(r#"{"args": [2], "kwargs": {"b": 3}}"#),
        ]
        .into_iter()
        .enumerate()
        {
            let reply = controller.call_batch("sum", payload, OPTIONS).await.unwrap();
            assert_eq!((reply.id, &*reply.bytes), (number as u64 + 1, &b"5"[..]));
        }
        for size in [0, 1, 32 * 1024, 32 * 1024 + 1, 3 << 20] {
            let bytes: Bytes = (0..size).map(low_byte).collect();
            let back = controller.call("echo", Payload::raw(bytes.clone()), OPTIONS).await.unwrap();
            assert!(back == bytes, "{size}");
        }
        let series = r#"swarmwire_calls_total{name="sum",status="ok"}"#;
        world.wait_for(series, Duration::from_secs(10), |count| count == 5.0);
    });
}

#[test]
fn a_batch_may_be_made_piece_by_piece_and_may_block() {
    let subroutines = Subroutines::new();
    subroutines
        .register(
            "pieces",
            Subroutine::batch(async |_: Context, count: u32| {
                let piece = |number| Ok::<_, Failure>(Bytes::from(vec![low_byte(number); 100_000]));
                Ok::<_, Failure>(Reply::parts(stream::iter(0..count).map(piece)))
            }),
        )
        .unwrap();
    subroutines
        .register(
            "slow",
            Subroutine::blocking_batch(|_: Context, text: String| {
                std::thread::sleep(Duration::from_millis(1200));
                Ok::<_, Failure>(text)
            }),
        )
        .unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let all = controller.call("pieces", Arguments::new().with(50_u8), OPTIONS).await.unwrap();
        assert_eq!(all.len(), 5_000_000);
        assert!(
            all.chunks(100_000)
                .enumerate()
                .all(|(number, piece)| piece.iter().all(|&b| b == low_byte(number)))
        );
        // Longer than a gateway waits before it says that a call goes on.
        let slow = controller.call("slow", Arguments::new().with("done"), OPTIONS).await.unwrap();
        assert_eq!(slow, "done");
    });
}

/// Story: what came little by little was held for as long as the next came within a second, until the caller gave the gateway up.
#[test]
fn a_batch_that_is_made_little_by_little_is_given_before_its_end() {
    let (subroutines, heard) = (Subroutines::new(), watch::Sender::new(false));
    let hearing = heard.clone();
    let drops = move |_: Context, (): ()| {
        let heard = hearing.subscribe();
        async move {
            let drops = stream::unfold(heard, async |heard| {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let goes_on = !*heard.borrow();
                goes_on.then(|| (Ok::<_, Failure>(Bytes::from_static(b".")), heard))
            });
            Ok::<_, Failure>(Reply::parts(drops))
        }
    };
    subroutines.register("drops", Subroutine::batch(drops)).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let mut batch = controller.batch("drops", (), OPTIONS).await.unwrap();
        assert!(batch.next().await.unwrap().is_some());
        heard.send_replace(true);
        while batch.next().await.unwrap().is_some() {}
    });
}

fn count_to(living: &watch::Sender<u64>) -> Subroutine {
    let living = living.clone();
    Subroutine::stream(move |_: Context, (end, size): (i64, usize)| {
        let alive = Alive::new(&living);
        async move {
            let item = move |number: i64| {
                let _alive = &alive;
                Ok::<_, Failure>((number, Bytes::from(vec![low_byte(number); size])))
            };
            Ok::<_, Failure>(stream::iter(0..end).map(item))
        }
    })
}

fn numbers(end: i64, size: u64) -> Arguments {
    Arguments::new().with(end).with(size)
}

#[test]
fn a_stream_gives_its_items_in_order_to_its_end() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    subroutines.register("count", count_to(&living)).unwrap();
    subroutines
        .register(
            "blocking",
            Subroutine::blocking_stream(|_: Context, end: i64, give: &mut dyn FnMut(i64, Bytes) -> bool| {
                for number in 0..end {
                    assert!(give(number, Bytes::new()), "somebody listens");
                }
                Ok::<_, Failure>(())
            }),
        )
        .unwrap();
    with_gateway(&subroutines, async |controller, _| {
        for (end, size) in [(0, 1), (1, 0), (100_000, 64), (3, 5 << 20)] {
            let mut items = controller.stream("count", numbers(end, size), OPTIONS).await.unwrap();
            let mut next = 0;
            while let Some((ident, bytes)) = items.next().await.unwrap() {
                assert_eq!((ident, bytes.len() as u64), (next, size));
                assert!(bytes.iter().all(|&byte| byte == low_byte(next)));
                next += 1;
            }
            assert_eq!(next, end);
            assert_eq!(items.next().await.unwrap(), None);
        }
        let items = controller.stream("blocking", Arguments::new().with(500_i64), OPTIONS).await.unwrap();
        let idents: Vec<i64> = items.into_stream().map(|item| item.unwrap().0).collect().await;
        assert!(idents.into_iter().eq(0..500));
        none_lives(&living).await;
    });
}

#[test]
fn a_stream_that_is_stopped_ends_at_the_gateway_and_has_no_end() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    subroutines.register("count", count_to(&living)).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, world| {
        for (stop_at, ends) in [(3, 0), (i64::MAX, 1)] {
            let (mut taken, mut ended) = (0, 0);
            let on_item = |_, _| {
                taken += 1;
                if taken == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let end = if ends == 0 { i64::MAX } else { 5 };
            controller.stream_to("count", numbers(end, 64), OPTIONS, on_item, || ended += 1).await.unwrap();
            assert_eq!(ended, ends);
            assert_eq!(taken, if ends == 0 { 3 } else { 5 });
            none_lives(&living).await;
        }
        // One that waits for its next item is ended, too.
        let items = controller.stream("count", numbers(i64::MAX, 64), OPTIONS).await.unwrap();
        drop(items);
        none_lives(&living).await;
        world.wait_for("swarmwire_handlers_in_use", Duration::from_secs(10), |count| count == 0.0);
        works(&controller).await;
    });
}

#[test]
fn a_send_takes_a_buffer_of_any_size() {
    let subroutines = Subroutines::new();
    subroutines
        .register(
            "count",
            Subroutine::send(async |_: Context, mut input: Input| {
                let mut count = 0;
                while let Some(bytes) = input.next().await? {
                    count += integer(bytes.len());
                }
                Ok::<_, Failure>(count)
            }),
        )
        .unwrap();
    subroutines
        .register(
            "blocking",
            Subroutine::blocking_send(|_: Context, mut input: Input| {
                Ok::<_, Failure>(integer(std::io::copy(&mut input, &mut std::io::sink())?))
            }),
        )
        .unwrap();
    subroutines
        .register(
            "first",
            Subroutine::send(async |_: Context, mut input: Input| {
                Ok::<_, Failure>(i64::from(input.next().await?.unwrap()[0]))
            }),
        )
        .unwrap();
    with_gateway(&subroutines, async |controller, _| {
        for size in [0, 1, 32 * 1024, 32 * 1024 + 1, 9 << 20] {
            let buffer = vec![7; size];
            for name in ["count", "blocking"] {
                let count = controller.send(name, &*buffer, OPTIONS).await.unwrap();
                assert_eq!(count, integer(size), "{name}");
            }
            let waiting = CallOptions { wait: Duration::from_secs(5), ..OPTIONS };
            assert_eq!(controller.send("count", &*buffer, waiting).await.unwrap(), integer(size));
        }
        // One that has seen enough answers at once.
        let endless = tokio::io::repeat(5);
        assert_eq!(controller.send("first", endless, OPTIONS).await.unwrap(), 5);
    });
}

#[test]
fn a_buffer_that_breaks_off_is_not_taken_for_all_of_it() {
    let subroutines = Subroutines::new();
    let (told, mut ends) = tokio::sync::mpsc::channel(2);
    subroutines
        .register(
            "collect",
            Subroutine::send(move |_: Context, mut input: Input| {
                let told = told.clone();
                async move {
                    let ended = input.read_to_end(usize::MAX).await.map(|all| all.len());
                    told.send(ended.is_ok()).await.unwrap();
                    Ok::<_, Failure>(0)
                }
            }),
        )
        .unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let (mut feed, buffer) = tokio::io::duplex(1 << 20);
        tokio::io::AsyncWriteExt::write_all(&mut feed, &[1; 200_000]).await.unwrap();
        let sending = controller.send("collect", buffer, OPTIONS);
        // Long enough for what is there to be on its way; whether it is does not matter.
        assert!(tokio::time::timeout(Duration::from_millis(300), sending).await.is_err());
        works(&controller).await;
        assert_ne!(ends.try_recv(), Ok(true), "half of a buffer was taken for all of it");
    });
}

#[test]
fn several_handlers_work_at_a_time_and_results_come_in_order() {
    let subroutines = Subroutines::new();
    let together = Arc::new(tokio::sync::Barrier::new(4));
    subroutines
        .register(
            "meet",
            Subroutine::batch(move |context: Context, (): ()| {
                let together = Arc::clone(&together);
                async move {
                    together.wait().await;
                    Ok::<_, Failure>(context.id().to_string())
                }
            }),
        )
        .unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let replies = controller.swarm(4).call("meet", (), OPTIONS).await;
        let ids: Vec<u64> = replies.iter().map(|reply| reply.as_ref().unwrap().id).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        assert!(replies.iter().all(|reply| reply.as_ref().is_ok_and(|r| r.bytes == r.id.to_string())));
        let swarm = controller.swarm(4);
        let replies: Vec<_> = swarm.calls("meet", (0..12).map(|_| ().into()), OPTIONS).collect().await;
        assert!(replies.into_iter().map(|(_, reply)| reply.unwrap().id).eq(5..=16));
    });
}

#[test]
fn names_come_and_go_while_calls_run() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    subroutines.register("x", forever(&living)).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let mut begun = living.subscribe();
        let changing = async {
            begun.wait_for(|&count| count == 1).await.map(drop).unwrap();
            assert!(subroutines.remove("x"));
            let err = controller.call("x", (), OPTIONS).await.unwrap_err();
            assert_eq!(status(&err), Status::NotFound);
            subroutines.register("x", echo()).unwrap();
            assert_eq!(controller.call_batch("x", Payload::raw("new"), OPTIONS).await.unwrap().id, 1);
            // The first still runs.
            assert_eq!(*living.borrow(), 1);
        };
        tokio::select! {
            _ = controller.call("x", (), OPTIONS) => panic!("it does not end"),
            () = changing => {}
        }
    });
}

#[test]
fn a_program_without_async_calls_streams_and_sends() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    subroutines.register("sum", sum()).unwrap();
    subroutines.register("count", count_to(&living)).unwrap();
    subroutines
        .register(
            "length",
            Subroutine::send(async |_: Context, mut input: Input| {
                Ok::<_, Failure>(integer(input.read_to_end(1 << 20).await?.len()))
            }),
        )
        .unwrap();
    let world = World::start_with(|options| options.subroutines = subroutines.clone());
    let home = world.joined("call");
    let home = Home::open(&home.path()).unwrap();
    let gateways = home.gateways().unwrap();
    let (_, target) = gateways.iter().next().unwrap();
    let identity = home.identity(now()).unwrap();
    let controller = blocking::Controller::connect(target, &identity, ConnectOptions::default()).unwrap();
    let sum = controller.call("sum", Arguments::new().with(2_u8).with(3_u8), OPTIONS).unwrap();
    assert_eq!(sum, "5");
    let items = controller.stream("count", numbers(1000, 1), OPTIONS).unwrap();
    assert!(items.map(|item| item.unwrap().0).eq(0..1000));
    let some = controller.stream("count", numbers(i64::MAX, 1), OPTIONS).unwrap().take(3).count();
    assert_eq!(some, 3);
    assert_eq!(controller.send("length", &[0; 100_000], OPTIONS).unwrap(), 100_000);
    assert_eq!(controller.services().unwrap().len(), 3);
    controller.ping(b"x").unwrap();
}
