//! `offload`: how full a directory's file system is, and the right to be the only one who moves files away from it. Needs `list`, and `delete` to hold it.
//!
//! The moving is done by `list` and `sync`. Here nothing is changed; what was removed is only waited for, so that the next answer shows it.

use std::{io, sync::Arc};

use swarmwire_common::{
    channel::{Channel, FrameError, FrameSender},
    limits,
    path::RelPath,
    root::{Dir, EntryType, Root, Space, describe},
    sync::PlaceError,
    wire::{
        offload::{OffloadAsk, OffloadMessage, OffloadRequest, Space as WireSpace},
        status::Status,
    },
};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{BUSY_RETRY_AFTER, Request, status_of};
use crate::{
    connection::Session,
    grants::Operation,
    holds::{Held, Hold},
    opening::Refusal,
};

pub(super) async fn serve(mut request: Request) -> Status {
    let (asked, path) = match granted(&request) {
        Ok(granted) => granted,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let hold = match asked.holds.then(|| take(&request.session, &path)).transpose() {
        Ok(hold) => hold,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let root = Arc::clone(&request.gateway().root);
    let opened = spawn_blocking({
        let path = path.clone();
        move || open(&root, &path)
    });
    let (dir, space) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(refusal)) => return request.refuse(refusal).await,
        Err(err) => {
            tracing::error!(%err, "a directory could not be looked at");
            return request.refuse(Refusal::internal()).await;
        }
    };
    if let Err(err) = request.accept(&to_wire(&space)).await {
        return status_of(&err);
    }
    let Request { session, mut channel, handler, .. } = request;
    let (dir, holds) = (Arc::new(dir), hold.is_some());
    if holds {
        tracing::info!(peer = session.peer.short(), %path, "offload begins");
    }
    let answered = match hold {
        // Who only looks has the answer, and keeps no handler.
        None => Ok(Status::Ok),
        Some(mut hold) => tokio::select! {
            answered = answer(&mut channel, &dir, (&session, &path)) => answered,
            () = hold.lost() => Ok(Status::Busy),
            _ = session.gateway.shutdown.requested() => Ok(Status::ShuttingDown),
        },
    };
    let status = answered.unwrap_or_else(|err| status_of(&err));
    if holds {
        tracing::info!(peer = session.peer.short(), %path, status = status.as_str(), "offload ended");
    }
    drop(handler);
    if status == Status::Ok {
        let finished = timeout(limits::REPLY_TIMEOUT, crate::opening::finish(&mut channel)).await;
        return if finished.is_ok() { Status::Ok } else { Status::Timeout };
    }
    channel.send.reset(status);
    status
}

/// What is asked for, once the grant has allowed it.
fn granted(request: &Request) -> Result<(OffloadRequest, RelPath), Refusal> {
    let asked: OffloadRequest = request.decode()?;
    let path = RelPath::from_wire(asked.path.clone())
        .map_err(|err| Refusal::new(Status::Invalid, err.to_string()))?;
    for operation in needed(asked.holds) {
        request.grant()?.require_at(operation, &path)?;
    }
    Ok((asked, path))
}

fn needed(holds: bool) -> &'static [Operation] {
    if holds { &[Operation::List, Operation::Delete] } else { &[Operation::List] }
}

fn take(session: &Session, path: &RelPath) -> Result<Hold, Refusal> {
    session.gateway.holds.take(path, session.peer.fingerprint).map_err(|Held { path, holder }| {
        let who = if holder == session.peer.fingerprint {
            "this identity".to_owned()
        } else {
            format!("the identity {}", holder.to_string().chars().take(16).collect::<String>())
        };
        let detail = format!("`{path}` is being offloaded by {who}; try again when that has ended");
        Refusal::busy(detail, BUSY_RETRY_AFTER)
    })
}

fn open(root: &Root, path: &RelPath) -> Result<(Dir, Space), Refusal> {
    let place = |err: &io::Error| {
        let err = PlaceError::from_io(path, err);
        Refusal::new(err.status, err.to_string())
    };
    if root.stat(path).map_err(|err| place(&err))?.entry_type == EntryType::File {
        return Err(Refusal::new(Status::Conflict, format!("`{path}` is not a directory")));
    }
    let dir = root.dir(path).map_err(|err| place(&err))?;
    let space = dir.space().map_err(|err| {
        Refusal::new(Status::Unavailable, format!("the space of `{path}` is not known: {}", describe(&err)))
    })?;
    Ok((dir, space))
}

/// Answers, as long as the directory is held, until the controller ends its half.
async fn answer(
    channel: &mut Channel,
    dir: &Arc<Dir>,
    (session, path): (&Session, &RelPath),
) -> Result<Status, FrameError> {
    let mut alive = interval(limits::HEARTBEAT_INTERVAL);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = channel.recv.try_recv::<OffloadAsk, { limits::OFFLOAD_FRAME_BYTES_MAX }>().await?;
        let Some(OffloadAsk::Measure) = asked else { return Ok(Status::Ok) };
        let is_granted = |grant: &crate::grants::Grant| {
            needed(true).iter().all(|operation| grant.require_at(operation, path).is_ok())
        };
        if !session.grant().as_deref().is_some_and(is_granted) {
            return Ok(Status::Denied);
        }
        let dir = Arc::clone(dir);
        let mut measuring = spawn_blocking(move || measure(&dir));
        let measured = loop {
            tokio::select! {
                measured = &mut measuring => break measured,
                _ = alive.tick() => say(&mut channel.send, &OffloadMessage::Alive).await?,
            }
        };
        let space = match measured {
            Ok(Ok(space)) => space,
            Ok(Err(err)) => {
                tracing::warn!(%err, %path, "how full a file system is cannot be found out");
                return Ok(Status::Unavailable);
            }
            Err(err) => {
                tracing::error!(%err, "a file system could not be looked at");
                return Ok(Status::Internal);
            }
        };
        say(&mut channel.send, &OffloadMessage::Measured(to_wire(&space))).await?;
    }
}

/// Some file systems give back what was removed with their next transaction, so that is waited for.
fn measure(dir: &Dir) -> io::Result<Space> {
    dir.sync_file_system()?;
    dir.space()
}

/// A peer that reads nothing for a while loses the channel, and the handler is free again.
async fn say(send: &mut FrameSender, message: &OffloadMessage) -> Result<(), FrameError> {
    timeout(limits::SYNC_SILENCE_MAX, send.send(message)).await.map_err(|_| FrameError::Silent)?
}

fn to_wire(space: &Space) -> WireSpace {
    let Space { total, used, available, block } = *space;
    WireSpace { total, used, available, block: u32::try_from(block).unwrap_or(u32::MAX) }
}
