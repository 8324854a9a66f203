//! The half of a call that leads to the gateway: arguments and buffers, while an answer is waited for.

use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use swarmwire_common::{channel::FrameSender, limits, wire::status::Status};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::controller::RequestError;

/// Bytes that are read at once, at least.
const FEED_BYTES_MIN: usize = 4 * 1024;

/// The half of a call that leads to the gateway. Dropped before it is finished it is reset, so that half of a buffer is never taken for all of it.
pub(super) struct Feeding {
    send: FrameSender,
    is_complete: bool,
}

impl Feeding {
    pub(super) fn new(send: FrameSender) -> Self {
        Self { send, is_complete: false }
    }

    /// Sends `rest`, and that it is all.
    pub(super) async fn frames(mut self, mut rest: Bytes) -> Result<(), RequestError> {
        while !rest.is_empty() {
            let frame = rest.split_to(rest.len().min(limits::CALL_FRAME_BYTES_MAX));
            self.send.send_frame(frame).await?;
        }
        self.complete();
        Ok(())
    }

    /// Sends what comes out of `buffer`, and that it is all.
    pub(super) async fn all(mut self, buffer: &mut (impl AsyncRead + Unpin)) -> Result<(), RequestError> {
        let mut frame = BytesMut::new();
        loop {
            // What was sent before may still be held: a little of it must not hold all of a buffer.
            if frame.capacity() < FEED_BYTES_MIN {
                frame.reserve(limits::CALL_FRAME_BYTES_MAX);
            }
            let mut room = (&mut frame).limit(limits::CALL_FRAME_BYTES_MAX);
            match timeout(limits::HEARTBEAT_INTERVAL, buffer.read_buf(&mut room)).await {
                Ok(Ok(0)) => break,
                Ok(Ok(_)) => self.send.send_frame(frame.split().freeze()).await?,
                Ok(Err(err)) => return Err(RequestError::Source(err)),
                // An empty frame says that we live.
                Err(_) => self.send.send_frame(Bytes::new()).await?,
            }
        }
        self.complete();
        Ok(())
    }

    pub(super) fn complete(&mut self) {
        self.is_complete = true;
        self.send.finish();
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        if !self.is_complete {
            self.send.reset(Status::Cancelled);
        }
    }
}

/// Waits for the last answer while the input is fed. A gateway that has given it needs no more.
pub(super) async fn answered<T>(
    feed: impl Future<Output = Result<(), RequestError>>,
    answer: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let (mut feed, mut answer) = (pin!(feed), pin!(answer));
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        fed = &mut feed => match fed {
            // Of a connection that is lost, and of a function that takes no more, the answer tells.
            Ok(()) | Err(RequestError::Lost(_)) => {}
            Err(err) => return Err(err),
        },
    }
    answer.await
}

/// Goes on feeding while `work` is done.
pub(super) async fn fed<T>(
    feed: &mut Option<BoxFuture<'static, Result<(), RequestError>>>,
    work: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let mut work = pin!(work);
    loop {
        let Some(feeding) = feed else { return work.await };
        let ended = tokio::select! {
            biased;
            done = &mut work => return done,
            ended = feeding => ended,
        };
        *feed = None;
        match ended {
            // Of a connection that is lost, and of a function that takes no more, the answer tells.
            Ok(()) | Err(RequestError::Lost(_)) => {}
            Err(err) => return Err(err),
        }
    }
}
