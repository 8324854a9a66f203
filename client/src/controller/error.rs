//! Why a gateway could not be reached, and why a request to it failed: in words for whoever has to fix it.
//!
//! [`ConnectError`] is about the way there and the trust in what answers; after any of its errors nothing but a handshake has been
//! sent. [`RequestError`] is about one channel. Both know whether another attempt may cure them.

use std::{io, time::Duration};

use quinn::{ConnectionError, TransportErrorCode};
use swarmwire_certs::Fingerprint;
use swarmwire_common::{
    channel::{FrameError, OpenError},
    escape::{escape, escape_str},
    wire::status::Status,
};

/// TLS alert `no_application_protocol` (RFC 7301 §3.2) as a QUIC error code (RFC 9001 §4.8: 0x0100 + alert).
const ALERT_NO_ALPN: u64 = 0x100 + 120;

/// TLS alerts about certificates: `bad_certificate` (42) to `unknown_ca` (48) and `access_denied` (49), RFC 8446 §6.
const ALERTS_CERTIFICATE: std::ops::RangeInclusive<u64> = 0x100 + 42..=0x100 + 49;

/// Why there is no connection to a gateway.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host's name leads nowhere.
    #[error("failed to find the address of `{host}`: {reason}; is the name right?")]
    Resolve {
        /// What was looked up.
        host: String,
        /// What the resolver said.
        reason: io::Error,
    },
    /// Nothing came back.
    #[error(
        "no answer from {address} within {}; is swarmd running there, and does the network let UDP through?",
        humantime::format_duration(*.within)
    )]
    NoAnswer {
        /// `host:port`.
        address: String,
        /// How long was waited.
        within: Duration,
    },
    /// Somebody answered with another key.
    #[error(
        "the gateway at {address} has not the key that is pinned for it; nothing was sent\n  \
         pinned: {expected}\n  found:  {found}\n\
         if the gateway was set up anew, ask its operator for its fingerprint, compare it with the one found, and join with a \
         new invitation; otherwise somebody else answers at this address"
    )]
    WrongKey {
        /// `host:port`.
        address: String,
        /// The pinned key.
        expected: Fingerprint,
        /// The key that answered.
        found: Fingerprint,
    },
    /// The right key, but its certificate cannot be used.
    #[error("the certificate of the gateway at {address} {problem}; nothing was sent")]
    Certificate {
        /// `host:port`.
        address: String,
        /// What is wrong and what to do, continuing "the certificate".
        problem: &'static str,
    },
    /// Somebody answered who does not speak our protocol.
    #[error(
        "what answers at {address} does not speak this version of the protocol; is it a swarmd, and of the same release?"
    )]
    Protocol {
        /// `host:port`.
        address: String,
    },
    /// The gateway takes no connections now.
    #[error("the gateway at {address} takes no connection: {}", .status.meaning())]
    Refused {
        /// `host:port`.
        address: String,
        /// Why.
        status: Status,
    },
    /// The handshake broke.
    #[error("the connection to {address} broke in the handshake: {}", escape_str(&.reason.to_string()))]
    Broken {
        /// `host:port`.
        address: String,
        /// What QUIC said.
        reason: ConnectionError,
    },
    /// This machine could not even try.
    #[error("failed to prepare a connection to {address}: {reason}")]
    Local {
        /// `host:port`.
        address: String,
        /// What failed.
        reason: String,
    },
}

impl ConnectError {
    /// Puts the end of a handshake into words; the verdict of our own verifier has been dealt with before.
    pub(super) fn from_handshake(address: String, err: ConnectionError) -> Self {
        match &err {
            ConnectionError::VersionMismatch => Self::Protocol { address },
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                ALERT_NO_ALPN => Self::Protocol { address },
                code if code == u64::from(TransportErrorCode::CONNECTION_REFUSED) => {
                    Self::Refused { address, status: Status::Unavailable }
                }
                _ => Self::Broken { address, reason: err },
            },
            ConnectionError::ApplicationClosed(close) => {
                let code = u16::try_from(u64::from(close.error_code)).unwrap_or(u16::MAX);
                Self::Refused { address, status: Status::from_code(code) }
            }
            _ => Self::Broken { address, reason: err },
        }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::NoAnswer { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => {
                matches!(status, Status::Unavailable | Status::Busy | Status::ShuttingDown | Status::Timeout)
            }
            Self::WrongKey { .. } | Self::Certificate { .. } | Self::Protocol { .. } | Self::Local { .. } => {
                false
            }
        }
    }

    /// Of two addresses' errors the one that says more is told: an answer beats silence.
    pub(super) fn says_more_than(&self, other: &Self) -> bool {
        let rank = |err: &Self| match err {
            Self::Resolve { .. } | Self::Local { .. } => 0,
            Self::NoAnswer { .. } => 1,
            Self::Broken { .. } => 2,
            Self::Protocol { .. } | Self::Refused { .. } => 3,
            Self::Certificate { .. } | Self::WrongKey { .. } => 4,
        };
        rank(self) > rank(other)
    }
}

/// Why a request to a gateway failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The gateway declined.
    #[error("{}", refusal(*.status, .detail, *.retry_after_ms))]
    Refused {
        /// Its reason, from the table.
        status: Status,
        /// Its sentence about this request, escaped.
        detail: String,
        /// With `busy`: milliseconds after which trying again makes sense.
        retry_after_ms: u32,
    },
    /// The gateway is there but does not answer.
    #[error("the gateway is connected but did not answer in time")]
    Silent,
    /// The channel or the connection broke.
    #[error("{}", describe_loss(.0))]
    Lost(FrameError),
    /// The gateway broke the rules.
    #[error("the gateway broke the protocol: {0}")]
    Protocol(&'static str),
    /// What was to be sent cannot be read here.
    #[error("failed to read what is to be sent: {0}")]
    Source(io::Error),
}

impl RequestError {
    /// What the gateway said, if it said anything.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Lost(err) => err.peer_status(),
            Self::Silent | Self::Protocol(_) | Self::Source(_) => None,
        }
    }

    /// Whether trying again may help: nobody decided to end it, or only for now.
    pub fn is_transient(&self) -> bool {
        match (self.status(), self) {
            (Some(status), _) => matches!(status, Status::Busy | Status::ShuttingDown | Status::Timeout),
            (None, Self::Silent) => true,
            (None, Self::Lost(err)) => match err {
                FrameError::Connection(ConnectionError::LocallyClosed | ConnectionError::VersionMismatch) => {
                    false
                }
                FrameError::Connection(err) => !is_certificate_alert(err),
                FrameError::Ended | FrameError::Silent => true,
                FrameError::Reset(_) | FrameError::Malformed(_) | FrameError::Closed => false,
            },
            (None, Self::Refused { .. } | Self::Protocol(_) | Self::Source(_)) => false,
        }
    }
}

impl From<OpenError> for RequestError {
    fn from(err: OpenError) -> Self {
        match err {
            OpenError::Refused { status, detail, retry_after_ms } => {
                Self::Refused { status, detail, retry_after_ms }
            }
            OpenError::NoReply => Self::Silent,
            OpenError::Lost(err) => err.into(),
        }
    }
}

impl From<FrameError> for RequestError {
    fn from(err: FrameError) -> Self {
        match err {
            FrameError::Malformed(_) => Self::Protocol("a message of it is malformed"),
            FrameError::Silent => Self::Silent,
            err => Self::Lost(err),
        }
    }
}

/// Puts the end of a channel into words: the peer's own, where it said any.
fn describe_loss(err: &FrameError) -> String {
    match err {
        FrameError::Connection(ConnectionError::ApplicationClosed(close)) => {
            let status = err.peer_status().unwrap_or(Status::Internal);
            let detail =
                if close.reason.is_empty() { status.meaning().into() } else { escape(&close.reason) };
            format!("the gateway ended the connection: {}: {detail}", status.as_str())
        }
        FrameError::Connection(err) if is_certificate_alert(err) => {
            "the gateway does not accept the certificate of this machine; is the clock right here and there?"
                .to_owned()
        }
        _ => err.to_string(),
    }
}

fn is_certificate_alert(err: &ConnectionError) -> bool {
    matches!(err, ConnectionError::ConnectionClosed(close)
        if ALERTS_CERTIFICATE.contains(&u64::from(close.error_code)))
}

/// A sentence of the gateway says itself what to do: the pause is for programs, and told only where there is no sentence.
fn refusal(status: Status, detail: &str, retry_after_ms: u32) -> String {
    let word = status.as_str();
    if !detail.is_empty() {
        return format!("{word}: {detail}");
    }
    let meaning = status.meaning();
    if retry_after_ms == 0 {
        return format!("{word}: {meaning}");
    }
    let pause = humantime::format_duration(Duration::from_millis(retry_after_ms.into()));
    format!("{word}: {meaning}; try again in {pause}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quinn::{ApplicationClose, ConnectionClose};

    use super::*;

    fn closed_by_application(status: Status, reason: &'static str) -> ConnectionError {
        ConnectionError::ApplicationClosed(ApplicationClose {
            error_code: status.into(),
            reason: Bytes::from_static(reason.as_bytes()),
        })
    }

    fn closed_by_transport(code: TransportErrorCode) -> ConnectionError {
        ConnectionError::ConnectionClosed(ConnectionClose {
            error_code: code,
            frame_type: None,
            reason: Bytes::new(),
        })
    }

    #[test]
    fn a_handshake_that_fails_says_whose_fault_it_is() {
        let told = |err| ConnectError::from_handshake("h:1".to_owned(), err).to_string();
        assert!(told(closed_by_transport(TransportErrorCode::crypto(120))).contains("protocol"));
        assert!(
            told(closed_by_transport(TransportErrorCode::CONNECTION_REFUSED)).contains("takes no connection")
        );
        assert!(told(closed_by_application(Status::ShuttingDown, "")).contains("shutting down"));
        assert!(told(ConnectionError::VersionMismatch).contains("protocol"));
        assert!(told(ConnectionError::Reset).contains("broke in the handshake"));
    }

    /// Whoever is on the way to a gateway can end a handshake, before any key has been checked, and may give a reason.
    #[test]
    fn a_stranger_on_the_way_cannot_move_the_cursor() {
        let mut close = ConnectionClose {
            error_code: TransportErrorCode::INTERNAL_ERROR,
            frame_type: None,
            reason: Bytes::from_static(b"\x1b[2J\x1b]0;owned\x07\nswarm: all is well"),
        };
        let told =
            ConnectError::from_handshake("h:1".to_owned(), ConnectionError::ConnectionClosed(close.clone()));
        assert!(told.to_string().contains("all is well") && !told.to_string().chars().any(char::is_control));
        close.error_code = TransportErrorCode::NO_ERROR;
        let told = describe_loss(&FrameError::Connection(ConnectionError::ConnectionClosed(close)));
        assert!(told.contains("all is well") && !told.chars().any(char::is_control), "{told:?}");
    }

    #[test]
    fn only_what_nobody_decided_is_tried_again() {
        for (err, expected) in [
            (FrameError::Connection(ConnectionError::TimedOut), true),
            (FrameError::Connection(ConnectionError::Reset), true),
            (FrameError::Connection(ConnectionError::LocallyClosed), false),
            (FrameError::Connection(closed_by_application(Status::ShuttingDown, "")), true),
            (FrameError::Connection(closed_by_application(Status::Unknown, "")), false),
            (FrameError::Connection(closed_by_transport(TransportErrorCode::crypto(45))), false),
            (FrameError::Reset(Status::Denied), false),
            (FrameError::Ended, true),
        ] {
            let told = format!("{err:?}");
            assert_eq!(RequestError::from(err).is_transient(), expected, "{told}");
        }
    }

    #[test]
    fn the_gateways_words_are_told_and_cannot_touch_the_terminal() {
        let lost = FrameError::Connection(closed_by_application(Status::Unknown, "revoked\x1b[2J"));
        let told = RequestError::from(lost).to_string();
        assert_eq!(told, "the gateway ended the connection: unknown_identity: revoked\\x1b[2J");
    }

    #[test]
    fn busy_says_when_to_come_back() {
        let told = |detail: &str| {
            let detail = detail.to_owned();
            RequestError::Refused { status: Status::Busy, detail, retry_after_ms: 500 }.to_string()
        };
        assert_eq!(told(""), format!("busy: {}; try again in 500ms", Status::Busy.meaning()));
        // Story: who was told to try again when an offload has ended was told to do so in half a second as well.
        let detail = "`logs` is being offloaded; try again when that has ended";
        assert_eq!(told(detail), format!("busy: {detail}"));
    }
}
