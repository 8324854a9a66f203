//! What the source says after `Done`: which files it could not remove, how many it did, and where its time went.

use std::sync::atomic::Ordering::Relaxed;

use tokio::time::timeout;

use super::Shared;
use crate::{
    channel::{FrameError, FrameReceiver},
    sync::{SyncError, next_message_or_end},
    wire::{status::Status, sync::SourceMessage},
};

/// Waits until the source has closed its side: then it has our last message, and the connection may go. Or for as long as this destination
/// waits at all: closing the connection says as much.
///
/// It is an error not to hear it out where it removes files, because that may not be complete then. Otherwise it changes nothing.
pub(super) async fn hear(
    recv: &mut FrameReceiver,
    connection: &quinn::Connection,
    shared: &Shared,
) -> Result<(), SyncError> {
    let hearing = async {
        tokio::select! {
            heard = listen(recv, shared) => heard,
            cause = connection.closed() => Err(FrameError::Connection(cause).into()),
        }
    };
    if !shared.options.remove_source || shared.options.dry_run {
        let _heard = timeout(shared.landing.destination().farewell_time, hearing).await;
        return Ok(());
    }
    match hearing.await {
        // A controller goes as soon as it has said all.
        Err(err) if err.is_goodbye() => Ok(()),
        heard => heard,
    }
}

/// Takes what the source has to say to its end.
pub(super) async fn listen(recv: &mut FrameReceiver, shared: &Shared) -> Result<(), SyncError> {
    loop {
        match next_message_or_end(recv).await? {
            None => return Ok(()),
            Some(SourceMessage::NotRemoved { index, reason }) => not_removed(shared, index, &reason)?,
            Some(SourceMessage::Farewell { files_removed, stages }) => {
                let listed = shared.tally.files_listed.load(Relaxed);
                shared.tally.files_removed.store(files_removed.min(listed), Relaxed);
                shared.tally.take_peer_stages(&stages);
            }
            Some(SourceMessage::Stages(times)) => shared.tally.take_peer_stages(&times),
            Some(SourceMessage::Aborted { status, reason }) => {
                return Err(SyncError::aborted(Status::from(status), &reason));
            }
            // `Failed`, say, of a file that was given up here.
            Some(_) => {}
        }
    }
}

/// The source could not remove a file that is safe here.
pub(super) fn not_removed(shared: &Shared, index: u32, reason: &str) -> Result<(), SyncError> {
    if index >= shared.tree.read().expect("no holder panics").len() {
        return Err(SyncError::Protocol("it names an entry that was not listed"));
    }
    shared.named.failed(&shared.tally, shared.path_of(index), reason);
    Ok(())
}
