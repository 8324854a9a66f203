//! Data streams: unidirectional, from the source, each bound to a sync channel.
//!
//! A stream begins with a [`Preamble`] frame. Units follow until the stream is finished: a [`Unit`] frame and, for packs and
//! chunks, the raw bytes that it announces. Units of one file may come on any of the sync's streams, in any order.

use serde::{Deserialize, Serialize};

use crate::entry::Metadata;

/// First frame of a data stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preamble {
    /// QUIC stream id (RFC 9000 §2.1) of the channel that owns the stream.
    pub channel: u64,
}

/// A unit: what it is, and how its bytes are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// What it is. Sizes and hashes are those of the bytes once they are decoded.
    pub header: UnitHeader,
    /// How the bytes that follow are to be decoded.
    pub encoding: Encoding,
}

/// How a unit's bytes are written on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// As one or more zstd frames (RFC 8878) without a dictionary, which decode to exactly the bytes that the header announces.
    Zstd {
        /// Bytes that follow, at least one and fewer than they decode to.
        bytes: u32,
    },
}

/// What the next bytes of the stream are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitHeader {
    /// Whole small files, back to back.
    Pack {
        /// BLAKE3 of all the bytes that follow.
        hash: [u8; 32],
        /// The files, in the order of their bytes.
        files: Vec<PackFile>,
    },
    /// A piece of a large file.
    Chunk {
        /// Which file and which reading of it.
        file: FileAttempt,
        /// Number of the chunk: its offset divided by `CHUNK_BYTES`.
        number: u64,
        /// Bytes of the chunk: `CHUNK_BYTES`, or what is left at the end of the file.
        size: u32,
        /// Chaining value of the chunk as a BLAKE3 subtree at its offset (BLAKE3 specification §2.1).
        chaining_value: [u8; 32],
        /// Where the chunk's bytes come from; none where all of them follow.
        segments: Vec<Segment>,
    },
    /// A large file has been sent completely; no bytes follow.
    FileEnd {
        /// Which file and which reading of it.
        file: FileAttempt,
        /// BLAKE3 of the whole content.
        hash: [u8; 32],
        /// Mode and modification time that belong to this content.
        metadata: Metadata,
    },
}

/// A file of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackFile {
    /// Index in the listing.
    pub index: u32,
    /// Its bytes in the pack: all of its content, or what of it is literal.
    pub size: u32,
    /// Mode and modification time of this content, where they are not those of the listing.
    pub metadata: Option<Metadata>,
    /// How the content is put together, where the pack does not have all of it.
    pub patch: Option<Patch>,
}

/// A file that is built from what the destination has told in a `WantWith`, and from zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// BLAKE3 of the whole content.
    pub hash: [u8; 32],
    /// Where its bytes come from, in their order.
    pub segments: Vec<Segment>,
}

/// Where some bytes of new content come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Segment {
    /// They are in what the destination has.
    Copy {
        /// From there on in the chunks of the `WantWith`, laid end to end.
        offset: u64,
        /// How many.
        size: u32,
    },
    /// They follow the header, after those of the literals before.
    Literal {
        /// How many.
        size: u32,
    },
    /// They are zeros.
    Zeros {
        /// How many.
        size: u32,
    },
}

impl UnitHeader {
    /// Bytes of files that the unit stands for, those that are copied at the destination included.
    pub fn file_bytes(&self) -> u64 {
        match self {
            Self::Pack { files, .. } => files.iter().map(PackFile::bytes).fold(0, u64::saturating_add),
            Self::Chunk { size, .. } => u64::from(*size),
            Self::FileEnd { .. } => 0,
        }
    }
}

impl PackFile {
    fn bytes(&self) -> u64 {
        match &self.patch {
            None => u64::from(self.size),
            Some(patch) => patch.segments.iter().map(|segment| u64::from(segment.size())).sum(),
        }
    }
}

impl Segment {
    /// Bytes of new content.
    pub fn size(self) -> u32 {
        match self {
            Self::Copy { size, .. } | Self::Literal { size } | Self::Zeros { size } => size,
        }
    }

    /// `size` bytes of it, from the byte `start` on.
    pub fn part(self, start: u32, size: u32) -> Self {
        match self {
            Self::Copy { offset, .. } => Self::Copy { offset: offset.saturating_add(start.into()), size },
            Self::Literal { .. } => Self::Literal { size },
            Self::Zeros { .. } => Self::Zeros { size },
        }
    }
}

/// One reading of a large file. When it changes under the reader, a new attempt replaces all that came of the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAttempt {
    /// Index in the listing.
    pub index: u32,
    /// 0 for the first reading, then one more each time.
    pub attempt: u32,
    /// Bytes of content of this reading, more than `CHUNK_BYTES`.
    pub size: u64,
}
