//! A file of more than a chunk: read, hashed and sent chunk by chunk, each once.

use std::{io, time::Instant};

use super::{Listed, ReadError, Reader, regular};
use crate::{
    hash::{TreeHasher, chunk_chaining_value},
    limits::{CHUNK_BYTES, READ_ATTEMPTS_MAX},
    root::{File, Stat},
    sync::Stage,
    wire::data::{FileAttempt, UnitHeader},
};

impl Reader<'_> {
    pub(super) fn large(&mut self, listed: &Listed, file: &File) -> Result<(), ReadError> {
        for attempt in 0..READ_ATTEMPTS_MAX {
            let before = regular(file)?;
            if before.size <= CHUNK_BYTES {
                return Err(ReadError::Changing);
            }
            // Once chunks are on their way, it is too late to say that nothing comes.
            if let Some(hash) = listed.unless.filter(|_| attempt == 0)
                && self.hash_file(file, before.size)?.is_some_and(|own| own == hash)
            {
                return Ok(self.same(listed.index)?);
            }
            let reading = FileAttempt { index: listed.index, attempt, size: before.size };
            let Some(hash) = self.send_chunks(reading, file)? else { continue };
            if self.is_consistent(file, &before, hash)? {
                let header =
                    UnitHeader::FileEnd { file: reading, hash: hash.into(), metadata: before.metadata };
                return Ok(self.send(header, bytes::Bytes::new())?);
            }
        }
        Err(ReadError::Changing)
    }

    /// Sends all chunks; gives the file's hash, or `None` if it became shorter on the way.
    fn send_chunks(&self, reading: FileAttempt, file: &File) -> Result<Option<blake3::Hash>, ReadError> {
        let mut tree = TreeHasher::new(reading.size.div_ceil(CHUNK_BYTES));
        for number in 0..reading.size.div_ceil(CHUNK_BYTES) {
            let mut buffer = self.shared.pool.take();
            let size = self.read_chunk(file, reading.size, number, &mut buffer.bytes)?;
            if buffer.bytes.len() != size {
                return Ok(None);
            }
            let tally = &self.shared.tally;
            let chaining_value = tally.timed(Stage::Hash, || chunk_chaining_value(number, &buffer.bytes));
            tree.add(number, chaining_value).expect("each chunk of the file comes once, in order");
            let size = u32::try_from(size).expect("at most a chunk");
            let header = UnitHeader::Chunk { file: reading, number, size, chaining_value };
            self.send(header, buffer.into_bytes())?;
        }
        Ok(tree.finish())
    }

    /// Whether what was read, with this hash, is what the file held at one moment.
    fn is_consistent(&self, file: &File, before: &Stat, hash: blake3::Hash) -> Result<bool, ReadError> {
        let after = regular(file)?;
        Ok(after.same_content(before) || self.hash_file(file, before.size)? == Some(hash))
    }

    /// The hash of the first `size` bytes; `None` if there are fewer.
    fn hash_file(&self, file: &File, size: u64) -> Result<Option<blake3::Hash>, ReadError> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = self.shared.pool.take();
        for number in 0..size.div_ceil(CHUNK_BYTES) {
            buffer.bytes.clear();
            let due = self.read_chunk(file, size, number, &mut buffer.bytes)?;
            if buffer.bytes.len() != due {
                return Ok(None);
            }
            // Nothing is sent here that would tell, and the file may take an hour.
            if self.units.is_closed() {
                return Err(ReadError::Gone);
            }
            self.shared.tally.timed(Stage::Hash, || hasher.update(&buffer.bytes));
        }
        Ok(Some(hasher.finalize()))
    }

    /// Reads chunk `number` of a file of `size` bytes; says how many bytes are due.
    fn read_chunk(&self, file: &File, size: u64, number: u64, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let started = Instant::now();
        let offset = number * CHUNK_BYTES;
        let due = usize::try_from(CHUNK_BYTES.min(size - offset)).expect("at most a chunk");
        file.read_at(offset, due, buffer)?;
        self.shared.tally.charge(Stage::Read, started.elapsed());
        Ok(due)
    }
}
