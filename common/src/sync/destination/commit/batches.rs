//! Batches of `--durability batch`: each is what was written while the disk was busy with the one before.
//!
//! Two threads share the work, so that the disk need not wait for the names, nor these for the disk: one makes durable what is written, the
//! other gives names to what that is done for. Where many directories took them, the barrier of a later batch makes the names durable, too.

use std::{
    collections::HashMap,
    io, mem,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Instant,
};

use tokio::task::JoinSet;

use super::{Written, fail, rename};
use crate::{
    limits,
    root::{Dir, describe},
    sync::{
        Stage, SyncError,
        destination::{Shared, receipts},
    },
};

/// Directories up to which each is synced by itself; beyond it one `syncfs` is cheaper. Chosen, not measured.
const DIRS_SYNCED_ONE_BY_ONE_MAX: usize = 16;

/// Starts both threads. They end when all senders are gone.
pub(super) fn start(shared: &Arc<Shared>, threads: &mut JoinSet<()>) -> SyncSender<Written> {
    let (sender, written) = sync_channel(limits::BATCH_FILES_MAX);
    let (safe, to_name) = sync_channel(1);
    let batches = Arc::new(Batches::new(Arc::clone(shared)));
    let collecting = Arc::clone(&batches);
    threads.spawn_blocking(move || collecting.collect(&written, &safe));
    threads.spawn_blocking(move || batches.name_all(&to_name));
    sender
}

/// Batches on their way.
pub(super) struct Batches<S> {
    shared: S,
    named: Mutex<Named>,
}

/// Files that have their names.
#[derive(Debug, Default)]
struct Given {
    indexes: Vec<u32>,
    /// Of them, those that were not in place before.
    renamed: u64,
}

/// What both threads know.
#[derive(Debug, Default)]
struct Named {
    /// In directories that are not known to be durable.
    given: Given,
    /// Set once a barrier has failed: from then on nothing is known to be durable.
    is_poisoned: bool,
}

impl<S: Deref<Target = Shared>> Batches<S> {
    pub(super) fn new(shared: S) -> Self {
        Self { shared, named: Mutex::default() }
    }

    /// Commits one batch from beginning to end.
    pub(super) fn commit_all(&self, batch: &[Written]) {
        if self.barrier(batch) {
            self.name(batch);
            self.settle();
        }
    }

    /// Makes durable what comes, batch by batch, and hands it on.
    fn collect(&self, written: &Receiver<Written>, safe: &SyncSender<Vec<Written>>) {
        while let Some(batch) = self.gather(written) {
            if !self.barrier(&batch) {
                return written.iter().for_each(|file| self.fail(&[file.index]));
            }
            // The other thread ends after this one.
            safe.send(batch).unwrap_or_default();
        }
    }

    /// What to make durable next: all that has been written, once it is worth a barrier or has waited long enough. `None` at the end.
    fn gather(&self, written: &Receiver<Written>) -> Option<Vec<Written>> {
        let (mut batch, mut bytes, start) = (Vec::new(), 0, Instant::now());
        while batch.len() < limits::BATCH_FILES_MIN && bytes < limits::BATCH_BYTES_MAX {
            match written.recv_timeout(limits::BATCH_AGE_MAX.saturating_sub(start.elapsed())) {
                Ok(file) => {
                    bytes += file.bytes;
                    batch.push(file);
                }
                Err(RecvTimeoutError::Disconnected) if batch.is_empty() => return None,
                Err(_) => break,
            }
        }
        batch.extend(written.try_iter().take(limits::BATCH_FILES_MAX));
        Some(batch)
    }

    /// Gives names to what is safe.
    fn name_all(&self, safe: &Receiver<Vec<Written>>) {
        safe.iter().for_each(|batch| self.name(&batch));
        self.settle();
    }

    /// Gives a batch its names, and makes the directories durable if they are few.
    fn name(&self, batch: &[Written]) {
        let shared = &*self.shared;
        let mut dirs: HashMap<u32, Arc<Dir>> = HashMap::new();
        let mut given = Given::default();
        shared.tally.timed(Stage::Write, || {
            for &written in batch {
                rename(shared, written, |written, renamed| match renamed {
                    Ok(dir) => {
                        given.renamed += u64::from(written.temp.is_some());
                        given.indexes.push(written.index);
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
            return self.wait_for_barrier(given);
        }
        match shared.tally.timed(Stage::Sync, || dirs.values().try_for_each(|dir| dir.sync())) {
            Ok(()) => self.tell(given),
            Err(err) => self.poison(given.indexes, &err),
        }
    }

    fn wait_for_barrier(&self, given: Given) {
        let mut named = self.named();
        if named.is_poisoned {
            drop(named);
            return self.fail(&given.indexes);
        }
        named.given.indexes.extend(given.indexes);
        named.given.renamed += given.renamed;
    }

    /// Makes durable what has its name.
    fn settle(&self) {
        self.barrier(&[]);
    }

    /// Makes durable what was written, this batch among it, and what has its name. Says whether it is.
    fn barrier(&self, batch: &[Written]) -> bool {
        let given = mem::take(&mut self.named().given);
        if batch.is_empty() && given.indexes.is_empty() {
            return true;
        }
        let shared = &*self.shared;
        let staging = shared.landing.staging();
        let synced =
            staging.and_then(|staging| shared.tally.timed(Stage::Sync, || staging.dir().sync_file_system()));
        match synced {
            Ok(()) => self.tell(given),
            Err(err) => {
                let indexes = batch.iter().map(|file| file.index).chain(given.indexes).collect();
                self.poison(indexes, &err);
            }
        }
        !self.named().is_poisoned
    }

    /// Counts these as durable, unless a barrier has failed.
    fn tell(&self, given: Given) {
        if self.named().is_poisoned {
            return self.fail(&given.indexes);
        }
        self.shared.tally.durable.fetch_add(given.renamed, Relaxed);
        receipts::add(&self.shared, given.indexes);
    }

    /// The disk has not kept these, nor what waited for the next barrier.
    fn poison(&self, mut indexes: Vec<u32>, err: &io::Error) {
        let reason = lost(err);
        {
            let mut named = self.named();
            named.is_poisoned = true;
            indexes.append(&mut mem::take(&mut named.given).indexes);
        }
        indexes.sort_unstable();
        indexes.dedup();
        indexes.into_iter().for_each(|index| self.shared.fail(index, &reason.to_string()));
        self.shared.abort(reason);
    }

    fn fail(&self, indexes: &[u32]) {
        indexes.iter().for_each(|&index| self.shared.fail(index, "an earlier barrier failed"));
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        self.named.lock().expect("no holder panics")
    }
}

pub(super) fn lost(err: &io::Error) -> SyncError {
    SyncError::Disk(format!("the disk failed to make files durable: {}", describe(err)))
}
