//! How fast the path delivers, found from when packets were sent and when they were acknowledged.
//!
//! The estimator of draft-ietf-ccwg-bbr §4.1 ("Delivery Rate Samples"), which takes the longer of two times for what was delivered: the
//! one in which it was sent and the one in which it was acknowledged. So acknowledgements that come in a heap never look like a fast
//! path. quinn keeps no state of ours with a packet and tells only when it was sent; what a packet would have carried is kept here
//! by that time, in a short list that is thinned out to a part of a round trip. A thinned record is a few packets older than
//! the one it is used for, and the sample is longer by as much, not wrong. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::rate::Rate;

/// Records in a round trip. Chosen: a sample is longer than a round trip by a thirtieth at most.
const RECORDS_PER_ROUND: u32 = 32;

/// Records kept: eight round trips, which only packets that nobody acknowledges outlive. 12 KiB.
const RECORDS_MAX: usize = 8 * RECORDS_PER_ROUND as usize;

/// What had been delivered when something was sent.
#[derive(Clone, Copy, Debug)]
struct Record {
    sent: Instant,
    /// Bytes delivered until then, and since when it was as many.
    delivered: u64,
    delivered_at: Instant,
    /// When the newest packet that was delivered until then had been sent.
    first_sent: Instant,
    is_app_limited: bool,
}

/// What a batch of acknowledgements says about the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) rate: Rate,
    /// Bytes that had been delivered when the packet was sent that the sample is of.
    pub(super) delivered_before: u64,
    /// The source, not the path, may have set the pace.
    pub(super) is_app_limited: bool,
}

/// The deliveries of one path.
#[derive(Clone, Debug)]
pub(super) struct Deliveries {
    records: VecDeque<Record>,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    /// Until so much is delivered, what is sent counts as limited by the source.
    app_limited_until: u64,
    is_idle: bool,
    /// When the newest packet of the running batch of acknowledgements was sent.
    newest_acked: Option<Instant>,
}

impl Deliveries {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            records: VecDeque::new(),
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            app_limited_until: 0,
            is_idle: true,
            newest_acked: None,
        }
    }

    /// Notes that something is sent; `rtt` tells how fine the records are.
    pub(super) fn sent(&mut self, now: Instant, rtt: Duration) {
        if self.is_idle {
            self.is_idle = false;
            self.first_sent = now;
            self.delivered_at = now;
        } else if self
            .records
            .back()
            .is_some_and(|last| now.saturating_duration_since(last.sent) < rtt / RECORDS_PER_ROUND)
        {
            return;
        }
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
        }
        self.records.push_back(Record {
            sent: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            is_app_limited: self.delivered < self.app_limited_until,
        });
    }

    /// Counts an acknowledged packet of the running batch.
    pub(super) fn acked(&mut self, sent: Instant, bytes: u64) {
        self.delivered += bytes;
        self.newest_acked = self.newest_acked.max(Some(sent));
    }

    /// Ends the batch. There is no sample if its packets are older than what was acknowledged before.
    pub(super) fn sample(&mut self, now: Instant, in_flight: u64, app_limited: bool) -> Option<Sample> {
        let newest = self.newest_acked.take()?;
        if app_limited {
            self.app_limited_until = self.delivered + in_flight + 1;
        }
        self.is_idle = in_flight == 0;
        let older = self.records.partition_point(|record| record.sent <= newest);
        let record = *self.records.get(older.checked_sub(1)?)?;
        self.records.drain(..older - 1);
        let time = newest
            .saturating_duration_since(record.first_sent)
            .max(now.saturating_duration_since(record.delivered_at));
        self.first_sent = self.first_sent.max(newest);
        self.delivered_at = now;
        Some(Sample {
            rate: Rate::new(self.delivered - record.delivered, time),
            delivered_before: record.delivered,
            is_app_limited: record.is_app_limited,
        })
    }

    /// Bytes delivered so far.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }
}
