//! Many at once: calls of one controller, controllers at a gateway that is stopped from afar, connections that end with their scope, and many gateways
//! with many controllers.

use super::*;

/// Reads what it is fed for as long as that comes.
fn feeding(living: &watch::Sender<u64>) -> Subroutine {
    let living = living.clone();
    Subroutine::send(move |_: Context, mut input: Input| {
        let alive = Alive::new(&living);
        async move {
            let mut count = 0;
            while let Some(bytes) = input.next().await? {
                count += integer(bytes.len());
            }
            drop(alive);
            Ok::<_, Failure>(count)
        }
    })
}

/// Gives zeros for as long as they are wanted.
fn zeros(living: &watch::Sender<u64>) -> Subroutine {
    let living = living.clone();
    Subroutine::stream(move |_: Context, (): ()| {
        let alive = Alive::new(&living);
        async move {
            let items = stream::unfold((0, alive), async |(ident, alive)| {
                // Whoever polls this without end leaves nothing to others.
                tokio::task::yield_now().await;
                Some((Ok((ident, Bytes::from_static(&[0]))), (ident + 1, alive)))
            });
            Ok::<_, Failure>(items)
        }
    })
}

/// Until a program writes no more, which is never.
fn endless() -> impl AsyncRead + Unpin {
    tokio::io::repeat(7)
}

/// Story: all results of a controller's calls were in its memory before the first was given.
#[test]
fn one_call_that_is_held_holds_those_that_follow_and_no_results_gather() {
    const WIDTH: usize = 4;
    let (subroutines, begun, ended) = (Subroutines::new(), watch::Sender::new(0), watch::Sender::new(0));
    let release = watch::Sender::new(false);
    let (beginning, ending, holding) = (begun.clone(), ended.clone(), release.clone());
    let held = move |_: Context, args: Args| {
        let (begun, ended, mut released) = (beginning.clone(), ending.clone(), holding.subscribe());
        async move {
            begun.send_modify(|count| *count += 1);
            if args.bytes().is_empty() {
                released.wait_for(|&is| is).await.map(drop)?;
            }
            ended.send_modify(|count| *count += 1);
            Ok::<_, Failure>(args.bytes().clone())
        }
    };
    subroutines.register("held", Subroutine::batch(held)).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        let swarm = controller.swarm(WIDTH);
        let arguments = (0..40_u8).map(|number| Payload::raw(vec![number; usize::from(number)]));
        let calls = swarm.calls("held", arguments, OPTIONS).collect::<Vec<_>>();
        let looking = async {
            ended.subscribe().wait_for(|&count| count == WIDTH - 1).await.map(drop).unwrap();
            // Further calls would be at the gateway before these.
            for _ in 0..20 {
                works(&controller).await;
            }
            assert_eq!(*begun.borrow(), WIDTH);
            release.send_replace(true);
        };
        let (replies, ()) = tokio::join!(calls, looking);
        assert!(replies.iter().map(|(_, reply)| reply.as_ref().unwrap().id).eq(1..=40));
        assert!(replies.iter().all(|(place, reply)| reply.as_ref().unwrap().bytes.len() == *place));
    });
}

async fn told(what: &str, ending: impl Future<Output = RequestError>) -> RequestError {
    tokio::time::timeout(Duration::from_secs(30), ending).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

#[test]
fn a_gateway_that_is_stopped_from_afar_tells_every_caller_and_nobody_hangs() {
    let (subroutines, living) = (Subroutines::new(), watch::Sender::new(0));
    subroutines.register("forever", forever(&living)).unwrap();
    subroutines.register("zeros", zeros(&living)).unwrap();
    subroutines.register("feeding", feeding(&living)).unwrap();
    let world = World::start_with(|options| options.subroutines = subroutines.clone());
    let homes = ["call", "call", "call", "call", "admin"].map(|allow| world.joined(allow));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connecting = homes.iter().map(connected);
        let controllers: Vec<_> = futures_util::future::join_all(connecting).await;
        let [batch, streamer, send, idle, admin] = &controllers[..] else { panic!("five") };
        assert!(idle.is_running());
        let all_begun = async { living.subscribe().wait_for(|&count| count == 3).await.map(drop).unwrap() };
        let streaming = async {
            let mut items = streamer.stream("zeros", (), OPTIONS).await.unwrap();
            loop {
                match items.next().await {
                    Ok(item) => drop(item.unwrap()),
                    Err(err) => break err,
                }
            }
        };
        let stopping = async {
            all_begun.await;
            admin.stop().await.unwrap();
        };
        let calling = async { batch.call("forever", (), OPTIONS).await.unwrap_err() };
        let sending = async { send.send("feeding", endless(), OPTIONS).await.unwrap_err() };
        tokio::join!(
            stopping,
            told("the batch", calling),
            told("the stream", streaming),
            told("the send", sending),
            told("the idle one", idle.closed()),
        );
        for controller in [batch, streamer, send, idle] {
            assert!(!controller.is_running());
            told("a further call", async { controller.call("forever", (), OPTIONS).await.unwrap_err() })
                .await;
        }
    });
    world.join();
    assert_eq!(*living.borrow(), 0);
}

#[test]
fn with_its_scope_a_connection_ends_and_all_that_it_had_running() {
    let (subroutines, living) = (Subroutines::new(), watch::Sender::new(0));
    subroutines.register("zeros", zeros(&living)).unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |outer, world| {
        let home = world.joined("call");
        {
            let controller = connected(&home).await;
            let mut items = controller.stream("zeros", (), OPTIONS).await.unwrap();
            items.next().await.unwrap().unwrap();
            assert_eq!(world.metric("swarmwire_connections_open"), 2.0);
        }
        none_lives(&living).await;
        world.wait_for("swarmwire_connections_open", Duration::from_secs(20), |open| open == 1.0);
        works(&outer).await;
    });
}

#[test]
fn many_gateways_serve_many_controllers() {
    const MANY: usize = 3;
    let worlds: Vec<_> = (0..MANY)
        .map(|gateway| {
            let subroutines = Subroutines::new();
            let who = move |_: Context, caller: Args| {
                let reply = format!("{gateway}: {}", String::from_utf8_lossy(caller.bytes()));
                async move { Ok::<_, Failure>(reply) }
            };
            subroutines.register("who", Subroutine::batch(who)).unwrap();
            let count = move |_: Context, caller: Args| async move {
                let items = (0..100).map(move |at| Ok((at + integer(gateway), caller.bytes().clone())));
                Ok::<_, Failure>(stream::iter(items))
            };
            subroutines.register("count", Subroutine::stream(count)).unwrap();
            let take = move |_: Context, mut input: Input| async move {
                Ok::<_, Failure>(integer(input.read_to_end(1 << 20).await?.len() * MANY + gateway))
            };
            subroutines.register("take", Subroutine::send(take)).unwrap();
            World::start_with(|options| options.subroutines = subroutines.clone())
        })
        .collect();
    let homes: Vec<Vec<_>> =
        worlds.iter().map(|world| (0..MANY).map(|_| world.joined("call")).collect()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let meet = async |gateway: usize, controller: usize| {
            let connection = connected(&homes[gateway][controller]).await;
            let name = format!("controller {controller}");
            let calling = connection.call("who", Payload::raw(name.clone()), OPTIONS);
            let streaming = async {
                let items = connection.stream("count", Payload::raw(name.clone()), OPTIONS).await.unwrap();
                items.into_stream().map(Result::unwrap).collect::<Vec<_>>().await
            };
            let buffer = vec![7; 1000 + controller];
            let sending = connection.send("take", &*buffer, OPTIONS);
            let (reply, items, taken) = tokio::join!(calling, streaming, sending);
            assert_eq!(reply.unwrap(), format!("{gateway}: {name}"));
            let wanted = (0..100).map(|at| (at + integer(gateway), Bytes::from(name.clone())));
            assert_eq!(items, wanted.collect::<Vec<_>>());
            assert_eq!(taken.unwrap(), integer((1000 + controller) * MANY + gateway));
        };
        let pairs = (0..MANY * MANY).map(|pair| meet(pair / MANY, pair % MANY));
        futures_util::future::join_all(pairs).await;
    });
}
