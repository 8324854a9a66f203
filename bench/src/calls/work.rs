//! What is measured of a peer, as a word of a command line.

use std::{fmt, str::FromStr};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Bytes there and back, again and again.
    Calls,
    /// One stream of items that does not end.
    Items,
    /// Streams that are open and give nothing.
    Idle,
    /// Calls on the connection of a sync.
    Beside,
}

impl Kind {
    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Items => "items",
            Self::Idle => "idle",
            Self::Beside => "beside",
        }
    }
}

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// What is done.
    pub kind: Kind,
    /// Bytes there and back, or of an item.
    pub bytes: u32,
    /// Calls at a time, or streams.
    pub at_a_time: u32,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind.as_str(), self.bytes, self.at_a_time)
    }
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let [kind, bytes, at_a_time] = text.split(':').collect::<Vec<_>>()[..] else {
            bail!("{text:?} is not KIND:BYTES:NUMBER");
        };
        let kind = Kind::from_str(kind, false).map_err(anyhow::Error::msg)?;
        let number = |text: &str| text.parse().with_context(|| format!("{text:?} is not a number"));
        Ok(Self { kind, bytes: number(bytes)?, at_a_time: number(at_a_time)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_what_its_word_says() {
        for kind in Kind::value_variants() {
            let work = Work { kind: *kind, bytes: 64, at_a_time: 7 };
            assert_eq!(work.to_string().parse::<Work>().unwrap(), work);
        }
        for bad in ["", "calls", "calls:1", "calls:1:2:3", "call:1:2", "calls:x:1", "calls:1:-1"] {
            assert!(bad.parse::<Work>().is_err(), "{bad}");
        }
    }
}
