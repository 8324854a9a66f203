//! The list of paths where it is told apart from the request: by the destination in a pull, to it in a push.

use std::sync::Arc;

use super::{Gone, Shared};
use crate::{
    channel::FrameReceiver,
    filter::{List, Selection},
    sync::{SyncError, next_message},
    wire::{
        status::Status,
        sync::{DestinationMessage, SourceMessage},
    },
};

/// Tells the destination the list, unless that is where it is from. Blocks while the control stream is behind.
pub(super) fn tell(shared: &Shared, selection: &Selection) -> Result<(), Gone> {
    let Some(list) = selection.list_apart().filter(|_| !shared.source.selection.awaits_list()) else {
        return Ok(());
    };
    list.portions().try_for_each(|paths| shared.say(SourceMessage::Select(paths)))?;
    shared.say(SourceMessage::SelectEnd)
}

/// The selection with its list. Every message brings a path at least, so that the list's bounds end the waiting as well.
pub(super) async fn complete(
    recv: &mut FrameReceiver,
    selection: &Arc<Selection>,
) -> Result<Arc<Selection>, SyncError> {
    if !selection.awaits_list() {
        return Ok(Arc::clone(selection));
    }
    let mut list = List::default();
    loop {
        let message = next_message(recv).await?;
        match message {
            DestinationMessage::Select(paths) if !paths.is_empty() => list
                .extend(paths)
                .map_err(|_| SyncError::Protocol("its list has something that is no path, or too many"))?,
            DestinationMessage::SelectEnd => break,
            DestinationMessage::Progress(_) => {}
            DestinationMessage::Aborted { status, reason } => {
                return Err(SyncError::aborted(Status::from(status), &reason));
            }
            _ => return Err(SyncError::Protocol("it says something else before its list is complete")),
        }
    }
    Ok(Arc::new(Selection::clone(selection).listing(list)))
}
