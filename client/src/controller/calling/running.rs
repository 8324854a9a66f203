//! The half of a call that comes from the gateway.

use std::fmt;

use futures_util::future::BoxFuture;
use swarmwire_common::{
    channel::FrameReceiver,
    codec,
    escape::escape_lines,
    limits,
    wire::{
        call::{CallMessage, CallReply},
        status::Status,
    },
};
use tokio::time::{Instant, timeout};

use super::{UNEXPECTED, bounds::before, feeding::fed};
use crate::controller::RequestError;

/// The half of a call that comes from the gateway.
pub(super) struct Running {
    recv: FrameReceiver,
    deadline: Option<Instant>,
    /// Arguments that are still on their way.
    pub(super) feed: Option<BoxFuture<'static, Result<(), RequestError>>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Running {
    pub(super) fn new(recv: FrameReceiver, deadline: Option<Instant>) -> Self {
        Self { recv, deadline, feed: None }
    }

    pub(super) async fn reply(&mut self) -> Result<CallReply, RequestError> {
        let Self { recv, deadline, feed } = self;
        let body = before(*deadline, fed(feed, async { Ok(recv.reply().await?) })).await??;
        codec::decode::<_, { limits::OPEN_FRAME_BYTES_MAX }>(&body)
            .map_err(|_| RequestError::Protocol("its reply to a call is malformed"))
    }

    pub(super) async fn value(&mut self) -> Result<i64, RequestError> {
        let reply = self.reply().await?;
        self.value_after(reply).await
    }

    pub(super) async fn value_after(&mut self, reply: CallReply) -> Result<i64, RequestError> {
        match reply {
            CallReply::Returned { value } => return Ok(value),
            CallReply::Running { .. } => {}
            CallReply::Done { .. } => return Err(UNEXPECTED),
        }
        match self.message().await? {
            CallMessage::Returned { value } => Ok(value),
            _ => Err(UNEXPECTED),
        }
    }

    /// The next message that says something.
    pub(super) async fn message(&mut self) -> Result<CallMessage, RequestError> {
        loop {
            let Self { recv, deadline, feed } = self;
            let message = async {
                let message = recv.recv::<_, { limits::OPEN_FRAME_BYTES_MAX }>();
                Ok(timeout(limits::SYNC_SILENCE_MAX, message).await.map_err(|_| RequestError::Silent)??)
            };
            match before(*deadline, fed(feed, message)).await?? {
                CallMessage::Alive => {}
                CallMessage::Failed { status, reason } => {
                    let status = Status::from(status);
                    if status == Status::Ok {
                        return Err(RequestError::Protocol("a call has failed and all is well"));
                    }
                    return Err(RequestError::Refused {
                        status,
                        detail: escape_lines(&reason),
                        retry_after_ms: 0,
                    });
                }
                message => return Ok(message),
            }
        }
    }

    /// Appends the bytes that a message has announced to `buffer`.
    pub(super) async fn raw_onto(
        &mut self,
        bytes: u32,
        limit: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        let size = usize::try_from(bytes).expect("usize has 32 bits or more");
        if size > limit {
            return Err(RequestError::Protocol("a message of a call announces more bytes than one may have"));
        }
        let Self { recv, deadline, feed } = self;
        let read = async {
            let mut left = size;
            while left > 0 {
                let some = recv.recv_some(left, buffer);
                left -= timeout(limits::SYNC_SILENCE_MAX, some).await.map_err(|_| RequestError::Silent)??;
            }
            Ok(())
        };
        before(*deadline, fed(feed, read)).await?
    }
}
