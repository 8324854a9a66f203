//! From the tally of one running sync to the counters of the gateway.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use swarmwire_common::{
    sync::{Stage, Tally},
    wire::sync::Direction,
};

use super::Metrics;

/// What becomes of an entry.
pub(super) const RESULTS: [&str; 5] = ["committed", "unchanged", "failed", "skipped", "deleted"];
/// What a destination promises.
pub(super) const LEVELS: [&str; 3] = ["received", "verified", "durable"];

/// Carries the growth of a tally over, each time it is asked, and a last time when it is dropped.
#[derive(Debug)]
pub(crate) struct SyncMeter {
    metrics: Arc<Metrics>,
    tally: Arc<Tally>,
    /// `in` or `out`, as the gateway sees it.
    direction: &'static str,
    side: &'static str,
    before: Sample,
}

/// The counts of a tally that metrics are made of.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    bytes: u64,
    bytes_queued: u64,
    results: [u64; RESULTS.len()],
    levels: [u64; LEVELS.len()],
    stages: [Duration; Stage::ALL.len()],
}

impl Sample {
    fn of(tally: &Tally) -> Self {
        Self {
            bytes: tally.bytes_moved.load(Relaxed),
            bytes_queued: tally.bytes_queued.load(Relaxed),
            results: [
                &tally.committed,
                &tally.files_unchanged,
                &tally.entries_failed,
                &tally.entries_skipped,
                &tally.entries_deleted,
            ]
            .map(|counter| counter.load(Relaxed)),
            levels: [&tally.received, &tally.verified, &tally.durable].map(|counter| counter.load(Relaxed)),
            stages: Stage::ALL.map(|stage| tally.stage_time(stage)),
        }
    }
}

impl SyncMeter {
    pub(crate) fn new(metrics: Arc<Metrics>, tally: Arc<Tally>, direction: Direction) -> Self {
        let (direction, side) = match direction {
            Direction::Push => ("in", "destination"),
            Direction::Pull => ("out", "source"),
        };
        Self { metrics, tally, direction, side, before: Sample::default() }
    }

    /// Adds what has come since the last time.
    pub(crate) fn sample(&mut self) {
        let now = Sample::of(&self.tally);
        self.carry(now);
    }

    fn carry(&mut self, now: Sample) {
        let (metrics, before) = (&self.metrics, self.before);
        let grown = |now: u64, before: u64| now.saturating_sub(before);
        metrics.bytes.with_label_values(&["sync", self.direction]).inc_by(grown(now.bytes, before.bytes));
        for (position, result) in RESULTS.into_iter().enumerate() {
            metrics
                .entries
                .with_label_values(&["sync", self.direction, result])
                .inc_by(grown(now.results[position], before.results[position]));
        }
        for (position, level) in LEVELS.into_iter().enumerate() {
            metrics
                .receipts
                .with_label_values(&[level])
                .inc_by(grown(now.levels[position], before.levels[position]));
        }
        for (position, stage) in Stage::ALL.into_iter().enumerate() {
            let time = now.stages[position].saturating_sub(before.stages[position]);
            metrics.stage_seconds.with_label_values(&[stage.as_str(), self.side]).inc_by(time.as_secs_f64());
        }
        metrics.queue_bytes.add(signed(now.bytes_queued) - signed(before.bytes_queued));
        self.before = now;
    }
}

impl Drop for SyncMeter {
    fn drop(&mut self) {
        // What still waits is dropped with the sync.
        let last = Sample { bytes_queued: 0, ..Sample::of(&self.tally) };
        self.carry(last);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pool::Pool, subroutines::Subroutines};

    #[test]
    fn what_a_sync_counts_is_carried_over_once_and_its_queue_is_empty_afterwards() {
        let (metrics, tally) = (Arc::new(Metrics::new()), Arc::new(Tally::default()));
        let mut meter = SyncMeter::new(Arc::clone(&metrics), Arc::clone(&tally), Direction::Push);
        tally.bytes_moved.store(700, Relaxed);
        tally.bytes_queued.store(64, Relaxed);
        tally.verified.store(2, Relaxed);
        meter.sample();
        meter.sample();
        assert!(
            metrics.render(&Pool::new(1), &Subroutines::new()).unwrap().contains("swarmwire_queue_bytes 64")
        );
        tally.bytes_moved.store(1000, Relaxed);
        tally.committed.store(3, Relaxed);
        tally.charge(Stage::Write, Duration::from_millis(1500));
        drop(meter);
        let text = metrics.render(&Pool::new(1), &Subroutines::new()).unwrap();
        for line in [
            r#"swarmwire_bytes_total{direction="in",service="sync"} 1000"#,
            r#"swarmwire_bytes_total{direction="out",service="sync"} 0"#,
            r#"swarmwire_entries_total{direction="in",result="committed",service="sync"} 3"#,
            r#"swarmwire_receipts_total{level="verified"} 2"#,
            r#"swarmwire_stage_seconds_total{side="destination",stage="write"} 1.5"#,
            "swarmwire_queue_bytes 0",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
