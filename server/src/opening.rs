//! The beginning of a channel at the gateway: its opening frame, and the reply when the answer is no.
//!
//! A frame that makes no sense is answered too, so that a peer which speaks something else learns so instead of finding its
//! stream ended.

use swarmwire_common::{
    channel::{Channel, FrameError},
    codec::DecodeError,
    limits,
    wire::{
        open::{Open, Reply},
        status::Status,
    },
};
use tokio::time::timeout;

use crate::grants::Denied;

/// A request declined: what the peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) detail: String,
    pub(crate) retry_after_ms: u32,
}

impl Refusal {
    pub(crate) fn new(status: Status, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_ms: 0 }
    }

    /// Declined for now. `detail` says when to try again to people, `retry_after` to programs.
    pub(crate) fn busy(detail: impl Into<String>, retry_after: std::time::Duration) -> Self {
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        Self { retry_after_ms, ..Self::new(Status::Busy, detail) }
    }

    /// Declined because of a defect or a failing disk here, which the log tells of.
    pub(crate) fn internal() -> Self {
        Self::new(Status::Internal, "")
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::new(Status::Denied, denied.to_string())
    }
}

impl From<DecodeError> for Refusal {
    fn from(err: DecodeError) -> Self {
        let status = match err {
            DecodeError::TooLarge { .. } => Status::TooLarge,
            DecodeError::Malformed(_) | DecodeError::TrailingBytes { .. } => Status::Invalid,
        };
        Self::new(status, err.to_string())
    }
}

/// Reads the opening frame. One that makes no sense is to be refused; without a refusal there is nobody to hear it.
pub(crate) async fn accept(channel: &mut Channel) -> Result<Open, Option<Refusal>> {
    let opening = channel.recv.recv::<Open, { limits::OPEN_FRAME_BYTES_MAX }>();
    match timeout(limits::REPLY_TIMEOUT, opening).await {
        Ok(Ok(open)) => Ok(open),
        Ok(Err(FrameError::Malformed(err))) => Err(Some(err.into())),
        Ok(Err(FrameError::Ended)) => {
            Err(Some(Refusal::new(Status::Invalid, "the channel ended within its opening frame")))
        }
        Ok(Err(err)) => {
            tracing::debug!(%err, "a channel that was not opened");
            Err(None)
        }
        Err(_) => Err(Some(Refusal::new(Status::Timeout, "the opening frame did not come in time"))),
    }
}

/// Declines the request, and waits a moment until the peer has the answer, so that the connection may be closed behind it.
pub(crate) async fn refuse(mut channel: Channel, refusal: Refusal) -> Status {
    let Refusal { status, detail, retry_after_ms } = refusal;
    tracing::debug!(status = status.as_str(), detail, "declined");
    let reply = Reply { status: status.into(), detail, retry_after_ms, body: Vec::new() };
    let answer = async {
        channel.send.send(&reply).await?;
        channel.recv.stop(status);
        finish(&mut channel).await;
        Ok::<_, FrameError>(())
    };
    match timeout(limits::REPLY_TIMEOUT, answer).await {
        Ok(Ok(())) => {}
        Ok(Err(err)) => tracing::debug!(%err, "a refusal that did not arrive"),
        Err(_) => tracing::debug!("a refusal that was not read"),
    }
    status
}

/// Ends our half and waits until the peer has all of it. Give it a deadline.
pub(crate) async fn finish(channel: &mut Channel) {
    channel.send.finish();
    channel.send.acknowledged().await;
}
