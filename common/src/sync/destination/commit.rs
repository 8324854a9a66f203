//! From a written file to a visible one, and to a durable one.
//!
//! With `batch`, files wait in the staging place until a batch is full, old or the last; then, in this order: one barrier makes their
//! content durable (`syncfs`), each is renamed, the directories they went into are made durable, and only then are they counted as
//! durable. Where these are many, the barrier of the next batch does that as well, or one of its own if no other comes soon. A barrier that fails poisons the sync: what depended on it is not renamed, and no later barrier is trusted, because the
//! kernel reports a lost write once.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Instant,
};

use tokio::task::JoinSet;

use super::{
    Shared, backup,
    extraneous::clear_way,
    items,
    moved::{self, Displaced},
    receipts,
};
use crate::{
    limits,
    path::Name,
    root::{Dir, describe, staging::TempName},
    sync::{Stage, SyncError},
    wire::sync::Durability,
};

/// A file that is complete, checked and closed under a temporary name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) index: u32,
    /// None for a file that was in its place already, with the content that was coming.
    pub(super) temp: Option<TempName>,
    pub(super) bytes: u64,
    /// BLAKE3 of a large file, which is known.
    pub(super) hash: Option<[u8; 32]>,
}

/// Takes written files, as the durability asks.
#[derive(Clone, Debug)]
pub(super) enum Committer {
    /// Renamed at once by the thread that wrote it.
    AtOnce,
    /// Handed to the thread that collects batches.
    Batches(SyncSender<Written>),
}

impl Committer {
    pub(super) fn start(shared: &Arc<Shared>, threads: &mut JoinSet<()>) -> Self {
        if shared.options.durability != Durability::Batch {
            return Self::AtOnce;
        }
        let (sender, receiver) = sync_channel(limits::BATCH_FILES_MAX);
        let shared = shared.clone();
        threads.spawn_blocking(move || collect(&shared, &receiver));
        Self::Batches(sender)
    }

    /// Blocks while a batch is being made durable and the next is full.
    pub(super) fn commit(&self, shared: &Shared, written: Written) {
        match self {
            Self::AtOnce => commit_at_once(shared, written),
            // The collector ends only after all senders, so this cannot fail while we live.
            Self::Batches(sender) => sender.send(written).unwrap_or_default(),
        }
    }
}

fn commit_at_once(shared: &Shared, written: Written) {
    shared.tally.timed(Stage::Write, || {
        rename(shared, written, |written, renamed| match renamed {
            Ok(dir) => renamed_at_once(shared, written, &dir),
            Err(err) => fail(shared, written, &err),
        });
    });
}

fn renamed_at_once(shared: &Shared, written: Written, dir: &Dir) {
    if shared.options.durability != Durability::File {
        return;
    }
    match shared.tally.timed(Stage::Sync, || dir.sync()) {
        Ok(()) => {
            shared.tally.durable.fetch_add(u64::from(written.temp.is_some()), Relaxed);
            receipts::add(shared, [written.index]);
        }
        Err(err) => shared.abort(lost(&err)),
    }
}

/// Collects batches until all writers are gone.
fn collect(shared: &Shared, written: &Receiver<Written>) {
    let mut batches = Batches { shared, named: Named::default() };
    let mut batch: Vec<Written> = Vec::new();
    let mut bytes = 0;
    let mut oldest = Instant::now();
    loop {
        let next = if batch.is_empty() && batches.named.is_empty() {
            written.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            written.recv_timeout(limits::BATCH_AGE_MAX.saturating_sub(oldest.elapsed()))
        };
        if let Ok(file) = next {
            if batch.is_empty() && batches.named.is_empty() {
                oldest = Instant::now();
            }
            bytes += file.bytes;
            batch.push(file);
            if batch.len() < limits::BATCH_FILES_MAX && bytes < limits::BATCH_BYTES_MAX {
                continue;
            }
        }
        let is_last = matches!(next, Err(RecvTimeoutError::Disconnected));
        let committed = batches.commit(&batch).and_then(|()| if is_last { batches.settle() } else { Ok(()) });
        if let Err(err) = committed {
            batches.poison(&batch, &err);
            return written.iter().for_each(|file| shared.fail(file.index, "an earlier barrier failed"));
        }
        batch.clear();
        (bytes, oldest) = (0, Instant::now());
        if is_last {
            return;
        }
    }
}

/// Commits files that are left when the collector has ended, as the durability asks. Blocks.
pub(super) fn all(shared: &Shared, left: &[Written]) {
    if shared.options.durability != Durability::Batch {
        return left.iter().for_each(|&written| commit_at_once(shared, written));
    }
    let mut batches = Batches { shared, named: Named::default() };
    if let Err(err) = batches.commit(left).and_then(|()| batches.settle()) {
        batches.poison(left, &err);
    }
}

/// Files that have their names, in directories that are not known to be durable.
#[derive(Debug, Default)]
struct Named {
    indexes: Vec<u32>,
    /// Of them, those that were not in place before.
    renamed: u64,
}

impl Named {
    fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }
}

/// Batches on their way.
struct Batches<'a> {
    shared: &'a Shared,
    /// Of the batch before.
    named: Named,
}

impl Batches<'_> {
    /// Barrier and receipts for the batch before, renames, and directories if they are few. An error means that nothing of both may count as durable.
    fn commit(&mut self, batch: &[Written]) -> io::Result<()> {
        if batch.is_empty() {
            return self.settle();
        }
        self.barrier()?;
        let shared = self.shared;
        let mut dirs: HashMap<u32, Arc<Dir>> = HashMap::new();
        let named = &mut self.named;
        shared.tally.timed(Stage::Write, || {
            for &written in batch {
                rename(shared, written, |written, given| match given {
                    Ok(dir) => {
                        named.renamed += u64::from(written.temp.is_some());
                        named.indexes.push(written.index);
                        if dirs.len() <= DIRS_SYNCED_ONE_BY_ONE_MAX {
                            let parent = shared.tree.read().expect("no holder panics").parent(written.index);
                            dirs.insert(parent, dir);
                        }
                    }
                    Err(err) => fail(shared, written, &err),
                });
            }
        });
        if dirs.len() > DIRS_SYNCED_ONE_BY_ONE_MAX || shared.landing.backup().is_asked() {
            return Ok(());
        }
        shared.tally.timed(Stage::Sync, || dirs.values().try_for_each(|dir| dir.sync()))?;
        self.told();
        Ok(())
    }

    /// Makes durable what has its name.
    fn settle(&mut self) -> io::Result<()> {
        if self.named.is_empty() { Ok(()) } else { self.barrier() }
    }

    /// Makes durable what was written, and what has its name.
    fn barrier(&mut self) -> io::Result<()> {
        let staging = self.shared.landing.staging()?;
        self.shared.tally.timed(Stage::Sync, || staging.dir().sync_file_system())?;
        self.told();
        Ok(())
    }

    /// Counts what has its name as durable.
    fn told(&mut self) {
        let Named { indexes, renamed } = std::mem::take(&mut self.named);
        self.shared.tally.durable.fetch_add(renamed, Relaxed);
        receipts::add(self.shared, indexes);
    }

    /// The disk has not kept what was written.
    fn poison(&self, batch: &[Written], err: &io::Error) {
        let reason = lost(err);
        let named = self.named.indexes.iter().copied();
        let lost: BTreeSet<u32> = batch.iter().map(|file| file.index).chain(named).collect();
        lost.into_iter().for_each(|index| self.shared.fail(index, &reason.to_string()));
        self.shared.abort(reason);
    }
}

/// Directories up to which each is synced by itself; beyond it one `syncfs` is cheaper. Chosen, not measured.
const DIRS_SYNCED_ONE_BY_ONE_MAX: usize = 16;

/// Gives the file its name, then what had that and has waited for it to be taken its new one, and so on. Tells `each` of every one, with the
/// directory that it went into.
pub(super) fn rename(shared: &Shared, written: Written, mut each: impl FnMut(Written, io::Result<Arc<Dir>>)) {
    let mut next = Some(written);
    while let Some(written) = next.take() {
        let mut displaced = None;
        let renamed = rename_one(shared, &written, &mut displaced);
        match (displaced, &renamed) {
            (Some(displaced), Ok(_)) => next = Some(displaced.written),
            (Some(displaced), Err(_)) => moved::put_back(shared, &displaced),
            (None, _) => {}
        }
        each(written, renamed);
    }
}

fn rename_one(shared: &Shared, written: &Written, displaced: &mut Option<Displaced>) -> io::Result<Arc<Dir>> {
    let dir = shared.parent_dir(written.index)?;
    let Some(temp) = written.temp else { return Ok(dir) };
    let seen = shared.replaced.take(written.index);
    *displaced = moved::displace(shared, written.index)?;
    let staging = shared.landing.staging()?;
    let name = shared.name_of(written.index);
    let name = Name::new(&name).expect("listed as a name");
    let temp = (staging.dir(), temp.as_name());
    let keep = || backup::keep(shared, &shared.path_of(written.index), (&dir, name));
    match shared.replaced.rename(seen, temp, (&dir, name), keep) {
        // The whole file is here, so now what is in its way may go.
        Err(err) if err.kind() == io::ErrorKind::IsADirectory && written.index != 0 => {
            if !shared.options.delete.is_asked() {
                return Err(err);
            }
            clear_way(shared, written.index, (&dir, name))?;
            staging.dir().rename_new(temp.1, &dir, name)?;
        }
        other => other?,
    }
    if let Some(hash) = written.hash {
        shared.fresh.note(written.index, hash);
    }
    shared.tally.committed.fetch_add(1, Relaxed);
    items::committed(shared, written.index);
    shared.landing.note_change();
    Ok(dir)
}

pub(super) fn fail(shared: &Shared, written: Written, err: &io::Error) {
    let reason = match err.kind() {
        io::ErrorKind::IsADirectory => "a directory is in the way of the file".to_owned(),
        io::ErrorKind::AlreadyExists => {
            "something else was put in its place while it was on its way; it is left as it is".to_owned()
        }
        _ => format!("cannot be given its name: {}", describe(err)),
    };
    shared.fail(written.index, &reason);
    if let (Some(temp), Ok(staging)) = (written.temp, shared.landing.staging()) {
        if shared.duplicates.keep(written, temp) {
            return;
        }
        // What cannot be removed goes with the staging place.
        let _gone = staging.dir().remove_file(temp.as_name());
    }
}

fn lost(err: &io::Error) -> SyncError {
    SyncError::Disk(format!("the disk failed to make files durable: {}", describe(err)))
}
