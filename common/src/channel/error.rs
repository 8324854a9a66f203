//! Why a frame or a channel failed.

use quinn::WriteError;

use crate::{codec::DecodeError, escape::escape_str, wire::status::Status};

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

    pub(super) fn from_read(err: quinn::ReadError) -> Self {
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
