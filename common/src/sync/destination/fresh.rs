//! Files that have come and whose hashes are known without reading them again: remembered in the end, by what the kernel says of
//! them under their names.

use std::sync::Mutex;

use super::Shared;
use crate::path::Name;

/// Index and BLAKE3 of each.
#[derive(Debug, Default)]
pub(super) struct Fresh(Mutex<Vec<(u32, [u8; 32])>>);

impl Fresh {
    pub(super) fn note(&self, index: u32, hash: [u8; 32]) {
        self.0.lock().expect("no holder panics").push((index, hash));
    }

    /// The hash of a file that was noted a moment ago.
    pub(super) fn hash(&self, index: u32) -> Option<[u8; 32]> {
        let noted = self.0.lock().expect("no holder panics");
        noted.iter().rev().find(|(known, _)| *known == index).map(|(_, hash)| *hash)
    }
}

/// Remembers those that are in place and still look as they came. Blocks.
pub(super) fn remember(shared: &Shared) {
    let fresh = std::mem::take(&mut *shared.fresh.0.lock().expect("no holder panics"));
    let hashes = &shared.landing.destination().hashes;
    if hashes.begin().is_none() {
        return;
    }
    let looked = fresh.into_iter().filter_map(|(index, hash)| {
        let name = shared.name_of(index);
        // What cannot be looked at is read when its hash is needed.
        let stat = shared.parent_dir(index).ok()?.stat(Name::new(&name).expect("listed as a name")).ok()?;
        let tree = shared.tree.read().expect("no holder panics");
        let is_as_it_came = stat.size == tree.size(index) && stat.metadata == tree.metadata(index);
        is_as_it_came.then_some((stat, hash))
    });
    hashes.put_all(&looked.collect::<Vec<_>>());
}
