//! What a sync keeps of entries beside content, permission bits and times, where it is asked to.

use serde::{Deserialize, Serialize};

use crate::entry::Attributes;

/// Which of it. Nothing, unless somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preserve {
    /// Whose entries are.
    pub owner: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// Which files are one and the same.
    pub hard_links: bool,
    /// Zeros are not sent, and become holes.
    pub sparse: bool,
    /// Setuid, setgid and sticky.
    pub special_bits: bool,
}

/// What an entry of a listing has beside name, type, mode and time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// The file is the same as this one, a regular file that was listed before and is no link itself.
    pub link: Option<u32>,
    /// Owner and extended attributes; of a link those of the file.
    pub attributes: Attributes,
}
