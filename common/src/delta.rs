//! What of a new file the destination has already, in an old one: signatures, and matching content against them. Pure.
//!
//! The destination cuts the old file into chunks whose borders depend on the content alone (FastCDC, Xia et al., USENIX ATC 2016 and
//! the two-byte rolling of 2020) and tells their hashes. The source matches the new file against them: first whether the chunk that
//! followed the last match follows here too, which finds everything that only grew; otherwise it cuts as the destination did, which finds
//! what moved. A file that most likely has only grown, or moved, is told by its size and a sample instead, and read by nobody to find that
//! out. A match is believed only as far as it goes: the result is verified whole by its BLAKE3 hash.

mod matcher;
mod segments;
mod signer;

use fastcdc::v2020::FastCDC;

pub use matcher::Matcher;
pub use segments::{Segments, literal_bytes};
pub use signer::{Signature, Signer};

/// Log2 of the smallest average chunk: 8 KiB. An edit costs one or two chunks, and the signature a quarter of a percent of the file.
const AVERAGE_LOG2_MIN: u8 = 13;

/// Log2 of the largest average chunk: 1 MiB, so that a matcher looks at most 4 MiB ahead.
const AVERAGE_LOG2_MAX: u8 = 20;

/// Log2 of the number of chunks that a large file is cut into: half of `limits::SIGNATURE_CHUNKS_MAX`, since chunks vary.
const CHUNKS_LOG2_TARGET: u8 = 14;

/// Where content is cut: the average size of chunks, a power of two. The smallest is a quarter of it, the largest four times as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuts {
    average_log2: u8,
}

impl Cuts {
    /// The cuts for an old file of `size` bytes.
    pub fn for_size(size: u64) -> Self {
        let log2 = u8::try_from(size.max(1).ilog2()).expect("at most 63") + 1;
        let average_log2 = log2.saturating_sub(CHUNKS_LOG2_TARGET).clamp(AVERAGE_LOG2_MIN, AVERAGE_LOG2_MAX);
        Self { average_log2 }
    }

    /// The cuts that a peer has used; `None` if nobody cuts so.
    pub fn from_log2(average_log2: u8) -> Option<Self> {
        (AVERAGE_LOG2_MIN..=AVERAGE_LOG2_MAX).contains(&average_log2).then_some(Self { average_log2 })
    }

    /// Log2 of the average size, as it stands on the wire.
    pub fn average_log2(self) -> u8 {
        self.average_log2
    }

    /// Bytes of the largest chunk.
    pub fn longest(self) -> usize {
        4 << self.average_log2
    }

    /// Bytes of the first chunk of `content`, which is either `longest` bytes or more, or all that is left of a file.
    fn first(self, content: &[u8]) -> usize {
        let average = 1 << self.average_log2;
        FastCDC::new(content, average / 4, average, self.longest())
            .next()
            .map_or(content.len(), |chunk| chunk.length)
    }
}

/// Bytes at the end of an old file by which a new one is proposed to begin with it: a page. Logs differ there that differ anywhere before.
const SAMPLE_BYTES: u64 = 4096;

/// Which bytes of an old file of `size` bytes are told as a sample of it: where they begin, and how many they are.
pub fn sample(size: u64) -> (u64, usize) {
    let bytes = SAMPLE_BYTES.min(size);
    (size - bytes, usize::try_from(bytes).expect("at most a page"))
}

/// Half of a BLAKE3 hash: enough to propose, never to believe.
pub type ChunkHash = [u8; 16];

/// The hash by which a chunk is told.
pub fn chunk_hash(bytes: &[u8]) -> ChunkHash {
    let hash = blake3::hash(bytes);
    std::array::from_fn(|at| hash.as_bytes()[at])
}

#[cfg(test)]
mod tests;
