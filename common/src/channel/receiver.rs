//! The receiving half of a stream of frames.

use bytes::Bytes;
use futures_util::FutureExt;
use quinn::RecvStream;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{FrameError, OpenError};
use crate::{
    codec::{self, DecodeError},
    escape::escape_lines,
    limits,
    transport::Share,
    wire::{open::Reply, status::Status},
};

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
