//! The buffer of a send, as it comes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::{Buf, Bytes};
use swarmwire_common::{
    channel::{FrameError, FrameReceiver},
    limits,
    wire::status::Status,
};
use tokio::{runtime::Handle, time::timeout};

use super::Failure;
use crate::service::status_of;

/// A buffer of any size. What has not been asked for waits at the sender, but for a window of the stream.
#[derive(Debug)]
pub struct Input {
    first: Bytes,
    /// None once nothing more comes.
    rest: Option<FrameReceiver>,
    deadline: Option<Instant>,
    cancelled: Arc<AtomicBool>,
}

impl Input {
    pub(crate) fn new(
        first: Bytes,
        rest: Option<FrameReceiver>,
        deadline: Option<Instant>,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        Self { first, rest, deadline, cancelled }
    }

    /// All of it, unless more is to come than is here.
    pub(crate) fn whole(&mut self) -> Option<Bytes> {
        self.rest.is_none().then(|| std::mem::take(&mut self.first))
    }

    /// The next piece, of at least one byte; `None` at the end. Not cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut bytes = std::mem::take(&mut self.first);
        while bytes.is_empty() {
            let mut frame = Vec::new();
            if !self.frame_onto(&mut frame).await? {
                return Ok(None);
            }
            bytes = frame.into();
        }
        Ok(Some(bytes))
    }

    /// All that is left, at most `limit` bytes.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::from(std::mem::take(&mut self.first));
        loop {
            if all.len() > limit {
                return Err(Failure::of(Status::TooLarge, format!("more than {limit} bytes were given")));
            }
            if !self.frame_onto(&mut all).await? {
                return Ok(all);
            }
        }
    }

    /// Appends the next frame, which may be empty, to `buffer`; says whether there was one. Not cancel-safe.
    async fn frame_onto(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Failure> {
        let Some(rest) = &mut self.rest else { return Ok(false) };
        // A thread that reads this is not dropped with its call.
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if self.cancelled.load(Relaxed) || left.is_some_and(|left| left.is_zero()) {
            return Err(Failure::of(Status::Cancelled, "nobody waits for this call any longer"));
        }
        let patience = left.map_or(limits::SYNC_SILENCE_MAX, |left| left.min(limits::SYNC_SILENCE_MAX));
        let frame = rest.try_recv_onto(limits::CALL_FRAME_BYTES_MAX, buffer);
        let frame = timeout(patience, frame).await.unwrap_or(Err(FrameError::Silent));
        let frame = frame.map_err(|err| Failure::of(status_of(&err), err.to_string()))?;
        if frame.is_none() {
            self.rest = None;
        }
        Ok(frame.is_some())
    }
}

/// For blocking functions, which have a thread of their own. Elsewhere it panics.
impl io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.first.is_empty() {
            match Handle::current().block_on(self.next()) {
                Ok(Some(bytes)) => self.first = bytes,
                Ok(None) => return Ok(0),
                Err(failure) => return Err(io::Error::other(failure.reason)),
            }
        }
        let count = buffer.len().min(self.first.len());
        buffer[..count].copy_from_slice(&self.first[..count]);
        self.first.advance(count);
        Ok(count)
    }
}
