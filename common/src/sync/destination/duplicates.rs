//! Files that are the same as others of this sync. Of them only that comes; they are copied here when all else is in place.
//!
//! That file may have come and not have got its name, because something stands in the way or its name is too long here. The others must not
//! fail with it, each time anew: so it stays in the staging place, from where they are copied.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{Shared, UNWANTED, commit::Written};
use crate::{
    limits,
    root::staging::TempName,
    sync::{SyncError, tree::NodeType},
};

/// A file that is to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) index: u32,
    /// The file whose content has come.
    pub(super) of: u32,
    /// BLAKE3 of both.
    pub(super) hash: [u8; 32],
}

/// By the index of the copy.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    told: Mutex<BTreeMap<u32, Duplicate>>,
    /// Files without their names, by index.
    kept: Mutex<HashMap<u32, TempName>>,
    is_aborted: AtomicBool,
}

impl Duplicates {
    /// All that were told, each of a file that is no duplicate itself.
    pub(super) fn take(&self) -> Vec<Duplicate> {
        let told = std::mem::take(&mut *self.told());
        let mut origins = HashMap::new();
        told.values()
            .map(|duplicate| Duplicate { of: origin(&told, &mut origins, duplicate.of), ..*duplicate })
            .collect()
    }

    /// Whether a file that has come and does not get its name is kept to be copied.
    pub(super) fn keep(&self, written: Written, temp: TempName) -> bool {
        let mut kept = self.kept.lock().expect("no holder panics");
        let is_kept = written.bytes >= limits::TWIN_BYTES_MIN && kept.len() < limits::NAMELESS_FILES_MAX;
        if is_kept {
            kept.insert(written.index, temp);
        }
        is_kept
    }

    /// Where a file is that has come and has not got its name.
    pub(super) fn kept(&self, index: u32) -> Option<TempName> {
        self.kept.lock().expect("no holder panics").get(&index).copied()
    }

    /// The sync is over: no more is copied.
    pub(super) fn abort(&self) {
        self.is_aborted.store(true, Relaxed);
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Relaxed)
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<u32, Duplicate>> {
        self.told.lock().expect("no holder panics")
    }
}

/// The file at the end of a chain of copies, with every step on the way noted in `origins`, so that no chain is walked twice.
fn origin(told: &BTreeMap<u32, Duplicate>, origins: &mut HashMap<u32, u32>, mut at: u32) -> u32 {
    let mut way = Vec::new();
    // A ring, of which nothing ever came, is left where it closes.
    while let Some(next) = told.get(&at).filter(|_| way.len() <= told.len()) {
        if let Some(&known) = origins.get(&at) {
            at = known;
            break;
        }
        way.push(at);
        at = next.of;
    }
    origins.extend(way.into_iter().map(|step| (step, at)));
    at
}

/// Takes a file as settled for now.
pub(super) fn note(shared: &Shared, duplicate: Duplicate) -> Result<(), SyncError> {
    let Duplicate { index, of, .. } = duplicate;
    {
        let tree = shared.tree.read().expect("no holder panics");
        let is_file = |index| tree.node_type(index) == Some(NodeType::File);
        if !is_file(index) || !is_file(of) || tree.size(index) != tree.size(of) {
            return Err(SyncError::Protocol("it calls something a copy that cannot be one"));
        }
    }
    if !shared.pending.take(index) {
        return Err(UNWANTED);
    }
    shared.duplicates.told().insert(index, duplicate);
    shared.settled(index);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Duplicate, Duplicates};

    #[test]
    fn a_copy_of_a_copy_is_one_of_what_has_come() {
        let duplicates = Duplicates::default();
        for (index, of) in [(1, 9), (2, 3), (3, 1), (5, 6), (6, 5)] {
            duplicates.told().insert(index, Duplicate { index, of, hash: [7; 32] });
        }
        let taken = duplicates.take();
        let pairs: Vec<_> = taken.iter().map(|duplicate| (duplicate.index, duplicate.of)).collect();
        assert_eq!(pairs[..3], [(1, 9), (2, 9), (3, 9)]);
        assert!(pairs[3..].iter().all(|(_, of)| [5, 6].contains(of)), "{pairs:?}");
        assert!(duplicates.take().is_empty());
    }
}
