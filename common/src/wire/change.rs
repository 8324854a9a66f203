//! What a sync changes at the destination, entry by entry, as the destination tells it where `itemize` asks for it.

use serde::{Deserialize, Serialize};

/// One entry that is changed, or would be in a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Which entry.
    pub subject: Subject,
    /// What becomes of it.
    pub change: Change,
}

/// Names an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// By its index in the listing.
    Listed(u32),
    /// What only the destination has: `RelPath` below the top.
    Extraneous(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A file that was not there, or something else than a file.
    Create,
    /// Other content in place of what is there.
    Update(Difference),
    /// The content stays, mode or time are set.
    Metadata,
    /// A new directory.
    MakeDirectory,
    /// A new or another symbolic link.
    MakeSymlink,
    /// It is removed.
    Delete,
    /// It is there, and differs. Only a comparison says so.
    Differs(Aspects),
}

/// In what an entry differs from its counterpart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aspects {
    /// Its type; nothing else is compared then.
    pub kind: bool,
    /// Bytes of content.
    pub size: bool,
    /// Content of the same size.
    pub content: bool,
    /// Permission bits.
    pub mode: bool,
    /// Modification time.
    pub mtime: bool,
    /// What a link leads to.
    pub target: bool,
}

impl Aspects {
    /// Whether anything differs.
    pub fn differ(self) -> bool {
        self != Self::default()
    }
}

/// In what a file was found to differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Bytes of content.
    pub size: bool,
    /// Modification time.
    pub mtime: bool,
    /// Its hash, which is compared only with `checksum`.
    pub content: bool,
}
