//! Files of equal size, compared by their hashes alone: `swarm verify`, and a dry run with `--checksum`.
//!
//! The source is asked for the hash while threads here read the same file, so that both sides read at once and each file is read once at
//! each. A file is settled when both have come, or when the source has failed it.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Condvar, Mutex, MutexGuard, atomic::Ordering::Relaxed},
};

use async_channel::Receiver;

use super::{Shared, UNWANTED, Work, items};
use crate::{
    limits::CHUNK_BYTES,
    path::Name,
    root::EntryType,
    sync::{Stage, SyncError},
    wire::change::Change,
};

/// What is asked for and not settled.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// To be read here.
    queue: VecDeque<u32>,
    open: HashMap<u32, Pair>,
    is_closed: bool,
}

/// What is told of a file, by whether its content is the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) same: Option<Change>,
    pub(super) other: Change,
}

/// A file at both sides.
#[derive(Debug)]
struct Pair {
    verdict: Verdict,
    /// The inner option is none where it cannot be read, which has been told.
    here: Option<Option<[u8; 32]>>,
    there: Option<[u8; 32]>,
}

impl Comparing {
    /// Nothing more will be read here.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.queue.clear();
        self.changed.notify_all();
    }

    /// The source has failed a file that it was asked for.
    pub(super) fn forget(&self, index: u32) {
        self.state().open.remove(&index);
    }

    fn next(&self) -> Option<u32> {
        let idle = |state: &mut State| state.queue.is_empty() && !state.is_closed;
        self.changed.wait_while(self.state(), idle).expect("no holder panics").queue.pop_front()
    }

    /// Notes one side of a file; gives the pair when both are there.
    fn note(&self, index: u32, note: impl FnOnce(&mut Pair)) -> Option<Pair> {
        let mut state = self.state();
        let pair = state.open.get_mut(&index)?;
        note(pair);
        let is_complete = pair.here.is_some() && pair.there.is_some();
        is_complete.then(|| state.open.remove(&index)).flatten()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// Has a file compared, of which the source is asked for the hash.
pub(super) fn ask(shared: &Shared, index: u32, verdict: Verdict) {
    let mut state = shared.comparing.state();
    state.open.insert(index, Pair { verdict, here: None, there: None });
    state.queue.push_back(index);
    shared.comparing.changed.notify_one();
}

/// Reads the files that are asked for until nothing more will be. Blocks.
pub(super) fn read(shared: &Shared) {
    while let Some(index) = shared.comparing.next() {
        let hash = match hash(shared, index) {
            Ok(hash) => Some(hash),
            Err(_) if shared.pending.is_over() => return,
            Err(err) => {
                shared.fail_io(index, "what is there cannot be read", &err);
                None
            }
        };
        if let Some(pair) = shared.comparing.note(index, |pair| pair.here = Some(hash)) {
            settle(shared, index, &pair);
        }
    }
}

/// Takes what the source tells until the queue is closed. Blocks.
pub(super) fn compare(shared: &Shared, told: &Receiver<Work>) {
    while let Ok(work) = told.recv_blocking() {
        if let Err(err) = take(shared, work) {
            shared.abort(err);
            told.close();
            return;
        }
    }
}

fn take(shared: &Shared, work: Work) -> Result<(), SyncError> {
    let Work::Digests(digests) = work else { return Err(UNWANTED) };
    for digest in digests {
        if !shared.pending.take(digest.index) {
            return Err(UNWANTED);
        }
        if let Some(pair) = shared.comparing.note(digest.index, |pair| pair.there = Some(digest.hash)) {
            settle(shared, digest.index, &pair);
        }
    }
    Ok(())
}

fn settle(shared: &Shared, index: u32, pair: &Pair) {
    if let Some(Some(here)) = pair.here {
        let is_same = pair.there == Some(here);
        let change = if is_same { pair.verdict.same } else { Some(pair.verdict.other) };
        if is_same {
            let bytes = shared.tree.read().expect("no holder panics").size(index);
            shared.tally.files_unchanged.fetch_add(1, Relaxed);
            shared.tally.bytes_unchanged.fetch_add(bytes, Relaxed);
        }
        items::planned(shared, index, change);
    }
    shared.settled(index);
}

/// The hash of the file that stands in an entry's place.
fn hash(shared: &Shared, index: u32) -> io::Result<[u8; 32]> {
    let name = shared.name_of(index);
    let file = shared.parent_dir(index)?.open_file(Name::new(&name).expect("listed as a name"))?;
    if file.stat()?.entry_type != EntryType::File {
        return Err(io::Error::other("it is no regular file any more"));
    }
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), shared.pool.take());
    let step = usize::try_from(CHUNK_BYTES).expect("1 MiB");
    let mut offset = 0;
    loop {
        buffer.bytes.clear();
        let read = shared.tally.timed(Stage::Read, || file.read_at(offset, step, &mut buffer.bytes))?;
        if read == 0 {
            return Ok(hasher.finalize().into());
        }
        // The file may take an hour.
        if shared.pending.is_over() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        shared.tally.timed(Stage::Hash, || hasher.update(&buffer.bytes));
        offset += u64::try_from(read).expect("at most a chunk");
    }
}
