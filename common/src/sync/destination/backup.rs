//! Where old versions go (`--backup-dir`): a directory below the destination, in which what is replaced or removed keeps its path.
//!
//! What is replaced gets a second name there before the new version takes the first, so that each name has one of the two at every
//! moment; what is removed is renamed. Both need one file system. Whatever an earlier sync has put in the same place goes. The directory itself is
//! neither listed nor removed, and nothing is put in its place.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

use rustix::io::Errno;

use super::Shared;
use crate::{
    entry::Metadata,
    limits,
    path::{Name, RelPath},
    root::{Dir, EntryType, Stat},
    sync::{Destination, PlaceError, SyncError, join},
    wire::{status::Status, sync::Durability},
};

/// Says why an entry's old version cannot be kept, and so why it is not replaced.
const ELSEWHERE: &str = "the backup directory lies on another file system than what it should keep";

/// The backup directory, once it is known where the source lands.
#[derive(Debug, Default)]
pub(super) struct Backup {
    place: OnceLock<RelPath>,
    /// The last directory in it, by its path below what is backed up.
    last: Mutex<Option<(RelPath, Arc<Dir>)>>,
}

impl Backup {
    /// Finds the directory, if there is to be one. `base` is where the top lands.
    pub(super) fn land(&self, destination: &Destination, base: &RelPath) -> Result<(), SyncError> {
        let Some(dir) = &destination.backup else { return Ok(()) };
        let refuse = |reason: &str| {
            let (path, reason) = (base.clone(), reason.to_owned());
            Err(SyncError::Place(PlaceError { status: Status::Invalid, path, reason }))
        };
        let place =
            join(&destination.path, dir).map_err(|_| SyncError::Protocol("its paths are too long"))?;
        if dir.is_root() || place == *base {
            return refuse("cannot be its own backup directory");
        }
        if dir.components().any(|name| name.is_reserved()) {
            return refuse("cannot have a backup directory of a reserved name");
        }
        // Set once, because the top lands once.
        self.place.get_or_init(|| place);
        Ok(())
    }

    /// Whether old versions are kept.
    pub(super) fn is_asked(&self) -> bool {
        self.place.get().is_some()
    }
}

/// Whether the entry at `path` below the top is the backup directory.
pub(super) fn is_at(shared: &Shared, path: impl FnOnce() -> RelPath) -> bool {
    let Some(place) = shared.landing.backup().place.get() else { return false };
    shared.landing.path_below(&path()).is_ok_and(|path| path == *place)
}

/// The backup directory's name, if it is in the directory at `path` below the top.
pub(super) fn name_in(shared: &Shared, path: &RelPath) -> Option<Vec<u8>> {
    let (parent, name) = shared.landing.backup().place.get()?.split_last()?;
    let is_there = shared.landing.path_below(path).is_ok_and(|path| path == parent);
    is_there.then(|| name.as_bytes().to_vec())
}

/// Whether the directory at `path` below the top is one that the backup directory is in.
pub(super) fn is_below(shared: &Shared, path: &RelPath) -> bool {
    let Some(place) = shared.landing.backup().place.get() else { return false };
    shared.landing.path_below(path).is_ok_and(|path| {
        let above = path.components().count();
        above < place.components().count() && path.components().eq(place.components().take(above))
    })
}

/// Gives the file or link `name` of `dir`, which is at `path` below the top and will be replaced, its second name.
pub(super) fn keep(shared: &Shared, path: &RelPath, (dir, name): (&Dir, Name<'_>)) -> io::Result<()> {
    if !shared.landing.backup().is_asked() {
        return Ok(());
    }
    match dir.stat(name) {
        // What is in it is removed, one by one.
        Ok(Stat { entry_type: EntryType::Directory, .. }) => return Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => drop(other?),
    }
    let (to, to_name) = open(shared, path)?;
    let to_name = to_name.split_last().map(|(_, name)| name).ok_or(io::ErrorKind::InvalidFilename)?;
    match dir.hard_link(name, &to, to_name) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
            let staging = shared.landing.staging()?;
            let temp = staging.next_name();
            dir.hard_link(name, staging.dir(), temp.as_name()).map_err(explain)?;
            replace((staging.dir(), temp.as_name()), (&to, to_name))?;
        }
        // Somebody was faster, and nothing is replaced.
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(explain)?,
    }
    if shared.options.durability == Durability::File { to.sync() } else { Ok(()) }
}

/// Moves the file or link `name` of `dir`, which is at `path` below the top and would be removed; false where nothing is kept.
pub(super) fn take(shared: &Shared, path: &RelPath, (dir, name): (&Dir, Name<'_>)) -> io::Result<bool> {
    if !shared.landing.backup().is_asked() {
        return Ok(false);
    }
    let (to, to_name) = open(shared, path)?;
    let to_name = to_name.split_last().map(|(_, name)| name).ok_or(io::ErrorKind::InvalidFilename)?;
    replace((dir, name), (&to, to_name)).map(|()| true)
}

/// Makes the directory at `path` below the top, which will be removed, in the backup too: it may be empty.
pub(super) fn keep_directory(shared: &Shared, path: &RelPath) -> io::Result<()> {
    if !shared.landing.backup().is_asked() {
        return Ok(());
    }
    let below = below_destination(shared, path)?;
    directory(shared, &below).map(drop)
}

/// Renames, whatever stands in the way.
fn replace((dir, name): (&Dir, Name<'_>), (to, to_name): (&Dir, Name<'_>)) -> io::Result<()> {
    match to.stat(to_name) {
        // Renaming one name of a file over another does nothing.
        Ok(there) if is_same_inode(&there, &dir.stat(name)?) => return dir.remove_file(name),
        Ok(Stat { entry_type: EntryType::Directory, .. }) => remove_tree(to, to_name, 0)?,
        _ => {}
    }
    dir.rename(name, to, to_name).map_err(explain)
}

fn is_same_inode(one: &Stat, other: &Stat) -> bool {
    (one.device, one.inode) == (other.device, other.inode)
}

fn explain(err: io::Error) -> io::Error {
    match Errno::from_io_error(&err) {
        Some(Errno::XDEV) => io::Error::other(ELSEWHERE),
        Some(Errno::PERM) => {
            io::Error::other("its old version cannot be given a second name in the backup directory")
        }
        _ => err,
    }
}

/// The directory in which the old version of `path` is kept, and its path below what is backed up.
fn open(shared: &Shared, path: &RelPath) -> io::Result<(Arc<Dir>, RelPath)> {
    let below = below_destination(shared, path)?;
    let parent = below.split_last().map(|(parent, _)| parent).unwrap_or_default();
    Ok((directory(shared, &parent)?, below))
}

/// The path below the place that was typed, by which old versions are found.
fn below_destination(shared: &Shared, path: &RelPath) -> io::Result<RelPath> {
    let path = shared.landing.path_below(path)?;
    let above = shared.landing.destination_path().components().count();
    path.components()
        .skip(above)
        .try_fold(RelPath::root(), |below, name| below.join(name))
        .map_err(|err| io::Error::new(io::ErrorKind::InvalidFilename, err))
}

/// The directory `below` the backup directory, made with the modes of those whose content it keeps.
fn directory(shared: &Shared, below: &RelPath) -> io::Result<Arc<Dir>> {
    let backup = shared.landing.backup();
    let mut last = backup.last.lock().expect("no holder panics");
    if let Some((path, dir)) = &*last
        && path == below
    {
        return Ok(dir.clone());
    }
    let root = shared.landing.root();
    let place = backup.place.get().expect("asked for");
    let mut dir = root.create_dir_all(place)?;
    let mut original = shared.landing.destination_path().clone();
    for name in below.components() {
        original = original.join(name).map_err(|err| io::Error::new(io::ErrorKind::InvalidFilename, err))?;
        dir = match dir.open_dir(name) {
            Ok(inner) => inner,
            Err(err) => {
                // The old version of a file or link that was there before.
                if err.kind() != io::ErrorKind::NotFound {
                    dir.remove_file(name)?;
                }
                make(&dir, name, &root.dir(&original)?)?
            }
        };
    }
    let dir = Arc::new(dir);
    *last = Some((below.clone(), dir.clone()));
    Ok(dir)
}

fn make(dir: &Dir, name: Name<'_>, original: &Dir) -> io::Result<Dir> {
    dir.create_dir(name, 0o700)?;
    let made = dir.open_dir(name)?;
    let Metadata { mode, mtime } = original.stat_self()?.metadata;
    made.set_metadata(Metadata { mode: mode | 0o700, mtime })?;
    Ok(made)
}

/// Removes an old version that was a directory.
fn remove_tree(dir: &Dir, name: Name<'_>, depth: usize) -> io::Result<()> {
    if depth == limits::DELETED_DEPTH_MAX {
        return Err(io::Error::other(
            "an old version in its place in the backup directory is nested too deeply",
        ));
    }
    let inner = dir.open_dir_here(name)?;
    for name in inner.names()? {
        let name = Name::new(&name).expect("listed as a name");
        match inner.stat(name)?.entry_type {
            EntryType::Directory => remove_tree(&inner, name, depth + 1)?,
            _ => inner.remove_file(name)?,
        }
    }
    dir.remove_dir(name)
}
