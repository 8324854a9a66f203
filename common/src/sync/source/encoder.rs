//! Makes units of what was read, compressed where the policy says so.
//!
//! One reader's: it keeps zstd's tables from unit to unit. What does not become smaller goes as it is.

use std::time::Instant;

use bytes::Bytes;
use zstd::bulk::Compressor;

use super::{
    Shared,
    compression::{Attempt, Path, Policy},
};
use crate::{
    limits::{CHUNK_RATIO_MAX, FILE_WIRE_BYTES_MIN},
    sync::{Stage, unit::OutgoingUnit},
    wire::data::UnitHeader,
};

/// Smaller payloads are not compressed: they fit a datagram or two.
const PLAIN_BYTES_MAX: usize = 512;

/// A sample is three pieces of this size, from the beginning, the middle and the end, so that a header does not speak for what follows.
const SAMPLE_PIECE_BYTES: usize = 4 * 1024;

/// The first bytes of a skippable frame (RFC 8878, section 3.1.2), which decodes to nothing.
const SKIPPABLE_MAGIC: [u8; 4] = 0x184d_2a50_u32.to_le_bytes();

/// One reader's means to make units.
pub(super) struct Encoder<'a> {
    shared: &'a Shared,
    policy: Policy,
    /// Made for the first unit that needs it.
    zstd: Option<Compressor<'static>>,
    sample: Vec<u8>,
    /// What the last unit or sample became. Units take a copy of just their bytes, since many are on their way at the same time, and this
    /// has room for what does not compress.
    compressed: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let policy = Policy::new(shared.options.compress, shared.options.rate_bytes);
        Self { shared, policy, zstd: None, sample: Vec::new(), compressed: Vec::new() }
    }

    /// The unit for this payload.
    pub(super) fn encode(&mut self, header: UnitHeader, payload: Bytes) -> OutgoingUnit {
        if payload.len() <= PLAIN_BYTES_MAX {
            return OutgoingUnit::plain(header, payload);
        }
        let level = match self.policy.attempt(Instant::now(), || path(&self.shared.connection)) {
            Attempt::Plain => None,
            Attempt::Level(level) => Some(level),
            Attempt::Sample { network } => {
                let size = self.sample(&payload);
                self.policy.level(network, size)
            }
        };
        let Some(compressed) = level.and_then(|level| self.compress(level, &header, &payload)) else {
            return OutgoingUnit::plain(header, payload);
        };
        let content_bytes = u64::try_from(payload.len()).expect("at most a pack");
        OutgoingUnit::compressed(header, compressed, content_bytes)
    }

    /// How small a sample of the payload becomes, as a part of its size.
    fn sample(&mut self, payload: &[u8]) -> f64 {
        self.sample.clear();
        let piece = SAMPLE_PIECE_BYTES.min(payload.len() / 3);
        for start in [0, (payload.len() - piece) / 2, payload.len() - piece] {
            self.sample.extend_from_slice(&payload[start..start + piece]);
        }
        let started = Instant::now();
        let Some(zstd) = ready(&mut self.zstd, 1) else { return 1.0 };
        self.compressed.clear();
        self.compressed.reserve(self.sample.len());
        let size = zstd.compress_to_buffer(&self.sample, &mut self.compressed);
        self.shared.tally.charge(Stage::Compress, started.elapsed());
        size.map_or(1.0, |size| size as f64 / self.sample.len() as f64)
    }

    /// The payload compressed; none if it would not be smaller.
    fn compress(&mut self, level: u8, header: &UnitHeader, payload: &[u8]) -> Option<Bytes> {
        let started = Instant::now();
        self.compressed.clear();
        self.compressed.reserve(payload.len());
        let zstd = ready(&mut self.zstd, level)?;
        let result = zstd.compress_to_buffer(payload, &mut self.compressed).ok();
        let took = started.elapsed();
        self.shared.tally.charge(Stage::Compress, took);
        // What does not fit the buffer is larger than what it was made from.
        self.policy.learn(level, payload.len(), result.unwrap_or(payload.len()), took);
        result?;
        pad(&mut self.compressed, wire_bytes_min(header, payload.len(), self.shared.options.preserve.sparse));
        (self.compressed.len() < payload.len()).then(|| Bytes::copy_from_slice(&self.compressed))
    }
}

/// The compressor, set to this level; none if zstd has no memory for it.
fn ready<'a>(zstd: &'a mut Option<Compressor<'static>>, level: u8) -> Option<&'a mut Compressor<'static>> {
    let zstd = match zstd {
        Some(zstd) => zstd,
        none => none.insert(Compressor::new(level.into()).ok()?),
    };
    zstd.set_compression_level(level.into()).ok()?;
    Some(zstd)
}

/// Bytes that a compressed unit takes at least: what is on the way is bounded by windows of bytes, and what the destination holds
/// open meanwhile by numbers of files and chunks.
///
/// Where zeros are told, the chunks after the first may have no bytes at all.
fn wire_bytes_min(header: &UnitHeader, size: usize, sparse: bool) -> usize {
    let ratio_max = match header {
        UnitHeader::Chunk { number: 0, .. } if sparse => {
            return usize::try_from(FILE_WIRE_BYTES_MIN).expect("128 KiB");
        }
        UnitHeader::Pack { .. } | UnitHeader::FileEnd { .. } => return 0,
        UnitHeader::Chunk { file, .. } => (file.size / FILE_WIRE_BYTES_MIN).clamp(1, CHUNK_RATIO_MAX),
    };
    size / usize::try_from(ratio_max).expect("at most CHUNK_RATIO_MAX")
}

/// Makes `bytes` at least as long as `size`, by something that decodes to nothing.
fn pad(bytes: &mut Vec<u8>, size: usize) {
    let Some(missing) = size.checked_sub(bytes.len()).filter(|&missing| missing > 0) else { return };
    let zeros = missing.saturating_sub(SKIPPABLE_MAGIC.len() + 4);
    bytes.extend_from_slice(&SKIPPABLE_MAGIC);
    bytes.extend_from_slice(&u32::try_from(zeros).expect("less than a pack").to_le_bytes());
    bytes.resize(bytes.len() + zeros, 0);
}

fn path(connection: &quinn::Connection) -> Path {
    let stats = connection.stats();
    Path {
        rtt_min: stats.path.min_rtt,
        rtt: stats.path.rtt,
        window_bytes: stats.path.cwnd,
        sent_bytes: stats.udp_tx.bytes.saturating_sub(stats.path.lost_bytes),
    }
}
