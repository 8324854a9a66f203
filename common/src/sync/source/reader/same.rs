//! Whether a file is what the destination has: by its hash, remembered or found by reading it, or most likely, by a sample of its content. Then its hash is
//! all that is told of it. One that has grown is matched as it is packed (`patch`).

use std::io;

use super::{Listed, ReadError, Reader, large::chunk_size, regular};
use crate::{
    delta,
    limits::CHUNK_BYTES,
    root::File,
    sync::{Stage, source::Gone},
    wire::sync::{Mark, SourceMessage},
};

impl Reader<'_> {
    /// Answers for a file that is wanted unless it is `size` bytes with this mark, or for one that is too large to be packed.
    pub(super) fn unless(&mut self, listed: &Listed, size: u64, mark: Mark) -> Result<(), ReadError> {
        let index = listed.index;
        let file = self.open(index)?;
        let stat = regular(&file)?;
        self.check_links(index, &stat)?;
        let is_likely = size == listed.size
            && self.is_as_listed((index, &file))?
            && self.is_sampled(&file, size, mark)?;
        if is_likely
            && let Some(hash) = self.hash(&file)?
            && !matches!(mark, Mark::Whole(wanted) if hash != wanted)
        {
            self.shared.removal.note(index, &stat, || hash.into());
            return Ok(self.same(index, hash.into())?);
        }
        Ok(self.differs(index)?)
    }

    /// Whether a file of `size` bytes has the sample that is told, if one is.
    fn is_sampled(&self, file: &File, size: u64, mark: Mark) -> io::Result<bool> {
        let Mark::Sample(sample) = mark else { return Ok(true) };
        let (offset, due) = delta::sample(size);
        let mut buffer = self.shared.pool.take();
        let read = self.read_chunk(file, offset, due, &mut buffer.bytes)?;
        Ok(read == due && blake3::hash(&buffer.bytes) == sample)
    }

    /// Says that a file does not begin with what the destination has.
    pub(super) fn differs(&self, index: u32) -> Result<(), Gone> {
        self.shared.say(SourceMessage::Differs { index })
    }

    /// The hash of a file; `None` if it changed while it was read.
    fn hash(&self, file: &File) -> Result<Option<blake3::Hash>, ReadError> {
        let hashes = &self.shared.source.hashes;
        let (began, before) = (hashes.begin(), regular(file)?);
        // What will be removed is read.
        if !self.shared.removal.is_asked()
            && let Some(known) = hashes.get(&before)
        {
            return Ok(Some(known.into()));
        }
        let hash = self.hash_file(file, before.size)?;
        if !regular(file)?.same_content(&before) {
            return Ok(None);
        }
        if let Some(hash) = hash {
            hashes.put(&before, hash.into(), began);
        }
        Ok(hash)
    }

    /// Whether the file has the size and the metadata that were listed.
    pub(super) fn is_as_listed(&self, (index, file): (u32, &File)) -> Result<bool, ReadError> {
        let stat = regular(file)?;
        let tree = self.shared.tree.read().expect("no holder panics");
        Ok(stat.size == tree.size(index) && stat.metadata == tree.metadata(index))
    }

    /// The hash of the first `size` bytes; `None` if there are fewer.
    pub(super) fn hash_file(&self, file: &File, size: u64) -> Result<Option<blake3::Hash>, ReadError> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = self.shared.pool.take();
        for number in 0..size.div_ceil(CHUNK_BYTES) {
            buffer.bytes.clear();
            let due = chunk_size(size, number);
            if self.read_chunk(file, number * CHUNK_BYTES, due, &mut buffer.bytes)? != due {
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
}
