//! Whether a file is one more copy of another that is sent.
//!
//! Both are read here, side by side, until they differ, which nearly all do within the first block. Only a copy is read to its end,
//! and then nothing of it is sent.

use super::{ReadError, Reader};
use crate::{limits::CHUNK_BYTES, root::File, sync::Stage};

/// Bytes after which most files that are not the same differ.
const FIRST_BLOCK_BYTES: u64 = 4096;

impl Reader<'_> {
    /// The file that this one is a copy of, and the hash of both. `None` also where either is not as it was listed.
    pub(super) fn original(&mut self, index: u32, file: &File) -> Option<(u32, [u8; 32])> {
        let size = self.shared.tree.read().expect("no holder panics").size(index);
        for other in self.shared.twins.meet(index, size) {
            // Its owner at the destination could not read it.
            if self.shared.tree.read().expect("no holder panics").metadata(other).mode & 0o400 == 0 {
                continue;
            }
            // What cannot be compared is sent, and says there what is wrong.
            let Ok(twin) = self.open(other) else { continue };
            if let Ok(Some(hash)) = self.compare((index, file), (other, &twin)) {
                self.shared.twins.forget(index, size);
                return Some((other, hash));
            }
        }
        None
    }

    /// The hash of what both files hold, if that is the same.
    fn compare(&self, a: (u32, &File), b: (u32, &File)) -> Result<Option<[u8; 32]>, ReadError> {
        if !self.is_as_listed(a)? || !self.is_as_listed(b)? {
            return Ok(None);
        }
        let size = self.shared.tree.read().expect("no holder panics").size(a.0);
        let (mut ours, mut theirs) = (self.shared.pool.take(), self.shared.pool.take());
        let mut hasher = blake3::Hasher::new();
        let (mut offset, mut step) = (0, FIRST_BLOCK_BYTES);
        while offset < size {
            let due = usize::try_from(step.min(size - offset)).expect("at most a chunk");
            ours.bytes.clear();
            theirs.bytes.clear();
            let read = self.shared.tally.timed(Stage::Read, || {
                Ok::<_, ReadError>([
                    a.1.read_at(offset, due, &mut ours.bytes)?,
                    b.1.read_at(offset, due, &mut theirs.bytes)?,
                ])
            })?;
            // Nothing is sent here that would tell, and the files may take an hour.
            if read != [due, due] || ours.bytes != theirs.bytes || self.units.is_closed() {
                return Ok(None);
            }
            self.shared.tally.timed(Stage::Hash, || hasher.update(&ours.bytes));
            (offset, step) = (offset + step, CHUNK_BYTES);
        }
        Ok((self.is_as_listed(a)? && self.is_as_listed(b)?).then(|| hasher.finalize().into()))
    }
}
