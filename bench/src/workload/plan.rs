//! What a tree will hold, item by item, decided before a byte is written.
//!
//! Pure: a plan comes from a seed, and counts and sizes can be looked at without a disk. Every file carries its own sequence of random numbers,
//! so that files can be written in any order, and by several threads, with the same result.

use std::time::Duration;

use super::NEWEST;
use crate::random::Random;

/// The items of a tree. Directories that hold something need no item of their own.
pub(super) type Plan = Box<dyn Iterator<Item = Item> + Send>;

/// One thing to make, at a path below the top.
pub(super) enum Item {
    /// A regular file.
    File(File),
    /// A directory with nothing in it.
    EmptyDirectory { path: String },
    /// A symbolic link.
    Symlink { path: String, target: String },
}

/// A file to make.
pub(super) struct File {
    pub(super) path: String,
    pub(super) bytes: u64,
    /// Permission bits.
    pub(super) mode: u32,
    /// Modification time, since 1970.
    pub(super) written: Duration,
    pub(super) content: Content,
    /// What the content is made from.
    pub(super) random: Random,
}

/// What is in a file.
pub(super) enum Content {
    /// The log that a service writes on a host.
    Log { host: String, service: String },
    /// Bytes that no program makes smaller, behind the magic number of gzip (RFC 1952 §2.3.1).
    Compressed,
}

impl File {
    /// A file last written to within the day that ended `days` before [`NEWEST`].
    pub(super) fn new(path: String, bytes: u64, days: u64, content: Content, random: &mut Random) -> Self {
        let written = NEWEST - Duration::from_secs(days * 86_400) - random.nanoseconds_below_a_day();
        Self { path, bytes, mode: 0o644, written, content, random: random.fork() }
    }
}
