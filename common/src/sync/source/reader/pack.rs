//! Small files back to back in one buffer.

use crate::{
    entry::Metadata,
    limits,
    sync::unit::{Buffer, Pool},
    wire::data::{PackFile, Patch, Segment},
};

/// A pack that is being filled.
pub(super) struct Pack {
    pub(super) buffer: Buffer,
    pub(super) files: Vec<PackFile>,
    /// Of all patches.
    segments: usize,
    /// Bytes that the destination copies for them.
    copied_bytes: u64,
}

impl Pack {
    pub(super) fn new(pool: &Pool) -> Self {
        let mut buffer = pool.take();
        buffer.bytes.reserve(limits::PACK_BYTES_MAX);
        Self { buffer, files: Vec::new(), segments: 0, copied_bytes: 0 }
    }

    /// Where the next file's bytes begin.
    pub(super) fn start(&self) -> usize {
        self.buffer.bytes.len()
    }

    /// Takes the bytes from `start` on as the file `index`, all of its content or what a patch needs of it.
    pub(super) fn add(&mut self, index: u32, start: usize, metadata: Option<Metadata>, patch: Option<Patch>) {
        let size = u32::try_from(self.buffer.bytes.len() - start).expect("at most a chunk");
        for segment in patch.iter().flat_map(|patch| &patch.segments) {
            self.segments += 1;
            if let Segment::Copy { size, .. } = segment {
                self.copied_bytes += u64::from(*size);
            }
        }
        self.files.push(PackFile { index, size, metadata, patch });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.bytes.len() >= limits::PACK_BYTES_TARGET
            || self.files.len() >= limits::PACK_FILES_MAX
            || self.segments >= limits::PACK_SEGMENTS_MAX
            || self.copied_bytes >= limits::PACK_COPIED_BYTES_TARGET
    }
}
