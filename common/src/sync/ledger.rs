//! Keeping account of files that move (`remove_source`), at the side that is asked to.
//!
//! A file is entered when it is durable at the destination with the content that was sent or told, and before it may be removed at the source: by the
//! destination before it says so, by the source before it removes it. What cannot be entered is not removed.

use std::{fmt, io};

use crate::{entry::Timestamp, path::RelPath};

/// A file that is safe at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Below the top of the sync.
    pub path: RelPath,
    /// Bytes of content.
    pub size: u64,
    /// Time of the last modification.
    pub mtime: Timestamp,
    /// BLAKE3 of its content.
    pub hash: [u8; 32],
}

/// Where files are entered.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Enters these files. When this returns they may be removed at the source; an error ends the sync. Blocks.
    fn enter(&self, files: &[Moved]) -> io::Result<()>;
}
