//! Units between the threads and the streams: a header and its bytes, in buffers that are used again.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::in_hand::Mark;
use crate::{
    codec, limits,
    wire::data::{Encoding, Unit, UnitHeader},
};

/// A unit to send: its encoded header and its payload, as it goes over the wire.
#[derive(Debug)]
pub(super) struct OutgoingUnit {
    pub(super) header: Bytes,
    pub(super) payload: Bytes,
    /// Bytes of file content in the payload.
    pub(super) content_bytes: u64,
    /// Bytes of files that it stands for beyond these.
    pub(super) copied_bytes: u64,
    pub(super) mark: Option<Mark>,
}

impl OutgoingUnit {
    /// A unit that goes as it is.
    pub(super) fn plain(header: UnitHeader, payload: Bytes) -> Self {
        let content_bytes = u64::try_from(payload.len()).expect("at most a pack");
        Self::new(header, Encoding::Plain, payload, content_bytes)
    }

    /// A unit whose payload of `content_bytes` was compressed with zstd.
    pub(super) fn compressed(header: UnitHeader, payload: Bytes, content_bytes: u64) -> Self {
        let bytes = u32::try_from(payload.len()).expect("at most a pack");
        Self::new(header, Encoding::Zstd { bytes }, payload, content_bytes)
    }

    fn new(header: UnitHeader, encoding: Encoding, payload: Bytes, content_bytes: u64) -> Self {
        let copied_bytes = header.file_bytes().saturating_sub(content_bytes);
        let mark = Mark::of(&header);
        let header = codec::encode(&Unit { header, encoding }).into();
        Self { header, payload, content_bytes, copied_bytes, mark }
    }
}

/// A unit that has arrived whole.
#[derive(Debug)]
pub(super) struct IncomingUnit {
    pub(super) header: UnitHeader,
    pub(super) payload: Buffer,
    /// How the payload is written; plain once it was decoded.
    pub(super) encoding: Encoding,
    /// Bytes that it has when it is plain.
    pub(super) size: usize,
}

/// How much file content the bytes of a unit that have passed so far stand for, so that counts advance on slow links too.
#[derive(Debug)]
pub(super) struct ContentShare {
    content_bytes: u64,
    wire_bytes: u64,
    passed_bytes: u64,
}

impl ContentShare {
    /// A unit of `content_bytes` that takes `wire_bytes` on the wire.
    pub(super) fn new(content_bytes: u64, wire_bytes: u64) -> Self {
        Self { content_bytes, wire_bytes, passed_bytes: 0 }
    }

    /// Lets `bytes` pass; gives the bytes of content to count for them. Over the whole unit these add up to its content.
    pub(super) fn pass(&mut self, bytes: usize) -> u64 {
        let before = self.so_far();
        self.passed_bytes += u64::try_from(bytes).expect("usize has 64 bits or fewer");
        self.so_far() - before
    }

    fn so_far(&self) -> u64 {
        // Both are at most a pack, so their product fits.
        (self.passed_bytes * self.content_bytes).checked_div(self.wire_bytes).unwrap_or(0)
    }
}

/// Buffers of one sync. A buffer goes back when its last user drops it, so that steady work touches no new memory: a fresh
/// megabyte costs 250 page faults.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Buffers that a pool keeps: those queued on one side, and one in the hands of every thread and stream.
const FREE_MAX: usize = limits::UNITS_QUEUED_MAX + limits::DATA_STREAMS + 4;

impl Pool {
    /// An empty buffer, with memory from earlier use if there is some.
    pub(super) fn take(&self) -> Buffer {
        let bytes = self.free.lock().expect("no holder panics").pop().unwrap_or_default();
        Buffer { bytes, pool: self.clone() }
    }
}

/// Bytes on loan from a pool.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    pool: Pool,
}

impl Buffer {
    /// The bytes for sending, without a copy. The buffer goes back when the last slice of them is dropped.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut free = self.pool.free.lock().expect("no holder panics");
        if free.len() < FREE_MAX && bytes.capacity() > 0 {
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ContentShare;

    #[test]
    fn content_is_counted_as_its_bytes_pass_and_in_the_end_exactly() {
        for (content, wire, step) in
            [(1_310_720, 1_310_720, 65_536), (1_000_003, 77, 10), (5, 3, 1), (7, 7, 7)]
        {
            let mut share = ContentShare::new(content, wire);
            let (mut left, mut counted) = (wire, 0);
            while left > 0 {
                let bytes = step.min(left);
                counted += share.pass(usize::try_from(bytes).unwrap());
                left -= bytes;
                assert!(counted <= content);
            }
            assert_eq!(counted, content);
        }
        assert_eq!(ContentShare::new(0, 0).pass(0), 0);
    }
}
