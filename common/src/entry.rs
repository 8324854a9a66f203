//! What a tree is made of: entries with a type and metadata.
//!
//! Pure values. `root` fills them from a disk, `wire::sync` carries them, `sync::plan` compares them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time as file systems keep it: seconds since 1970 and nanoseconds below a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z, negative before it.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Nanoseconds since 1970, exact for every value.
    pub fn as_nanoseconds(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

impl From<SystemTime> for Timestamp {
    /// The earliest or latest there is, where this has no place for a time.
    fn from(time: SystemTime) -> Self {
        let (after, before) = (time.duration_since(UNIX_EPOCH), UNIX_EPOCH.duration_since(time));
        let (seconds, nanoseconds) = match (after, before) {
            (Ok(after), _) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
            // To the second is enough for what lies before everything.
            (_, Ok(before)) => (i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds), 0),
            (Err(_), Err(_)) => (0, 0),
        };
        Self { seconds, nanoseconds }
    }
}

/// Modification time and permission bits: what every entry carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metadata {
    /// Permission bits, `0o777` and below (POSIX `mode_t` without type, setuid, setgid and sticky).
    pub mode: u16,
    /// Time of the last modification of the content.
    pub mtime: Timestamp,
}

/// The type of an entry that can be synced, and what belongs to that type alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file of `size` bytes.
    File {
        /// Bytes of content.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, stored verbatim.
    Symlink {
        /// The link's text, any bytes but NUL.
        target: Vec<u8>,
    },
}

/// Types that are counted and named, never synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecialKind {
    /// A block or character device.
    Device,
    /// A named pipe.
    Fifo,
    /// A Unix-domain socket.
    Socket,
    /// Something this system has no name for.
    Unknown,
}

impl SpecialKind {
    /// The word for it in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Fifo => "FIFO",
            Self::Socket => "socket",
            Self::Unknown => "special file",
        }
    }
}
