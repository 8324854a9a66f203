//! The controller's decisions: how much may be on its way, from what the path has shown.
//!
//! The path is known by two figures, the highest rate at which it delivered of late and its shortest round trip, as in
//! draft-ietf-ccwg-bbr; their product is what fills the path and no queue. Random loss says nothing about either, so it costs
//! what it takes away and no more. quinn asks for a window only and paces at 1.25 windows a (smoothed) round trip, so the window does
//! the work of BBR's pacing rate: `gain × rate × present round trip` lets just `gain × rate` through, however long the queue is, and
//! a window of 1.7 times the path bounds it. Pure: the clock is an argument, and chance comes from packet numbers.
//!
//! In turn: [`Phase::Startup`] doubles until the rate stays, a queue builds up or packets are lost in earnest; [`Phase::Drain`] empties the
//! queue and sees the shortest round trip; [`Phase::Cruise`] holds the rate; [`Phase::Probe`] asks for a quarter more, and for
//! more again as long as that is delivered; [`Phase::Drain`], or [`Phase::Yield`] where others keep the queue full, gives it back;
//! [`Phase::Measure`] halves the window for a moment if the shortest round trip was not seen for long.

mod losses;
mod queue;
mod resume;

use std::time::{Duration, Instant};

use losses::Losses;
use queue::Queue;
pub(super) use resume::Found;

use super::{
    deliveries::{Deliveries, Sample},
    rate::{Rate, scaled},
};

/// Bytes that a connection begins with (RFC 9002 §7.2, for datagrams of 1,200 bytes).
pub(super) const INITIAL_WINDOW_BYTES: u64 = 12_000;

/// Datagrams that may always be on their way: enough to be acknowledged one by one (draft-ietf-ccwg-bbr, `BBR.MinPipeCwnd`).
const DATAGRAMS_MIN: u64 = 4;

/// Round trips shorter than this count as this: a few wake-ups of the two programs. With a tenth of a millisecond bulk over loopback waits for them; with 5 ms
/// a ping beside it waits 12 ms instead of 4, and large files take 14 % longer, in memory that no cache holds.
const ROUND_TRIP_MIN: Duration = Duration::from_micros(300);

/// What may be queued while cruising, for pauses of the two programs and the pacer: an eighth of the round trip within these bounds, the higher of which is what
/// CoDel takes for a good queue (RFC 8289 §4.2). Measured, of 0.2, 1 and 2 ms: with the least both processors are a quarter idle where two machines on one link
/// have datagrams of 1,452 bytes (1 ms takes 0.91 of the time, 2 ms 0.83); with the most, files of some hundred KiB over loopback cost 7 % more.
const QUEUE_ALLOWED_MIN: Duration = Duration::from_millis(1);
const QUEUE_ALLOWED_MAX: Duration = Duration::from_millis(5);

/// Windows at most, in hundredths of rate × shortest round trip. With 200 (draft-ietf-ccwg-bbr, `BBR.DefaultCwndGain`) we keep our rate beside a competitor that keeps a
/// queue as long as the path full, and CUBIC, which gives way each time that it is full, is left a fifth. Simulated: 170 shares evenly with CUBIC, 140 leaves
/// too much to the kernel's BBR.
const WINDOW_PERCENT_MAX: u64 = 170;

/// The same in startup, where the rate that is known is the one of a round trip ago, half of the present one and less when it is measured over
/// a part of it. The queue of a path as long as itself is overrun by half a round trip of sending then, and not by a whole one. Simulated: with less the
/// window does not double any more.
const STARTUP_PERCENT: u64 = 250;

/// Up to this window the startup does not look at the rate, which a few packets do not show.
const STARTUP_WINDOW_BYTES: u64 = 64 * 1024;

/// The part of the known rate at which a connection cruises, in hundredths. The known one is the highest that was seen and may be a little too high; what
/// is queued for that reason would grow until the next probe.
const CRUISE_PERCENT: u64 = 97;

/// How much more is asked for by a probe, as in draft-ietf-ccwg-bbr.
const PROBE_PERCENT: u64 = 125;

/// The same by what is on its way, where the queue may be our own: with [`PROBE_PERCENT`] of a path and its queue a ping would wait for half a round trip more.
const PROBE_QUEUED_PERCENT: u64 = 105;

/// And that in datagrams, where a quarter is not even one.
const PROBE_DATAGRAMS: u64 = 8;

/// Growth of the rate in a round trip from which on a probe or the startup has found more: half of what the probe asks for.
const GROWTH_PERCENT: u64 = 112;

/// Growth of the rate in a round trip without which the startup may be at its end (draft-ietf-ccwg-bbr §5.3.1.2).
const STARTUP_GROWTH_PERCENT: u64 = 125;

/// Rounds without growth after which the startup ends (draft-ietf-ccwg-bbr §5.3.1.2).
const STARTUP_ROUNDS_FLAT: u32 = 3;

/// Samples in a round from which on its shortest round trip says that there is a queue (RFC 9406 §4.2, `N_RTT_SAMPLE`).
const QUEUE_SAMPLES: u32 = 8;

/// Queueing that counts: an eighth of the round trip within these bounds (RFC 9406 §4.2).
const QUEUE_SEEN_MIN: Duration = Duration::from_millis(4);
const QUEUE_SEEN_MAX: Duration = Duration::from_millis(16);

/// Round trips of cruising at least; up to three more are drawn, so that several connections do not probe in step. The rate is remembered for two
/// such cycles. Simulated: with 5 less is left to CUBIC, and less is kept beside BBR, which remembers its rate for ten.
const CRUISE_ROUNDS: u64 = 12;

/// Cruising at least, so that a path of a tenth of a millisecond is not probed a thousand times a second, and its rate remembered for as long. Chosen.
const CRUISE_MIN: Duration = Duration::from_millis(250);

/// How long the shortest round trip may not be seen, and how long it is looked for then (draft-cardwell-iccrg-bbr-congestion-control-00 §4.3.5).
/// The kernel's BBR does so, too, and so all empty the queue at the same time.
const ROUND_TRIP_AGE_MAX: Duration = Duration::from_secs(10);
const MEASURE_TIME: Duration = Duration::from_millis(200);

/// A round trip that is longer by one part of so many still counts as the shortest: clocks and pacers are not exact. Chosen.
const ROUND_TRIP_LIKENESS: u32 = 16;

/// The window while measuring, in hundredths of the path (draft-ietf-ccwg-bbr, `BBR.ProbeRTTCwndGain`).
const MEASURE_PERCENT: u64 = 50;

/// Lost packets of a round, in hundredths, that are taken for chance (draft-ietf-ccwg-bbr, `BBR.LossThresh`).
const LOSS_PERCENT: u64 = 2;

/// The same while cruising, of the last few rounds ([`Losses`]), if each packet of this one has met a queue: what is sent then was delivered before,
/// so the losses are the work of others, who keep the queue full, or the path has become slower, which costs far more of them. With an answer to each
/// overrun we kept a sixth beside the kernel's BBR, which gives none. It is what a transfer may have dropped at most.
const SHARED_LOSS_PERCENT: u64 = 5;

/// Packets of a round whose loss may end the startup (draft-ietf-ccwg-bbr, `BBR.StartupFullLossCnt`): with the few that are on their way then, two
/// may be chance, and ending early costs more than going on.
const STARTUP_LOSSES: u64 = 6;

/// What is left of the window and the rate after a round that lost more. CUBIC leaves 70, but does so for any loss.
const BACK_OFF_PERCENT: u64 = 90;

/// How much of the bound must be on its way before a probe raises it, in hundredths, and by one byte for how many acknowledged ones: a quarter in a round trip.
const BOUND_GROWTH: u64 = 4;

const STARTUP: Phase = Phase::Startup { rate: Rate::ZERO, flat: 0 };

/// What a connection is doing about its path. A number is the one of a round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Doubling; `flat` is how many round trips have shown nothing more than `rate`.
    Startup { rate: Rate, flat: u32 },
    /// Waiting for the queue to empty, and then until a round trip without one was seen.
    Drain { emptied: Option<u64> },
    /// Giving back what a probe has queued, on top of what others keep there, for a round trip at most.
    Yield { since_round: u64 },
    /// Holding the rate; `is_shared` says that packets were lost to a queue that each of them has met: others keep it full.
    Cruise { until: Instant, until_round: u64, is_shared: bool },
    /// Asking for more than `rate`, since the round trip took `rtt`.
    Probe { since_round: u64, rtt: Duration, rate: Rate, is_shared: bool },
    /// Looking for the shortest round trip, of which `least` has been seen.
    Measure { until: Instant, until_round: u64, least: Duration },
}

/// What is seen of the running round trip.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    number: u64,
    /// Bytes that had been delivered when it began. It ends with the acknowledgement of a packet that was sent later.
    delivered_before: u64,
    lost_bytes: u64,
    /// The highest rate.
    rate: Rate,
    rtt_least: Option<Duration>,
    /// The shortest of the round trip before this one.
    rtt_before: Option<Duration>,
    rtt_samples: u32,
    is_app_limited: bool,
}

/// The model of one path.
#[derive(Clone, Debug)]
pub(super) struct Model {
    deliveries: Deliveries,
    round: Round,
    /// Of the rounds before this one, since the last answer.
    losses: Losses,
    phase: Phase,
    mtu: u64,
    window: u64,
    in_flight: u64,
    /// The highest rates of this cycle and of the one before.
    rates: [Rate; 2],
    /// The highest rate of the round trip before this one.
    rate_latest: Rate,
    /// The most that is believed of `rates` until the next probe, since packets are being lost.
    rate_bound: Rate,
    /// The one that stands while cruising.
    queue: Queue,
    /// Whether `rates` were compared with what a queue delivers since the startup.
    is_rate_proven: bool,
    /// Whether no queue was left when we last gave way.
    is_alone: bool,
    /// The window that the path does not carry without loss.
    window_bound: u64,
    /// The first round trip in which losses may be answered to: those of packets that were sent before the last answer are not.
    back_off_from: u64,
    /// The shortest round trip, and when one like it was last seen.
    rtt_least: Option<Duration>,
    rtt_least_at: Instant,
    /// The present one, smoothed.
    rtt: Duration,
    /// Of the running batch of acknowledgements.
    acked_bytes: u64,
    newest_acked: Option<Instant>,
    last_packet: u64,
}

impl Model {
    /// A path of which nothing is known but the size of a datagram.
    pub(super) fn new(now: Instant, mtu: u16) -> Self {
        Self {
            deliveries: Deliveries::new(now),
            round: Round::default(),
            losses: Losses::default(),
            phase: STARTUP,
            mtu: u64::from(mtu),
            window: INITIAL_WINDOW_BYTES,
            in_flight: 0,
            rates: [Rate::default(); 2],
            rate_latest: Rate::default(),
            rate_bound: Rate::MAX,
            queue: Queue::default(),
            is_rate_proven: false,
            is_alone: false,
            window_bound: u64::MAX,
            back_off_from: 0,
            rtt_least: None,
            rtt_least_at: now,
            rtt: Duration::ZERO,
            acked_bytes: 0,
            newest_acked: None,
            last_packet: 0,
        }
    }

    /// Packets up to `last_packet` are sent.
    pub(super) fn sent(&mut self, now: Instant, last_packet: u64) {
        self.last_packet = last_packet;
        self.deliveries.sent(now, self.rtt_least.unwrap_or_default());
    }

    /// A packet of `bytes` that was sent at `sent` is acknowledged, as one of a batch.
    pub(super) fn acked(&mut self, sent: Instant, bytes: u64) {
        self.deliveries.acked(sent, bytes);
        self.acked_bytes += bytes;
        self.newest_acked = self.newest_acked.max(Some(sent));
    }

    /// The batch is complete, and `in_flight` bytes are still on their way. `rtt` is the smoothed round trip; `app_limited` says that the source had nothing to send.
    pub(super) fn acks_done(&mut self, now: Instant, in_flight: u64, app_limited: bool, rtt: Duration) {
        let Some(newest) = self.newest_acked.take() else { return };
        self.rtt = rtt;
        self.in_flight = in_flight;
        self.see_round_trip(now, now.saturating_duration_since(newest), app_limited);
        if let Some(sample) = self.deliveries.sample(now, in_flight, app_limited) {
            self.see_rate(&sample);
            if sample.delivered_before >= self.round.delivered_before {
                self.end_round(now);
            }
        }
        self.advance(now);
        let acked_bytes = std::mem::take(&mut self.acked_bytes);
        self.set_window(acked_bytes, app_limited);
    }

    /// `bytes` are lost.
    pub(super) fn lost(&mut self, bytes: u64) {
        self.round.lost_bytes += bytes;
        let round = self.round_losses();
        let round = Losses { sent: round.sent.max(self.in_flight), ..round };
        let is_queued = is_longer(self.rtt_least, self.round.rtt_least);
        let is_more = match &mut self.phase {
            Phase::Startup { .. } if round.lost < STARTUP_LOSSES * self.mtu => false,
            Phase::Cruise { is_shared, .. } if is_queued => {
                *is_shared = true;
                self.losses.then(round).is_more_than(SHARED_LOSS_PERCENT, self.mtu)
            }
            // What is lost now was sent before, and has been answered to.
            Phase::Yield { .. } => false,
            _ => round.is_more_than(LOSS_PERCENT, self.mtu),
        };
        if is_more {
            self.back_off();
        }
    }

    /// A queue on the path asks for less (ECN).
    pub(super) fn marked(&mut self) {
        self.back_off();
    }

    /// Nothing came through for several round trips (RFC 9002 §7.6): nothing that was known of the path can be relied on.
    pub(super) fn begin_anew(&mut self) {
        self.phase = STARTUP;
        self.is_rate_proven = false;
        self.rates = [Rate::default(); 2];
        self.rate_bound = Rate::MAX;
        self.window_bound = u64::MAX;
        self.window = self.window_min();
    }

    /// Datagrams have another size.
    pub(super) fn set_mtu(&mut self, mtu: u16) {
        self.mtu = u64::from(mtu);
        self.window = self.window.max(self.window_min());
    }

    #[cfg(test)]
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Bytes that may be on their way.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    fn see_round_trip(&mut self, now: Instant, rtt: Duration, app_limited: bool) {
        self.round.rtt_samples += 1;
        self.round.rtt_least = Some(self.round.rtt_least.map_or(rtt, |least| least.min(rtt)));
        if let Phase::Measure { least, .. } = &mut self.phase {
            *least = rtt.min(*least);
        }
        let known = self.rtt_least.unwrap_or(Duration::MAX);
        // A source that has nothing to send sees a path without a queue of its own.
        let is_found_anew = app_limited && self.is_round_trip_old(now);
        if rtt < known || is_found_anew {
            self.rtt_least = Some(rtt);
        }
        if rtt <= known.saturating_add(known / ROUND_TRIP_LIKENESS) || is_found_anew {
            self.rtt_least_at = now;
        }
    }

    /// Of the running round.
    fn round_losses(&self) -> Losses {
        let lost = self.round.lost_bytes;
        Losses { lost, sent: self.deliveries.delivered() - self.round.delivered_before + lost }
    }

    fn see_rate(&mut self, sample: &Sample) {
        self.round.is_app_limited |= sample.is_app_limited;
        // The path is not asked for more while cruising: what looks like more came in a heap. Beside others some of it may be theirs, which they have given up.
        let rate = match self.phase {
            Phase::Cruise { is_shared: false, .. } if self.is_alone => sample.rate.min(self.rate()),
            _ => sample.rate,
        };
        if !sample.is_app_limited || rate > self.rates[0].max(self.rates[1]) {
            self.rates[0] = self.rates[0].max(rate);
            self.round.rate = self.round.rate.max(rate);
        }
    }

    fn end_round(&mut self, now: Instant) {
        let ended = self.round;
        self.losses = self.losses.then(self.round_losses());
        self.round = Round {
            number: ended.number + 1,
            delivered_before: self.deliveries.delivered(),
            rtt_before: ended.rtt_least,
            ..Round::default()
        };
        self.rate_latest = ended.rate;
        let is_to_prove = self.see_queue(now, &ended);
        match &mut self.phase {
            Phase::Startup { rate, flat } if !ended.is_app_limited => {
                let known = self.rates[0].max(self.rates[1]);
                if known >= rate.percent(STARTUP_GROWTH_PERCENT) {
                    (*rate, *flat) = (known, 0);
                } else {
                    *flat += 1;
                }
            }
            Phase::Cruise { is_shared: false, .. } if is_to_prove => {
                self.phase = Phase::Drain { emptied: None }
            }
            Phase::Cruise { until, until_round, is_shared }
                if now >= *until && self.round.number >= *until_round =>
            {
                let is_shared = *is_shared;
                self.probe(is_shared);
            }
            Phase::Probe { since_round, rtt, rate, is_shared } => {
                let (since_round, rtt, rate, is_shared) = (*since_round, *rtt, *rate, *is_shared);
                let is_queued = is_longer(Some(rtt), ended.rtt_least);
                let known = self.rates[0].max(self.rates[1]);
                if is_queued || self.round.number >= since_round + 2 {
                    let has_grown = !is_queued && known >= rate.percent(GROWTH_PERCENT);
                    self.phase = if has_grown && !is_longer(self.rtt_least, ended.rtt_least) {
                        Phase::Startup { rate: known, flat: 0 }
                    } else if has_grown {
                        Phase::Probe { since_round: self.round.number, rtt, rate: known, is_shared }
                    } else {
                        self.after_probe(is_shared)
                    };
                }
            }
            _ => {}
        }
    }

    /// Goes on to the next phase when it is time.
    fn advance(&mut self, now: Instant) {
        match self.phase {
            Phase::Startup { flat, .. } if flat >= STARTUP_ROUNDS_FLAT || self.sees_queue_grow() => {
                self.phase = Phase::Drain { emptied: None };
            }
            Phase::Drain { emptied: None } if self.in_flight <= self.path_bytes().max(self.window_min()) => {
                self.phase = Phase::Drain { emptied: Some(self.round.number) };
            }
            Phase::Drain { emptied: Some(round) } if self.round.number > round => {
                self.prove_rate();
                self.cruise(now);
            }
            Phase::Yield { since_round }
                if self.round.number > since_round || self.in_flight <= self.path_bytes() =>
            {
                self.cruise(now);
            }
            Phase::Measure { until, until_round, least }
                if now >= until && self.round.number >= until_round =>
            {
                self.rtt_least = Some(least);
                self.rtt_least_at = now;
                self.cruise(now);
            }
            Phase::Drain { .. } | Phase::Cruise { .. } if self.is_round_trip_old(now) => {
                self.phase = Phase::Measure {
                    until: now + MEASURE_TIME,
                    until_round: self.round.number + 2,
                    least: Duration::MAX,
                };
            }
            _ => {}
        }
    }

    /// Looks, while cruising, at what the queue delivers, after the round that `ended`. Whether it is time to see if the queue is ours: once after a startup,
    /// which leaves the rate that is most too high; otherwise a probe is waited for.
    fn see_queue(&mut self, now: Instant, ended: &Round) -> bool {
        if !matches!(self.phase, Phase::Cruise { .. }) {
            return false;
        }
        let is_queued = !ended.is_app_limited && has_queue(self.rtt_least, ended.rtt_least);
        self.queue.round_ended(now, self.round.number, self.deliveries.delivered(), is_queued);
        let is_due = !self.is_rate_proven && self.queue.rate().is_some();
        self.is_rate_proven |= is_due;
        is_due
    }

    /// Believes what the queue delivered if the last round was without one: then it was ours alone.
    fn prove_rate(&mut self) {
        self.is_alone = !is_longer(self.rtt_least, self.round.rtt_before);
        if let Some(rate) = self.queue.rate()
            && rate < self.rate()
            && self.is_alone
        {
            self.rates = [rate, Rate::ZERO];
        }
    }

    fn cruise(&mut self, now: Instant) {
        self.queue = Queue::default();
        let until_round = self.round.number + CRUISE_ROUNDS + self.last_packet % 4;
        self.phase = Phase::Cruise { until: now + CRUISE_MIN, until_round, is_shared: false };
    }

    fn probe(&mut self, is_shared: bool) {
        if !self.rates[0].is_zero() {
            self.rates = [Rate::default(), self.rates[0]];
        }
        self.rate_bound = Rate::MAX;
        self.window_bound = self.window_bound.saturating_add(PROBE_DATAGRAMS / 2 * self.mtu);
        self.phase =
            Phase::Probe { since_round: self.round.number, rtt: self.rtt, rate: self.rate(), is_shared };
    }

    /// What follows on a probe. A queue that others keep full does not empty when we wait for it to: they would take our place in it, and see a faster path.
    fn after_probe(&self, is_shared: bool) -> Phase {
        if is_shared {
            Phase::Yield { since_round: self.round.number }
        } else {
            Phase::Drain { emptied: None }
        }
    }

    /// The answer to losses that are more than chance.
    fn back_off(&mut self) {
        if self.round.number < self.back_off_from {
            return;
        }
        self.back_off_from = self.round.number + 2;
        self.losses = Losses::default();
        let bound = scaled(self.window, BACK_OFF_PERCENT);
        match self.phase {
            Phase::Startup { .. } => self.phase = Phase::Drain { emptied: None },
            Phase::Probe { is_shared, .. } => self.phase = self.after_probe(is_shared),
            Phase::Drain { .. } | Phase::Yield { .. } | Phase::Cruise { .. } | Phase::Measure { .. } => {
                let seen = self.rate_latest.max(self.round.rate);
                self.rate_bound = seen.max(self.rate().percent(BACK_OFF_PERCENT));
            }
        }
        self.window_bound = bound.max(self.pipe_bytes());
        self.set_window(0, true);
    }

    fn set_window(&mut self, acked_bytes: u64, app_limited: bool) {
        let rate = self.rate();
        let path = self.path_bytes();
        let allowed = rate.bytes_in((self.round_trip() / 8).clamp(QUEUE_ALLOWED_MIN, QUEUE_ALLOWED_MAX));
        let most = scaled(path, WINDOW_PERCENT_MAX) + allowed + PROBE_DATAGRAMS * self.mtu;
        let window = match self.phase {
            Phase::Startup { .. } if app_limited => self.window,
            Phase::Startup { .. } => {
                let most = (scaled(path, STARTUP_PERCENT) + allowed).max(STARTUP_WINDOW_BYTES);
                (self.window + acked_bytes).min(most).max(self.window)
            }
            Phase::Drain { .. } | Phase::Yield { .. } => path.min(self.window_bound),
            Phase::Cruise { .. } => rate
                .percent(CRUISE_PERCENT)
                .bytes_in(self.rtt)
                .max(path + allowed)
                .min(most)
                .min(self.window_bound),
            Phase::Probe { rtt, is_shared, .. } => {
                let present = rate.bytes_in(rtt.max(self.round_trip())) + allowed;
                let asked = if is_shared {
                    scaled(present, PROBE_PERCENT)
                } else {
                    scaled(path, PROBE_PERCENT).max(scaled(present, PROBE_QUEUED_PERCENT)) + allowed
                };
                let asked = (asked + PROBE_DATAGRAMS * self.mtu).min(most);
                if !app_limited && self.window_bound < asked {
                    self.window_bound += acked_bytes / BOUND_GROWTH;
                }
                asked.min(self.window_bound)
            }
            Phase::Measure { .. } => scaled(path, MEASURE_PERCENT),
        };
        self.window = window.max(self.window_min());
    }

    fn window_min(&self) -> u64 {
        DATAGRAMS_MIN * self.mtu
    }

    fn rate(&self) -> Rate {
        self.rates[0].max(self.rates[1]).min(self.rate_bound)
    }

    fn round_trip(&self) -> Duration {
        self.rtt_least.unwrap_or_default().max(ROUND_TRIP_MIN)
    }

    /// The bytes that fill the path and no queue.
    fn path_bytes(&self) -> u64 {
        self.rate().bytes_in(self.round_trip())
    }

    /// The same without the allowance for short round trips: nothing makes the window smaller.
    fn pipe_bytes(&self) -> u64 {
        self.rate().bytes_in(self.rtt_least.unwrap_or_default()) + DATAGRAMS_MIN * self.mtu
    }

    fn is_round_trip_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.rtt_least_at) > ROUND_TRIP_AGE_MAX
    }

    /// Whether every packet of this round trip waited longer than one of the round trip before: the queue grows with what we send. One that others keep does not.
    fn sees_queue_grow(&self) -> bool {
        self.round.rtt_samples >= QUEUE_SAMPLES && is_longer(self.round.rtt_before, self.round.rtt_least)
    }
}

/// Whether a round trip has more of a queue than another, if both are known.
fn is_longer(than: Option<Duration>, rtt: Option<Duration>) -> bool {
    than.zip(rtt).is_some_and(|(than, rtt)| rtt >= than + queue_seen(than))
}

/// Whether the shortest round trip of a round says that there was a queue all the time.
fn has_queue(than: Option<Duration>, rtt: Option<Duration>) -> bool {
    than.zip(rtt).is_some_and(|(than, rtt)| rtt > than + (than / ROUND_TRIP_LIKENESS).max(QUEUE_SEEN_MIN))
}

fn queue_seen(rtt: Duration) -> Duration {
    (rtt / 8).clamp(QUEUE_SEEN_MIN, QUEUE_SEEN_MAX)
}
