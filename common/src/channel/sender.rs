//! The sending half of a stream of frames, and whether what it sends is bulk.

use std::time::Duration;

use bytes::Bytes;
use quinn::SendStream;
use serde::Serialize;
use tokio::time::Instant;

use super::FrameError;
use crate::{codec, wire::status::Status};

/// The priorities of streams. What is bulk waits while conversations have something to send.
const CONVERSATION: i32 = 1;
const BULK: i32 = 0;

/// Content that a conversation may send within [`BULK_TIME`] without being bulk: what a line of 2 Mbit/s carries in that time.
const BULK_BYTES: usize = 256 * 1024;

/// How long a stream that was bulk stays so. Less than any patience, so that one that waits for others soon goes before them once.
const BULK_TIME: Duration = Duration::from_secs(1);

/// How much of content a conversation sends. Those that send much would keep others, and syncs, from going on.
#[derive(Debug)]
struct Volume {
    since: Instant,
    bytes: usize,
}

impl Volume {
    /// Counts `bytes`; says whether the conversation is bulk for now.
    fn count(&mut self, bytes: usize, now: Instant) -> bool {
        if now.duration_since(self.since) >= BULK_TIME {
            *self = Self { since: now, bytes: 0 };
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes >= BULK_BYTES
    }
}

/// The sending half of a stream of frames.
#[derive(Debug)]
pub struct FrameSender {
    stream: SendStream,
    /// Of a conversation, once it has sent content.
    volume: Option<Volume>,
    /// Where it stands among the connection's streams: those of more go first.
    priority: i32,
}

impl FrameSender {
    /// Frames on `stream`, which are bulk.
    pub fn new(stream: SendStream) -> Self {
        Self { stream, volume: None, priority: BULK }
    }

    /// Frames on `stream`, which go before those that are bulk.
    pub(super) fn conversation(stream: SendStream) -> Self {
        let mut sender = Self::new(stream);
        sender.set_priority(CONVERSATION);
        sender
    }

    /// The QUIC stream id.
    pub(super) fn id(&self) -> u64 {
        u64::from(quinn::VarInt::from(self.stream.id()))
    }

    /// Sends one message. Waits for flow control; not cancel-safe.
    pub async fn send<T: Serialize + Sync>(&mut self, message: &T) -> Result<(), FrameError> {
        Ok(self.stream.write_chunk(framed(message)).await?)
    }

    /// Sends one frame of raw bytes.
    pub async fn send_bytes(&mut self, body: &[u8]) -> Result<(), FrameError> {
        Ok(self.stream.write_chunk(with_length(body)).await?)
    }

    /// Sends one message and the raw bytes that it announces, without a copy of these.
    pub async fn send_with<T: Serialize + Sync>(
        &mut self,
        message: &T,
        raw: Bytes,
    ) -> Result<(), FrameError> {
        self.send_framed(&mut [framed(message), raw]).await
    }

    /// Sends a message that is [`framed`], and the raw bytes that it announces, without a copy of either. What was not sent is left.
    pub async fn send_framed(&mut self, chunks: &mut [Bytes; 2]) -> Result<(), FrameError> {
        self.count(chunks[1].len());
        Ok(self.stream.write_all_chunks(chunks).await?)
    }

    /// Sends raw bytes that a frame before them has announced, without a copy.
    pub async fn send_raw(&mut self, bytes: Bytes) -> Result<(), FrameError> {
        Ok(self.stream.write_chunk(bytes).await?)
    }

    /// Sends one frame of raw bytes without a copy.
    pub async fn send_frame(&mut self, body: Bytes) -> Result<(), FrameError> {
        self.count(body.len());
        let length = u32::try_from(body.len()).expect("frames are made by us, below their limits");
        let mut chunks = [Bytes::copy_from_slice(&length.to_be_bytes()), body];
        Ok(self.stream.write_all_chunks(&mut chunks).await?)
    }

    /// Waits until the peer reads no more, or all was acknowledged up to [`Self::finish`]. May be polled beside a send, and dropped.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let stopped = self.stream.stopped();
        async move {
            if let Err(err) = stopped.await {
                tracing::trace!(%err, "the connection ended before the peer stopped a stream");
            }
        }
    }

    /// Says that nothing follows. What was sent still arrives.
    pub fn finish(&mut self) {
        if self.stream.finish().is_err() {
            tracing::trace!("finished a stream that the peer had closed");
        }
    }

    /// Breaks the stream off with a status.
    pub fn reset(&mut self, status: Status) {
        if self.stream.reset(status.into()).is_err() {
            tracing::trace!("reset a stream that was closed");
        }
    }

    /// Waits until the peer has acknowledged everything up to [`Self::finish`], or has stopped reading.
    pub async fn acknowledged(&mut self) {
        self.stopped().await;
    }

    /// Counts content, and goes behind conversations or among them by how much that is.
    fn count(&mut self, bytes: usize) {
        // Data streams are bulk whatever they carry.
        if self.priority == BULK && self.volume.is_none() {
            return;
        }
        let now = Instant::now();
        let volume = self.volume.get_or_insert(Volume { since: now, bytes: 0 });
        let priority = if volume.count(bytes, now) { BULK } else { CONVERSATION };
        if priority != self.priority {
            self.set_priority(priority);
        }
    }

    fn set_priority(&mut self, priority: i32) {
        self.priority = priority;
        if self.stream.set_priority(priority).is_err() {
            tracing::trace!("set the priority of a closed stream");
        }
    }
}

/// One message as it is sent, for [`FrameSender::send_framed`].
pub fn framed<T: Serialize>(message: &T) -> Bytes {
    with_length(&codec::encode(message))
}

fn with_length(body: &[u8]) -> Bytes {
    let length = u32::try_from(body.len()).expect("frames are made by us, below their limits");
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_much_is_bulk_for_a_second() {
        let start = Instant::now();
        let mut volume = Volume { since: start, bytes: 0 };
        for (after_ms, bytes, is_bulk) in [
            (0, BULK_BYTES - 1, false),
            (500, 1, true),
            (999, 0, true),
            // As a heartbeat, which is no content.
            (1000, 0, false),
            (1100, BULK_BYTES, true),
            (5000, BULK_BYTES / 2, false),
            (6000, BULK_BYTES / 2, false),
            (6500, BULK_BYTES / 2, true),
        ] {
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(volume.count(bytes, now), is_bulk, "{after_ms} ms");
        }
    }
}
