//! How calls end that do not end well, and that the next one on the same connection does.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use swarmwire_client::controller::calling::{CallOptions, Payload};
use swarmwire_common::{limits, value::Arguments, wire::status::Status};
use swarmwire_server::subroutines::{Context, Failure, Input, Reply, Subroutine, Subroutines};
use tokio::sync::watch;

use super::{
    Alive, OPTIONS, connected, count_to, echo, forever, none_lives, status, sum, with_gateway, with_grant,
    works,
};
use crate::{relay::Relay, world::World};

/// Gives two parts.
fn panics_in_parts() -> Subroutine {
    Subroutine::batch(async |_: Context, ()| {
        let part = |at: usize| if at < 2 { Ok::<_, Failure>(Bytes::new()) } else { panic!("at part {at}") };
        Ok::<_, Failure>(Reply::parts(stream::iter(0..).map(part)))
    })
}

#[test]
fn what_cannot_be_called_is_told_and_the_next_call_works() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    subroutines.register("sum", sum()).unwrap();
    subroutines.register("count", count_to(&living)).unwrap();
    subroutines.register("echo", echo()).unwrap();
    subroutines.register("panic-parts", panics_in_parts()).unwrap();
    subroutines
        .register(
            "fail",
            Subroutine::batch(async |_: Context, (): ()| Err::<Bytes, _>("no film in the camera")),
        )
        .unwrap();
    subroutines
        .register(
            "panic",
            Subroutine::batch(async |_: Context, how: String| {
                assert!(how != "async", "it went wrong: {how}");
                Ok::<_, Failure>(Bytes::new())
            }),
        )
        .unwrap();
    subroutines
        .register(
            "panic-blocking",
            Subroutine::blocking_batch(|_: Context, how: String| -> Result<Bytes, Failure> {
                panic!("it went wrong: {how}")
            }),
        )
        .unwrap();
    subroutines
        .register(
            "much",
            Subroutine::batch(async |_: Context, size: usize| Ok::<_, Failure>(vec![0; size]))
                .max_output(1000),
        )
        .unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let text = |text: &str| Arguments::new().with(text);
        for (name, payload, expected, said) in [
            ("summ", Payload::from(()), Status::NotFound, "no subroutine `summ`; do you mean `sum`?"),
            ("zzz", ().into(), Status::NotFound, "no subroutine `zzz`"),
            ("count", ().into(), Status::Invalid, "`count` is a stream: use `stream` for it"),
            ("sum", text("2").into(), Status::Invalid, "argument mismatch: argument `a`: it is string \"2\""),
            ("sum", Arguments::new().with(2).into(), Status::Invalid, "argument `b` is missing"),
            ("sum", Payload::json(r#"{"a":1,"b":2,"c":3}"#), Status::Invalid, "there is no argument `c`"),
            ("sum", Payload::json("[1"), Status::Invalid, "no JSON"),
            ("sum", Payload::raw("x"), Status::Invalid, "raw bytes were given"),
            ("fail", ().into(), Status::Failed, "no film in the camera"),
            ("panic", text("async").into(), Status::Failed, "panicked: it went wrong: async"),
            ("panic-blocking", text("thread").into(), Status::Failed, "panicked: it went wrong: thread"),
            ("panic-parts", ().into(), Status::Failed, "panicked: at part 2"),
            ("much", Arguments::new().with(1001).into(), Status::TooLarge, "max_output"),
            ("much", Arguments::new().with(1_000_000).into(), Status::TooLarge, "max_output"),
        ] {
            let err = controller.call(name, payload, OPTIONS).await.unwrap_err();
            assert_eq!(status(&err), expected, "{name}: {err}");
            assert!(err.to_string().contains(said), "{name}: {err}");
            works(&controller).await;
        }
        let err = controller.send("sum", &b"x"[..], OPTIONS).await.unwrap_err();
        assert!(err.to_string().contains("`sum` is a batch: use `call` for it"), "{err}");
        works(&controller).await;
    });
}

#[test]
fn items_arrive_as_far_as_a_subroutine_may_give_them() {
    let subroutines = Subroutines::new();
    let lines = Subroutine::stream(async |_: Context, count: i64| {
        let line = |ident| Ok((ident, Bytes::from_static(b"nine byte")));
        Ok::<_, Failure>(stream::iter(0..count).map(line))
    });
    subroutines.register("lines", lines.max_output(99)).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        for (count, arriving) in [(11, 11), (12, 11), (100_000, 11)] {
            let mut items = controller.stream("lines", Arguments::new().with(count), OPTIONS).await.unwrap();
            for ident in 0..arriving {
                assert_eq!(items.next().await.unwrap().unwrap().0, ident);
            }
            match items.next().await {
                Ok(end) => assert!(end.is_none() && count == arriving, "{count}"),
                Err(err) => assert!(status(&err) == Status::TooLarge && count > arriving, "{err}"),
            }
            works(&controller).await;
        }
    });
}

#[test]
fn items_before_an_error_arrive_and_then_the_error_and_no_end() {
    let subroutines = Subroutines::new();
    subroutines
        .register(
            "breaks",
            Subroutine::stream(async |_: Context, after: i64| {
                let item = move |number| {
                    if number == after {
                        Err(Failure::new("the sensor is gone"))
                    } else {
                        Ok((number, Bytes::new()))
                    }
                };
                Ok::<_, Failure>(stream::iter(0..).map(item))
            }),
        )
        .unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        for after in [0, 1, 1000] {
            let mut taken = 0;
            let on_item = |_, _| {
                taken += 1;
                ControlFlow::Continue(())
            };
            let arguments = Arguments::new().with(after);
            let on_end = || panic!("a stream that failed has no end");
            let err = controller.stream_to("breaks", arguments, OPTIONS, on_item, on_end).await.unwrap_err();
            assert_eq!((status(&err), taken), (Status::Failed, after));
            assert!(err.to_string().contains("the sensor is gone"), "{err}");
            works(&controller).await;
        }
    });
}

#[test]
fn a_deadline_ends_a_call_at_both_ends() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    subroutines.register("forever", forever(&living)).unwrap();
    subroutines.register("bounded", forever(&living).timeout(Duration::from_millis(50))).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let soon = CallOptions { deadline: Some(Duration::from_millis(50)), ..OPTIONS };
        for (name, options) in [("forever", soon), ("bounded", OPTIONS)] {
            let err = controller.call(name, (), options).await.unwrap_err();
            assert_eq!(status(&err), Status::Deadline, "{err}");
            none_lives(&living).await;
            works(&controller).await;
        }
    });
}

#[test]
fn a_caller_that_goes_away_ends_its_call() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    subroutines.register("forever", forever(&living)).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, world| {
        let waited =
            tokio::time::timeout(Duration::from_millis(100), controller.call("forever", (), OPTIONS));
        assert!(waited.await.is_err());
        none_lives(&living).await;
        works(&controller).await;
        // With the connection, too.
        let mut begun = living.subscribe();
        tokio::select! {
            _ = controller.call("forever", (), OPTIONS) => panic!("it does not end"),
            begun = begun.wait_for(|&count| count == 1) => drop(begun.unwrap()),
        }
        controller.close().await;
        none_lives(&living).await;
        world.wait_for("swarmwire_handlers_in_use", Duration::from_secs(10), |count| count == 0.0);
    });
}

#[test]
fn one_call_too_many_is_told_busy_at_once_and_may_wait() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    subroutines.register("forever", forever(&living).concurrency(1)).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let mut begun = living.subscribe();
        let first = controller.call("forever", (), OPTIONS);
        let second = async {
            begun.wait_for(|&count| count == 1).await.map(drop).unwrap();
            let err = controller.call("forever", (), OPTIONS).await.unwrap_err();
            assert_eq!(status(&err), Status::Busy);
            assert!(err.to_string().contains("try again in"), "{err}");
            works(&controller).await;
            // What takes its name has no room of its own beside the call that runs.
            subroutines.replace("forever", forever(&living).concurrency(1)).unwrap();
            let err = controller.call("forever", (), OPTIONS).await.unwrap_err();
            assert_eq!(status(&err), Status::Busy);
        };
        tokio::select! {
            _ = first => panic!("it does not end"),
            () = second => {}
        }
        // The first has been dropped: whoever waits gets its place.
        let waiting =
            CallOptions { deadline: Some(Duration::from_millis(1500)), wait: Duration::from_secs(20) };
        let err = controller.call("forever", (), waiting).await.unwrap_err();
        assert_eq!(status(&err), Status::Deadline, "{err}");
    });
}

#[test]
fn an_identity_calls_and_sees_what_it_is_granted() {
    let subroutines = Subroutines::new();
    for name in ["camera-front", "camera-back", "reboot"] {
        subroutines.register(name, echo().taking("anything")).unwrap();
    }
    with_grant("list,call:camera-*", &subroutines, async |controller, _| {
        controller.call("camera-front", (), OPTIONS).await.unwrap();
        let err = controller.call("reboot", (), OPTIONS).await.unwrap_err();
        assert_eq!(status(&err), Status::Denied);
        assert!(err.to_string().contains("`call:reboot`"), "{err}");
        let services = controller.services().await.unwrap();
        let told: Vec<_> = services.iter().map(|it| (&*it.name, it.calls, &*it.arguments)).collect();
        assert_eq!(told, [("camera-back", 0, "anything"), ("camera-front", 1, "anything")]);
    });
    with_grant("list", &subroutines, async |controller, _| {
        assert_eq!(status(&controller.call("camera-front", (), OPTIONS).await.unwrap_err()), Status::Denied);
        assert_eq!(controller.services().await.unwrap(), []);
    });
}

/// Before it was said that the call goes on, which takes longer than these have.
#[test]
fn what_had_come_of_a_batch_is_given_before_its_failure() {
    let subroutines = Subroutines::new();
    let piece = |text: &'static str| Ok::<_, Failure>(Bytes::from(text));
    let batch = move |how: &'static str| {
        Subroutine::batch(move |_: Context, (): ()| {
            let first = stream::iter(["one ", "two"].map(piece));
            let then = stream::once(async move {
                if how == "wait" {
                    std::future::pending::<()>().await;
                }
                Err(Failure::new("no film"))
            });
            std::future::ready(Ok::<_, Failure>(Reply::parts(first.chain(then))))
        })
    };
    subroutines.register("fail", batch("fail")).unwrap();
    subroutines.register("late", batch("wait").timeout(Duration::from_millis(100))).unwrap();
    subroutines.register("much", batch("wait").max_output(6)).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        for (name, given, expected) in [
            ("fail", "one two", Status::Failed),
            ("late", "one two", Status::Deadline),
            ("much", "one tw", Status::TooLarge),
        ] {
            let mut batch = controller.batch(name, (), OPTIONS).await.unwrap();
            assert_eq!(batch.next().await.unwrap().unwrap(), given);
            assert_eq!(status(&batch.next().await.unwrap_err()), expected);
            works(&controller).await;
        }
    });
}

#[test]
fn a_deadline_in_the_middle_of_a_frame_is_told_and_no_piece_is_another() {
    let subroutines = Subroutines::new();
    subroutines
        .register(
            "endless",
            Subroutine::batch(async |_: Context, (): ()| {
                let piece = |()| Ok::<_, Failure>(Bytes::from(vec![7; limits::CALL_FRAME_BYTES_MAX]));
                Ok::<_, Failure>(Reply::parts(stream::repeat(()).map(piece)))
            })
            .timeout(Duration::from_millis(200)),
        )
        .unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, world| {
        let mut batch = controller.batch("endless", (), OPTIONS).await.unwrap();
        // Nobody reads until the window is full and the deadline is over.
        let series = r#"swarmwire_calls_total{name="endless",status="deadline"}"#;
        while world.metric_if(series) != Some(1.0) {
            works(&controller).await;
        }
        let err = loop {
            match batch.next().await {
                Ok(piece) => assert!(piece.unwrap().iter().all(|&byte| byte == 7)),
                Err(err) => break err,
            }
        };
        assert_eq!(status(&err), Status::Deadline, "{err}");
        works(&controller).await;
    });
}

#[test]
fn arguments_go_on_their_way_after_the_call_was_said_to_go_on() {
    let subroutines = Subroutines::new();
    subroutines.register("echo", echo()).unwrap();
    let world = World::start_with(|options| options.subroutines = subroutines.clone());
    let home = world.joined("call");
    let relay = Relay::start(world.address, 4 << 20);
    home.pin("gw", relay.address, world.fingerprint);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let controller = connected(&home).await;
        let sent: Bytes = vec![5; 12 << 20].into();
        let reopened = async {
            // A part is there; the gateway is heard to say that the call goes on, and only then the rest gets through.
            let relay = &relay;
            while !relay.is_shut() {
                tokio::task::yield_now().await;
            }
            relay.open_back();
            tokio::time::sleep(limits::CALL_REPLY_DELAY * 2).await;
            relay.open_to(world.address);
        };
        let (back, ()) = tokio::join!(controller.call("echo", Payload::raw(sent.clone()), OPTIONS), reopened);
        assert!(back.unwrap() == sent);
    });
}

#[test]
fn a_gateway_that_ends_gives_the_answer_of_what_runs() {
    let subroutines = Subroutines::new();
    let begun = watch::Sender::new(false);
    let telling = begun.clone();
    subroutines
        .register(
            "large",
            Subroutine::blocking_batch(move |_: Context, (): ()| {
                telling.send_replace(true);
                std::thread::sleep(Duration::from_millis(300));
                Ok::<_, Failure>(vec![3; 20_000])
            }),
        )
        .unwrap();
    let world = World::start_with(|options| {
        options.subroutines = subroutines.clone();
        options.drain = Duration::from_secs(20);
    });
    let home = world.joined("call");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let controller = connected(&home).await;
        let ending = async {
            begun.subscribe().wait_for(|&begun| begun).await.map(drop).unwrap();
            world.ask_to_stop();
        };
        let (reply, ()) = tokio::join!(controller.call("large", (), OPTIONS), ending);
        assert_eq!(reply.unwrap().len(), 20_000);
    });
}

#[test]
fn a_blocking_reader_of_an_endless_buffer_ends_with_its_call() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    let counting = living.clone();
    subroutines
        .register(
            "swallow",
            Subroutine::blocking_send(move |_: Context, mut input: Input| {
                let _alive = Alive::new(&counting);
                std::io::copy(&mut input, &mut std::io::sink())?;
                Ok::<_, Failure>(0)
            })
            .timeout(Duration::from_millis(200)),
        )
        .unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, world| {
        let err = controller.send("swallow", tokio::io::repeat(1), OPTIONS).await.unwrap_err();
        assert_eq!(status(&err), Status::Deadline, "{err}");
        none_lives(&living).await;
        world.wait_for("swarmwire_handlers_in_use", Duration::from_secs(10), |count| count == 0.0);
        works(&controller).await;
    });
}

#[test]
fn names_and_arguments_beyond_their_bounds_are_refused() {
    let subroutines = Subroutines::new();
    subroutines.register("sum", sum()).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let err = controller.call(&"n".repeat(60_000), (), OPTIONS).await.unwrap_err();
        assert!(status(&err) == Status::NotFound && err.to_string().len() < 200, "{err}");
        works(&controller).await;
        let long = format!("[{}1]", " ".repeat(limits::CONTROL_FRAME_BYTES_MAX));
        let err = controller.call("sum", Payload::json(long), OPTIONS).await.unwrap_err();
        assert_eq!(status(&err), Status::TooLarge, "{err}");
        works(&controller).await;
    });
}
