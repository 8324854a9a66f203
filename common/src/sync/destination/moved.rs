//! Files that only change their names: a rotated log, or all that is in a renamed directory. They are not copied.
//!
//! A file that this sync replaces or deletes under its old name gets a second name in the staging place, before anything is asked for that
//! takes its place. Once its content is verified to be what the source has under the new name, the second name becomes that. Each name has
//! a whole file at every moment. Until the old one is replaced or deleted, both lead to the same file; where that does not happen,
//! because an entry failed or is spared, [`part`] makes two files of it. A sync that breaks off leaves it so, and the next one replaces
//! or deletes the old name.
//!
//! Only a file moves that is in every respect what a new one would be.

use std::{
    io,
    sync::{Mutex, MutexGuard},
};

use super::{Shared, attributes, rebuild};
use crate::{
    path::{Name, RelPath},
    root::{Dir, EntryType, Stat, staging::TempName},
    sync::Stage,
    wire::sync::Durability,
};

/// A file with a second name in the staging place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moving {
    /// That name.
    pub(super) temp: TempName,
    /// The old one, below the root.
    from: RelPath,
    /// What it was when it had got both, and its BLAKE3, if that was remembered.
    known: Option<(Stat, [u8; 32])>,
}

impl Moving {
    /// The remembered hash of the file, if it has not changed since.
    pub(super) fn hash(&self, now: &Stat) -> Option<[u8; 32]> {
        self.known.filter(|(stat, _)| stat == now).map(|(_, hash)| hash)
    }
}

/// Files that have got their new names.
#[derive(Debug, Default)]
pub(super) struct Moved(Mutex<Vec<(u32, Moving, [u8; 32])>>);

impl Moved {
    /// Notes a file that gets its new name now, and its hash.
    pub(super) fn note(&self, index: u32, moving: &Moving, hash: [u8; 32]) {
        self.files().push((index, moving.clone(), hash));
    }

    fn files(&self) -> MutexGuard<'_, Vec<(u32, Moving, [u8; 32])>> {
        self.0.lock().expect("no holder panics")
    }
}

/// Has the file at `from`, below the root, ready to become the file `index`. `None` where it cannot.
pub(super) fn prepare(shared: &Shared, index: u32, from: &RelPath) -> Option<Moving> {
    // Another name would be taken for one of the source's, or leave what is kept open to changes.
    if shared.options.preserve.hard_links || shared.landing.backup().is_asked() {
        return None;
    }
    let (parent, name) = from.split_last()?;
    let dir = shared.landing.root().dir(&parent).ok()?;
    let stat = dir.stat(name).ok()?;
    if !is_as_new(shared, index, (&dir, name), &stat).ok()? {
        return None;
    }
    // Linking changes the time by which the hash is remembered.
    let hash = shared.landing.destination().hashes.get(&stat);
    let staging = shared.landing.staging().ok()?;
    let temp = staging.next_name();
    dir.hard_link(name, staging.dir(), temp.as_name()).ok()?;
    let linked = staging.dir().stat(temp.as_name()).ok()?;
    // Another file may have taken the name since; what was linked goes with the staging place.
    let is_it = linked.inode == stat.inode && linked.size == stat.size && linked.metadata == stat.metadata;
    is_it.then(|| Moving { temp, from: from.clone(), known: hash.map(|hash| (linked, hash)) })
}

/// Whether a file that is here is, but for its content, what the file `index` would be if it was written now.
fn is_as_new(shared: &Shared, index: u32, (dir, name): (&Dir, Name<'_>), stat: &Stat) -> io::Result<bool> {
    let (size, metadata) = {
        let tree = shared.tree.read().expect("no holder panics");
        (tree.size(index), tree.metadata(index))
    };
    let looks_so = stat.entry_type == EntryType::File
        && !stat.has_links
        && (stat.size, stat.metadata) == (size, metadata)
        && stat.owner == shared.landing.staging()?.dir().stat_self()?.owner;
    Ok(looks_so && !attributes::differ(shared, index, (dir, name), stat) && dir.is_plain_file(name)?)
}

/// Makes two files of each that still has its old name as well. Blocks.
pub(super) fn part(shared: &Shared) {
    let moved = std::mem::take(&mut *shared.moved.files());
    for (index, moving, hash) in moved {
        if let Err(err) = part_one(shared, index, &moving, &hash) {
            shared.flaw_io(index, "it is still the same file as the one that it was", &err);
        }
    }
}

fn part_one(shared: &Shared, index: u32, moving: &Moving, hash: &[u8; 32]) -> io::Result<()> {
    let name = shared.name_of(index);
    let (dir, name) = (shared.parent_dir(index)?, Name::new(&name).expect("listed as a name"));
    let is_same = |stat: Stat| {
        let old = shared.landing.root().stat(&moving.from);
        old.is_ok_and(|old| (old.device, old.inode) == (stat.device, stat.inode))
    };
    let stat = match dir.stat(name) {
        Ok(stat) if stat.has_links && is_same(stat) => stat,
        // It is somebody else's by now, or gone.
        _ => return Ok(()),
    };
    let staging = shared.landing.staging()?;
    let temp = staging.next_name();
    let out = staging.dir().create_file(temp.as_name())?;
    rebuild::copy(shared, (&dir.open_file(name)?, stat.size), hash, &out)?;
    out.end_at(stat.size)?;
    attributes::set_file(shared, index, &out, stat.metadata)?;
    if shared.options.durability != Durability::None {
        shared.tally.timed(Stage::Sync, || out.sync())?;
    }
    shared.landing.note_change();
    staging.dir().rename(temp.as_name(), &dir, name)
}
