//! `offload`: how full a directory's file system is, and the right to be the only one who moves files away from it, or to it. Needs `list`, to hold it as a
//! source also `delete`; to hold it as a destination only `push`.
//!
//! The moving is done by `list` and `sync`. Here nothing is changed; what was removed is only waited for, so that the next answer shows it.

use std::{io, iter::successors, sync::Arc};

use swarmwire_common::{
    channel::{Channel, FrameError, FrameSender},
    limits,
    path::RelPath,
    root::{Dir, EntryType, Root, Space, describe},
    sync::PlaceError,
    wire::{
        offload::{HoldAs, OffloadAsk, OffloadMessage, OffloadRequest, Space as WireSpace},
        status::Status,
    },
};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{BUSY_RETRY_AFTER, Request, status_at_end, status_of};
use crate::{
    connection::Session,
    grants::Operation,
    holds::{Held, Hold, Holder, Place, Role},
    opening::Refusal,
};

/// What a connection is told that loses its hold.
const OVERTAKEN: &str = "another process with this identity offloads the same directory";

pub(super) async fn serve(mut request: Request) -> Status {
    let (role, path) = match granted(&request) {
        Ok(granted) => granted,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let place = role.map(|role| Place { path: path.clone(), role });
    let hold = match take(&request.session, place.as_ref()).await {
        Ok(hold) => hold,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let root = Arc::clone(&request.gateway().root);
    let opened = spawn_blocking(move || open(&root, &path, role));
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
    let status = match place.zip(hold) {
        // Who only looks has the answer, and keeps no handler.
        None => Status::Ok,
        Some((place, hold)) => held((&session, &mut channel), (Arc::new(dir), &place), hold).await,
    };
    drop(handler);
    if status == Status::Ok {
        let finished = timeout(limits::REPLY_TIMEOUT, crate::opening::finish(&mut channel)).await;
        return if finished.is_ok() { Status::Ok } else { Status::Timeout };
    }
    channel.send.reset(status);
    status
}

/// Serves who holds a directory, until that ends.
async fn held(
    (session, channel): (&Session, &mut Channel),
    (dir, place): (Arc<Dir>, &Place),
    mut hold: Hold,
) -> Status {
    let Place { path, role } = place;
    tracing::info!(peer = session.peer.short(), %path, ?role, "offload begins");
    let answered = tokio::select! {
        answered = answer(channel, &dir, (session, place)) => answered,
        () = hold.overtaken() => {
            session.close(Status::Busy, OVERTAKEN);
            Ok(Status::Busy)
        }
        _ = session.gateway.shutdown.requested() => Ok(Status::ShuttingDown),
    };
    let status = answered.unwrap_or_else(|err| status_at_end(&err));
    tracing::info!(peer = session.peer.short(), %path, ?role, status = status.as_str(), "offload ended");
    status
}

/// What is asked for, once the grant has allowed it.
fn granted(request: &Request) -> Result<(Option<Role>, RelPath), Refusal> {
    let asked: OffloadRequest = request.decode()?;
    let role = match asked.holds {
        HoldAs::Nothing => None,
        HoldAs::Source => Some(Role::Source),
        HoldAs::Destination => Some(Role::Destination),
    };
    let path =
        RelPath::from_wire(asked.path).map_err(|err| Refusal::new(Status::Invalid, err.to_string()))?;
    for operation in needed(role) {
        request.grant()?.require_at(operation, &path)?;
    }
    Ok((role, path))
}

fn needed(role: Option<Role>) -> &'static [Operation] {
    match role {
        None => &[Operation::List],
        Some(Role::Source) => &[Operation::List, Operation::Delete],
        Some(Role::Destination) => &[Operation::Push],
    }
}

async fn take(session: &Session, place: Option<&Place>) -> Result<Option<Hold>, Refusal> {
    let Some(place) = place else { return Ok(None) };
    let identity = session.peer.fingerprint;
    let holder = Holder { identity, connection: session.id() };
    let Ok(taken) = timeout(limits::TAKE_OVER_TIME_MAX, session.gateway.holds.take(place, holder)).await
    else {
        let detail = format!(
            "what an earlier connection of this identity does at `{}` has not come to its end yet; try again in a moment",
            place.path
        );
        return Err(Refusal::busy(detail, BUSY_RETRY_AFTER));
    };
    taken.map(Some).map_err(|Held { place: Place { path, role }, identity: holder }| {
        let who = if holder == identity {
            "this identity".to_owned()
        } else {
            format!("the identity {}", holder.to_string().chars().take(16).collect::<String>())
        };
        let detail = match role {
            Role::Source => format!("`{path}` is being offloaded by {who}; try again when that has ended"),
            Role::Destination => {
                format!("files are being offloaded to `{path}` by {who}; try again when that has ended")
            }
        };
        // Nobody knows when that is.
        Refusal::new(Status::Busy, detail)
    })
}

/// The directory, and the space of its file system. The one of a source is locked as long as the handle lives.
fn open(root: &Root, path: &RelPath, role: Option<Role>) -> Result<(Dir, Space), Refusal> {
    if root.stat(path).is_ok_and(|stat| stat.entry_type == EntryType::File) {
        return Err(Refusal::new(Status::Conflict, format!("`{path}` is not a directory")));
    }
    let dir = match role {
        None => root.dir(path),
        Some(Role::Source) => own_handle(root, path),
        Some(Role::Destination) => nearest(root, path),
    };
    let dir = dir.map_err(|err| {
        let err = PlaceError::from_io(path, &err);
        Refusal::new(err.status, err.to_string())
    })?;
    match role {
        None => {}
        Some(Role::Source) => {
            check_removable(&dir, path)?;
            lock(&dir, path)?;
        }
        Some(Role::Destination) => check_usable(root, &dir, path)?,
    }
    let space = dir.space().map_err(|err| {
        Refusal::new(Status::Unavailable, format!("the space of `{path}` is not known: {}", describe(&err)))
    })?;
    Ok((dir, space))
}

/// A handle that shares no lock with another one.
fn own_handle(root: &Root, path: &RelPath) -> io::Result<Dir> {
    if path.is_root() { Root::open(root.path()).map(Root::into_top) } else { root.dir(path) }
}

/// The directory, or, if it is still to be made, the nearest one above it.
fn nearest(root: &Root, path: &RelPath) -> io::Result<Dir> {
    let is_there =
        |found: &io::Result<Dir>| !matches!(found, Err(err) if err.kind() == io::ErrorKind::NotFound);
    let upwards = successors(Some(path.clone()), |path| path.split_last().map(|(parent, _)| parent));
    let mut found = upwards.map(|path| root.dir(&path));
    found.find(is_there).unwrap_or_else(|| root.top().try_clone())
}

/// That a directory cannot be written to says nothing of those that are in it, unless the whole file system cannot.
fn check_usable(root: &Root, dir: &Dir, path: &RelPath) -> Result<(), Refusal> {
    let has_more =
        || root.dir(path).and_then(|dir| dir.directory_names()).is_ok_and(|names| !names.is_empty());
    match dir.check_writable() {
        Err(err)
            if err.kind() == io::ErrorKind::ReadOnlyFilesystem
                || err.kind() == io::ErrorKind::PermissionDenied && !has_more() =>
        {
            let detail = format!("`{path}` cannot be written to: {}", describe(&err));
            Err(Refusal::new(Status::Unavailable, detail))
        }
        _ => Ok(()),
    }
}

/// The same of what is to be removed.
fn check_removable(dir: &Dir, path: &RelPath) -> Result<(), Refusal> {
    match dir.check_writable() {
        Err(err) if err.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let detail = format!("nothing can be removed from `{path}`: {}", describe(&err));
            Err(Refusal::new(Status::Unavailable, detail))
        }
        _ => Ok(()),
    }
}

/// Keeps away a process of this machine that offloads the very same directory without a gateway, by the lock that it has alone. Those of directories above and
/// below are left to it: their shared locks are also those of processes that move files to a directory, which are no obstacle.
fn lock(dir: &Dir, path: &RelPath) -> Result<(), Refusal> {
    match dir.try_lock_shared() {
        Ok(true) => Ok(()),
        Ok(false) => {
            let by = "another process on the gateway's machine, or another one moves files to it";
            let detail = format!("`{path}` is being offloaded by {by}; try again when that has ended");
            Err(Refusal::new(Status::Busy, detail))
        }
        Err(err) => {
            tracing::debug!(%err, %path, "a directory cannot be locked");
            Ok(())
        }
    }
}

/// Answers, as long as the directory is held, until the controller ends its half.
async fn answer(
    channel: &mut Channel,
    dir: &Arc<Dir>,
    (session, place): (&Session, &Place),
) -> Result<Status, FrameError> {
    let Place { path, role } = place;
    let mut alive = interval(limits::HEARTBEAT_INTERVAL);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = channel.recv.try_recv::<OffloadAsk, { limits::OFFLOAD_FRAME_BYTES_MAX }>().await?;
        let Some(OffloadAsk::Measure) = asked else { return Ok(Status::Ok) };
        let is_granted = |grant: &crate::grants::Grant| {
            needed(Some(*role)).iter().all(|operation| grant.require_at(operation, path).is_ok())
        };
        if !session.grant().as_deref().is_some_and(is_granted) {
            return Ok(Status::Denied);
        }
        let (dir, role) = (Arc::clone(dir), *role);
        let mut measuring = spawn_blocking(move || measure(&dir, role));
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
fn measure(dir: &Dir, role: Role) -> io::Result<Space> {
    if role == Role::Source {
        dir.sync_file_system()?;
    }
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
