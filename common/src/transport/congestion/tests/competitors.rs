//! Models of the kernel's congestion controls, for company on the simulated link.

use std::time::{Duration, Instant};

use super::simulator::{PACKET_BYTES, Sender};
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

    fn is_paced(&self) -> bool {
        false
    }
}

/// BBR's first version: what the kernel has.
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
}

#[derive(PartialEq)]
enum State {
    Startup,
    Drain,
    Cycle,
    ProbeRtt(Instant),
}

impl Bbr {
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
            gain: 2.89,
            state: State::Startup,
            step: 0,
            step_at: now,
        }
    }

    fn path(&self) -> u64 {
        self.rate.bytes_in(self.rtt_least)
    }
}

impl Sender for Bbr {
    fn sent(&mut self, now: Instant, _: u64) {
        self.deliveries.sent(now, Duration::ZERO);
    }

    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.deliveries.acked(sent, bytes);
        let rtt = now - sent;
        if rtt <= self.rtt_least {
            (self.rtt_least, self.rtt_least_at) = (rtt, now);
        }
    }

    fn acks_done(&mut self, now: Instant, in_flight: u64, app_limited: bool, _: Duration) {
        const GAINS: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        if let Some(sample) = self.deliveries.sample(now, in_flight, app_limited) {
            self.rates.push((self.round, sample.rate));
            if sample.delivered_before >= self.round_end {
                self.round_end = self.deliveries.delivered();
                self.round += 1;
                let round = self.round;
                self.rates.retain(|(at, _)| at + 10 >= round);
                let best = self.rates.iter().map(|(_, rate)| *rate).max().unwrap_or(Rate::ZERO);
                self.rates.push((round, sample.rate));
                if best >= self.full.percent(125) {
                    (self.full, self.flat) = (best, 0);
                } else {
                    self.flat += 1;
                }
                self.rate = best;
            }
            self.rate = self.rate.max(sample.rate);
        }
        match self.state {
            State::Startup if self.flat >= 3 => (self.state, self.gain) = (State::Drain, 1.0 / 2.89),
            State::Drain if in_flight <= self.path() => {
                (self.state, self.gain, self.step, self.step_at) = (State::Cycle, 1.0, 2, now);
            }
            State::Cycle => {
                let full = now - self.step_at > self.rtt_least;
                let next = match self.step {
                    0 => full && in_flight as f64 >= 1.25 * self.path() as f64,
                    1 => full || in_flight <= self.path(),
                    _ => full,
                };
                if next {
                    self.step = (self.step + 1) % 8;
                    (self.step_at, self.gain) = (now, GAINS[self.step]);
                }
            }
            State::ProbeRtt(until) if now >= until => {
                self.rtt_least_at = now;
                (self.state, self.gain, self.step, self.step_at) = (State::Cycle, 1.0, 2, now);
            }
            _ => {}
        }
        let expired = now - self.rtt_least_at > Duration::from_secs(10);
        if expired && !matches!(self.state, State::ProbeRtt(_)) {
            self.rtt_least = Duration::MAX;
            self.rtt_least_at = now;
            self.state = State::ProbeRtt(now + Duration::from_millis(200) + Duration::from_millis(80));
            self.gain = 1.0;
        }
    }

    fn lost(&mut self, _: Instant, _: Instant, _: u64) {}

    fn window(&self) -> u64 {
        if matches!(self.state, State::ProbeRtt(_)) {
            return 5 * PACKET_BYTES;
        }
        if self.rtt_least == Duration::MAX {
            return 10 * PACKET_BYTES;
        }
        (2 * self.path() + 10 * PACKET_BYTES).max(10 * PACKET_BYTES)
    }

    fn pace(&self, rtt: Duration) -> f64 {
        if self.rate == Rate::ZERO {
            return self.gain * self.window() as f64 / rtt.as_secs_f64();
        }
        self.gain * self.rate.bytes_in(Duration::from_secs(1)) as f64
    }
}
