//! What only the destination has, and its removal (`--delete`).
//!
//! Only what lies in a directory that the source has listed can be extraneous, and only once its whole listing is known to be
//! complete: a name that is missing from a listing that failed says nothing. Everything goes by handle, one name at a time, and no
//! link or mount point is entered. What the source named without listing it (a device, say) stays, as do staging places.
//!
//! The other reason to remove is a listed entry with something of another type in its way; that needs no complete listing, since the
//! source has said what belongs there.

use std::{
    collections::HashSet,
    io,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use rustix::io::Errno;

use super::{Shared, backup, items, moved};
use crate::{
    entry::Metadata,
    limits,
    path::{Name, RelPath},
    root::{Dir, EntryType, Stat, describe},
    sync::{Stage, report::clip},
    wire::sync::DestinationMessage,
};

/// What is known while the listing comes in, and how many removals are left to do.
#[derive(Debug, Default)]
pub(super) struct Extraneous {
    /// Something at the source could not be listed.
    incomplete: AtomicBool,
    /// What the source has and does not sync.
    skipped: Mutex<HashSet<RelPath>>,
    /// Removals counted against the limit.
    taken: AtomicU64,
    /// Entries that were left because of the limit.
    left: AtomicU64,
}

impl Extraneous {
    /// The source could not list something, so what is missing from its listing says nothing.
    pub(super) fn note_incomplete(&self) {
        self.incomplete.store(true, Relaxed);
    }

    /// The source has something here that is not synced.
    pub(super) fn note_skipped(&self, path: &RelPath) {
        let mut skipped = self.skipped.lock().expect("no holder panics");
        if skipped.len() < limits::NAMED_OUTCOMES_MAX {
            skipped.insert(path.clone());
        } else {
            // What cannot be remembered cannot be spared.
            self.note_incomplete();
        }
    }

    /// Whether the source has something at `path` that it does not sync.
    fn is_skipped(&self, path: &RelPath) -> bool {
        self.skipped.lock().expect("no holder panics").contains(path)
    }

    fn take(&self, limit: u64) -> bool {
        self.taken.fetch_update(Relaxed, Relaxed, |taken| (taken < limit).then_some(taken + 1)).is_ok()
    }
}

/// Removes what the source does not have from the directories that it has listed. Blocks. To be called when all else is in place.
pub(super) fn remove(shared: &Shared) {
    if !shared.options.delete.is_asked() {
        return;
    }
    if shared.extraneous.incomplete.load(Relaxed) {
        not_deleted(
            shared,
            RelPath::root(),
            "nothing was deleted, because the source could not list everything",
        );
    } else {
        shared.tally.timed(Stage::Write, || sweep(shared));
    }
    let left = shared.extraneous.left.load(Relaxed);
    if left > 0 {
        let reason =
            format!("{left} entries that the source does not have were left, because no more may be deleted");
        not_deleted(shared, RelPath::root(), &reason);
    }
}

/// Removes the entry `name` of `dir`, in whose place the listed entry `index` comes, with all that is in it.
pub(super) fn clear_way(shared: &Shared, index: u32, (dir, name): (&Dir, Name<'_>)) -> io::Result<()> {
    match (Removal { shared }).entry(dir, name, &shared.path_of(index), 0) {
        Fate::Gone => Ok(()),
        Fate::Kept | Fate::Left => Err(io::Error::other("something in its way was not deleted")),
    }
}

fn sweep(shared: &Shared) {
    let children = shared.tree.read().expect("no holder panics").children();
    for directory in shared.landing.directories() {
        let listed = children.get(&directory).cloned().unwrap_or(0..0);
        // A mount point at the source, perhaps, which was not entered.
        if listed.is_empty() && shared.selection().hides_contents() {
            continue;
        }
        let path = shared.path_of(directory);
        match extraneous(shared, &path, &listed) {
            Ok((dir, names)) => {
                for name in &names {
                    let name = Name::new(name).expect("listed as a name");
                    Removal { shared }.below(&dir, name, &path, 0);
                }
            }
            Err(err) => shared.fail_io(directory, "what is extraneous in it cannot be listed", &err),
        }
    }
}

/// The directory at `path`, and the names in it that are not among those that were listed; where the sync is about a few of its
/// entries, those of these.
fn extraneous(shared: &Shared, path: &RelPath, listed: &Range<u32>) -> io::Result<(Dir, Vec<Vec<u8>>)> {
    let dir = shared.landing.dir_now(path)?;
    let mut names = shared.selection().names_in(path).map_or_else(|| dir.names(), Ok)?;
    let tree = shared.tree.read().expect("no holder panics");
    names.retain(|name| tree.find(listed, Name::new(name).expect("listed as a name")).is_none());
    Ok((dir, names))
}

/// What became of an entry, from the best to the worst for the directory that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Gone,
    /// It is spared, or failed and was told.
    Kept,
    /// No more may be removed.
    Left,
}

struct Removal<'a> {
    shared: &'a Shared,
}

impl Removal<'_> {
    fn below(&self, dir: &Dir, name: Name<'_>, parent: &RelPath, depth: usize) -> Fate {
        match parent.join(name) {
            Ok(path) => self.entry(dir, name, &path, depth),
            Err(err) => self.failed(parent, &format!("something in it cannot be deleted: {err}")),
        }
    }

    /// Removes `name` of `dir`, children first.
    fn entry(&self, dir: &Dir, name: Name<'_>, path: &RelPath, depth: usize) -> Fate {
        let stat = match dir.stat(name) {
            Ok(stat) => stat,
            Err(err) => return self.failed_io(path, &err),
        };
        let is_directory = stat.entry_type == EntryType::Directory;
        if self.spares(path, is_directory) {
            return Fate::Kept;
        }
        let inside = if is_directory { self.contents(dir, name, path, (stat, depth)) } else { Fate::Gone };
        match inside {
            // What the backup directory is in, or will be, stays as well.
            Fate::Gone if is_directory && backup::is_below(self.shared, path) => Fate::Kept,
            Fate::Gone => self.remove(dir, name, path, is_directory),
            Fate::Kept => Fate::Kept,
            Fate::Left => self.leave(),
        }
    }

    /// Whether an entry stays although the source did not list it: it has told why, or a filter has left it out.
    fn spares(&self, path: &RelPath, is_directory: bool) -> bool {
        backup::is_at(self.shared, || path.clone())
            || self.shared.extraneous.is_skipped(path)
            || self.shared.selection().protects(path, is_directory)
    }

    /// Empties the directory `name` of `dir`.
    fn contents(&self, dir: &Dir, name: Name<'_>, path: &RelPath, (stat, depth): (Stat, usize)) -> Fate {
        if depth == limits::DELETED_DEPTH_MAX {
            return self.failed(path, "cannot be deleted: it is nested too deeply");
        }
        let opened = dir.open_dir_here(name).and_then(|inner| {
            let names = inner.names()?;
            if !names.is_empty() {
                self.let_write(&inner, stat)?;
            }
            Ok((inner, names))
        });
        let (inner, names) = match opened {
            Ok(opened) => opened,
            Err(err) => return self.failed_io(path, &err),
        };
        names.iter().fold(Fate::Gone, |fate, name| {
            let name = Name::new(name).expect("listed as a name");
            fate.max(self.below(&inner, name, path, depth + 1))
        })
    }

    /// Lets the owner remove what is in a directory that will be removed itself.
    fn let_write(&self, dir: &Dir, stat: Stat) -> io::Result<()> {
        let Metadata { mode, mtime } = stat.metadata;
        if mode & 0o300 == 0o300 || self.shared.options.dry_run || self.is_spent() {
            return Ok(());
        }
        dir.set_metadata(Metadata { mode: mode | 0o300, mtime })
    }

    fn remove(&self, dir: &Dir, name: Name<'_>, path: &RelPath, is_directory: bool) -> Fate {
        let Shared { extraneous, tally, landing, control, options, .. } = self.shared;
        // The sync has ended, and another may be at work here already.
        if control.is_closed() {
            return Fate::Kept;
        }
        if !extraneous.take(options.delete.limit()) {
            return self.leave();
        }
        let removed = match (options.dry_run, is_directory) {
            (true, _) => Ok(()),
            (false, true) => backup::keep_directory(self.shared, path).and_then(|()| dir.remove_dir(name)),
            (false, false) => match backup::take(self.shared, path, (dir, name)) {
                Ok(true) => Ok(()),
                Ok(false) if moved::take_over(self.shared, path, (dir, name)) => Ok(()),
                Ok(false) => dir.remove_file(name),
                Err(err) => Err(err),
            },
        };
        match removed {
            Ok(()) => {
                tally.entries_deleted.fetch_add(1, Relaxed);
                landing.note_change();
                items::deleted(self.shared, path);
                Fate::Gone
            }
            Err(err) => {
                extraneous.taken.fetch_sub(1, Relaxed);
                self.failed_io(path, &err)
            }
        }
    }

    fn is_spent(&self) -> bool {
        self.shared.extraneous.taken.load(Relaxed) >= self.shared.options.delete.limit()
    }

    fn leave(&self) -> Fate {
        self.shared.extraneous.left.fetch_add(1, Relaxed);
        Fate::Left
    }

    fn failed_io(&self, path: &RelPath, err: &io::Error) -> Fate {
        match Errno::from_io_error(err) {
            // Somebody else was faster.
            Some(Errno::NOENT) => Fate::Gone,
            Some(Errno::XDEV | Errno::BUSY) => {
                self.failed(path, "cannot be deleted: another file system is mounted there")
            }
            _ => self.failed(path, &format!("cannot be deleted: {}", describe(err))),
        }
    }

    fn failed(&self, path: &RelPath, reason: &str) -> Fate {
        not_deleted(self.shared, path.clone(), reason);
        Fate::Kept
    }
}

/// Names an entry that should be gone, and tells the source. Blocks while the control stream is behind.
fn not_deleted(shared: &Shared, path: RelPath, reason: &str) {
    let message =
        DestinationMessage::NotDeleted { path: path.as_bytes().to_vec(), reason: clip(reason).to_owned() };
    shared.named.failed(&shared.tally, path, reason);
    // A closed channel means that the sync has ended, and then nobody waits for this.
    let _ended = shared.control.send_blocking(message);
}
