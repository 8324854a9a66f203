//! `watch`: what changes at a path, told as it happens, so that a controller can pull it. Needs `pull`.
//!
//! The watching is `swarmwire_common::watch`; here are the grant, the collecting of changes into messages, and the end. A controller
//! that does not read holds one message: what changes meanwhile is collected, within the bound of one watch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use swarmwire_common::{
    channel::{Channel, FrameError, FrameReceiver, FrameSender},
    filter::{List, Selection},
    limits,
    path::RelPath,
    root::Root,
    sync::{PlaceError, Source},
    watch::{End, Pace, Seen, Watch, describe},
    wire::{
        status::Status,
        watch::{WatchMessage, WatchRequest},
    },
};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Request, status_of};
use crate::{connection::Session, grants::Operation, opening::Refusal};

/// How long changes are collected into a message. The controller waits for them to settle; here one message is to hold what an
/// ordinary program does at once.
const PACE: Pace =
    Pace { quiet: Duration::from_millis(20), patience: Duration::from_millis(100), not_before: None };

pub(super) async fn serve(mut request: Request) -> Status {
    let (path, selection) = match granted(&request) {
        Ok(granted) => granted,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let root = Arc::clone(&request.gateway().root);
    let started = spawn_blocking({
        let path = path.clone();
        move || start(root, path, selection)
    });
    let watch = match started.await {
        Ok(Ok(watch)) => watch,
        Ok(Err(refusal)) => return request.refuse(refusal).await,
        Err(err) => {
            tracing::error!(%err, "a watch could not be started");
            return request.refuse(Refusal::internal()).await;
        }
    };
    if let Err(err) = request.accept(&()).await {
        return status_of(&err);
    }
    let Request { session, mut channel, handler, .. } = request;
    tracing::info!(peer = session.peer.short(), %path, "watch begins");
    let start = Instant::now();
    let told = tokio::select! {
        told = tell(&mut channel.send, &watch, || is_granted(&session, &path)) => told,
        () = hang_up(&mut channel.recv) => Ok(Status::Ok),
        _ = session.gateway.shutdown.requested() => Ok(Status::ShuttingDown),
    };
    let status = told.unwrap_or_else(|err| status_of(&err));
    tracing::info!(
        peer = session.peer.short(), %path, status = status.as_str(), seconds = start.elapsed().as_secs_f64(), "watch ended"
    );
    drop((watch, handler));
    end(channel, status).await
}

/// Opens the place as a sync would, and begins to watch it.
fn start(root: Arc<Root>, path: RelPath, selection: Selection) -> Result<Watch, Refusal> {
    let place = |err: PlaceError| Refusal::new(err.status, err.to_string());
    let source = Source::open(root, path, None).and_then(|source| source.selecting(Arc::new(selection)));
    let watch = source.map_err(place)?.watch(Arc::default());
    watch.map_err(|err| Refusal::new(Status::Unavailable, describe(&err)))
}

/// What is asked for, once the grant has allowed it.
fn granted(request: &Request) -> Result<(RelPath, Selection), Refusal> {
    let asked: WatchRequest = request.decode()?;
    let invalid = |reason: String| Refusal::new(Status::Invalid, reason);
    let path = RelPath::from_wire(asked.path).map_err(|err| invalid(err.to_string()))?;
    let selection = Selection::from_wire(asked.selection).map_err(|err| invalid(err.to_string()))?;
    request.grant()?.require_at(&Operation::Pull, &path)?;
    Ok((path, selection))
}

/// Whether the identity may still pull from here: a watch may last for months.
fn is_granted(session: &Session, path: &RelPath) -> bool {
    session.grant().is_some_and(|grant| grant.require_at(&Operation::Pull, path).is_ok())
}

/// Tells what is heard until there is nothing more to tell.
async fn tell(
    send: &mut FrameSender,
    watch: &Watch,
    is_granted: impl Fn() -> bool,
) -> Result<Status, FrameError> {
    let mut alive = interval(limits::HEARTBEAT_INTERVAL);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_ready = false;
    loop {
        let heard = async {
            if is_ready {
                watch.news().next(&PACE).await.map(Some)
            } else {
                watch.news().ready().await.map(|()| None)
            }
        };
        let heard = tokio::select! {
            heard = heard => heard,
            _ = alive.tick() => {
                say(send, &WatchMessage::Alive).await?;
                continue;
            }
        };
        if !is_granted() {
            return Ok(Status::Denied);
        }
        match heard {
            Ok(None) => {
                is_ready = true;
                say(send, &WatchMessage::Ready).await?;
            }
            Ok(Some(seen)) => {
                for paths in portions(seen) {
                    say(send, &WatchMessage::Changed(paths)).await?;
                }
            }
            Err(end) => {
                let last = match end {
                    End::Gone => WatchMessage::Gone,
                    End::Refused(reason) => WatchMessage::Refused { reason },
                };
                say(send, &last).await?;
                return Ok(Status::Ok);
            }
        }
    }
}

/// What was seen, in messages.
fn portions(seen: Seen) -> Vec<Vec<Vec<u8>>> {
    let Seen::Paths(paths) = seen else { return vec![vec![Vec::new()]] };
    let mut list = List::default();
    match paths.into_iter().try_for_each(|path| list.push(path)) {
        Ok(()) => list.portions().collect(),
        // A watch holds fewer than a list.
        Err(_) => vec![vec![Vec::new()]],
    }
}

/// A peer that reads nothing for a while loses the channel, and the handler is free again.
async fn say(send: &mut FrameSender, message: &WatchMessage) -> Result<(), FrameError> {
    timeout(limits::SYNC_SILENCE_MAX, send.send(message)).await.map_err(|_| FrameError::Silent)?
}

/// Waits until the controller has ended its half, in any way. It has nothing to say.
async fn hang_up(recv: &mut FrameReceiver) {
    if let Ok(Some(_)) = recv.try_recv_bytes(0).await {
        tracing::debug!("a controller speaks where nothing is asked");
    }
}

async fn end(mut channel: Channel, status: Status) -> Status {
    if status == Status::Ok {
        let finished = timeout(limits::REPLY_TIMEOUT, crate::opening::finish(&mut channel)).await;
        return if finished.is_ok() { Status::Ok } else { Status::Timeout };
    }
    channel.send.reset(status);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_told_in_portions_and_everything_as_the_top() {
        assert_eq!(portions(Seen::Everything), [[Vec::<u8>::new()]]);
        let path =
            |number: usize| RelPath::parse(format!("{number}/{}", "x".repeat(200)).as_bytes()).unwrap();
        let portions = portions(Seen::Paths((0..1000).map(path).collect()));
        assert!(portions.len() > 1);
        assert_eq!(portions.iter().map(Vec::len).sum::<usize>(), 1000);
    }
}
