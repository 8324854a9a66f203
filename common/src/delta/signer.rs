//! The signature of an old file, made as its bytes are read.

use super::{ChunkHash, Cuts, chunk_hash};
use crate::limits::SIGNATURE_CHUNKS_MAX;

/// The chunks of an old file: size and hash of each, from the start on. A file of more than `limits::SIGNATURE_CHUNKS_MAX` chunks
/// has a signature of its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// How it was cut.
    pub cuts: Cuts,
    /// Size and hash of each chunk.
    pub chunks: Vec<(u32, ChunkHash)>,
}

/// Makes a signature, and the plain BLAKE3 of the chunks that it tells beside it.
#[derive(Debug)]
pub struct Signer {
    cuts: Cuts,
    /// Bytes that are not cut yet.
    ahead: Vec<u8>,
    hasher: blake3::Hasher,
    chunks: Vec<(u32, ChunkHash)>,
    /// Bytes of all chunks.
    told: u64,
}

impl Signature {
    /// Bytes of all its chunks.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|(size, _)| u64::from(*size)).sum()
    }
}

impl Signer {
    /// For a file that is to be cut so.
    pub fn new(cuts: Cuts) -> Self {
        Self { cuts, ahead: Vec::new(), hasher: blake3::Hasher::new(), chunks: Vec::new(), told: 0 }
    }

    /// Takes the file's next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.ahead.extend_from_slice(bytes);
        self.cut(self.cuts.longest());
    }

    /// Ends a file, after which another may follow as if it were its continuation; says how many bytes are told so far.
    pub fn end_file(&mut self) -> u64 {
        self.cut(1);
        self.told
    }

    /// The signature, and the hash of the chunks in it laid end to end.
    pub fn finish(mut self) -> (Signature, blake3::Hash) {
        self.cut(1);
        (Signature { cuts: self.cuts, chunks: self.chunks }, self.hasher.finalize())
    }

    /// Cuts while `needed` bytes are ahead.
    fn cut(&mut self, needed: usize) {
        let mut at = 0;
        while self.ahead.len() - at >= needed {
            let chunk = &self.ahead[at..];
            let chunk = &chunk[..self.cuts.first(chunk)];
            if self.chunks.len() < SIGNATURE_CHUNKS_MAX {
                let size = u32::try_from(chunk.len()).expect("at most 4 MiB");
                self.chunks.push((size, chunk_hash(chunk)));
                self.hasher.update(chunk);
                self.told += u64::from(size);
            }
            at += chunk.len();
        }
        self.ahead.drain(..at);
    }
}
