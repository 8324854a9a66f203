//! The control messages of the `sync` service.
//!
//! - The controller asks ([`SyncRequest`]); the gateway replies `ok`; the two take the roles of source and destination.
//! - source → destination, in this order: `Select` in a push whose list is told apart; `Top`, then `Listing` blocks (every directory's entries after the block that names it),
//!   with `Failed` and `Skipped` among them, then `ListingEnd`; then whatever becomes of wanted files that is not content.
//! - destination → source: `Want`, `WantWith` and `WantBeyond` as planning goes on, then `PlanEnd`; `Failed`, `NotDeleted` and `Progress` at any time;
//!   `Done` last. Content travels on data streams (`wire::data`).
//!
//! **Index**: entries are numbered from 0 (the top) in the order of their listing; both sides count alike, so an entry is named
//! once and a number afterwards. A file is wanted at most once, and once more after `WantBeyond`.

use serde::{Deserialize, Serialize};

use super::{
    change::Item,
    extra::{Extra, Preserve},
    status::StatusCode,
};
use crate::{
    codec,
    delta::ChunkHash,
    entry::{Kind, Metadata, SpecialKind, Timestamp},
    limits,
};

/// Opens a sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// Which way the content goes.
    pub direction: Direction,
    /// `RelPath` below the gateway's root: the source of a pull, the destination of a push.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// Pull: a directory's contents are meant, not the directory itself. Push: the path was typed with a trailing slash,
    /// so it names a directory.
    pub trailing_slash: bool,
    /// How the two sides work.
    pub options: SyncOptions,
    /// Which entries take part.
    pub selection: Selection,
    /// Push: the name of the top, as `Top` will tell it.
    #[serde(with = "serde_bytes")]
    pub top: Vec<u8>,
    /// Pull: listing blocks may be told by their digests.
    pub compares: bool,
    /// Push: where what is replaced or removed is moved first. `RelPath` below the top of the sync, and not the top itself.
    #[serde(with = "serde_bytes")]
    pub backup: Option<Vec<u8>>,
}

/// The gateway's acceptance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReply {
    /// Push: listing blocks may be told by their digests.
    pub compares: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncOptions {
    /// Compare regular files of equal size by their hash instead of by their modification time.
    pub checksum: bool,
    /// What the destination waits for before a file takes its name.
    pub durability: Durability,
    /// Whether the source compresses content.
    pub compress: Compress,
    /// Payload bytes per second that the source sends at most.
    pub rate_bytes: Option<u64>,
    /// Threads of each side that read or write files.
    pub jobs: u8,
    /// What becomes of entries that only the destination has.
    pub delete: Deletion,
    /// Tell each change of an entry.
    pub itemize: bool,
    /// Plan and tell, and touch nothing.
    pub dry_run: bool,
    /// Which files and links that are there already stay as they are.
    pub keep: Keep,
    /// What else of entries is kept.
    pub preserve: Preserve,
    /// The source removes each file that is safe at the destination, with the content that was sent or told.
    pub remove_source: bool,
    /// Only compare, by content too, and tell all that differs. A dry run that says more.
    pub verify: bool,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            checksum: false,
            durability: Durability::default(),
            compress: Compress::default(),
            rate_bytes: None,
            jobs: limits::JOBS_DEFAULT,
            delete: Deletion::default(),
            itemize: false,
            dry_run: false,
            keep: Keep::default(),
            preserve: Preserve::default(),
            remove_source: false,
            verify: false,
        }
    }
}

impl SyncOptions {
    /// Whether listing blocks may be told by their digests: the destination puts in place what it compares, and that is all there is to
    /// an entry.
    pub fn compares_listings(&self) -> bool {
        let Preserve { owner, xattrs, hard_links, special_bits, sparse: _ } = self.preserve;
        !(self.dry_run || owner || xattrs || hard_links || special_bits)
    }

    /// These options with every number brought within its bound, and at most `jobs_max` threads.
    pub fn within_bounds(self, jobs_max: u8) -> Self {
        Self {
            compress: match self.compress {
                Compress::Level(level) => Compress::Level(level.clamp(1, limits::COMPRESS_LEVEL_MAX)),
                other => other,
            },
            rate_bytes: self.rate_bytes.map(|rate| rate.max(limits::RATE_BYTES_MIN)),
            jobs: self.jobs.clamp(1, jobs_max),
            ..self
        }
    }

    /// Why these options cannot go together, if they cannot.
    pub fn contradiction(&self) -> Option<&'static str> {
        let removes = self.remove_source && !self.dry_run;
        if removes && self.durability == Durability::None {
            return Some("files cannot be removed at the source without waiting for the destination's disk");
        }
        // A second attempt would remove what the first has moved.
        if self.remove_source && self.delete.is_asked() {
            return Some("files cannot be removed at the source and for being absent there");
        }
        (self.verify && !self.dry_run).then_some("a comparison is a dry run")
    }

    /// Whether files of the same size are compared by their content.
    pub fn compares_content(&self) -> bool {
        // What is not known to be the same must not be removed.
        self.checksum || self.remove_source || self.verify
    }

    /// Whether files are compared by their hashes alone, since none is sent.
    pub fn compares_only(&self) -> bool {
        self.dry_run && self.compares_content()
    }
}

/// Whether the source compresses content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compress {
    /// Not at all.
    Never,
    /// Where it makes the sync faster, by what the source measures.
    #[default]
    Auto,
    /// Whatever becomes smaller, at this level of zstd: 1 to `COMPRESS_LEVEL_MAX`.
    Level(u8),
}

/// Which files and links that the destination has already stay as they are, whatever the source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Keep {
    /// None.
    #[default]
    None,
    /// Files with a later modification time than the source's.
    Newer,
    /// Whatever is there under the name of a file or link.
    Existing,
}

/// What becomes of entries that only the destination has, in directories that the source has listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Deletion {
    /// They stay.
    #[default]
    None,
    /// They are removed.
    All,
    /// This many are removed, the others stay and are told.
    AtMost(u64),
}

impl Deletion {
    /// Whether anything is to be removed at all.
    pub fn is_asked(self) -> bool {
        self != Self::None
    }

    /// How many entries may be removed.
    pub fn limit(self) -> u64 {
        match self {
            Self::None => 0,
            Self::All => u64::MAX,
            Self::AtMost(count) => count,
        }
    }
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
    /// What is listed and not there has been removed, and that is no failure.
    pub missing_ok: bool,
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
    /// As `Paths`, but too many for this frame. The controller tells them before all else: in a pull by `DestinationMessage::Select`, in
    /// a push by `SourceMessage::Select`.
    Apart,
}

/// One frame from the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceMessage {
    /// What is synced; index 0.
    Top {
        /// Its own name, for landing inside a directory; empty when its contents are meant.
        #[serde(with = "serde_bytes")]
        name: Vec<u8>,
        /// Type and metadata.
        entry: Kind,
        /// Mode and modification time.
        metadata: Metadata,
        /// What else is told of it.
        extra: Option<Extra>,
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
        #[serde(with = "serde_bytes")]
        path: Vec<u8>,
        /// Why.
        reason: String,
    },
    /// An entry of a type that is not synced.
    Skipped {
        /// `RelPath` below the top.
        #[serde(with = "serde_bytes")]
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
    /// This file is just what its `WantWith` or `WantBeyond` has told, and no content follows for it.
    Same {
        /// Which.
        index: u32,
        /// BLAKE3 of its content.
        hash: [u8; 32],
    },
    /// The source lives.
    Alive,
    /// The source cannot go on; the last message.
    Aborted {
        /// Number of the status table.
        status: StatusCode,
        /// Why.
        reason: String,
    },
    /// This file is just what another wanted one is, and no content follows for it.
    Duplicate {
        /// Which.
        index: u32,
        /// The other one, whose content comes or came.
        of: u32,
        /// BLAKE3 of the content of both.
        hash: [u8; 32],
    },
    /// This file is not, or does not begin with, what its `WantBeyond` tells of.
    Differs {
        /// Which.
        index: u32,
    },
    /// A listing block of which the destination may have just these entries. It is listed later if not. Sent only where the
    /// destination has agreed to compare.
    ListingDigest {
        /// As in `Listing`.
        directory: u32,
        /// The name of the last of its entries; they are all that the directory has up to it from the block before on.
        #[serde(with = "serde_bytes")]
        last: Vec<u8>,
        /// How many entries it has.
        count: u32,
        /// See [`block_digest`].
        hash: BlockDigest,
    },
    /// Paths of a list that is told apart, before anything else.
    Select(Vec<Vec<u8>>),
    /// The list is complete.
    SelectEnd,
    /// A file that is safe at the destination and was not removed at the source.
    NotRemoved {
        /// Which.
        index: u32,
        /// Why.
        reason: String,
    },
    /// The answer to `Done`; the last message.
    Farewell {
        /// Files that were removed at the source.
        files_removed: u64,
        /// Where the source's time went.
        stages: StageTimes,
    },
    /// The hashes of wanted files, where hashes are all that is compared.
    Digests(Vec<Digest>),
    /// Where the source's time went so far.
    Stages(StageTimes),
}

/// The first 16 bytes of BLAKE3 of the encoded list of a listing block's entries.
pub type BlockDigest = [u8; 16];

/// The digest of a listing block.
pub fn block_digest<'a>(entries: impl IntoIterator<Item = &'a ListingEntry>) -> BlockDigest {
    // At once, because hashing many pieces is several times slower.
    let entries: Vec<&ListingEntry> = entries.into_iter().collect();
    *blake3::hash(&codec::encode(&entries)).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Microseconds of each stage, in the order of `sync::Stage::ALL`.
pub type StageTimes = Vec<u64>;

/// BLAKE3 of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Which file.
    pub index: u32,
    /// Its hash.
    pub hash: [u8; 32],
}

/// An entry within its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingEntry {
    /// One path component.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// Type and what belongs to it.
    pub kind: Kind,
    /// Mode and modification time.
    pub metadata: Metadata,
    /// What else is told of it.
    pub extra: Option<Extra>,
}

/// One frame from the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DestinationMessage {
    /// Files whose content is wanted.
    Want(Vec<Run>),
    /// Files whose content is wanted, each with what the destination has that may be like it.
    WantWith(Vec<WantWith>),
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
    /// Something that the source does not have could not be removed, or was left for a reason.
    NotDeleted {
        /// `RelPath` below the top; the top for what concerns all of it.
        #[serde(with = "serde_bytes")]
        path: Vec<u8>,
        /// Why.
        reason: String,
    },
    /// What has changed since the last such message. Sent only with `itemize`.
    Items(Vec<Item>),
    /// Paths of a list that is told apart, before anything else.
    Select(Vec<Vec<u8>>),
    /// The list is complete.
    SelectEnd,
    /// Files that may be, or begin with, what the destination has: of each the content is wanted that comes after that.
    WantBeyond(Vec<Beginning>),
    /// For each digest, in the order in which they came, whether the block is here just so.
    Compared(Vec<bool>),
    /// Files that are safe here with the content that was sent or told. Sent only with `remove_source`.
    Safe {
        /// Identity of the directory in which the top is, or which it is (`root::Dir::identity`).
        place: [u8; 32],
        /// Which.
        files: Vec<Run>,
    },
    /// Where the destination's time went; just before `Done`.
    Stages(StageTimes),
}

/// `count` indexes from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first index.
    pub first: u32,
    /// How many; at least 1.
    pub count: u32,
}

/// What the destination has that may be the beginning of a file, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// Index of the file.
    pub index: u32,
    /// Bytes of it that the destination may have.
    pub size: u64,
    /// By what the file may begin with them.
    pub mark: Mark,
}

/// By what an old file is told that most likely is a new one, or its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// BLAKE3 of all of it, of a file of the same size.
    Whole([u8; 32]),
    /// BLAKE3 of its last bytes, as many as `delta::sample` says: its hash is not known without reading it.
    Sample([u8; 32]),
}

/// A file whose content is wanted, and the chunks of what the destination may build it from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantWith {
    /// Which file.
    pub index: u32,
    /// Log2 of the average chunk, by which the destination has cut (`delta`).
    pub average_log2: u8,
    /// Size and hash of each chunk, in the order of their bytes.
    pub chunks: Vec<(u32, ChunkHash)>,
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
    /// Entries that only the destination had and that were removed.
    pub entries_deleted: u64,
}

#[cfg(test)]
mod tests {
    use super::{Compress, SyncOptions};
    use crate::limits::{JOBS_MAX, PEER_JOBS_MAX, RATE_BYTES_MIN};

    #[test]
    fn what_a_peer_asks_for_is_brought_within_bounds() {
        for (level, expected) in [(0, 1), (1, 1), (19, 19), (20, 19), (255, 19)] {
            let asked = SyncOptions { compress: Compress::Level(level), ..SyncOptions::default() };
            assert_eq!(asked.within_bounds(JOBS_MAX).compress, Compress::Level(expected));
        }
        for (jobs, expected) in [(0, 1), (1, 1), (8, 8), (9, 8), (255, 8)] {
            let asked = SyncOptions { jobs, ..SyncOptions::default() };
            assert_eq!(asked.within_bounds(PEER_JOBS_MAX).jobs, expected);
        }
        for (rate, expected) in [(0, RATE_BYTES_MIN), (RATE_BYTES_MIN, RATE_BYTES_MIN), (u64::MAX, u64::MAX)]
        {
            let asked = SyncOptions { rate_bytes: Some(rate), ..SyncOptions::default() };
            assert_eq!(asked.within_bounds(JOBS_MAX).rate_bytes, Some(expected));
        }
        let usual = SyncOptions::default();
        assert_eq!(usual.within_bounds(JOBS_MAX), usual);
    }
}
