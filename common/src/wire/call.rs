//! The `call` service: a subroutine of the gateway, called, streamed from or fed; and `services`, which tells what there is.
//!
//! After its opening frame the controller sends the rest of its input (the arguments of a batch or stream, the buffer of a send) in raw
//! frames and finishes its half; an empty frame says that it lives and has nothing yet. The gateway's reply has all of a call
//! that was soon over; otherwise [`CallMessage`] frames follow until one that ends it. Either side gives a call up by ending its halves.

use serde::{Deserialize, Serialize};

use super::status::StatusCode;

/// Asks for a subroutine to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRequest {
    /// Its name.
    pub name: String,
    /// What the caller takes it for.
    pub kind: CallKind,
    /// How arguments and results are written. Of a send's buffer: how the caller names it, which nobody looks at.
    pub codec: Codec,
    /// Milliseconds that the caller waits for the end, from when the gateway hears of it; 0 for ever.
    pub deadline_ms: u64,
    /// The input, or its beginning.
    #[serde(with = "serde_bytes")]
    pub input: Vec<u8>,
    /// Whether frames with the rest follow.
    pub continues: bool,
}

/// What a subroutine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallKind {
    /// Arguments in, bytes and a batch id out.
    Batch,
    /// Arguments in, a sequence of items out.
    Stream,
    /// A buffer in, an integer out.
    Send,
}

impl CallKind {
    /// The word for it, in configuration, help and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Stream => "stream",
            Self::Send => "send",
        }
    }
}

/// How arguments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// [`crate::value::Arguments`] in the codec of all messages.
    Bincode,
    /// JSON: an array of positional arguments, or an object of named ones; or an object with the members `args` and `kwargs` only.
    Json,
    /// Bytes that only the subroutine understands.
    Raw,
}

impl Codec {
    /// The word for it, in configuration and help.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bincode => "bincode",
            Self::Json => "json",
            Self::Raw => "raw",
        }
    }
}

/// The gateway's reply to a [`CallRequest`], in its `ok`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallReply {
    /// It goes on: [`CallMessage`] frames follow. Of a batch, its id.
    Running {
        /// One more with each call of this subroutine.
        id: u64,
    },
    /// A batch is done, and this is all of it.
    Done {
        /// One more with each call of this subroutine.
        id: u64,
        /// What it gave.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A send is done.
    Returned {
        /// What it gave.
        value: i64,
    },
}

/// One frame of a running call, gateway → controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallMessage {
    /// So many raw bytes follow this frame, a part of what a batch gives.
    Part {
        /// How many.
        bytes: u32,
    },
    /// So many raw bytes follow this frame: items of a stream, each an `i64` ident, a `u32` length (both big-endian) and that many bytes.
    Items {
        /// How many items.
        count: u32,
        /// How many bytes.
        bytes: u32,
    },
    /// What a send gave; the last message.
    Returned {
        /// The integer.
        value: i64,
    },
    /// A batch or stream is complete; the last message.
    End,
    /// It failed; the last message. What came before counts.
    Failed {
        /// Number of the status table.
        status: StatusCode,
        /// What the subroutine, or the gateway, says of it.
        reason: String,
    },
    /// The gateway lives, and the subroutine has given nothing yet.
    Alive,
}

/// One frame of the list of subroutines, gateway → controller. Those are told that the identity may call; the list ends with the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesPage {
    /// By name.
    pub services: Vec<ServiceInfo>,
}

/// A subroutine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: CallKind,
    /// The codecs that it takes.
    pub codecs: Vec<Codec>,
    /// What it takes, in words; empty if it does not say.
    pub arguments: String,
    /// Calls since it was registered.
    pub calls: u64,
    /// Calls that run now.
    pub running: u32,
    /// How many may run at a time; 0 for as many as there are handlers.
    pub concurrency: u32,
    /// Worker processes that live now; none where calls have a process each, or none at all.
    pub workers: Option<u32>,
}
