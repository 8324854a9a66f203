//! Units between the threads and the streams: a header and its bytes, in buffers that are used again.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::{codec, limits, wire::data::UnitHeader};

/// A unit to send: its framed header and its payload.
#[derive(Debug)]
pub(super) struct OutgoingUnit {
    pub(super) header: Bytes,
    pub(super) payload: Bytes,
}

impl OutgoingUnit {
    pub(super) fn new(header: &UnitHeader, payload: Bytes) -> Self {
        Self { header: codec::encode(header).into(), payload }
    }
}

/// A unit that has arrived whole.
#[derive(Debug)]
pub(super) struct IncomingUnit {
    pub(super) header: UnitHeader,
    pub(super) payload: Buffer,
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
