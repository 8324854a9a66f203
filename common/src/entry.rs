//! What a tree is made of: entries with a type and metadata.
//!
//! Pure values. `root` fills them from a disk, `wire::sync` carries them, `sync::plan` compares them.

mod attributes;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use attributes::{Attributes, Owner, Xattr};

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

    /// Seconds since 1970 as a decimal with nine places. Half a second before it is `-0.500000000`.
    pub fn to_decimal(self) -> String {
        let nanoseconds = self.as_nanoseconds();
        let (sign, size) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
        format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000)
    }

    /// What [`Self::to_decimal`] has written.
    pub fn from_decimal(text: &str) -> Option<Self> {
        let (is_before, size) = text.strip_prefix('-').map_or((false, text), |size| (true, size));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, part) = size.split_once('.')?;
        if part.len() != 9 || !is_number(whole) || !is_number(part) {
            return None;
        }
        let size =
            i128::from(whole.parse::<u64>().ok()?) * 1_000_000_000 + i128::from(part.parse::<u32>().ok()?);
        let nanoseconds = if is_before { -size } else { size };
        let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
        let nanoseconds = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).expect("less than a second");
        Some(Self { seconds, nanoseconds })
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let split = |span: Duration| (i64::try_from(span.as_secs()).unwrap_or(i64::MAX), span.subsec_nanos());
        match time.duration_since(UNIX_EPOCH).map(split).map_err(|err| split(err.duration())) {
            Ok((seconds, nanoseconds)) => Self { seconds, nanoseconds },
            Err((seconds, 0)) => Self { seconds: -seconds, nanoseconds: 0 },
            Err((seconds, before)) => Self { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - before },
        }
    }
}

/// Modification time and permission bits: what every entry carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metadata {
    /// Permission bits, `0o777` and below; with setuid, setgid and sticky (`0o7777`) where a sync keeps these.
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::Timestamp;

    #[test]
    fn a_decimal_is_the_time_itself_also_before_1970() {
        for (seconds, nanoseconds, expected) in [
            (0, 0, "0.000000000"),
            (1_772_337_600, 5, "1772337600.000000005"),
            (-1, 500_000_000, "-0.500000000"),
            (-1, 0, "-1.000000000"),
            (-2, 999_999_999, "-1.000000001"),
            (i64::MIN, 1, "-9223372036854775807.999999999"),
            (i64::MAX, 999_999_999, "9223372036854775807.999999999"),
        ] {
            let time = Timestamp { seconds, nanoseconds };
            assert_eq!(
                (time.to_decimal(), Timestamp::from_decimal(expected)),
                (expected.to_owned(), Some(time))
            );
        }
        for wrong in ["", "-", "1", "1.5", "1.+00000005", "--1.000000000", "1.0000000000", "x.000000000"] {
            assert_eq!(Timestamp::from_decimal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_before_1970_count_forward_from_the_second_before() {
        let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        for (offset, after, before) in [
            (Duration::ZERO, time(0, 0), time(0, 0)),
            (Duration::from_nanos(1), time(0, 1), time(-1, 999_999_999)),
            (Duration::from_secs(5), time(5, 0), time(-5, 0)),
            (Duration::new(5, 7), time(5, 7), time(-6, 999_999_993)),
        ] {
            assert_eq!(Timestamp::from(UNIX_EPOCH + offset), after);
            assert_eq!(Timestamp::from(UNIX_EPOCH - offset), before);
        }
    }
}
