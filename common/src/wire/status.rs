//! The one table of status codes: number, name and meaning.
//!
//! A status is all that a peer learns of a failure inside, beside a sentence about its own request. The numbers are also the
//! application error codes of QUIC stream resets and connection closes (RFC 9000 §20.2).

use serde::{Deserialize, Serialize};

macro_rules! statuses {
    ($($name:ident = $code:literal, $word:literal, $meaning:literal;)*) => {
        /// What became of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Status {
            $(#[doc = $meaning] $name,)*
        }

        impl Status {
            /// Every status, in the order of the codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The name in messages, logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means, in words for the person at the other end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// The status of a code; one that this version does not know is `Internal`.
            pub const fn from_code(code: u16) -> Self {
                match code { $($code => Self::$name,)* _ => Self::Internal }
            }
        }
    };
}

statuses! {
    Ok = 0, "ok", "the request was accepted";
    Busy = 1, "busy", "what it takes is in use: handlers of the gateway, the subroutine or the directory";
    Denied = 2, "denied", "the grant of this identity does not allow it";
    NotFound = 3, "not_found", "there is nothing at that path";
    Invalid = 4, "invalid", "the request makes no sense to the gateway";
    TooLarge = 5, "too_large", "a bound of the protocol or the gateway was exceeded";
    Conflict = 6, "conflict", "something of another type is in the way";
    Unavailable = 7, "unavailable", "the gateway cannot do it now";
    Internal = 8, "internal", "the gateway failed; its log says why";
    UnsupportedVersion = 9, "unsupported_version", "the peer speaks another version of the protocol";
    UnknownService = 10, "unknown_service", "the gateway has no such service";
    Unknown = 11, "unknown_identity", "this identity is not known to the gateway, or no longer";
    Expired = 12, "expired", "the invitation is used, expired or was never issued";
    Timeout = 13, "timeout", "the peer did not answer in time";
    ShuttingDown = 14, "shutting_down", "the gateway is shutting down";
    Cancelled = 15, "cancelled", "the other side gave up";
    Failed = 16, "failed", "the subroutine failed";
    Deadline = 17, "deadline", "the deadline of the call has passed";
}

/// A status as it stands in a frame: the bare number, so that unknown ones can be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCode(pub u16);

impl From<Status> for StatusCode {
    fn from(status: Status) -> Self {
        Self(status.code())
    }
}

impl From<StatusCode> for Status {
    fn from(code: StatusCode) -> Self {
        Self::from_code(code.0)
    }
}

impl From<Status> for quinn::VarInt {
    fn from(status: Status) -> Self {
        Self::from_u32(u32::from(status.code()))
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn codes_are_dense_and_come_back_as_themselves() {
        for (position, &status) in Status::ALL.iter().enumerate() {
            assert_eq!(usize::from(status.code()), position);
            assert_eq!(Status::from_code(status.code()), status);
        }
        assert_eq!(Status::from_code(9999), Status::Internal);
    }
}
