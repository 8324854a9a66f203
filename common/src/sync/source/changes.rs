//! What the destination tells of its changes, passed on to this side's edge.

use super::Shared;
use crate::{
    path::RelPath,
    sync::{Event, SyncError},
    wire::change::{Item, Subject},
};

/// Passes one change on, if somebody listens. Waits for the edge alone, which waits for nobody.
pub(super) async fn pass_on(shared: &Shared, item: Item) -> Result<(), SyncError> {
    let path = match item.subject {
        Subject::Listed(index) if index < shared.tree.read().expect("no holder panics").len() => {
            shared.path_of(index)
        }
        Subject::Listed(_) => return Err(SyncError::Protocol("it names an entry that was not listed")),
        Subject::Extraneous(path) => {
            RelPath::from_wire(path).map_err(|_| SyncError::Protocol("it names an invalid path"))?
        }
    };
    if let Some(events) = &shared.source.events {
        events.tell(Event { path, change: item.change }).await;
    }
    Ok(())
}
