//! What stood in the place of each wanted file when it was planned, so that the commit replaces that and nothing else.
//!
//! Between the plan and the rename anybody may write there: a local program, another sync, or an earlier sync of the same tree whose
//! controller has died and which the gateway has not noticed yet. A file that appeared or changed in between is not overwritten,
//! unless it is the very file that was coming. A file that has several names here may have got another time under one of them by
//! ourselves, and is no other file by that under the rest.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Mutex, MutexGuard},
};

use crate::{
    entry::Timestamp,
    path::Name,
    root::{Dir, Stat},
};

/// By index; a file that is not here had nothing in its place.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    seen: Mutex<HashMap<u32, Seen>>,
    /// Inodes and the times that they got from us, of files with several names.
    restamped: Mutex<HashSet<(u64, Timestamp)>>,
}

/// Enough of an entry to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    inode: u64,
    size: u64,
    mtime: Timestamp,
}

impl Seen {
    fn of(stat: &Stat) -> Self {
        Self { inode: stat.inode, size: stat.size, mtime: stat.metadata.mtime }
    }
}

impl Replaced {
    /// Remembers what stands in the place of a file that will be wanted.
    pub(super) fn note(&self, index: u32, stat: &Stat) {
        self.seen().insert(index, Seen::of(stat));
    }

    /// Notes that a file will get this time where it is.
    pub(super) fn note_restamped(&self, stat: &Stat, mtime: Timestamp) {
        if stat.has_links {
            self.restamped.lock().expect("no holder panics").insert((stat.inode, mtime));
        }
    }

    /// Whether a file still is what stood in its place when it was planned.
    pub(super) fn is_as_planned(&self, index: u32, stat: &Stat) -> bool {
        let seen = self.seen().get(&index).copied();
        seen.is_some_and(|seen| self.is_still(&seen, &Seen::of(stat)))
    }

    fn is_still(&self, seen: &Seen, now: &Seen) -> bool {
        let restamped = || self.restamped.lock().expect("no holder panics").contains(&(now.inode, now.mtime));
        now == seen || (now.inode, now.size) == (seen.inode, seen.size) && restamped()
    }

    /// Bytes of what will be replaced.
    pub(super) fn size(&self, index: u32) -> Option<u64> {
        self.seen().get(&index).map(|seen| seen.size)
    }

    /// Index, size and modification time of all that will be replaced.
    pub(super) fn all(&self) -> Vec<(u32, u64, Timestamp)> {
        self.seen().iter().map(|(&index, seen)| (index, seen.size, seen.mtime)).collect()
    }

    /// Whether what stands in the place of this file is still to be replaced.
    pub(super) fn is_due(&self, index: u32) -> bool {
        self.seen().contains_key(&index)
    }

    /// What is to be replaced by a file that is about to get its name.
    pub(super) fn take(&self, index: u32) -> Option<Seen> {
        self.seen().remove(&index)
    }

    /// Gives the file `temp` of `from` the name `name` in `dir`, after `keep` has seen to what stands there. `EEXIST` when what stands there is not what was planned to be replaced.
    pub(super) fn rename(
        &self,
        seen: Option<Seen>,
        (from, temp): (&Dir, Name<'_>),
        (dir, name): (&Dir, Name<'_>),
        keep: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(seen) = seen else {
            return match from.rename_new(temp, dir, name) {
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
                    Self::rename_if((from, temp), (dir, name), |_| false, keep)
                }
                other => other,
            };
        };
        Self::rename_if((from, temp), (dir, name), |now| self.is_still(&seen, now), keep)
    }

    /// Renames over what is there, if `is_planned` knows it, if it is gone, or if it is the file that is coming.
    fn rename_if(
        (from, temp): (&Dir, Name<'_>),
        (dir, name): (&Dir, Name<'_>),
        is_planned: impl FnOnce(&Seen) -> bool,
        keep: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let now = match dir.stat(name) {
            Ok(stat) => Seen::of(&stat),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return from.rename_new(temp, dir, name);
            }
            Err(err) => return Err(err),
        };
        if !is_planned(&now) {
            let coming = Seen::of(&from.stat(temp)?);
            if (now.size, now.mtime) != (coming.size, coming.mtime) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
        keep()?;
        from.rename(temp, dir, name)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<u32, Seen>> {
        self.seen.lock().expect("no holder panics")
    }
}
