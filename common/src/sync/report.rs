//! What became of a sync.

use std::sync::Mutex;

use super::Tally;
use crate::{
    channel::FrameError, entry::SpecialKind, escape::escape_str, limits, path::RelPath, wire::status::Status,
};

/// The result of one side of one sync. It has a report even when it broke off.
#[derive(Debug)]
pub struct Outcome {
    /// What happened until the end.
    pub report: Report,
    /// Why it did not get to its end; `None` when it did, even if some entries failed.
    pub error: Option<SyncError>,
}

impl Outcome {
    /// It failed before anything was done.
    pub(super) fn failed(err: SyncError) -> Self {
        Self { report: Report::default(), error: Some(err) }
    }
}

/// What was listed, moved, skipped and failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries of the source, those of unsynced types included.
    pub entries_total: u64,
    /// Regular files of the source.
    pub files_total: u64,
    /// Bytes of the source's regular files.
    pub bytes_total: u64,
    /// Regular files whose content was moved and which are in place.
    pub files_sent: u64,
    /// Regular files that were in place already.
    pub files_unchanged: u64,
    /// Bytes of file content that crossed.
    pub bytes_sent: u64,
    /// Files whose last byte arrived.
    pub received: u64,
    /// Files whose hash matched.
    pub verified: u64,
    /// Files that survive a power loss.
    pub durable: u64,
    /// Entries that only the destination had and that were removed.
    pub entries_deleted: u64,
    /// Regular files that were removed at the source.
    pub files_removed: u64,
    /// Entries that failed, named or not.
    pub entries_failed: u64,
    /// Entries of unsynced types, named or not.
    pub entries_skipped: u64,
    /// The first `limits::NAMED_OUTCOMES_MAX` failures.
    pub failed: Vec<Failure>,
    /// The first `limits::NAMED_OUTCOMES_MAX` skipped entries.
    pub skipped: Vec<(RelPath, SpecialKind)>,
}

/// An entry that could not be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Below the top of the sync.
    pub path: RelPath,
    /// Continues "failed: ". From the peer where the peer failed; escape it before showing it.
    pub reason: String,
}

/// Why a sync did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The channel or the connection broke. What is committed stays; a new sync goes on from there.
    #[error(transparent)]
    Link(#[from] FrameError),
    /// The peer broke the rules of the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    /// The destination cannot be used at all.
    #[error(transparent)]
    Place(#[from] super::PlaceError),
    /// The disk of this side no longer takes what it is given.
    #[error("{0}")]
    Disk(String),
    /// The peer gave up, and said why.
    #[error("the other side gave up: {}", escape_str(reason))]
    Aborted {
        /// Its status.
        status: Status,
        /// Its reason; escape it before showing it.
        reason: String,
    },
    /// The listing has more entries than this side takes.
    #[error("the tree has more than {} entries", limits::ENTRIES_MAX)]
    TooManyEntries,
    /// A thread of this side died: a defect.
    #[error("a worker of this side failed")]
    Worker,
}

impl SyncError {
    /// What the peer said as it gave up, as far as it may say it.
    pub(super) fn aborted(status: Status, reason: &str) -> Self {
        Self::Aborted { status, reason: clip(reason).to_owned() }
    }

    /// Whether the peer has closed the connection because it was done.
    pub(super) fn is_goodbye(&self) -> bool {
        matches!(self, Self::Link(err) if err.peer_status() == Some(Status::Ok))
    }

    /// What the peer is told.
    pub fn status(&self) -> Status {
        match self {
            Self::Link(FrameError::Silent) => Status::Timeout,
            Self::Link(FrameError::Malformed(_)) | Self::Protocol(_) => Status::Invalid,
            Self::Link(_) => Status::Cancelled,
            Self::Place(err) => err.status,
            Self::Disk(_) => Status::Unavailable,
            Self::Aborted { .. } => Status::Cancelled,
            Self::TooManyEntries => Status::TooLarge,
            Self::Worker => Status::Internal,
        }
    }
}

/// Collects what is named in a report, from any thread.
#[derive(Debug, Default)]
pub(super) struct Named {
    failed: Mutex<Vec<Failure>>,
    skipped: Mutex<Vec<(RelPath, SpecialKind)>>,
}

impl Named {
    pub(super) fn failed(&self, tally: &Tally, path: RelPath, reason: &str) {
        tally.entries_failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        push_bounded(&self.failed, Failure { path, reason: clip(reason).to_owned() });
    }

    pub(super) fn skipped(&self, tally: &Tally, path: RelPath, kind: SpecialKind) {
        tally.entries_skipped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        push_bounded(&self.skipped, (path, kind));
    }

    pub(super) fn report(&self, tally: &Tally) -> Report {
        let load =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        let mut failed = std::mem::take(&mut *self.failed.lock().expect("no holder panics"));
        let mut skipped = std::mem::take(&mut *self.skipped.lock().expect("no holder panics"));
        failed.sort_by(|a, b| a.path.cmp(&b.path));
        skipped.sort_by(|a, b| a.0.cmp(&b.0));
        Report {
            entries_total: load(&tally.entries_listed) + load(&tally.entries_skipped),
            files_total: load(&tally.files_listed),
            bytes_total: load(&tally.bytes_listed),
            files_sent: load(&tally.committed),
            files_unchanged: load(&tally.files_unchanged),
            bytes_sent: load(&tally.bytes_moved),
            received: load(&tally.received),
            verified: load(&tally.verified),
            durable: load(&tally.durable),
            entries_deleted: load(&tally.entries_deleted),
            files_removed: load(&tally.files_removed),
            entries_failed: load(&tally.entries_failed),
            entries_skipped: load(&tally.entries_skipped),
            failed,
            skipped,
        }
    }
}

/// As much of a reason as one side tells the other.
pub(super) fn clip(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(limits::REASON_BYTES_MAX)]
}

fn push_bounded<T>(list: &Mutex<Vec<T>>, item: T) {
    let mut list = list.lock().expect("no holder panics");
    if list.len() < limits::NAMED_OUTCOMES_MAX {
        list.push(item);
    }
}
