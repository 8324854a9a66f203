//! Waits for the list of paths where the source tells it apart from the request: in a push.

use super::Shared;
use crate::{
    channel::FrameReceiver,
    filter::{List, Selection},
    sync::{SyncError, next_message},
    wire::{status::Status, sync::SourceMessage},
};

/// Completes the selection. Every message brings a path at least, so that the list's bounds end the waiting as well.
pub(super) async fn complete(recv: &mut FrameReceiver, shared: &Shared) -> Result<(), SyncError> {
    if !shared.asked.awaits_list() {
        return Ok(());
    }
    let mut list = List::default();
    loop {
        let message = next_message(recv).await?;
        match message {
            SourceMessage::Select(paths) if !paths.is_empty() => list
                .extend(paths)
                .map_err(|_| SyncError::Protocol("its list has something that is no path, or too many"))?,
            SourceMessage::SelectEnd => break,
            SourceMessage::Alive => {}
            SourceMessage::Aborted { status, reason } => {
                return Err(SyncError::aborted(Status::from(status), &reason));
            }
            _ => return Err(SyncError::Protocol("it says something else before its list is complete")),
        }
    }
    let completed = Selection::clone(&shared.asked).listing(list);
    shared.completed.set(completed).expect("nobody else completes it");
    Ok(())
}
