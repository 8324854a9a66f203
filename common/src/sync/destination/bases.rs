//! Old files that wanted ones may be built from: their signatures for the source, and their bytes when the patches come.
//!
//! The planner asks for a file with a candidate; threads tell the source of it: of a most likely one a sample, or its hash if that is
//! remembered, of others what they find when they read, cut and hash them (`delta`). Asking never waits: what is asked for is bounded by
//! the listing. The threads wait where more chunks are told, or more old files held open, than `limits` allows, until files that were told
//! have been settled. A candidate is what it is told to be only as long as nobody writes to it, so whatever is built from it is checked whole.

mod signing;

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use super::Shared;
use crate::{
    limits::{self, CHUNK_BYTES},
    path::RelPath,
    root::{File, Stat, descriptors, staging::PartialKey},
    sync::Stage,
    wire::sync::Mark,
};
pub(super) use signing::work;
use signing::{open, read_hash};

/// Which old file to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    /// The one whose place the new file takes.
    Own,
    /// Another one, by its path below the root.
    Other(RelPath),
    /// What an interrupted sync has left of the new file, and after it the old one, if it has one.
    Partial { key: PartialKey, own: bool },
}

/// How the source is told of an old file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// By a mark: it most likely is what the source has, or its beginning. If not, it is told by its chunks then.
    Mark,
    /// By its chunks.
    Chunks,
}

impl Telling {
    /// For a new file of `size` bytes, of which an old one of `has` bytes may be the beginning. Large files are told by their chunks: the
    /// source would read one to its end before it knew, and then again.
    pub(super) fn of_growing(size: u64, has: u64) -> Self {
        if has < size && size <= CHUNK_BYTES { Self::Mark } else { Self::Chunks }
    }
}

/// What the source was told of an old file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Mark(Mark),
    /// Chunks that have this BLAKE3 together.
    Chunks([u8; 32]),
}

/// An old file that was told to the source.
#[derive(Debug)]
pub(super) struct Basis {
    /// Which.
    pub(super) candidate: Candidate,
    told: Told,
    /// The file, or the first of two, when it was told.
    pub(super) stat: Stat,
    /// Whether that is all of one file.
    pub(super) is_whole: bool,
    /// Bytes that were told of each file, from its start on.
    bytes: Vec<u64>,
    /// Held open where they may lose their names before they are needed; a small file in its own place is opened again.
    files: Option<Arc<[File]>>,
    chunks: usize,
    /// Whether the new file is larger than a chunk.
    is_large: bool,
}

/// What was asked for, told and is not settled.
#[derive(Debug)]
pub(super) struct Bases {
    state: Mutex<State>,
    changed: Condvar,
    open_max: usize,
}

impl Default for Bases {
    fn default() -> Self {
        let open_max = descriptors::share(limits::BASES_OPEN_MAX);
        Self { state: Mutex::default(), changed: Condvar::new(), open_max }
    }
}

/// A wanted file whose candidate is to be read.
#[derive(Debug)]
struct Asked {
    index: u32,
    candidate: Candidate,
    telling: Telling,
    /// The candidate, where it is held open already: its name may have become another file's since. Not counted as held until it is read.
    files: Option<Arc<[File]>>,
}

#[derive(Debug, Default)]
struct State {
    asked: VecDeque<Asked>,
    told: HashMap<u32, Arc<Basis>>,
    /// Chunks of all that is told.
    chunks: usize,
    /// Files held open.
    held: usize,
    /// Large files that are wanted so.
    large: usize,
    /// Candidates that are being read.
    reading: usize,
    /// Candidates that are read, or cannot be, and of which the source has not been told.
    untold: usize,
    /// Files of which the source was told a mark and that are not settled.
    compared: usize,
    /// Nothing more will be asked for, or the sync is over.
    is_closed: bool,
    is_aborted: bool,
}

/// Files of which only a mark is told and that are not settled: 10 MB here and at the source.
const COMPARED_MAX: usize = 32_768;

/// What a thread is to do.
enum Next {
    Sign(Asked),
    /// Say what is ready: there is nothing to do, or no room for more.
    Tell,
    End,
}

impl Bases {
    /// Asks for files that are wanted, with a candidate for the content of each.
    pub(super) fn ask(&self, files: Vec<(u32, Candidate, Telling)>) {
        let mut state = self.state();
        if !state.is_aborted {
            let asked = |(index, candidate, telling)| Asked { index, candidate, telling, files: None };
            state.asked.extend(files.into_iter().map(asked));
            self.changed.notify_all();
        }
    }

    /// Waits until the source has been told of all that was asked for, whose bases are held open then, or the sync is over.
    pub(super) fn settle_asked(&self) {
        let busy = |state: &mut State| {
            !state.is_closed && (!state.asked.is_empty() || state.reading + state.untold > 0)
        };
        drop(self.changed.wait_while(self.state(), busy).expect("no holder panics"));
    }

    /// Nothing more will be asked for. Waits until the source has been told of all, or the sync is over.
    pub(super) fn finish(&self, shared: &Shared) {
        self.state().is_closed = true;
        self.changed.notify_all();
        work(shared);
        let busy = |state: &mut State| !state.is_aborted && !state.is_settled();
        drop(self.changed.wait_while(self.state(), busy).expect("no holder panics"));
    }

    /// What the source has of this file does not begin so: it is told of the same candidate's chunks. False if no mark was told.
    pub(super) fn differs(&self, index: u32) -> bool {
        let mut state = self.state();
        let told = state.told.get(&index).filter(|basis| basis.is_likely());
        let Some(basis) = told else { return false };
        let (candidate, files) = (basis.candidate.clone(), basis.files.clone());
        state.settle(index);
        if !state.is_aborted {
            state.asked.push_back(Asked { index, candidate, telling: Telling::Chunks, files });
        }
        self.changed.notify_all();
        true
    }

    /// The sync is over.
    pub(super) fn abort(&self) {
        let mut state = self.state();
        state.asked.clear();
        state.is_closed = true;
        state.is_aborted = true;
        self.changed.notify_all();
    }

    /// What was told for this file.
    pub(super) fn get(&self, index: u32) -> Option<Arc<Basis>> {
        self.state().told.get(&index).cloned()
    }

    /// The file has come or will not: its basis is not needed any more.
    pub(super) fn settle(&self, index: u32) {
        let mut state = self.state();
        let was_settled = state.is_settled();
        // Each file is settled, and waking others for nothing costs more than the rest of this.
        if state.settle(index) && (!state.asked.is_empty() || !was_settled && state.is_settled()) {
            self.changed.notify_all();
        }
    }

    fn next(&self, has_ready: bool) -> Next {
        let mut state = self.state();
        loop {
            if state.is_aborted {
                return if has_ready { Next::Tell } else { Next::End };
            }
            if state.has_room(self.open_max)
                && let Some(asked) = state.asked.pop_front()
            {
                state.reading += 1;
                return Next::Sign(asked);
            }
            if has_ready {
                return Next::Tell;
            }
            // What is being compared, or read to be, may be asked for once more.
            if state.is_closed && state.is_settled() {
                return Next::End;
            }
            state = self.changed.wait(state).expect("no holder panics");
        }
    }

    /// A candidate is read, or cannot be.
    fn read(&self, index: u32, basis: Option<Basis>) {
        let mut state = self.state();
        state.reading -= 1;
        state.untold += 1;
        if let Some(basis) = basis {
            state.chunks += basis.chunks;
            state.held += basis.held();
            state.large += usize::from(basis.is_large);
            state.compared += usize::from(basis.is_likely());
            state.told.insert(index, Arc::new(basis));
        }
    }

    fn are_told(&self, count: usize) {
        self.state().untold -= count;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    /// Whether the source has been told of all that was asked for, and has answered where it must.
    fn is_settled(&self) -> bool {
        self.asked.is_empty() && self.reading + self.untold + self.compared == 0
    }

    /// Forgets the basis of a file; false if there is none.
    fn settle(&mut self, index: u32) -> bool {
        let Some(basis) = self.told.remove(&index) else { return false };
        self.chunks -= basis.chunks;
        self.held -= basis.held();
        self.large -= usize::from(basis.is_large);
        self.compared -= usize::from(basis.is_likely());
        true
    }

    /// Whether another candidate may be signed, which may turn out to have as many chunks as there can be.
    fn has_room(&self, open_max: usize) -> bool {
        self.chunks + (self.reading + 1) * limits::SIGNATURE_CHUNKS_MAX <= limits::SIGNATURE_CHUNKS_TOLD_MAX
            && self.held + self.reading < open_max
            && self.large + self.reading < limits::BASES_LARGE_MAX
            && self.compared + self.reading < COMPARED_MAX
    }
}

impl Basis {
    /// Bytes that were told.
    pub(super) fn len(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// Opens it for reading, unless it is held open.
    pub(super) fn open(&self, shared: &Shared, index: u32) -> io::Result<OpenBasis<'_>> {
        let files = match &self.files {
            Some(files) => files.clone(),
            None => open(shared, index, &self.candidate)?.into(),
        };
        Ok(OpenBasis { basis: self, files })
    }

    /// Whether it was told by a mark, and may turn out to be something else.
    pub(super) fn is_likely(&self) -> bool {
        matches!(self.told, Told::Mark(_))
    }

    /// Whether this is the hash of what was told. What was told by a sample is read for it.
    pub(super) fn has(&self, shared: &Shared, index: u32, hash: &[u8; 32]) -> io::Result<bool> {
        if let Told::Chunks(told) | Told::Mark(Mark::Whole(told)) = self.told {
            return Ok(told == *hash);
        }
        let opened = self.open(shared, index)?;
        let hashes = opened.files.iter().map(|file| read_hash(shared, file, &file.stat()?));
        Ok(hashes.collect::<io::Result<Vec<_>>>()? == [*hash])
    }

    fn held(&self) -> usize {
        self.files.as_ref().map_or(0, |files| files.len())
    }
}

/// A basis whose content can be read.
pub(super) struct OpenBasis<'a> {
    basis: &'a Basis,
    files: Arc<[File]>,
}

impl OpenBasis<'_> {
    /// Appends `size` bytes from `offset` on to `out`, all of which were told. `UnexpectedEof` where they are not there any more.
    pub(super) fn read(
        &self,
        shared: &Shared,
        (offset, size): (u64, usize),
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (mut offset, mut left) = (offset, size);
        for (file, &bytes) in self.files.iter().zip(&self.basis.bytes) {
            let due = usize::try_from(bytes.saturating_sub(offset)).unwrap_or(usize::MAX).min(left);
            if shared.tally.timed(Stage::Read, || file.read_at(offset.min(bytes), due, out))? != due {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            (offset, left) = (offset.saturating_sub(bytes), left - due);
        }
        Ok(())
    }
}
