//! Old files that wanted ones may be built from: their signatures for the source, and their bytes when the patches come.
//!
//! The planner asks for a file with a candidate; threads read the candidate, cut and hash it (`delta`), and tell the source. Asking never
//! waits: what is asked for is bounded by the listing. The threads wait where more chunks are told, or more old files held open,
//! than `limits` allows, until files that were told have been settled. A candidate is what it is told to be only as long as nobody writes
//! to it, so whatever is built from it is checked whole.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use super::Shared;
use crate::{
    delta::{Cuts, Signature, Signer},
    limits::{self, CHUNK_BYTES},
    path::{Name, RelPath},
    root::{EntryType, File},
    sync::Stage,
    wire::sync::{DestinationMessage, Run, WantWith},
};

/// Which old file to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    /// The one whose place the new file takes.
    Own,
    /// Another one, by its path below the root.
    Other(RelPath),
}

/// An old file that was told to the source.
#[derive(Debug)]
pub(super) struct Basis {
    /// Which.
    pub(super) candidate: Candidate,
    /// Bytes that were told, from the start on.
    pub(super) bytes: u64,
    /// Their BLAKE3.
    pub(super) hash: [u8; 32],
    /// Whether that is the whole file.
    pub(super) is_whole: bool,
    /// Held open where it may lose its name before it is needed; a small one in its own place is opened again.
    file: Option<File>,
    chunks: usize,
}

/// What was asked for, told and is not settled.
#[derive(Debug, Default)]
pub(super) struct Bases {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: VecDeque<(u32, Candidate)>,
    told: HashMap<u32, Arc<Basis>>,
    /// Chunks of all that is told.
    chunks: usize,
    /// Files held open.
    held: usize,
    /// Candidates that are being read.
    reading: usize,
    /// Candidates that are read, or cannot be, and of which the source has not been told.
    untold: usize,
    /// Nothing more will be asked for, or the sync is over.
    is_closed: bool,
}

/// What a thread is to do.
enum Next {
    Sign(u32, Candidate),
    /// Say what is ready: there is nothing to do, or no room for more.
    Tell,
    End,
}

impl Bases {
    /// Asks for a file that is wanted, with a candidate for its content.
    pub(super) fn ask(&self, index: u32, candidate: Candidate) {
        self.state().asked.push_back((index, candidate));
        self.changed.notify_one();
    }

    /// Nothing more will be asked for. Waits until the source has been told of all, or the sync is over.
    pub(super) fn finish(&self, shared: &Shared) {
        self.state().is_closed = true;
        self.changed.notify_all();
        work(shared);
        let busy = |state: &mut State| state.reading + state.untold > 0;
        drop(self.changed.wait_while(self.state(), busy).expect("no holder panics"));
    }

    /// The sync is over.
    pub(super) fn abort(&self) {
        let mut state = self.state();
        state.asked.clear();
        state.is_closed = true;
        self.changed.notify_all();
    }

    /// What was told for this file.
    pub(super) fn get(&self, index: u32) -> Option<Arc<Basis>> {
        self.state().told.get(&index).cloned()
    }

    /// The file has come or will not: its basis is not needed any more.
    pub(super) fn settle(&self, index: u32) {
        let mut state = self.state();
        if let Some(basis) = state.told.remove(&index) {
            state.chunks -= basis.chunks;
            state.held -= usize::from(basis.file.is_some());
            self.changed.notify_all();
        }
    }

    fn next(&self, has_ready: bool) -> Next {
        let mut state = self.state();
        loop {
            if state.has_room()
                && let Some((index, candidate)) = state.asked.pop_front()
            {
                state.reading += 1;
                return Next::Sign(index, candidate);
            }
            if has_ready {
                return Next::Tell;
            }
            if state.is_closed && state.asked.is_empty() {
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
            state.held += usize::from(basis.file.is_some());
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
    /// Whether another candidate may be signed, which may turn out to have as many chunks as there can be.
    fn has_room(&self) -> bool {
        self.chunks + (self.reading + 1) * limits::SIGNATURE_CHUNKS_MAX <= limits::SIGNATURE_CHUNKS_TOLD_MAX
            && self.held + self.reading < limits::BASES_OPEN_MAX
    }
}

/// Signs what is asked for and tells the source, until nothing more will be asked for. Blocks.
pub(super) fn work(shared: &Shared) {
    let mut ready = Ready::default();
    loop {
        match shared.bases.next(!ready.is_empty()) {
            Next::Sign(index, candidate) => {
                let signed = sign(shared, index, candidate);
                ready.add(index, signed, &shared.bases);
                if ready.bytes >= limits::SIGNATURES_BYTES_TARGET {
                    ready.tell(shared);
                }
            }
            Next::Tell => ready.tell(shared),
            Next::End => return,
        }
    }
}

/// What a thread will tell next.
#[derive(Default)]
struct Ready {
    with: Vec<WantWith>,
    /// Files whose candidate cannot be read.
    without: Vec<Run>,
    count: usize,
    bytes: usize,
}

impl Ready {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, index: u32, signed: io::Result<(Signature, Basis)>, bases: &Bases) {
        self.count += 1;
        match signed {
            Ok((signature, basis)) => {
                self.bytes += (1 + signature.chunks.len()) * size_of::<(u32, [u8; 16])>();
                let Signature { cuts, chunks } = signature;
                self.with.push(WantWith { index, average_log2: cuts.average_log2(), chunks });
                bases.read(index, Some(basis));
            }
            Err(err) => {
                tracing::debug!(index, %err, "what is here cannot serve for a new file");
                self.bytes += size_of::<Run>();
                self.without.push(Run { first: index, count: 1 });
                bases.read(index, None);
            }
        }
    }

    fn tell(&mut self, shared: &Shared) {
        let Self { with, without, count, .. } = std::mem::take(self);
        let with = (!with.is_empty()).then_some(DestinationMessage::WantWith(with));
        let without = (!without.is_empty()).then_some(DestinationMessage::Want(without));
        for message in with.into_iter().chain(without) {
            // A closed channel means that the sync has ended, and then nobody waits for this.
            let _ended = shared.control.send_blocking(message);
        }
        shared.bases.are_told(count);
    }
}

/// Reads a candidate to its end.
fn sign(shared: &Shared, index: u32, candidate: Candidate) -> io::Result<(Signature, Basis)> {
    let file = open(shared, index, &candidate)?;
    let size = file.stat()?.size;
    let mut signer = Signer::new(Cuts::for_size(size));
    let mut buffer = shared.pool.take();
    let step = usize::try_from(CHUNK_BYTES).expect("1 MiB");
    let mut offset = 0;
    loop {
        buffer.bytes.clear();
        let read = shared.tally.timed(Stage::Read, || file.read_at(offset, step, &mut buffer.bytes))?;
        if read == 0 {
            break;
        }
        // The file may take an hour.
        if shared.pending.is_over() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        shared.tally.timed(Stage::Hash, || signer.add(&buffer.bytes));
        offset += u64::try_from(read).expect("at most a chunk");
    }
    let (signature, hash) = shared.tally.timed(Stage::Hash, || signer.finish());
    let bytes = signature.bytes();
    let is_held = candidate != Candidate::Own || size > CHUNK_BYTES;
    let chunks = signature.chunks.len();
    let file = is_held.then_some(file);
    Ok((signature, Basis { candidate, bytes, hash: hash.into(), is_whole: bytes == offset, file, chunks }))
}

fn open(shared: &Shared, index: u32, candidate: &Candidate) -> io::Result<File> {
    let file = match candidate {
        Candidate::Own => {
            let name = shared.name_of(index);
            shared.parent_dir(index)?.open_file(Name::new(&name).expect("listed as a name"))?
        }
        Candidate::Other(path) => {
            let (parent, name) = path.split_last().ok_or(io::ErrorKind::IsADirectory)?;
            shared.landing.root().dir(&parent)?.open_file(name)?
        }
    };
    if file.stat()?.entry_type != EntryType::File {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}

impl Basis {
    /// Does something with the old file, which is opened again where it is not held.
    pub(super) fn with_file<T>(
        &self,
        shared: &Shared,
        index: u32,
        work: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        match &self.file {
            Some(file) => work(file),
            None => work(&open(shared, index, &self.candidate)?),
        }
    }
}
