//! The changes of a sync, told as they happen where `itemize` asks for it: to this side's edge at once, to the source in messages.
//!
//! A file is told when it has its name, everything else when it is begun. In a dry run all is told when it is planned.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use super::Shared;
use crate::{
    limits,
    path::RelPath,
    sync::{Event, Events},
    wire::{
        change::{Change, Item, Subject},
        sync::DestinationMessage,
    },
};

/// Bytes of an item beside its path.
const ITEM_BYTES: usize = 16;

/// What is to be told, now or later.
#[derive(Debug, Default)]
pub(super) struct Items {
    events: Option<Events>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Wanted files, until they have their names.
    wanted: HashMap<u32, Change>,
    /// What the source has not been told yet, and its bytes on the wire.
    untold: Vec<Item>,
    untold_bytes: usize,
}

impl Items {
    pub(super) fn new(events: Option<Events>) -> Self {
        Self { events, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// The planner has decided what becomes of a listed entry.
pub(super) fn planned(shared: &Shared, index: u32, change: Option<Change>) {
    let Some(change) = change.filter(|_| shared.options.itemize) else { return };
    let is_wanted = matches!(change, Change::Create | Change::Update(_));
    if is_wanted && !shared.options.dry_run {
        shared.items.state().wanted.insert(index, change);
        return;
    }
    tell(shared, Subject::Listed(index), shared.path_of(index), change);
}

/// A wanted file has its name.
pub(super) fn committed(shared: &Shared, index: u32) {
    if !shared.options.itemize {
        return;
    }
    let change = shared.items.state().wanted.remove(&index);
    if let Some(change) = change {
        tell(shared, Subject::Listed(index), shared.path_of(index), change);
    }
}

/// A wanted file turned out to be what is here; `has_changed` tells whether its mode or time were set.
pub(super) fn kept(shared: &Shared, index: u32, has_changed: bool) {
    if shared.options.itemize && shared.items.state().wanted.remove(&index).is_some() && has_changed {
        tell(shared, Subject::Listed(index), shared.path_of(index), Change::Metadata);
    }
}

/// Something that the source does not have is gone.
pub(super) fn deleted(shared: &Shared, path: &RelPath) {
    if shared.options.itemize {
        tell(shared, Subject::Extraneous(path.as_bytes().to_vec()), path.clone(), Change::Delete);
    }
}

/// Tells the source what it has not been told yet. Blocks while the control stream is behind.
pub(super) fn flush(shared: &Shared) {
    let untold = {
        let mut state = shared.items.state();
        state.untold_bytes = 0;
        std::mem::take(&mut state.untold)
    };
    if !untold.is_empty() {
        // A closed channel means that the sync has ended, and then nobody waits for this.
        let _ended = shared.control.send_blocking(DestinationMessage::Items(untold));
    }
}

fn tell(shared: &Shared, subject: Subject, path: RelPath, change: Change) {
    let is_full = {
        let mut state = shared.items.state();
        state.untold_bytes +=
            ITEM_BYTES + if let Subject::Extraneous(path) = &subject { path.len() } else { 0 };
        state.untold.push(Item { subject, change });
        state.untold_bytes >= limits::LISTING_BLOCK_BYTES_TARGET
    };
    if let Some(events) = &shared.items.events {
        events.tell_blocking(Event { path, change });
    }
    if is_full {
        flush(shared);
    }
}
