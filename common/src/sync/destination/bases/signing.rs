//! The threads that read old files and tell the source of them: a sample, a remembered hash, or the chunks that they find.
//!
//! What is asked for, and how much may be told at a time, is the parent's matter.

use std::{io, sync::Arc};

use super::{Asked, Bases, Basis, Candidate, Next, Telling, Told};
use crate::{
    delta::{self, Cuts, Signature, Signer},
    limits::{self, CHUNK_BYTES},
    path::Name,
    root::{EntryType, File, Stat},
    sync::{Stage, destination::Shared},
    wire::sync::{Beginning, DestinationMessage, Mark, Run, WantWith},
};

/// Signs what is asked for and tells the source, until nothing more will be asked for. Blocks.
pub(in crate::sync::destination) fn work(shared: &Shared) {
    let mut ready = Ready::default();
    loop {
        match shared.bases.next(!ready.is_empty()) {
            Next::Sign(asked) => {
                let index = asked.index;
                ready.add(index, sign(shared, asked), &shared.bases);
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

    fn add(&mut self, index: u32, signed: io::Result<(Signed, Basis)>, bases: &Bases) {
        self.count += 1;
        match signed {
            Ok((Signed::Mark(mark), basis)) => {
                self.bytes += size_of::<Beginning>();
                self.beyond.push(Beginning { index, size: basis.len(), mark });
                bases.read(index, Some(basis));
            }
            Ok((Signed::Chunks(signature), basis)) => {
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

/// What the source is to be told of a candidate.
enum Signed {
    Mark(Mark),
    Chunks(Signature),
}

/// Takes the mark of a candidate, or reads it to its end.
fn sign(shared: &Shared, asked: Asked) -> io::Result<(Signed, Basis)> {
    let Asked { index, candidate, telling, files } = asked;
    let files = match files {
        Some(files) => files,
        None => open(shared, index, &candidate)?.into(),
    };
    let began = shared.landing.destination().hashes.begin();
    let stats: Vec<Stat> = files.iter().map(File::stat).collect::<io::Result<_>>()?;
    let size = stats.iter().map(|stat| stat.size).sum();
    let new_size = shared.tree.read().expect("no holder panics").size(index);
    let is_held = match candidate {
        Candidate::Own => size > CHUNK_BYTES && telling == Telling::Chunks,
        Candidate::Other(_) | Candidate::Partial { .. } => true,
    };
    let mark = match (telling, &files[..]) {
        (Telling::Mark, [file]) => Some(mark(shared, (file, &stats[0]), new_size)?),
        _ => None,
    };
    let basis = |told, is_whole, bytes, chunks, files: Arc<[File]>| {
        let files = is_held.then_some(files);
        let (stat, is_large) = (stats[0], new_size > CHUNK_BYTES);
        Basis { candidate, told, stat, is_whole, bytes, files, chunks, is_large }
    };
    if let Some(mark) = mark {
        return Ok((Signed::Mark(mark), basis(Told::Mark(mark), true, vec![size], 0, files)));
    }
    let mut signer = Signer::new(Cuts::for_size(size));
    let mut bytes = Vec::with_capacity(files.len());
    let mut read = 0;
    for file in &*files {
        read += read_all(shared, file, |bytes| signer.add(bytes))?;
        bytes.push(signer.end_file() - bytes.iter().sum::<u64>());
    }
    let (signature, hash) = signer.finish();
    let is_whole = files.len() == 1 && bytes[0] == read;
    let hash = hash.into();
    if is_whole && files[0].stat()? == stats[0] {
        shared.landing.destination().hashes.put(&stats[0], hash, began);
    }
    let chunks = signature.chunks.len();
    Ok((Signed::Chunks(signature), basis(Told::Chunks(hash), is_whole, bytes, chunks, files)))
}

/// The mark of a file for a new one of `new_size` bytes.
fn mark(shared: &Shared, (file, stat): (&File, &Stat), new_size: u64) -> io::Result<Mark> {
    // What the source will remove is read.
    if stat.size == new_size
        && !shared.options.remove_source
        && let Some(hash) = shared.landing.destination().hashes.get(stat)
    {
        return Ok(Mark::Whole(hash));
    }
    let (offset, due) = delta::sample(stat.size);
    let mut buffer = shared.pool.take();
    if shared.tally.timed(Stage::Read, || file.read_at(offset, due, &mut buffer.bytes))? != due {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Mark::Sample(blake3::hash(&buffer.bytes).into()))
}

/// The hash of a file as it is read now, which is remembered.
pub(super) fn read_hash(shared: &Shared, file: &File, stat: &Stat) -> io::Result<[u8; 32]> {
    let hashes = &shared.landing.destination().hashes;
    let began = hashes.begin();
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
pub(super) fn open(shared: &Shared, index: u32, candidate: &Candidate) -> io::Result<Vec<File>> {
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
