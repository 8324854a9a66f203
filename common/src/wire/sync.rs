//! The control messages of the `sync` service.
//!
//! - The controller asks ([`SyncRequest`]); the gateway replies `ok`; the two take the roles of source and destination.
//! - source → destination, in this order: `Top`, then `Listing` blocks (every directory's entries after the block that names it),
//!   with `Failed` and `Skipped` among them, then `ListingEnd`; then whatever becomes of wanted files that is not content.
//! - destination → source: `Want` and `WantUnless` as planning goes on, then `PlanEnd`; `Failed` and `Progress` at any time;
//!   `Done` last. Content travels on data streams (`wire::data`).
//!
//! **Index**: entries are numbered from 0 (the top) in the order of their listing; both sides count alike, so an entry is named
//! once and a number afterwards. A file is wanted at most once.

use serde::{Deserialize, Serialize};

use super::status::StatusCode;
use crate::entry::{Kind, Metadata, SpecialKind, Timestamp};

/// Opens a sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// Which way the content goes.
    pub direction: Direction,
    /// `RelPath` below the gateway's root: the source of a pull, the destination of a push.
    pub path: Vec<u8>,
    /// Pull: a directory's contents are meant, not the directory itself. Push: the path was typed with a trailing slash,
    /// so it names a directory.
    pub trailing_slash: bool,
    /// How the two sides work.
    pub options: SyncOptions,
    /// Which entries take part.
    pub selection: Selection,
}

/// Which way the content goes, seen from the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// The controller is the source.
    Push,
    /// The gateway is the source.
    Pull,
}

/// What both sides must know alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncOptions {
    /// Compare regular files of equal size by their hash instead of by their modification time.
    pub checksum: bool,
    /// What the destination waits for before a file takes its name.
    pub durability: Durability,
}

/// When a received file is safe from a power loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Durability {
    /// Whenever the kernel writes it.
    None,
    /// After a barrier for many files at once (`syncfs`), before they take their names.
    #[default]
    Batch,
    /// After an `fsync` of its own.
    File,
}

/// Which entries of the source take part in a sync; by default all. `filter::Selection` says what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Patterns; the first that fits an entry decides about it.
    pub rules: Vec<Rule>,
    /// A regular expression that must be found in the path of a file or link.
    pub matching: Option<String>,
    /// Which paths are meant.
    pub listed: Listed,
    /// Least bytes of a regular file.
    pub size_min: Option<u64>,
    /// Most bytes of a regular file.
    pub size_max: Option<u64>,
    /// Earliest modification time of a regular file.
    pub mtime_min: Option<Timestamp>,
    /// Latest modification time of a regular file.
    pub mtime_max: Option<Timestamp>,
    /// Directories on another file system than the top are kept, what is in them is not.
    pub one_file_system: bool,
    /// Links are sent as what they lead to.
    pub follow_links: bool,
}

/// A pattern and what happens to what it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whether such an entry takes part.
    pub takes: bool,
    /// As in a line of a `.gitignore` file.
    pub pattern: String,
}

/// The paths that a sync is about, below its top.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listed {
    /// Whatever is there.
    #[default]
    All,
    /// These and what is below them, with the directories on the way.
    Paths(Vec<Vec<u8>>),
    /// As `Paths`, but too many for this frame. In a pull they follow in `DestinationMessage::Select`; in a push the source has them.
    Apart,
}

/// One frame from the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceMessage {
    /// What is synced; index 0.
    Top {
        /// Its own name, for landing inside a directory; empty when its contents are meant.
        name: Vec<u8>,
        /// Type and metadata.
        entry: Kind,
        /// Mode and modification time.
        metadata: Metadata,
    },
    /// Entries of one directory. A directory with many has several blocks, in a row.
    Listing {
        /// The directory's index.
        directory: u32,
        /// Its next entries, sorted by name; they take the next indexes.
        entries: Vec<ListingEntry>,
    },
    /// An entry or a directory's listing that cannot be had. With an index, the wanted file will not come.
    Failed {
        /// The wanted file, or none if it was never listed.
        index: Option<u32>,
        /// `RelPath` below the top.
        path: Vec<u8>,
        /// Why.
        reason: String,
    },
    /// An entry of a type that is not synced.
    Skipped {
        /// `RelPath` below the top.
        path: Vec<u8>,
        /// Which type.
        kind: SpecialKind,
    },
    /// No more entries follow.
    ListingEnd {
        /// Entries listed, the top included.
        entries: u32,
        /// Bytes of all regular files listed.
        bytes: u64,
    },
    /// These files of a `WantUnless` have the hash already; no content follows for them.
    Same(Vec<u32>),
    /// The source lives.
    Alive,
    /// The source cannot go on; the last message.
    Aborted {
        /// Number of the status table.
        status: StatusCode,
        /// Why.
        reason: String,
    },
}

/// An entry within its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingEntry {
    /// One path component.
    pub name: Vec<u8>,
    /// Type and what belongs to it.
    pub kind: Kind,
    /// Mode and modification time.
    pub metadata: Metadata,
}

/// One frame from the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DestinationMessage {
    /// Files whose content is wanted, in ascending order.
    Want(Vec<Run>),
    /// Files wanted only if their content hashes to something else, in ascending order.
    WantUnless(Vec<(u32, [u8; 32])>),
    /// Nothing more will be wanted.
    PlanEnd,
    /// An entry that could not be put in place.
    Failed {
        /// Which.
        index: u32,
        /// Why.
        reason: String,
    },
    /// Counts so far; the destination lives.
    Progress(Counts),
    /// All is in place that could be; the last message.
    Done(Counts),
    /// The destination cannot go on; the last message.
    Aborted {
        /// Number of the status table.
        status: StatusCode,
        /// Why.
        reason: String,
    },
    /// Paths of a list that is told apart, before anything else.
    Select(Vec<Vec<u8>>),
    /// The list is complete.
    SelectEnd,
}

/// `count` indexes from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first index.
    pub first: u32,
    /// How many; at least 1.
    pub count: u32,
}

/// What the destination has seen, from the start of the sync. Receipts count regular files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Regular files that were in place already.
    pub files_unchanged: u64,
    /// Bytes of content received.
    pub bytes_received: u64,
    /// Files whose last byte arrived.
    pub received: u64,
    /// Files whose hash matched.
    pub verified: u64,
    /// Files under their names.
    pub committed: u64,
    /// Files that survive a power loss.
    pub durable: u64,
}
