//! The data streams, from the units in the readers' queue to the connection, no faster than a limit allows.

use std::{
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Instant,
};

use async_channel::Receiver;
use bytes::Bytes;

use super::{Shared, bucket::Bucket};
use crate::{
    channel::{FrameError, FrameSender},
    sync::{
        SyncError,
        unit::{ContentShare, OutgoingUnit},
    },
    wire::data::Preamble,
};

/// Payload bytes handed to a stream at once, so that counts advance on slow links too.
const SLICE_BYTES: usize = 64 * 1024;

/// The limit that all data streams of a sync share.
#[derive(Debug)]
pub(super) struct Pace {
    bucket: Mutex<Bucket>,
    slice_bytes: usize,
}

impl Pace {
    /// At most `rate_bytes` per second from `now` on.
    pub(super) fn new(rate_bytes: u64, now: Instant) -> Self {
        let bucket = Bucket::new(rate_bytes, now);
        let slice_bytes = usize::try_from(bucket.slice_bytes()).unwrap_or(usize::MAX);
        Self { bucket: Mutex::new(bucket), slice_bytes }
    }

    /// Waits until the turn of these bytes has come.
    async fn wait(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).expect("usize has 64 bits or fewer");
        let wait = self.bucket.lock().expect("no holder panics").take(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// Sends units on one data stream, which is opened for the first of them.
pub(super) async fn send(
    shared: Arc<Shared>,
    channel: u64,
    queue: Receiver<OutgoingUnit>,
) -> Result<(), SyncError> {
    let Ok(first) = queue.recv().await else { return Ok(()) };
    let _share = shared.flow.share(1);
    let stream = shared.connection.open_uni().await.map_err(FrameError::from)?;
    let mut stream = FrameSender::new(stream);
    stream.send(&Preamble { channel }).await?;
    let mut next = Ok(first);
    while let Ok(unit) = next {
        let bytes = u64::try_from(unit.payload.len()).expect("usize has 64 bits or fewer");
        shared.tally.in_hand.note(unit.mark, Instant::now(), |index| Some(shared.path_of(index)));
        stream.send_bytes(&unit.header).await?;
        let share = ContentShare::new(unit.content_bytes, bytes);
        send_payload(&mut stream, unit.payload, share, &shared).await?;
        shared.tally.bytes_queued.fetch_sub(bytes, Relaxed);
        shared.tally.bytes_copied.fetch_add(unit.copied_bytes, Relaxed);
        next = queue.recv().await;
    }
    stream.finish();
    Ok(())
}

async fn send_payload(
    stream: &mut FrameSender,
    mut payload: Bytes,
    mut share: ContentShare,
    shared: &Shared,
) -> Result<(), SyncError> {
    let slice_bytes = shared.pace.as_ref().map_or(SLICE_BYTES, |pace| pace.slice_bytes.min(SLICE_BYTES));
    while !payload.is_empty() {
        let slice = payload.split_to(payload.len().min(slice_bytes));
        let bytes = slice.len();
        if let Some(pace) = &shared.pace {
            pace.wait(bytes).await;
        }
        stream.send_raw(slice).await?;
        shared.tally.bytes_moved.fetch_add(share.pass(bytes), Relaxed);
    }
    Ok(())
}
