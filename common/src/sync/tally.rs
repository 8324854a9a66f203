//! Live counts of one sync, readable at any time from any thread: for progress, metrics and the final report.
//!
//! Counters only grow. They are independent of each other: a reader may see one before another that belongs to it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::in_hand::{FileInHand, InHand};
use crate::wire::sync::{Counts, StageTimes};

/// Counts of one side of one sync.
#[derive(Debug, Default)]
pub struct Tally {
    /// Entries listed so far, the top included.
    pub entries_listed: AtomicU64,
    /// Regular files listed so far.
    pub files_listed: AtomicU64,
    /// Bytes of the regular files listed so far.
    pub bytes_listed: AtomicU64,
    /// 1 once the listing is complete and the three counts above are totals.
    pub listing_complete: AtomicU64,
    /// Entries of types that are not synced.
    pub entries_skipped: AtomicU64,
    /// Entries that failed.
    pub entries_failed: AtomicU64,
    /// Regular files that were in place already.
    pub files_unchanged: AtomicU64,
    /// Bytes of the files that were in place already.
    pub bytes_unchanged: AtomicU64,
    /// Bytes of file content that this side put on or took from the connection.
    pub bytes_moved: AtomicU64,
    /// Bytes of wanted files that did not cross, since the destination has them and copies them.
    pub bytes_copied: AtomicU64,
    /// Files whose last byte arrived at the destination.
    pub received: AtomicU64,
    /// Files whose hash matched.
    pub verified: AtomicU64,
    /// Files that have their names.
    pub committed: AtomicU64,
    /// Files that survive a power loss.
    pub durable: AtomicU64,
    /// Entries that only the destination had and that were removed.
    pub entries_deleted: AtomicU64,
    /// Files that were removed at the source, because they are safe at the destination.
    pub files_removed: AtomicU64,
    /// Bytes waiting between the threads and the streams of this side.
    pub bytes_queued: AtomicU64,
    pub(super) in_hand: InHand,
    stage_nanoseconds: [AtomicU64; Stage::ALL.len()],
    peer_stage_microseconds: [AtomicU64; Stage::ALL.len()],
}

/// What a side of a sync spends its time on. Stages overlap, so their sum exceeds the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Listing directories and looking at entries.
    Scan,
    /// Comparing a listing with the disk.
    Plan,
    /// Reading file content.
    Read,
    /// Hashing.
    Hash,
    /// Compressing and decompressing file content.
    Compress,
    /// Readers waiting for the network to take what they have read.
    WaitNetwork,
    /// Streams waiting for the writers to take what has arrived.
    WaitDisk,
    /// Creating, writing and renaming files.
    Write,
    /// Waiting for the disk to make things durable.
    Sync,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 9] = [
        Self::Scan,
        Self::Plan,
        Self::Read,
        Self::Hash,
        Self::Compress,
        Self::WaitNetwork,
        Self::WaitDisk,
        Self::Write,
        Self::Sync,
    ];

    /// The stage's name in metrics and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Plan => "plan",
            Self::Read => "read",
            Self::Hash => "hash",
            Self::Compress => "compress",
            Self::WaitNetwork => "wait_network",
            Self::WaitDisk => "wait_disk",
            Self::Write => "write",
            Self::Sync => "sync",
        }
    }

    fn slot(self) -> usize {
        Self::ALL.iter().position(|&stage| stage == self).expect("every stage is in the list")
    }
}

impl Tally {
    /// Time that a stage has taken so far, over all threads of this side.
    pub fn stage_time(&self, stage: Stage) -> Duration {
        Duration::from_nanos(self.stage_nanoseconds[stage.slot()].load(Relaxed))
    }

    /// Runs `work` on the stage's account.
    pub fn timed<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.charge(stage, start.elapsed());
        result
    }

    /// Puts `time` on the stage's account.
    pub fn charge(&self, stage: Stage, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.stage_nanoseconds[stage.slot()].fetch_add(nanoseconds, Relaxed);
    }

    /// The file that is on its way, if one can be named.
    pub fn file_in_hand(&self, now: Instant) -> Option<FileInHand> {
        self.in_hand.get(now)
    }

    /// Where this side's time went so far, as the peer is told.
    pub fn stage_times(&self) -> StageTimes {
        let micros = |slot: &AtomicU64| slot.load(Relaxed) / 1000;
        self.stage_nanoseconds.iter().map(micros).collect()
    }

    /// Takes over what the peer has told of its time. Stages that this side does not know are passed over.
    pub fn take_peer_stages(&self, times: &[u64]) {
        for (own, told) in self.peer_stage_microseconds.iter().zip(times) {
            own.fetch_max(*told, Relaxed);
        }
    }

    /// Time that a stage has taken at the peer; nothing before it has told.
    pub fn peer_stage_time(&self, stage: Stage) -> Duration {
        Duration::from_micros(self.peer_stage_microseconds[stage.slot()].load(Relaxed))
    }

    /// The counts that the destination tells the source.
    pub fn counts(&self) -> Counts {
        Counts {
            files_unchanged: self.files_unchanged.load(Relaxed),
            bytes_received: self.bytes_moved.load(Relaxed),
            received: self.received.load(Relaxed),
            verified: self.verified.load(Relaxed),
            committed: self.committed.load(Relaxed),
            durable: self.durable.load(Relaxed),
            entries_deleted: self.entries_deleted.load(Relaxed),
        }
    }

    /// Takes over what the destination has told. Counts never go back, whatever it says.
    pub fn take_counts(&self, counts: &Counts) {
        for (own, told) in [
            (&self.files_unchanged, counts.files_unchanged),
            (&self.received, counts.received),
            (&self.verified, counts.verified),
            (&self.committed, counts.committed),
            (&self.durable, counts.durable),
            (&self.entries_deleted, counts.entries_deleted),
        ] {
            own.fetch_max(told, Relaxed);
        }
    }
}
