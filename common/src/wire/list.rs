//! The `list` service: what is at a path, streamed in pages.
//!
//! After an `ok` reply the gateway sends [`ListMessage`] frames until `End`. Paths are relative to the path asked for.

use serde::{Deserialize, Serialize};

use crate::entry::{Kind, Metadata, SpecialKind};

/// Asks for the entries at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// `RelPath` below the gateway's root.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// Whether subdirectories are listed too.
    pub recursive: bool,
    /// Whether regular files are read and hashed.
    pub hash: bool,
}

/// One frame of a listing, gateway → controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListMessage {
    /// Some entries, parents before children.
    Page(Vec<ListEntry>),
    /// A path below that could not be listed or hashed; the others follow.
    Failed {
        /// `RelPath`, relative to the path asked for.
        #[serde(with = "serde_bytes")]
        path: Vec<u8>,
        /// Why.
        reason: String,
    },
    /// Nothing follows.
    End,
}

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEntry {
    /// `RelPath`, relative to the path asked for; the file's own name when that is a file.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ListKind,
    /// Mode and modification time.
    pub metadata: Metadata,
    /// BLAKE3 of a regular file's content, if it was asked for.
    pub hash: Option<[u8; 32]>,
}

/// What a listed entry is: anything that can be synced, or something that cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListKind {
    /// A file, directory or symbolic link.
    Plain(Kind),
    /// A device, FIFO or socket.
    Special(SpecialKind),
}
