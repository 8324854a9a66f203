//! What all attempts of a sync came to, as one account. Pure.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use swarmwire_common::sync::{Report, Stage, Tally};

use crate::metrics::PathSample;

/// Times by stage.
pub(super) type StageTimes = [Duration; Stage::ALL.len()];

/// The sum over all attempts.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Counts of what moved are sums; of what there is, the last attempt's.
    pub(super) report: Report,
    pub(super) bytes_wire_sent: u64,
    pub(super) bytes_wire_received: u64,
    pub(super) stages: StageTimes,
    /// The gateway's, as far as it has told.
    pub(super) peer_stages: StageTimes,
    /// The QUIC path at the end of the last attempt.
    pub(super) path: PathSample,
    /// In a dry run, how many files would be sent.
    pub(super) files_to_send: Option<u64>,
    /// Of a sync that goes on, how many rounds there were.
    pub(super) rounds: Option<u64>,
    /// Wall time of the transfer, pauses between attempts included.
    pub(super) time: Duration,
}

impl Account {
    /// Adds what an attempt did. What an earlier attempt had moved is not unchanged but sent.
    pub(super) fn add(&mut self, report: Report, tally: &Tally) {
        let before = std::mem::take(&mut self.report);
        self.report = Report {
            // An attempt that broke off in its listing knows less than the one before.
            entries_total: report.entries_total.max(before.entries_total),
            files_total: report.files_total.max(before.files_total),
            bytes_total: report.bytes_total.max(before.bytes_total),
            files_sent: before.files_sent + report.files_sent,
            files_unchanged: report.files_unchanged.saturating_sub(before.files_sent),
            bytes_sent: before.bytes_sent + report.bytes_sent,
            received: before.received + report.received,
            verified: before.verified + report.verified,
            durable: before.durable + report.durable,
            entries_deleted: before.entries_deleted + report.entries_deleted,
            files_removed: before.files_removed + report.files_removed,
            ..report
        };
        self.add_stages(tally);
    }

    /// Adds a round: what moved is summed up, what there is is told by a round that looks at all.
    pub(super) fn add_round(&mut self, report: &Report, tally: &Tally, is_full: bool) {
        let before = std::mem::take(&mut self.report);
        let there = if is_full { report.clone() } else { before.clone() };
        self.report = Report {
            files_sent: before.files_sent + report.files_sent,
            bytes_sent: before.bytes_sent + report.bytes_sent,
            received: before.received + report.received,
            verified: before.verified + report.verified,
            durable: before.durable + report.durable,
            entries_deleted: before.entries_deleted + report.entries_deleted,
            entries_failed: before.entries_failed,
            failed: before.failed,
            ..there
        };
        self.add_stages(tally);
    }

    /// Adds what an attempt spent its time on.
    pub(super) fn add_stages(&mut self, tally: &Tally) {
        for (sum, stage) in self.stages.iter_mut().zip(Stage::ALL) {
            *sum += tally.stage_time(stage);
        }
        for (sum, stage) in self.peer_stages.iter_mut().zip(Stage::ALL) {
            *sum += tally.peer_stage_time(stage);
        }
    }

    /// Adds what an attempt's connection did.
    pub(super) fn add_connection(&mut self, stats: &quinn::ConnectionStats) {
        self.add_connection_since(stats, &mut Added::default());
    }

    /// Adds what a connection did since the last time; gives the bytes sent and received.
    pub(super) fn add_connection_since(
        &mut self,
        stats: &quinn::ConnectionStats,
        added: &mut Added,
    ) -> (u64, u64) {
        let now = Added {
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
            lost_packets: stats.path.lost_packets,
        };
        let before = std::mem::replace(added, now);
        // The path may have moved, and then its count begins anew.
        let lost_packets = added.lost_packets.saturating_sub(before.lost_packets);
        let (sent, received) = (added.sent - before.sent, added.received - before.received);
        self.bytes_wire_sent += sent;
        self.bytes_wire_received += received;
        self.path = PathSample {
            rtt: stats.path.rtt,
            congestion_window_bytes: stats.path.cwnd,
            lost_packets: self.path.lost_packets + lost_packets,
            datagram_bytes: stats.path.current_mtu.into(),
        };
        (sent, received)
    }
}

/// What of a connection has been added to an account.
#[derive(Debug, Default)]
pub(super) struct Added {
    sent: u64,
    received: u64,
    lost_packets: u64,
}

/// A report of what a tally has counted, for an attempt that did not live to make its own.
pub(super) fn report_of(tally: &Tally) -> Report {
    Report {
        entries_total: tally.entries_listed.load(Relaxed) + tally.entries_skipped.load(Relaxed),
        files_total: tally.files_listed.load(Relaxed),
        bytes_total: tally.bytes_listed.load(Relaxed),
        files_sent: tally.committed.load(Relaxed),
        files_unchanged: tally.files_unchanged.load(Relaxed),
        bytes_sent: tally.bytes_moved.load(Relaxed),
        received: tally.received.load(Relaxed),
        verified: tally.verified.load(Relaxed),
        durable: tally.durable.load(Relaxed),
        entries_deleted: tally.entries_deleted.load(Relaxed),
        files_removed: tally.files_removed.load(Relaxed),
        entries_failed: tally.entries_failed.load(Relaxed),
        entries_skipped: tally.entries_skipped.load(Relaxed),
        failed: Vec::new(),
        skipped: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_attempt_sent_is_not_called_unchanged() {
        let tally = Tally::default();
        tally.charge(Stage::Read, Duration::from_secs(1));
        let mut account = Account::default();
        // Of 10 files, 2 were there before; the first attempt moved 3, the second the other 5.
        account.add(
            Report {
                entries_total: 11,
                files_sent: 3,
                files_unchanged: 2,
                bytes_sent: 30,
                durable: 1,
                ..Report::default()
            },
            &tally,
        );
        account.add(
            Report {
                entries_total: 4,
                files_sent: 5,
                files_unchanged: 5,
                bytes_sent: 50,
                durable: 5,
                ..Report::default()
            },
            &tally,
        );
        let report = &account.report;
        assert_eq!((report.files_sent, report.files_unchanged, report.bytes_sent), (8, 2, 80));
        assert_eq!((report.entries_total, report.durable), (11, 6));
        assert_eq!(account.stages.iter().sum::<Duration>(), Duration::from_secs(2));
    }

    #[test]
    fn rounds_add_up_and_a_full_one_says_what_there_is() {
        let report = |entries_total, files_unchanged, files_sent| Report {
            entries_total,
            files_unchanged,
            files_sent,
            bytes_sent: 10 * files_sent,
            ..Report::default()
        };
        let (mut account, tally) = (Account::default(), Tally::default());
        for (told, is_full) in [
            (report(100, 90, 9), true),
            (report(3, 0, 1), false),
            (report(102, 101, 0), true),
            (report(2, 0, 1), false),
        ] {
            account.add_round(&told, &tally, is_full);
        }
        let report = &account.report;
        assert_eq!((report.entries_total, report.files_unchanged), (102, 101));
        assert_eq!((report.files_sent, report.bytes_sent), (11, 110));
    }
}
