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
    entry::Timestamp,
    limits::{self, CHUNK_BYTES},
    path::{Name, RelPath},
    root::{EntryType, File, Stat, descriptors, staging::PartialKey},
    sync::Stage,
    wire::sync::{Beginning, DestinationMessage, Run, WantWith},
};

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
    /// By its hash: it most likely is what the source has, or its beginning. If not, it is told by its chunks then.
    Hash,
    /// By its chunks.
    Chunks,
}

impl Telling {
    /// For a new file of `size` bytes, of which an old one of `has` bytes may be the beginning. Large files are told by their chunks: the
    /// source would read one to its end before it knew, and then again.
    pub(super) fn of_growing(size: u64, has: u64) -> Self {
        if has < size && size <= CHUNK_BYTES { Self::Hash } else { Self::Chunks }
    }
}

/// An old file that was told to the source.
#[derive(Debug)]
pub(super) struct Basis {
    /// Which.
    pub(super) candidate: Candidate,
    telling: Telling,
    /// BLAKE3 of all that was told.
    pub(super) hash: [u8; 32],
    /// Whether that is all of one file.
    pub(super) is_whole: bool,
    /// Bytes that were told of each file, from its start on.
    bytes: Vec<u64>,
    /// Held open where they may lose their names before they are needed; a small file in its own place is opened again.
    files: Option<Vec<File>>,
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

#[derive(Debug, Default)]
struct State {
    asked: VecDeque<(u32, Candidate, Telling)>,
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
    /// Files of which the source was told the hash and has not answered.
    compared: usize,
    /// Nothing more will be asked for, or the sync is over.
    is_closed: bool,
    is_aborted: bool,
}

/// Files of which only the hash is told and that are not answered: 10 MB here and at the source.
const COMPARED_MAX: usize = 32_768;

/// What a thread is to do.
enum Next {
    Sign(u32, Candidate, Telling),
    /// Say what is ready: there is nothing to do, or no room for more.
    Tell,
    End,
}

impl Bases {
    /// Asks for files that are wanted, with a candidate for the content of each.
    pub(super) fn ask(&self, files: Vec<(u32, Candidate, Telling)>) {
        let mut state = self.state();
        if !state.is_aborted {
            state.asked.extend(files);
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

    /// What the source has of this file does not begin so: it is told of the same candidate's chunks. False if no hash was told.
    pub(super) fn differs(&self, index: u32) -> bool {
        let mut state = self.state();
        let told = state.told.get(&index).filter(|basis| basis.telling == Telling::Hash);
        let Some(candidate) = told.map(|basis| basis.candidate.clone()) else { return false };
        state.settle(index);
        if !state.is_aborted {
            state.asked.push_back((index, candidate, Telling::Chunks));
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
                && let Some((index, candidate, telling)) = state.asked.pop_front()
            {
                state.reading += 1;
                return Next::Sign(index, candidate, telling);
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
            state.compared += usize::from(basis.telling == Telling::Hash);
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
        self.compared -= usize::from(basis.telling == Telling::Hash);
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

/// Signs what is asked for and tells the source, until nothing more will be asked for. Blocks.
pub(super) fn work(shared: &Shared) {
    let mut ready = Ready::default();
    loop {
        match shared.bases.next(!ready.is_empty()) {
            Next::Sign(index, candidate, telling) => {
                let signed = sign(shared, index, candidate, telling);
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
    beyond: Vec<Beginning>,
    /// Files whose candidate cannot be read.
    without: Vec<Run>,
    count: usize,
    bytes: usize,
}

impl Ready {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, index: u32, signed: io::Result<(Option<Signature>, Basis)>, bases: &Bases) {
        self.count += 1;
        match signed {
            Ok((None, basis)) => {
                self.bytes += size_of::<Beginning>();
                self.beyond.push(Beginning { index, size: basis.len(), hash: basis.hash });
                bases.read(index, Some(basis));
            }
            Ok((Some(signature), basis)) => {
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
        let Self { with, beyond, without, count, .. } = std::mem::take(self);
        let with = (!with.is_empty()).then_some(DestinationMessage::WantWith(with));
        let without = (!without.is_empty()).then_some(DestinationMessage::Want(without));
        let beyond = (!beyond.is_empty()).then_some(DestinationMessage::WantBeyond(beyond));
        for message in with.into_iter().chain(beyond).chain(without) {
            // A closed channel means that the sync has ended, and then nobody waits for this.
            let _ended = shared.control.send_blocking(message);
        }
        shared.bases.are_told(count);
    }
}

/// Reads a candidate to its end. There is no signature of one that is told by its hash.
fn sign(
    shared: &Shared,
    index: u32,
    candidate: Candidate,
    telling: Telling,
) -> io::Result<(Option<Signature>, Basis)> {
    let files = open(shared, index, &candidate)?;
    let hashes = &shared.landing.destination().hashes;
    let began = hashes.begin();
    let stats: Vec<Stat> = files.iter().map(File::stat).collect::<io::Result<_>>()?;
    let size = stats.iter().map(|stat| stat.size).sum();
    let is_large = shared.tree.read().expect("no holder panics").size(index) > CHUNK_BYTES;
    let is_held = candidate != Candidate::Own || size > CHUNK_BYTES && telling == Telling::Chunks;
    if let (Telling::Hash, [file]) = (telling, &files[..]) {
        let hash = hash(shared, file, (&stats[0], began))?;
        let (bytes, files) = (vec![size], is_held.then_some(files));
        let basis = Basis { candidate, telling, hash, is_whole: true, bytes, files, chunks: 0, is_large };
        return Ok((None, basis));
    }
    let mut signer = Signer::new(Cuts::for_size(size));
    let mut bytes = Vec::with_capacity(files.len());
    let mut read = 0;
    for file in &files {
        read += read_all(shared, file, |bytes| signer.add(bytes))?;
        bytes.push(signer.end_file() - bytes.iter().sum::<u64>());
    }
    let (signature, hash) = signer.finish();
    let is_whole = files.len() == 1 && bytes[0] == read;
    let hash = hash.into();
    if is_whole && files[0].stat()? == stats[0] {
        hashes.put(&stats[0], hash, began);
    }
    let chunks = signature.chunks.len();
    let files = is_held.then_some(files);
    let telling = Telling::Chunks;
    let basis = Basis { candidate, telling, hash, is_whole, bytes, files, chunks, is_large };
    Ok((Some(signature), basis))
}

/// The hash of a file, remembered or read.
fn hash(shared: &Shared, file: &File, (stat, began): (&Stat, Option<Timestamp>)) -> io::Result<[u8; 32]> {
    let hashes = &shared.landing.destination().hashes;
    // What the source will remove is read.
    if !shared.options.remove_source
        && let Some(hash) = hashes.get(stat)
    {
        return Ok(hash);
    }
    read_hash(shared, file, (stat, began))
}

/// The hash of a file as it is read now, which is remembered.
fn read_hash(
    shared: &Shared,
    file: &File,
    (stat, began): (&Stat, Option<Timestamp>),
) -> io::Result<[u8; 32]> {
    let hashes = &shared.landing.destination().hashes;
    let mut hasher = blake3::Hasher::new();
    read_all(shared, file, |bytes| {
        hasher.update(bytes);
    })?;
    let hash = hasher.finalize().into();
    if file.stat()? == *stat {
        hashes.put(stat, hash, began);
    }
    Ok(hash)
}

fn read_all(shared: &Shared, file: &File, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = shared.pool.take();
    let step = usize::try_from(CHUNK_BYTES).expect("1 MiB");
    let mut offset = 0;
    loop {
        buffer.bytes.clear();
        let read = shared.tally.timed(Stage::Read, || file.read_at(offset, step, &mut buffer.bytes))?;
        if read == 0 {
            return Ok(offset);
        }
        // The file may take an hour.
        if shared.pending.is_over() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        shared.tally.timed(Stage::Hash, || take(&buffer.bytes));
        offset += u64::try_from(read).expect("at most a chunk");
    }
}

/// The files of a candidate, whose contents are laid end to end.
fn open(shared: &Shared, index: u32, candidate: &Candidate) -> io::Result<Vec<File>> {
    let files = match candidate {
        Candidate::Own => vec![open_own(shared, index)?],
        Candidate::Other(path) => {
            let (parent, name) = path.split_last().ok_or(io::ErrorKind::IsADirectory)?;
            vec![shared.landing.root().dir(&parent)?.open_file(name)?]
        }
        Candidate::Partial { key, own } => {
            let partial = shared.landing.open_partial(key)?;
            let own = own.then(|| open_own(shared, index)).transpose()?;
            std::iter::once(partial).chain(own).collect()
        }
    };
    for file in &files {
        if file.stat()?.entry_type != EntryType::File {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    }
    Ok(files)
}

fn open_own(shared: &Shared, index: u32) -> io::Result<File> {
    let name = shared.name_of(index);
    shared.parent_dir(index)?.open_file(Name::new(&name).expect("listed as a name"))
}

impl Basis {
    /// Bytes that were told.
    pub(super) fn len(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// Appends `size` bytes from `offset` on to `out`, all of which were told. `UnexpectedEof` where they are not there any more.
    pub(super) fn read(
        &self,
        shared: &Shared,
        index: u32,
        (offset, size): (u64, u32),
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let opened;
        let files = match &self.files {
            Some(files) => files,
            None => {
                opened = open(shared, index, &self.candidate)?;
                &opened
            }
        };
        let (mut offset, mut left) = (offset, u64::from(size));
        for (file, &bytes) in files.iter().zip(&self.bytes) {
            let here = left.min(bytes.saturating_sub(offset));
            let due = usize::try_from(here).expect("at most what is asked for");
            if shared.tally.timed(Stage::Read, || file.read_at(offset.min(bytes), due, out))? != due {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            (offset, left) = (offset.saturating_sub(bytes), left - here);
        }
        Ok(())
    }

    /// Corrects what is remembered of a file that was told by its hash and turned out to have another, so that the next sync does better.
    /// Blocks until it is read.
    pub(super) fn correct(&self, shared: &Shared, index: u32) {
        if self.telling == Telling::Chunks {
            return;
        }
        let began = shared.landing.destination().hashes.begin();
        let corrected = open(shared, index, &self.candidate).and_then(|files| {
            files.iter().try_for_each(|file| read_hash(shared, file, (&file.stat()?, began)).map(drop))
        });
        if let Err(err) = corrected {
            tracing::debug!(index, %err, "what is here cannot be read again");
        }
    }

    fn held(&self) -> usize {
        self.files.as_ref().map_or(0, Vec::len)
    }
}
