//! Models of the kernel's congestion controls, for company on the simulated link.

use std::time::{Duration, Instant};

use super::simulator::{PACKET_BYTES, Pacing, Sender};
use crate::transport::congestion::{deliveries::Deliveries, rate::Rate};

/// RFC 9438, without pacing.
pub(super) struct Cubic {
    window: f64,
    threshold: f64,
    window_max: f64,
    since: Option<Instant>,
    rtt: Duration,
}

impl Cubic {
    pub(super) fn new() -> Self {
        Self {
            window: 10.0,
            threshold: f64::MAX,
            window_max: 0.0,
            since: None,
            rtt: Duration::from_millis(100),
        }
    }
}

impl Sender for Cubic {
    fn sent(&mut self, _: Instant, _: u64) {}

    fn acked(&mut self, now: Instant, sent: Instant, _: u64) {
        if self.since.is_some_and(|since| sent <= since) {
            return;
        }
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let since = *self.since.get_or_insert(now);
        let time = (now - since).as_secs_f64();
        let k = (self.window_max * 0.3 / 0.4).cbrt();
        let rtt = self.rtt.as_secs_f64();
        let target = 0.4 * (time + rtt - k).powi(3) + self.window_max;
        let reno = self.window_max * 0.7 + 3.0 * 0.3 / 1.7 * time / rtt;
        if reno > target {
            self.window = self.window.max(reno);
        } else if target > self.window {
            self.window += ((target - self.window) / self.window).min(0.5);
        }
    }

    fn acks_done(&mut self, _: Instant, _: u64, _: bool, rtt: Duration) {
        self.rtt = rtt;
    }

    fn lost(&mut self, now: Instant, sent: Instant, _: u64) {
        if self.since.is_some_and(|since| sent <= since) {
            return;
        }
        self.window_max = if self.window < self.window_max { self.window * 0.85 } else { self.window };
        self.window = (self.window * 0.7).max(2.0);
        self.threshold = self.window;
        self.since = Some(now);
    }

    fn window(&self) -> u64 {
        Duration::from_secs_f64(self.window * PACKET_BYTES as f64).as_secs()
    }

    fn pacing(&self) -> Pacing {
        Pacing::None
    }
}

/// BBR's first version, as Linux has it (`net/ipv4/tcp_bbr.c`): its gains, its filter of ten round trips, the window that conserves packets in the first
/// round trip after a loss, and room for acknowledgements that come in heaps. Without its detection of policers, which takes a fifth of all packets lost.
pub(super) struct Bbr {
    deliveries: Deliveries,
    rates: Vec<(u64, Rate)>,
    rate: Rate,
    round: u64,
    round_end: u64,
    rtt_least: Duration,
    rtt_least_at: Instant,
    full: Rate,
    flat: u32,
    gain: f64,
    state: State,
    step: usize,
    step_at: Instant,
    window: u64,
    in_flight: u64,
    acked: u64,
    lost: u64,
    recovery: Option<Recovery>,
    heaps: Heaps,
}

#[derive(PartialEq)]
enum State {
    Startup,
    Drain,
    Cycle,
    ProbeRtt { until: Option<Instant>, least: Duration },
}

/// From a loss until all that was on its way then has been heard of.
struct Recovery {
    since: Instant,
    /// Until so much is delivered, only as much is sent as arrives.
    conserving_until: u64,
    window_before: u64,
}

/// How much more was acknowledged at once than the rate explains, at most, in this and the last five round trips.
struct Heaps {
    epoch_at: Instant,
    acked: u64,
    most: [u64; 2],
    since_round: u64,
}

impl Bbr {
    const GAINS: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    const GAIN_HIGH: f64 = 2.885;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            deliveries: Deliveries::new(now),
            rates: Vec::new(),
            rate: Rate::ZERO,
            round: 0,
            round_end: 0,
            rtt_least: Duration::MAX,
            rtt_least_at: now,
            full: Rate::ZERO,
            flat: 0,
            gain: Self::GAIN_HIGH,
            state: State::Startup,
            step: 0,
            step_at: now,
            window: 10 * PACKET_BYTES,
            in_flight: 0,
            acked: 0,
            lost: 0,
            recovery: None,
            heaps: Heaps { epoch_at: now, acked: 0, most: [0; 2], since_round: 0 },
        }
    }

    fn path(&self) -> u64 {
        self.rate.bytes_in(self.rtt_least)
    }

    /// What fills the path so many times, in whole bursts of segments.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "gains are positive and small"
    )]
    fn inflight(&self, gain: f64) -> u64 {
        (gain * self.path() as f64) as u64 + 3 * 8 * PACKET_BYTES
    }

    fn see_rate(&mut self, rate: Rate, delivered_before: u64) {
        if delivered_before >= self.round_end {
            self.round_end = self.deliveries.delivered();
            self.round += 1;
        }
        self.rates.retain(|(round, slower)| round + 10 > self.round && *slower > rate);
        self.rates.push((self.round, rate));
        self.rate = self.rates[0].1;
    }

    fn see_full_pipe(&mut self) {
        if self.rate >= self.full.percent(125) {
            (self.full, self.flat) = (self.rate, 0);
        } else {
            self.flat += 1;
        }
    }

    fn see_heap(&mut self, now: Instant, is_new_round: bool) {
        if is_new_round && self.round >= self.heaps.since_round + 5 {
            self.heaps.since_round = self.round;
            self.heaps.most = [0, self.heaps.most[0]];
        }
        let expected = self.rate.bytes_in(now - self.heaps.epoch_at);
        if self.heaps.acked <= expected {
            (self.heaps.epoch_at, self.heaps.acked) = (now, self.acked);
            return;
        }
        self.heaps.acked += self.acked;
        let more = self.heaps.acked.saturating_sub(expected).min(self.window);
        self.heaps.most[0] = self.heaps.most[0].max(more);
    }

    fn begin_cycle(&mut self, now: Instant) {
        (self.state, self.step) = (State::Cycle, 2);
        (self.step_at, self.gain) = (now, Self::GAINS[self.step]);
    }

    fn advance_cycle(&mut self, now: Instant) {
        let full = now - self.step_at > self.rtt_least;
        let next = match self.step {
            0 => full && (self.lost > 0 || self.in_flight + self.acked >= self.inflight(1.25)),
            1 => full || self.in_flight + self.acked <= self.inflight(1.0),
            _ => full,
        };
        if next {
            self.step = (self.step + 1) % Self::GAINS.len();
            (self.step_at, self.gain) = (now, Self::GAINS[self.step]);
        }
    }

    fn advance(&mut self, now: Instant) {
        match self.state {
            State::Startup if self.flat >= 3 => {
                (self.state, self.gain) = (State::Drain, 1.0 / Self::GAIN_HIGH);
            }
            State::Drain if self.in_flight <= self.inflight(1.0) => self.begin_cycle(now),
            State::Cycle => self.advance_cycle(now),
            _ => {}
        }
        let is_old = now - self.rtt_least_at > Duration::from_secs(10);
        match &mut self.state {
            State::ProbeRtt { until: until @ None, .. } if self.in_flight <= 4 * PACKET_BYTES => {
                *until = Some(now + Duration::from_millis(200));
            }
            State::ProbeRtt { until: Some(until), least } if now >= *until => {
                (self.rtt_least, self.rtt_least_at) = (*least, now);
                self.begin_cycle(now);
            }
            State::ProbeRtt { .. } => {}
            _ if is_old => {
                self.state = State::ProbeRtt { until: None, least: Duration::MAX };
                self.gain = 1.0;
            }
            _ => {}
        }
    }

    fn set_window(&mut self) {
        let most = self.inflight(if self.flat >= 3 { 2.0 } else { Self::GAIN_HIGH })
            + self.heaps.most[0].max(self.heaps.most[1]).min(self.rate.bytes_in(Duration::from_millis(100)));
        let delivered = self.deliveries.delivered();
        let is_conserving =
            self.recovery.as_ref().is_some_and(|recovery| delivered < recovery.conserving_until);
        if is_conserving {
            self.window = self.window.saturating_sub(self.lost).max(self.in_flight + self.acked);
        } else if self.flat >= 3 {
            self.window = (self.window.saturating_sub(self.lost) + self.acked).min(most);
        } else if self.window < most || delivered < 10 * PACKET_BYTES {
            self.window += self.acked;
        }
        self.window = self.window.max(4 * PACKET_BYTES);
    }
}

impl Sender for Bbr {
    fn sent(&mut self, now: Instant, _: u64) {
        let rtt = if self.rtt_least == Duration::MAX { Duration::ZERO } else { self.rtt_least };
        self.deliveries.sent(now, rtt);
    }

    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.deliveries.acked(sent, bytes);
        self.acked += bytes;
        let rtt = now - sent;
        if let State::ProbeRtt { least, .. } = &mut self.state {
            *least = rtt.min(*least);
        }
        if rtt <= self.rtt_least {
            (self.rtt_least, self.rtt_least_at) = (rtt, now);
        }
        if let Some(recovery) = self.recovery.take_if(|recovery| sent > recovery.since) {
            self.window = self.window.max(recovery.window_before);
        }
    }

    fn acks_done(&mut self, now: Instant, in_flight: u64, app_limited: bool, _: Duration) {
        self.in_flight = in_flight;
        let round = self.round;
        if let Some(sample) = self.deliveries.sample(now, in_flight, app_limited) {
            self.see_rate(sample.rate, sample.delivered_before);
        }
        if self.round > round && self.flat < 3 {
            self.see_full_pipe();
        }
        self.see_heap(now, self.round > round);
        self.advance(now);
        self.set_window();
        (self.acked, self.lost) = (0, 0);
    }

    fn lost(&mut self, now: Instant, _: Instant, bytes: u64) {
        self.lost += bytes;
        if self.recovery.is_none() {
            let conserving_until = self.deliveries.delivered() + self.in_flight;
            self.recovery = Some(Recovery { since: now, conserving_until, window_before: self.window });
            self.window = self.in_flight.max(4 * PACKET_BYTES);
        }
    }

    fn window(&self) -> u64 {
        if matches!(self.state, State::ProbeRtt { .. }) { 5 * PACKET_BYTES } else { self.window }
    }

    fn pace(&self, rtt: Duration) -> f64 {
        if self.rate == Rate::ZERO {
            return self.gain * self.window as f64 / rtt.as_secs_f64();
        }
        0.99 * self.gain * self.rate.bytes_in(Duration::from_secs(1)) as f64
    }
    fn pacing(&self) -> Pacing {
        Pacing::Kernel
    }
}
