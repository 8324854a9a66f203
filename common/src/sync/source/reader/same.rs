//! Whether a file is what the destination has, by its hash alone: remembered, or found by reading it, and then nothing is sent.
//! One that has grown is matched as it is packed (`patch`).

use super::{ReadError, Reader, large::chunk_size, regular};
use crate::{
    limits::CHUNK_BYTES,
    root::File,
    sync::{Stage, source::Gone},
    wire::sync::SourceMessage,
};

impl Reader<'_> {
    /// Answers for a file that is wanted unless it has this hash, or for one that is too large to be packed.
    pub(super) fn unless(&mut self, index: u32, hash: [u8; 32]) -> Result<(), ReadError> {
        let file = self.open(index)?;
        let stat = regular(&file)?;
        self.check_links(index, &stat)?;
        if self.is_as_listed((index, &file))? && self.hash(&file)? == Some(hash.into()) {
            self.shared.removal.note(index, &stat, || hash);
            return Ok(self.same(index, hash)?);
        }
        Ok(self.differs(index)?)
    }

    /// Says that a file does not begin with what the destination has.
    pub(super) fn differs(&self, index: u32) -> Result<(), Gone> {
        let size = self.shared.tree.read().expect("no holder panics").size(index);
        self.shared.wanted.reopen(index, size);
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
