//! Back-pressure: who takes nothing holds whoever makes it for him, and nobody else.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use swarmwire_client::{Controller, controller::calling::Payload};
use swarmwire_common::limits;
use swarmwire_server::subroutines::{Context, Failure, Input, Subroutine, Subroutines};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
};

use super::{Alive, OPTIONS, echo, none_lives, with_gateway};

/// What a stream is ahead of a reader that takes nothing, at least.
const FULL_BYTES: u64 = limits::STREAM_WINDOW_BYTES as u64;

/// Moves several MiB in both directions, so that a connection on which nothing is announced any more stands still.
async fn works_at_length(controller: &Controller) {
    let much = Bytes::from(vec![1; 1 << 20]);
    for _ in 0..8 {
        let back = controller.call("echo", Payload::raw(much.clone()), OPTIONS).await.unwrap();
        assert_eq!(back, much);
    }
}

#[test]
fn slow_consumers_hold_their_producers_and_nobody_else() {
    let subroutines = Subroutines::new();
    let made = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&made);
    subroutines
        .register(
            "endless",
            Subroutine::stream(move |_: Context, (): ()| {
                let counter = Arc::clone(&counter);
                async move {
                    let item = move |number| {
                        counter.fetch_add(1024, SeqCst);
                        Ok::<_, Failure>((number, Bytes::from(vec![0; 1024])))
                    };
                    Ok::<_, Failure>(stream::iter(0..i64::MAX).map(item))
                }
            }),
        )
        .unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        // Together they are ahead by much more than what a connection begins with, and by nearly all that it grows to.
        const CONSUMERS: usize = 23;
        let mut slow = Vec::new();
        for _ in 0..CONSUMERS {
            let mut items = controller.stream("endless", (), OPTIONS).await.unwrap();
            assert_eq!(items.next().await.unwrap().unwrap().0, 0);
            slow.push(items);
        }
        // Calls go through meanwhile; once the producer has not gone on between two of them, it waits.
        let mut before = 0;
        loop {
            works_at_length(&controller).await;
            let now = made.load(SeqCst);
            if now == before && now >= (CONSUMERS as u64) * FULL_BYTES {
                break;
            }
            before = now;
        }
        assert!(before < (CONSUMERS as u64) * 2 * FULL_BYTES, "{before} bytes were made for nobody");
        drop(slow);
    });
}

#[test]
fn functions_that_read_nothing_hold_their_senders_and_nobody_else() {
    let subroutines = Subroutines::new();
    let living = watch::Sender::new(0);
    let holding = living.clone();
    subroutines
        .register(
            "deaf",
            Subroutine::send(move |_: Context, input: Input| {
                let alive = Alive::new(&holding);
                async move {
                    std::future::pending::<()>().await;
                    drop((alive, input));
                    Ok::<_, Failure>(0)
                }
            }),
        )
        .unwrap();
    subroutines.register("echo", echo()).unwrap();
    with_gateway(&subroutines, async |controller, _| {
        const SENDERS: usize = 23;
        let sent = AtomicU64::new(0);
        let controller = &controller;
        let sending = (0..SENDERS).map(|_| {
            let buffer = Counted { inner: tokio::io::repeat(1), read: &sent };
            controller.send("deaf", buffer, OPTIONS)
        });
        let working = async {
            let mut before = 0;
            loop {
                works_at_length(controller).await;
                let now = sent.load(SeqCst);
                if now == before && now >= (SENDERS as u64) * FULL_BYTES {
                    return now;
                }
                before = now;
            }
        };
        let sent = tokio::select! {
            _ = futures_util::future::join_all(sending) => unreachable!("nobody reads"),
            sent = working => sent,
        };
        assert!(sent < (SENDERS as u64) * 2 * FULL_BYTES, "{sent} bytes were sent to nobody");
        none_lives(&living).await;
    });
}

/// Counts what is read of it.
struct Counted<'a> {
    inner: tokio::io::Repeat,
    read: &'a AtomicU64,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.read.fetch_add((buffer.filled().len() - before) as u64, SeqCst);
        read
    }
}
