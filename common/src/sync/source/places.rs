//! Where entries really are that were reached through a link which was followed.
//!
//! An entry that is in no such place, nor below one, is where its path says, and then nothing is kept of it.

use std::{collections::HashMap, sync::RwLock};

use crate::{
    path::{PathError, RelPath},
    sync::tree::Tree,
};

/// Paths below the top of the sync without a link in them, by the index of the entry.
#[derive(Debug, Default)]
pub(super) struct Places(RwLock<HashMap<u32, RelPath>>);

impl Places {
    pub(super) fn note(&self, index: u32, place: RelPath) {
        self.0.write().expect("no holder panics").insert(index, place);
    }

    /// The place of an entry that is a link itself.
    pub(super) fn of(&self, index: u32) -> Option<RelPath> {
        self.0.read().expect("no holder panics").get(&index).cloned()
    }

    /// The place of any entry.
    pub(super) fn locate(&self, tree: &Tree, index: u32) -> Result<RelPath, PathError> {
        let places = self.0.read().expect("no holder panics");
        if places.is_empty() {
            return tree.path(index);
        }
        // A path that is listed has no more components than it has bytes.
        let mut names = Vec::new();
        let mut at = index;
        let base = loop {
            match (places.get(&at), tree.name(at)) {
                (Some(place), _) => break place.clone(),
                (None, None) => break RelPath::root(),
                (None, Some(name)) => names.push(name),
            }
            at = tree.parent(at);
        };
        names.into_iter().rev().try_fold(base, |path, name| path.join(name))
    }
}
