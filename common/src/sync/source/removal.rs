//! Removing files that are safe at the destination (`--remove-source-files`).
//!
//! A reader notes of each file what it was and the hash of what was sent or told, before anything of that can have arrived. When the
//! destination says that the file is safe, it is removed, if it still is the same file in every respect. What may have been written to
//! without leaving a trace in its times is read once more: a file that was changed about when the sync began, since the kernel's clock
//! ticks slowly, and one of whose names another was removed, which changes its `ctime`. A file that a program has open for writing stays.
//!
//! Directories and links stay, and so does whatever was not read in this sync.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, atomic::Ordering::Relaxed},
};

use super::{Gone, Shared};
use crate::{
    entry::{Kind, Timestamp},
    limits::CHUNK_BYTES,
    path::Name,
    root::{Dir, EntryType, File, Stat, describe},
    sync::{Moved, Source, SyncError, report::clip},
    wire::sync::{Run, SourceMessage},
};

/// What is told of a file that is not what was sent any more.
const CHANGED: &str = "it was not removed: it has changed since it was read, and what is at the destination is what it was then";

/// What is told of a file that may be written to at any moment.
const HAS_WRITER: &str =
    "it is safe at the destination and was not removed: a program has it open for writing";

/// Why nothing is moved onto itself.
const SAME_PLACE: &str = "source and destination are the same directory, and what was removed at the one would be gone at the other";

/// Seconds by which the clock of a file server may be behind ours. Chosen, not measured.
const CLOCK_SKEW_SECONDS_MAX: i64 = 60;

/// Files that were read, until they are removed, fail or the sync ends. What is noted and not safe is bounded by what is on its way.
#[derive(Debug)]
pub(super) struct Removal {
    is_asked: bool,
    /// Files changed after this may be changed again without a new time. None: all of them.
    as_of: Option<Timestamp>,
    /// Identity of the directory that is the top, or in which it is.
    place: OnceLock<[u8; 32]>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sent: HashMap<u32, Sent>,
    safe: VecDeque<(u32, Sent)>,
    /// Nothing more will be safe.
    is_closed: bool,
    /// What is safe stays.
    is_abandoned: bool,
}

/// A file as it was read.
#[derive(Clone, Copy, Debug)]
struct Sent {
    stat: Stat,
    hash: [u8; 32],
}

/// Why a file stays.
enum Kept {
    Changed,
    HasWriter,
    Io(io::Error),
    /// The sync is over.
    Gone,
}

impl From<io::Error> for Kept {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

impl Removal {
    pub(super) fn new(is_asked: bool, as_of: Option<Timestamp>) -> Self {
        Self { is_asked, as_of, place: OnceLock::new(), state: Mutex::default(), changed: Condvar::new() }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Notes a file that was read, before the destination can hear of it. `hash` is that of what was read.
    pub(super) fn note(&self, index: u32, stat: &Stat, hash: impl FnOnce() -> [u8; 32]) {
        if self.is_asked {
            let sent = Sent { stat: *stat, hash: hash() };
            self.state().sent.insert(index, sent);
        }
    }

    /// The destination could not put the file in place.
    pub(super) fn forget(&self, index: u32) {
        if self.is_asked {
            self.state().sent.remove(&index);
        }
    }

    /// Says where the source is. To be called before anything can be safe.
    pub(super) fn is_at(&self, place: [u8; 32]) {
        self.place.get_or_init(|| place);
    }

    /// These files are safe in a directory at the destination. Never waits.
    pub(super) fn are_safe(&self, place: &[u8; 32], runs: &[Run]) -> Result<(), SyncError> {
        // What is the same there is the same file.
        if self.place.get() == Some(place) {
            return Err(SyncError::Disk(SAME_PLACE.to_owned()));
        }
        let mut state = self.state();
        for run in runs {
            let end = run.first.checked_add(run.count).filter(|_| run.count > 0);
            let end = end.ok_or(SyncError::Protocol("it says that no file is safe"))?;
            for index in run.first..end {
                // Which also ends a run that is longer than the listing.
                let sent = state.sent.remove(&index);
                let sent =
                    sent.ok_or(SyncError::Protocol("it says that a file is safe which was not sent"))?;
                state.safe.push_back((index, sent));
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Nothing more will be safe; what is, is still removed.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// The sync has broken off: what is left stays.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.safe.clear();
        (state.is_closed, state.is_abandoned) = (true, true);
        self.changed.notify_all();
    }

    /// Those that are safe, as soon as there are any; none when nothing more will be.
    fn next(&self) -> VecDeque<(u32, Sent)> {
        let idle = |state: &mut State| state.safe.is_empty() && !state.is_closed;
        std::mem::take(&mut self.changed.wait_while(self.state(), idle).expect("no holder panics").safe)
    }

    /// Whether the sync is over, and what is left stays.
    fn is_abandoned(&self) -> bool {
        self.state().is_abandoned
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// Identity of the directory that the source is, or in which it is. Blocks.
pub(super) fn place(source: &Source) -> io::Result<[u8; 32]> {
    let path = match source.kind {
        Kind::Directory => source.path.clone(),
        _ => source.path.split_last().map(|(parent, _)| parent).unwrap_or_default(),
    };
    source.root.dir(&path)?.identity()
}

/// Removes what is safe until nothing more will be. Blocks.
pub(super) fn work(shared: &Shared) -> Result<(), SyncError> {
    let mut remover = Remover { shared, dir: None, thinned: HashSet::new() };
    loop {
        let safe = shared.removal.next();
        if safe.is_empty() {
            return Ok(());
        }
        enter(shared, &safe)?;
        remover.remove_all(safe);
    }
}

/// Enters files before they are removed, where that is asked for.
fn enter(shared: &Shared, safe: &VecDeque<(u32, Sent)>) -> Result<(), SyncError> {
    let Some(ledger) = &shared.source.ledger else { return Ok(()) };
    let moved = |(index, Sent { stat, hash }): &(u32, Sent)| Moved {
        path: shared.path_of(*index),
        size: stat.size,
        mtime: stat.metadata.mtime,
        hash: *hash,
    };
    let files: Vec<_> = safe.iter().map(moved).collect();
    let lost = |err| SyncError::Disk(format!("the journal cannot be written: {}", describe(&err)));
    ledger.enter(&files).map_err(lost)
}

fn tell(shared: &Shared, index: u32, reason: &str) -> Result<(), Gone> {
    shared.named.failed(&shared.tally, shared.path_of(index), reason);
    shared.say(SourceMessage::NotRemoved { index, reason: clip(reason).to_owned() })
}

struct Remover<'a> {
    shared: &'a Shared,
    /// The directory of the last file.
    dir: Option<(u32, Arc<Dir>)>,
    /// Inodes that have lost a name to us and have others, by device and number.
    thinned: HashSet<(u64, u64)>,
}

impl Remover<'_> {
    /// Removes those that can be, and names the others.
    fn remove_all(&mut self, safe: VecDeque<(u32, Sent)>) {
        for (index, sent) in safe {
            if self.shared.removal.is_abandoned() {
                return;
            }
            let reason = match self.remove(index, &sent) {
                Ok(()) => {
                    self.shared.tally.files_removed.fetch_add(1, Relaxed);
                    continue;
                }
                Err(Kept::Gone) => return,
                Err(Kept::Changed) => CHANGED.to_owned(),
                Err(Kept::HasWriter) => HAS_WRITER.to_owned(),
                Err(Kept::Io(err)) => {
                    format!("it is safe at the destination and cannot be removed: {}", describe(&err))
                }
            };
            if tell(self.shared, index, &reason).is_err() {
                return;
            }
        }
    }

    fn remove(&mut self, index: u32, sent: &Sent) -> Result<(), Kept> {
        let (dir, name) = self.place(index)?;
        let name = Name::new(&name).expect("listed as a name");
        let file = match dir.open_file(name) {
            // Somebody else was faster, and what he removed is safe.
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A link has taken its place.
            Err(err) if rustix::io::Errno::from_io_error(&err) == Some(rustix::io::Errno::LOOP) => {
                return Err(Kept::Changed);
            }
            other => other?,
        };
        let now = file.stat()?;
        let is_thinned = self.thinned.contains(&(now.device, now.inode));
        if !is_same(&sent.stat, &now, is_thinned) {
            return Err(Kept::Changed);
        }
        if (is_thinned || self.is_young(&now)) && self.hash(&file, now.size)? != sent.hash {
            return Err(Kept::Changed);
        }
        if file.has_writer() {
            return Err(Kept::HasWriter);
        }
        // The name may mean another file by now, and this one may have been written to while it was read.
        if dir.stat(name)? != now {
            return Err(Kept::Changed);
        }
        dir.remove_file(name)?;
        if file.links()? > 0 {
            self.thinned.insert((now.device, now.inode));
        }
        Ok(())
    }

    fn is_young(&self, stat: &Stat) -> bool {
        self.shared.removal.as_of.is_none_or(|as_of| {
            let oldest = as_of.seconds.saturating_sub(CLOCK_SKEW_SECONDS_MAX);
            stat.ctime.seconds.max(stat.metadata.mtime.seconds) >= oldest
        })
    }

    /// The hash of all that is in the file, which should be `size` bytes.
    fn hash(&self, file: &File, size: u64) -> Result<[u8; 32], Kept> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = self.shared.pool.take();
        let step = usize::try_from(CHUNK_BYTES).expect("1 MiB");
        let mut offset = 0;
        loop {
            buffer.bytes.clear();
            let read = file.read_at(offset, step, &mut buffer.bytes)?;
            if read == 0 {
                return Ok(hasher.finalize().into());
            }
            // The file may take an hour.
            if self.shared.control.is_closed() {
                return Err(Kept::Gone);
            }
            hasher.update(&buffer.bytes);
            offset += u64::try_from(read).expect("at most a chunk");
            if offset > size {
                return Err(Kept::Changed);
            }
        }
    }

    /// The directory of a file, and its name there. No link is followed on the way: with `follow_links` nothing is removed at all.
    fn place(&mut self, index: u32) -> io::Result<(Arc<Dir>, Vec<u8>)> {
        let Shared { source, tree, .. } = self.shared;
        let not_a_file = || io::Error::from(io::ErrorKind::IsADirectory);
        let (parent, name) = {
            let tree = tree.read().expect("no holder panics");
            (tree.parent(index), tree.name(index).map(|name| name.as_bytes().to_vec()))
        };
        let Some(name) = name else {
            let (parent, name) = source.path.split_last().ok_or_else(not_a_file)?;
            return Ok((Arc::new(source.root.dir(&parent)?), name.as_bytes().to_vec()));
        };
        let dir = match &self.dir {
            Some((known, dir)) if *known == parent => dir.clone(),
            _ => Arc::new(source.root.dir(&self.shared.location_of(parent)?)?),
        };
        self.dir = Some((parent, dir.clone()));
        Ok((dir, name))
    }
}

/// Whether `now` is the file that was read, with nothing done to it since but, perhaps, the loss of another name.
fn is_same(read: &Stat, now: &Stat, is_thinned: bool) -> bool {
    let thinned = Stat { ctime: now.ctime, has_links: now.has_links, ..*read };
    now.entry_type == EntryType::File && *now == if is_thinned { thinned } else { *read }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Metadata, Owner};

    fn stat() -> Stat {
        let ctime = Timestamp { seconds: 5, nanoseconds: 0 };
        let (entry_type, metadata) = (EntryType::File, Metadata { mode: 0o644, mtime: ctime });
        let owner = Owner { user: 0, group: 0 };
        Stat { entry_type, size: 3, metadata, ctime, device: 1, inode: 2, has_links: false, owner }
    }

    #[test]
    fn a_file_is_known_by_all_that_can_be_seen_of_it() {
        let later = Timestamp { seconds: 6, nanoseconds: 0 };
        assert!(is_same(&stat(), &stat(), false));
        for now in [
            Stat { size: 4, ..stat() },
            Stat { device: 2, ..stat() },
            Stat { inode: 3, ..stat() },
            Stat { metadata: Metadata { mode: 0o600, ..stat().metadata }, ..stat() },
            Stat { metadata: Metadata { mtime: later, ..stat().metadata }, ..stat() },
            Stat { entry_type: EntryType::Symlink, ..stat() },
        ] {
            assert!(!is_same(&stat(), &now, false) && !is_same(&stat(), &now, true), "{now:?}");
        }
        let touched = Stat { ctime: later, has_links: true, ..stat() };
        assert!(!is_same(&stat(), &touched, false) && is_same(&stat(), &touched, true));
    }

    #[test]
    fn a_destination_that_vouches_for_what_was_not_sent_is_told_so() {
        let removal = Removal::new(true, None);
        removal.note(3, &stat(), || [1; 32]);
        removal.note(4, &stat(), || [1; 32]);
        for run in [Run { first: 2, count: 1 }, Run { first: 3, count: 0 }, Run { first: u32::MAX, count: 2 }]
        {
            assert!(removal.are_safe(&[8; 32], &[run]).is_err(), "{run:?}");
        }
        removal.is_at([7; 32]);
        assert!(removal.are_safe(&[7; 32], &[Run { first: 3, count: 2 }]).is_err(), "the same place");
        assert!(removal.are_safe(&[8; 32], &[Run { first: 3, count: 2 }]).is_ok());
        assert!(removal.are_safe(&[8; 32], &[Run { first: 3, count: 1 }]).is_err(), "twice");
        removal.close();
        assert_eq!(removal.next().iter().map(|(index, _)| *index).collect::<Vec<_>>(), [3, 4]);
        assert!(removal.next().is_empty());
    }
}
