//! A file of more than a chunk: read, hashed, matched against what the destination has, and sent chunk by chunk, each once.

use std::{io, time::Instant};

use bytes::Bytes;

use super::{
    Listed, ReadError, Reader,
    patch::{Patcher, is_identity, literals},
    regular, sparse,
};
use crate::{
    delta::Signature,
    entry::Timestamp,
    hash::{TreeHasher, chunk_chaining_value},
    limits::{CHUNK_BYTES, READ_ATTEMPTS_MAX},
    root::{File, Stat},
    sync::Stage,
    wire::data::{FileAttempt, Segment, UnitHeader},
};

/// What reading a file to its end came to.
enum Read {
    /// All of it is on its way.
    Sent(blake3::Hash),
    /// It is what the destination has, and nothing of it was sent.
    Same(blake3::Hash),
    /// It became shorter on the way.
    Cut,
}

impl Reader<'_> {
    pub(super) fn large(&mut self, listed: &Listed, file: &File) -> Result<(), ReadError> {
        for attempt in 0..READ_ATTEMPTS_MAX {
            let (began, before) = (self.shared.source.hashes.begin(), regular(file)?);
            if before.size <= CHUNK_BYTES {
                return Err(ReadError::Changing);
            }
            let reading = FileAttempt { index: listed.index, attempt, size: before.size };
            let read = match listed.basis() {
                None => self.send_chunks(reading, file)?,
                Some(basis) => self.send_patched(reading, file, basis)?,
            };
            let (Read::Sent(hash) | Read::Same(hash)) = read else { continue };
            if !self.is_consistent(file, (&before, began), hash)? {
                continue;
            }
            self.shared.removal.note(listed.index, &before, || hash.into());
            if let Read::Same(hash) = read {
                return Ok(self.same(listed.index, hash.into())?);
            }
            let header = UnitHeader::FileEnd { file: reading, hash: hash.into(), metadata: before.metadata };
            return Ok(self.send(header, Bytes::new())?);
        }
        Err(ReadError::Changing)
    }

    /// Sends all chunks with all their bytes.
    fn send_chunks(&self, reading: FileAttempt, file: &File) -> Result<Read, ReadError> {
        let chunks = reading.size.div_ceil(CHUNK_BYTES);
        let mut tree = TreeHasher::new(chunks);
        for number in 0..chunks {
            let mut buffer = self.shared.pool.take();
            let size = chunk_size(reading.size, number);
            self.read_chunk(file, number * CHUNK_BYTES, size, &mut buffer.bytes)?;
            if buffer.bytes.len() != size {
                return Ok(Read::Cut);
            }
            if self.shared.options.preserve.sparse {
                let segments = sparse::chunk(number, &buffer.bytes);
                let (header, payload) =
                    self.patched_chunk(reading, number, &buffer.bytes, segments, &mut tree);
                self.send(header, payload)?;
                continue;
            }
            let header = self.chunk(reading, number, &buffer.bytes, &mut tree, Vec::new());
            self.send(header, buffer.into_bytes())?;
        }
        Ok(Read::Sent(tree.finish().expect("each chunk came once")))
    }

    /// Sends of each chunk what is not in `basis`. What is just the beginning of it is held back until it is known not to be all of it.
    fn send_patched(&self, reading: FileAttempt, file: &File, basis: &Signature) -> Result<Read, ReadError> {
        let chunks = reading.size.div_ceil(CHUNK_BYTES);
        let mut tree = TreeHasher::new(chunks);
        let mut patcher = Patcher::new(basis);
        let (mut read_bytes, mut held) = (0, Vec::new());
        for number in 0..chunks {
            let size = chunk_size(reading.size, number);
            let (ahead, wanted) = patcher.ahead(size);
            let left = usize::try_from(reading.size - read_bytes).unwrap_or(usize::MAX);
            let due = wanted.saturating_sub(ahead.len()).min(left);
            let read = self.read_chunk(file, read_bytes, due, ahead)?;
            if read != due {
                return Ok(Read::Cut);
            }
            read_bytes += u64::try_from(read).expect("usize has 64 bits or fewer");
            let (content, segments) = self.shared.tally.timed(Stage::Hash, || patcher.next(size));
            let segments = if self.shared.options.preserve.sparse {
                sparse::tell_zeros(content, segments)
            } else {
                segments
            };
            let is_held = held.len() as u64 == number && is_identity(&segments, number * CHUNK_BYTES, size);
            let unit = self.patched_chunk(reading, number, content, segments, &mut tree);
            held.push(unit);
            if !is_held {
                held.drain(..).try_for_each(|(header, payload)| self.send(header, payload))?;
            }
            patcher.told(size);
            // Nothing may be sent for an hour that would tell.
            if self.units.is_closed() {
                return Err(ReadError::Gone);
            }
        }
        let hash = tree.finish().expect("each chunk came once");
        if held.len() as u64 == chunks && basis.bytes() == reading.size {
            return Ok(Read::Same(hash));
        }
        held.drain(..).try_for_each(|(header, payload)| self.send(header, payload))?;
        Ok(Read::Sent(hash))
    }

    fn patched_chunk(
        &self,
        reading: FileAttempt,
        number: u64,
        content: &[u8],
        segments: Vec<Segment>,
        tree: &mut TreeHasher,
    ) -> (UnitHeader, Bytes) {
        let mut payload = self.shared.pool.take();
        literals(content, &segments, &mut payload.bytes);
        let segments = if payload.bytes.len() == content.len() { Vec::new() } else { segments };
        let header = self.chunk(reading, number, content, tree, segments);
        // Units that are held back hold no buffers.
        let payload = if payload.bytes.is_empty() { Bytes::new() } else { payload.into_bytes() };
        (header, payload)
    }

    fn chunk(
        &self,
        file: FileAttempt,
        number: u64,
        content: &[u8],
        tree: &mut TreeHasher,
        segments: Vec<Segment>,
    ) -> UnitHeader {
        let chaining_value = self.shared.tally.timed(Stage::Hash, || chunk_chaining_value(number, content));
        tree.add(number, chaining_value).expect("each chunk of the file comes once, in order");
        let size = u32::try_from(content.len()).expect("at most a chunk");
        UnitHeader::Chunk { file, number, size, chaining_value, segments }
    }

    /// Whether what was read, with this hash, is what the file held at one moment.
    fn is_consistent(
        &self,
        file: &File,
        (before, began): (&Stat, Option<Timestamp>),
        hash: blake3::Hash,
    ) -> Result<bool, ReadError> {
        if regular(file)?.same_content(before) {
            self.shared.source.hashes.put(before, hash.into(), began);
            return Ok(true);
        }
        Ok(self.hash_file(file, before.size)? == Some(hash))
    }

    /// Appends `due` bytes from `offset` on; says how many there were.
    pub(super) fn read_chunk(
        &self,
        file: &File,
        offset: u64,
        due: usize,
        buffer: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let started = Instant::now();
        let read = file.read_at(offset, due, buffer)?;
        self.shared.tally.charge(Stage::Read, started.elapsed());
        Ok(read)
    }
}

/// Bytes of chunk `number` of a file of `size` bytes.
pub(super) fn chunk_size(size: u64, number: u64) -> usize {
    usize::try_from(CHUNK_BYTES.min(size - number * CHUNK_BYTES)).expect("at most a chunk")
}
