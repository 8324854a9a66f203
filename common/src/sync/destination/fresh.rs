//! Large files that have come, whose hashes are known without reading them again: remembered in the end, by what the kernel says of
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
}

/// Remembers those that are in place and still look as they came. Blocks.
pub(super) fn remember(shared: &Shared) {
    let fresh = std::mem::take(&mut *shared.fresh.0.lock().expect("no holder panics"));
    let hashes = &shared.landing.destination().hashes;
    for (index, hash) in fresh {
        let name = shared.name_of(index);
        let looked =
            shared.parent_dir(index).and_then(|dir| dir.stat(Name::new(&name).expect("listed as a name")));
        // What cannot be looked at is read when its hash is needed.
        let Ok(stat) = looked else { continue };
        let tree = shared.tree.read().expect("no holder panics");
        if stat.size == tree.size(index) && stat.metadata == tree.metadata(index) {
            hashes.put(&stat, hash, hashes.begin());
        }
    }
}
