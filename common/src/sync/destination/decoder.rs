//! Units out of the queue, and out of their compression.
//!
//! A unit must decode to exactly the bytes that its header announces. They are decoded in one piece into a buffer of that size, so
//! that nothing a source may send claims more memory or time than a unit has.

use std::sync::atomic::Ordering::Relaxed;

use zstd::bulk::Decompressor;

use super::Shared;
use crate::{
    sync::{Stage, SyncError, unit::IncomingUnit},
    wire::data::Encoding,
};

/// What a source is told whose unit does not decode.
const UNDECODABLE: SyncError = SyncError::Protocol("a compressed unit does not decode to what it announces");

/// One thread's means to decode.
pub(super) struct Decoder<'a> {
    shared: &'a Shared,
    /// Made for the first unit that needs it.
    zstd: Option<Decompressor<'static>>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, zstd: None }
    }

    /// Takes a unit off the queue's account and decodes it.
    pub(super) fn plain(&mut self, unit: IncomingUnit) -> Result<IncomingUnit, SyncError> {
        let tally = &self.shared.tally;
        let queued = u64::try_from(unit.payload.bytes.len()).expect("at most a pack");
        tally.bytes_queued.fetch_sub(queued, Relaxed);
        match unit.encoding {
            Encoding::Plain => Ok(unit),
            Encoding::Zstd { .. } => tally.timed(Stage::Compress, || self.decompress(unit)),
        }
    }

    fn decompress(&mut self, unit: IncomingUnit) -> Result<IncomingUnit, SyncError> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(Decompressor::new().map_err(|_| SyncError::Worker)?),
        };
        let mut payload = self.shared.pool.take();
        payload.bytes.reserve_exact(unit.size);
        // The buffer's capacity is the bound: at least `size`, and never more than a pack's, whatever it held before.
        match zstd.decompress_to_buffer(&unit.payload.bytes, &mut payload.bytes) {
            Ok(size) if size == unit.size => Ok(IncomingUnit { payload, encoding: Encoding::Plain, ..unit }),
            _ => Err(UNDECODABLE),
        }
    }
}
