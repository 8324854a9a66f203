//! Frames on streams: what every conversation is made of.
//!
//! [`FrameSender`] and [`FrameReceiver`] put length-prefixed messages on one QUIC stream; [`Channel`] is a pair of them after the
//! opening handshake, which [`Opening`] does for the controller; the gateway's half is where its refusals are. Deadlines are the
//! caller's, save that an opening ends within `limits::REPLY_TIMEOUT`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use quinn::{Connection, RecvStream, SendStream, WriteError};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout};

use crate::{
    codec::{self, DecodeError},
    escape::{escape_lines, escape_str},
    limits,
    transport::{FlowControl, Share},
    wire::{
        self,
        open::{Open, Reply},
        status::Status,
    },
};

/// The priorities of streams. What is bulk waits while conversations have something to send.
const CONVERSATION: i32 = 1;
const BULK: i32 = 0;

/// One bidirectional stream after its opening handshake.
#[derive(Debug)]
pub struct Channel {
    /// Towards the peer.
    pub send: FrameSender,
    /// From the peer.
    pub recv: FrameReceiver,
}

impl Channel {
    /// A channel on these two halves of a stream. It is a conversation, and comes before bulk on the same connection: data streams, and channels while they
    /// carry much content.
    pub fn new(send: SendStream, recv: RecvStream) -> Self {
        let mut send = FrameSender::new(send);
        send.set_priority(CONVERSATION);
        Self { send, recv: FrameReceiver::new(recv) }
    }

    /// The QUIC stream id, which data streams name in their preamble.
    pub fn id(&self) -> u64 {
        u64::from(quinn::VarInt::from(self.send.stream.id()))
    }
}

/// A channel that is about to be opened: it has its id, and the gateway has heard nothing of it.
///
/// Whoever expects data streams registers the id with the connection's router before [`Opening::reply`], since the gateway may
/// open them right behind its reply.
#[derive(Debug)]
pub struct Opening {
    channel: Channel,
    open: Open,
}

impl Opening {
    /// Takes a stream of `connection` for a request to `service`, within `limits::REPLY_TIMEOUT`. Nothing is sent. Cancel-safe.
    pub async fn begin<R: Serialize + Sync>(
        connection: &Connection,
        service: &str,
        request: &R,
    ) -> Result<Self, OpenError> {
        let opened = timeout(limits::REPLY_TIMEOUT, connection.open_bi()).await;
        let (send, recv) =
            opened.map_err(|_| OpenError::NoReply)?.map_err(|err| OpenError::Lost(err.into()))?;
        let channel = Channel::new(send, recv);
        let open =
            Open { version: wire::VERSION, service: service.to_owned(), request: codec::encode(request) };
        Ok(Self { channel, open })
    }

    /// Gives the channel that it will be a share of its connection's windows, as long as its receiving half lives.
    #[must_use]
    pub fn sharing(mut self, flow: &FlowControl) -> Self {
        self.channel.recv.hold(flow.share(1));
        self
    }

    /// The id that the channel will have.
    pub fn id(&self) -> u64 {
        self.channel.id()
    }

    /// Sends the request and waits for the gateway's reply; gives the channel and the reply's body.
    ///
    /// Not cancel-safe: a dropped future ends the channel.
    pub async fn reply(self) -> Result<(Channel, Vec<u8>), OpenError> {
        let mut channel = self.ask().await?;
        let body = channel.recv.reply().await?;
        Ok((channel, body))
    }

    /// Sends the request; the reply is to be taken by [`FrameReceiver::reply`]. Not cancel-safe: a dropped future ends the channel.
    pub async fn ask(self) -> Result<Channel, OpenError> {
        let Self { mut channel, open } = self;
        // A gateway that takes no bytes does not answer either.
        let asked = timeout(limits::REPLY_TIMEOUT, channel.send.send(&open)).await;
        asked.map_err(|_| OpenError::NoReply)?.map_err(OpenError::Lost)?;
        Ok(channel)
    }
}

/// Opens a channel to `service` that has no data streams: [`Opening::begin`] and [`Opening::reply`] in one.
///
/// Not cancel-safe: a dropped future ends the channel.
pub async fn open<R: Serialize + Sync>(
    connection: &Connection,
    service: &str,
    request: &R,
) -> Result<(Channel, Vec<u8>), OpenError> {
    Opening::begin(connection, service, request).await?.reply().await
}

impl Channel {
    /// Accepts the request, with the service's reply.
    pub async fn reply_ok<R: Serialize + Sync>(&mut self, body: &R) -> Result<(), FrameError> {
        let reply = Reply {
            status: Status::Ok.into(),
            detail: String::new(),
            retry_after_ms: 0,
            body: codec::encode(body),
        };
        self.send.send(&reply).await
    }
}

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
    /// Frames on `stream`.
    pub fn new(stream: SendStream) -> Self {
        Self { stream, volume: None, priority: BULK }
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
        self.send_framed(framed(message), raw).await
    }

    /// Sends a message that is [`framed`], and the raw bytes that it announces, without a copy of either.
    pub async fn send_framed(&mut self, frame: Bytes, raw: Bytes) -> Result<(), FrameError> {
        self.count(raw.len());
        let mut chunks = [frame, raw];
        Ok(self.stream.write_all_chunks(&mut chunks).await?)
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

/// Bytes that are taken of a stream at once to find out how long a frame is. The whole of a short one is there then, while of long ones the peer gets
/// little credit before anybody wants them.
const AHEAD_BYTES_MAX: usize = 4096;

/// Bytes of a frame that memory is claimed for at once when its first have arrived: most frames are copied once then, and who announces what never comes
/// costs no more.
const RESERVED_BYTES_MAX: usize = 256 * 1024;

/// The receiving half of a stream of frames.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: RecvStream,
    /// Of the connection's windows.
    share: Option<Share>,
    /// What was taken of the stream beyond what was asked for, [`AHEAD_BYTES_MAX`] at most.
    ahead: Bytes,
}

impl FrameReceiver {
    /// Frames on `stream`.
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, share: None, ahead: Bytes::new() }
    }

    /// Keeps a share of the connection's windows as long as this lives.
    pub(crate) fn hold(&mut self, share: Share) {
        self.share = Some(share);
    }

    /// Waits for the gateway's reply to a request, for `limits::REPLY_TIMEOUT`; gives its body. Not cancel-safe.
    pub async fn reply(&mut self) -> Result<Vec<u8>, OpenError> {
        let reply = self.recv::<Reply, { limits::OPEN_FRAME_BYTES_MAX }>();
        let reply = timeout(limits::REPLY_TIMEOUT, reply)
            .await
            .map_err(|_| OpenError::NoReply)?
            .map_err(OpenError::Lost)?;
        match Status::from(reply.status) {
            Status::Ok => Ok(reply.body),
            status => Err(OpenError::Refused {
                status,
                detail: escape_lines(&reply.detail),
                retry_after_ms: reply.retry_after_ms,
            }),
        }
    }

    /// Receives one message of at most `LIMIT` bytes. Not cancel-safe: a dropped future may leave half a frame.
    pub async fn recv<T: DeserializeOwned, const LIMIT: usize>(&mut self) -> Result<T, FrameError> {
        match self.try_recv::<T, LIMIT>().await? {
            Some(message) => Ok(message),
            None => Err(FrameError::Ended),
        }
    }

    /// As [`Self::recv`], but `None` when the stream was finished between two frames.
    pub async fn try_recv<T: DeserializeOwned, const LIMIT: usize>(
        &mut self,
    ) -> Result<Option<T>, FrameError> {
        let Some(size) = self.announced(LIMIT).await? else { return Ok(None) };
        if size <= self.ahead.len() {
            return Ok(Some(codec::decode::<T, LIMIT>(&self.ahead.split_to(size))?));
        }
        let mut body = Vec::new();
        self.recv_raw(size, &mut body).await?;
        Ok(Some(codec::decode::<T, LIMIT>(&body)?))
    }

    /// The body of the next frame, at most `limit` bytes; `None` when the stream was finished between two frames.
    pub async fn try_recv_bytes(&mut self, limit: usize) -> Result<Option<Vec<u8>>, FrameError> {
        let mut body = Vec::new();
        Ok(self.try_recv_onto(limit, &mut body).await?.map(|_| body))
    }

    /// As [`Self::try_recv_bytes`], but appends the body to `buffer` and gives its size.
    pub async fn try_recv_onto(
        &mut self,
        limit: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<usize>, FrameError> {
        let Some(size) = self.announced(limit).await? else { return Ok(None) };
        self.recv_raw(size, buffer).await?;
        Ok(Some(size))
    }

    /// The length of the next frame, which is at most `limit`; `None` when the stream was finished before it.
    async fn announced(&mut self, limit: usize) -> Result<Option<usize>, FrameError> {
        let mut length = [0; 4];
        let mut known = 0;
        while known < length.len() {
            if self.ahead.is_empty() {
                let chunk = self.stream.read_chunk(AHEAD_BYTES_MAX, true).await;
                match chunk.map_err(FrameError::from_read)? {
                    Some(chunk) => self.ahead = chunk.bytes,
                    None if known == 0 => return Ok(None),
                    None => return Err(FrameError::Ended),
                }
            }
            let some = self.ahead.split_to(self.ahead.len().min(length.len() - known));
            length[known..known + some.len()].copy_from_slice(&some);
            known += some.len();
        }
        let size = usize::try_from(u32::from_be_bytes(length)).expect("usize has 32 bits or more");
        if size > limit {
            return Err(DecodeError::TooLarge { size, limit }.into());
        }
        Ok(Some(size))
    }

    /// Appends exactly `size` raw bytes to `buffer`. Memory is claimed as bytes arrive, and little ahead of them.
    pub async fn recv_raw(&mut self, size: usize, buffer: &mut Vec<u8>) -> Result<(), FrameError> {
        let mut left = size;
        while left > 0 {
            left -= self.recv_some(left, buffer).await?;
        }
        Ok(())
    }

    /// Appends what has arrived to `buffer`, at least one byte and at most `limit`; says how many. Waits for the first.
    pub async fn recv_some(&mut self, limit: usize, buffer: &mut Vec<u8>) -> Result<usize, FrameError> {
        let some = if self.ahead.is_empty() {
            let chunk = self.stream.read_chunk(limit, true).await.map_err(FrameError::from_read)?;
            chunk.ok_or(FrameError::Ended)?.bytes
        } else {
            self.ahead.split_to(self.ahead.len().min(limit))
        };
        if buffer.capacity() - buffer.len() < some.len() {
            // What is made of several frames is moved twice at most on its way to a mebibyte, instead of at each doubling.
            let more = if buffer.len() <= 2 * RESERVED_BYTES_MAX { 3 * buffer.len() } else { 0 };
            buffer.reserve(limit.min(RESERVED_BYTES_MAX).max(some.len()).max(more));
        }
        buffer.extend_from_slice(&some);
        Ok(some.len())
    }

    /// Tells the peer that nothing more will be read.
    pub fn stop(&mut self, status: Status) {
        self.ahead = Bytes::new();
        if self.stream.stop(status.into()).is_err() {
            tracing::trace!("stopped a stream that was closed");
        }
    }
}

impl Drop for FrameReceiver {
    /// Takes the end of the stream where that is what is left: quinn has the peer stop sending otherwise, in a packet of its own after each call.
    fn drop(&mut self) {
        let end = self.stream.read_chunk(1, true).now_or_never();
        if !matches!(end, Some(Ok(None))) {
            tracing::trace!("a stream is left before its end");
        }
    }
}

/// Why a frame could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection is gone.
    #[error("the connection was lost: {}", escape_str(&.0.to_string()))]
    Connection(#[from] quinn::ConnectionError),
    /// The peer broke the stream off.
    #[error("the peer broke the channel off: {}", .0.meaning())]
    Reset(Status),
    /// The peer finished the stream where more was due.
    #[error("the peer ended the channel too early")]
    Ended,
    /// The peer did not say anything in time.
    #[error("the peer said nothing in time")]
    Silent,
    /// The peer sent something that is not the message due.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The stream was used after its end: a defect of ours.
    #[error("the stream is closed")]
    Closed,
}

impl FrameError {
    /// What the peer said when it ended the channel or the whole connection; none if it did not.
    pub fn peer_status(&self) -> Option<Status> {
        match self {
            Self::Reset(status) => Some(*status),
            Self::Connection(quinn::ConnectionError::ApplicationClosed(close)) => {
                Some(Status::from_code(u16::try_from(u64::from(close.error_code)).unwrap_or(u16::MAX)))
            }
            _ => None,
        }
    }

    /// Code 0 is what quinn sends for a half that was dropped, and no reason to go: the peer gave up.
    fn from_code(code: quinn::VarInt) -> Self {
        Self::Reset(match Status::from_code(u16::try_from(u64::from(code)).unwrap_or(u16::MAX)) {
            Status::Ok => Status::Cancelled,
            status => status,
        })
    }

    fn from_read(err: quinn::ReadError) -> Self {
        match err {
            quinn::ReadError::Reset(code) => Self::from_code(code),
            quinn::ReadError::ConnectionLost(err) => Self::Connection(err),
            _ => Self::Closed,
        }
    }
}

impl From<WriteError> for FrameError {
    fn from(err: WriteError) -> Self {
        match err {
            WriteError::Stopped(code) => Self::from_code(code),
            WriteError::ConnectionLost(err) => Self::Connection(err),
            _ => Self::Closed,
        }
    }
}

/// Why a channel was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The gateway declined.
    #[error("{}", refusal(*status, detail))]
    Refused {
        /// Its reason, from the table.
        status: Status,
        /// Its sentence about this request, escaped.
        detail: String,
        /// With `busy`: milliseconds after which trying again makes sense.
        retry_after_ms: u32,
    },
    /// The gateway did not answer in time.
    #[error("the gateway accepted the connection but did not answer the request in time")]
    NoReply,
    /// The connection or the channel broke.
    #[error(transparent)]
    Lost(FrameError),
}

fn refusal(status: Status, detail: &str) -> String {
    if detail.is_empty() {
        return format!("{}: {}", status.as_str(), status.meaning());
    }
    format!("{}: {detail}", status.as_str())
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
