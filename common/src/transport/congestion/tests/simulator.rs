//! A bottleneck and what sends through it, on a clock of its own: the same seed gives the same run.
//!
//! One queue that drops at its tail and is drained at a rate, random loss before it, and half of a round trip each way. Each flow sends
//! as quinn does: it is bounded by a window, and paced at 1.25 windows a smoothed round trip in bursts of 2 ms, by a timer that
//! comes up to a millisecond late. Every second packet is acknowledged, and a packet is lost when one that was sent three later is acknowledged.
//! Competitors are models of what the kernel has: CUBIC (RFC 9438) and BBR (draft-cardwell-iccrg-bbr-congestion-control-00), which is paced exactly.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Bytes of a packet.
pub(super) const PACKET_BYTES: u64 = 1452;

/// A sender's decisions.
pub(super) trait Sender {
    fn sent(&mut self, now: Instant, last_packet: u64);
    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64);
    fn acks_done(&mut self, now: Instant, in_flight: u64, app_limited: bool, rtt: Duration);
    fn lost(&mut self, now: Instant, sent: Instant, bytes: u64);
    fn window(&self) -> u64;
    /// How many bytes a second are sent at most, where that is not for quinn's pacer to say.
    fn pace(&self, rtt: Duration) -> f64 {
        1.25 * self.window() as f64 / rtt.as_secs_f64()
    }
    fn pacing(&self) -> Pacing {
        Pacing::Quinn
    }
}

/// When a sender that may send does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pacing {
    /// At once.
    None,
    /// As quinn: by a timer of whole milliseconds.
    Quinn,
    /// As the kernel: by an exact one, for each burst of segments.
    Kernel,
}

/// One way from end to end.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) bits_per_second: u64,
    pub(super) rtt_ms: u64,
    /// Of random loss.
    pub(super) loss: f64,
    /// In bandwidth-delay products.
    pub(super) queue: f64,
    /// What a sender waits for a processor, once in [`STALL_PERIOD_MS`]: acknowledgements of that time come in a heap.
    pub(super) stall_ms: u64,
}

const STALL_PERIOD_MS: u64 = 230;

impl Link {
    /// When an acknowledgement is looked at that arrives at `ns`.
    fn seen_ns(&self, ns: u64) -> u64 {
        let period_ns = STALL_PERIOD_MS * 1_000_000;
        ns - ns % period_ns + (ns % period_ns).max(self.stall_ms * 1_000_000)
    }
}

/// What became of a flow.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) dropped_at_queue: u64,
    pub(super) delivered_bytes: u64,
    pub(super) finished_ms: Option<u64>,
    /// Sum over packets of the time spent in the queue, in nanoseconds.
    pub(super) queued_ns: u64,
}

impl Outcome {
    pub(super) fn drop_share(&self) -> f64 {
        self.dropped_at_queue as f64 / self.sent.max(1) as f64
    }
}

struct InFlight {
    number: u64,
    sent_ns: u64,
    is_done: bool,
}

pub(super) struct Flow {
    pub(super) sender: Box<dyn Sender>,
    pub(super) outcome: Outcome,
    start_ns: u64,
    /// Bytes that remain to be delivered.
    left: u64,
    on_way: VecDeque<InFlight>,
    in_flight: u64,
    next: u64,
    rtt: Option<Duration>,
    tokens: f64,
    tokens_at_ns: u64,
    timer_ns: u64,
    is_app_limited: bool,
    /// Received and not acknowledged yet.
    unacknowledged: Vec<u64>,
}

impl Flow {
    pub(super) fn new(sender: Box<dyn Sender>, start_ms: u64, bytes: u64) -> Self {
        Self {
            sender,
            outcome: Outcome::default(),
            start_ns: start_ms * 1_000_000,
            left: bytes,
            on_way: VecDeque::new(),
            in_flight: 0,
            next: 0,
            rtt: None,
            tokens: 10.0 * PACKET_BYTES as f64,
            tokens_at_ns: 0,
            timer_ns: start_ms * 1_000_000,
            is_app_limited: false,
            unacknowledged: Vec::new(),
        }
    }

    /// How long until a packet may go by the pacer; `None` is now.
    fn wait_ns(&mut self, now_ns: u64) -> Option<u64> {
        let rtt = self.rtt?;
        let pacing = self.sender.pacing();
        let rate = self.sender.pace(rtt);
        let capacity = match pacing {
            Pacing::None => return None,
            Pacing::Quinn => {
                (rate / 1.25 * 0.002).clamp(10.0 * PACKET_BYTES as f64, 256.0 * PACKET_BYTES as f64)
            }
            Pacing::Kernel => (rate / 1024.0).clamp(2.0 * PACKET_BYTES as f64, 44.0 * PACKET_BYTES as f64),
        };
        self.tokens = self.tokens.min(capacity);
        if self.tokens >= PACKET_BYTES as f64 {
            return None;
        }
        self.tokens = (self.tokens + rate * (now_ns - self.tokens_at_ns) as f64 / 1e9).min(capacity);
        self.tokens_at_ns = now_ns;
        if self.tokens >= PACKET_BYTES as f64 {
            return None;
        }
        let due_ns = now_ns + nanoseconds(Duration::from_secs_f64((capacity - self.tokens) / rate));
        Some(if pacing == Pacing::Quinn { due_ns.div_ceil(1_000_000) * 1_000_000 } else { due_ns })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

pub(super) struct Network {
    pub(super) link: Link,
    pub(super) flows: Vec<Flow>,
    base: Instant,
    now_ns: u64,
    free_ns: u64,
    random: fastrand::Rng,
    /// Packets after the queue, and acknowledgements, with when they arrive.
    arriving: VecDeque<(u64, usize, u64)>,
    acknowledgements: VecDeque<(u64, usize, Vec<u64>)>,
}

impl Network {
    pub(super) fn new(link: Link, flows: Vec<Flow>, seed: u64) -> Self {
        Self {
            link,
            flows,
            base: Instant::now(),
            now_ns: 0,
            free_ns: 0,
            random: fastrand::Rng::with_seed(seed),
            arriving: VecDeque::new(),
            acknowledgements: VecDeque::new(),
        }
    }

    fn at(&self, ns: u64) -> Instant {
        self.base + Duration::from_nanos(ns)
    }

    /// Runs until `end_ms`, or until all that have an end are at it.
    pub(super) fn run(&mut self, end_ms: u64) {
        loop {
            let timer = self.flows.iter().map(|flow| flow.timer_ns).min().unwrap_or(u64::MAX);
            let arrival = self.arriving.front().map_or(u64::MAX, |packet| packet.0);
            let acknowledgement = self.acknowledgements.front().map_or(u64::MAX, |ack| ack.0);
            let next = timer.min(arrival).min(acknowledgement);
            if next > end_ms * 1_000_000 {
                return;
            }
            self.now_ns = next;
            if next == arrival {
                let (_, flow, number) = self.arriving.pop_front().unwrap();
                self.arrive(flow, number);
            } else if next == acknowledgement {
                let (_, flow, numbers) = self.acknowledgements.pop_front().unwrap();
                self.acknowledge(flow, &numbers);
            } else {
                let flow = self.flows.iter().position(|flow| flow.timer_ns == next).unwrap();
                self.flows[flow].timer_ns = u64::MAX;
                self.send(flow);
            }
            if self.flows.iter().all(|flow| flow.outcome.finished_ms.is_some()) {
                return;
            }
        }
    }

    fn send(&mut self, index: usize) {
        let now = self.at(self.now_ns);
        let half_ns = self.link.rtt_ms * 500_000;
        let queue_ns = nanoseconds(Duration::from_secs_f64(self.link.queue * self.link.rtt_ms as f64 / 1e3));
        let packet_ns = PACKET_BYTES * 8 * 1_000_000_000 / self.link.bits_per_second;
        if self.now_ns < self.flows[index].start_ns {
            return;
        }
        let mut batch = 0;
        loop {
            let flow = &mut self.flows[index];
            flow.is_app_limited = flow.left <= flow.in_flight;
            if flow.is_app_limited || flow.in_flight + PACKET_BYTES >= flow.sender.window() {
                break;
            }
            if let Some(at_ns) = flow.wait_ns(self.now_ns) {
                flow.timer_ns = at_ns.max(self.now_ns + 1);
                break;
            }
            flow.tokens -= PACKET_BYTES as f64;
            flow.in_flight += PACKET_BYTES;
            flow.outcome.sent += 1;
            let number = flow.next;
            flow.next += 1;
            flow.on_way.push_back(InFlight { number, sent_ns: self.now_ns, is_done: false });
            batch += 1;
            if batch % 10 == 0 {
                flow.sender.sent(now, number);
            }
            if self.random.f64() < self.link.loss {
                continue;
            }
            let begin_ns = self.free_ns.max(self.now_ns);
            if begin_ns - self.now_ns > queue_ns {
                flow.outcome.dropped_at_queue += 1;
                continue;
            }
            flow.outcome.queued_ns += begin_ns - self.now_ns;
            self.free_ns = begin_ns + packet_ns;
            self.arriving.push_back((self.free_ns + half_ns, index, number));
        }
        let flow = &mut self.flows[index];
        if batch % 10 != 0 {
            flow.sender.sent(now, flow.next - 1);
        }
        // A probe for the tail: what was lost at the end is found out by it.
        if flow.timer_ns == u64::MAX && flow.in_flight > 0 {
            let pto_ns = 3 * flow.rtt.map_or(333_000_000, nanoseconds);
            let last_ns = flow.on_way.back().map_or(self.now_ns, |last| last.sent_ns);
            if last_ns + pto_ns > self.now_ns {
                flow.timer_ns = last_ns + pto_ns;
            } else {
                self.give_up_oldest(index);
            }
        }
    }

    /// Nothing comes back: everything is taken for lost.
    fn give_up_oldest(&mut self, index: usize) {
        let now = self.at(self.now_ns);
        let base = self.base;
        let flow = &mut self.flows[index];
        while let Some(packet) = flow.on_way.pop_front() {
            if !packet.is_done {
                flow.in_flight -= PACKET_BYTES;
                flow.sender.lost(now, base + Duration::from_nanos(packet.sent_ns), PACKET_BYTES);
            }
        }
        flow.timer_ns = self.now_ns + 1;
    }

    fn arrive(&mut self, index: usize, number: u64) {
        let flow = &mut self.flows[index];
        flow.unacknowledged.push(number);
        // The last ones do not wait for a second.
        if flow.unacknowledged.len() >= 2 || flow.left <= 4 * PACKET_BYTES || number < 10 {
            let numbers = std::mem::take(&mut flow.unacknowledged);
            let seen_ns = self.link.seen_ns(self.now_ns + self.link.rtt_ms * 500_000);
            self.acknowledgements.push_back((seen_ns, index, numbers));
        }
    }

    fn acknowledge(&mut self, index: usize, numbers: &[u64]) {
        let (now, base) = (self.at(self.now_ns), self.base);
        let now_ns = self.now_ns;
        let flow = &mut self.flows[index];
        let mut newest_ns = None;
        for number in numbers {
            let Some(first) = flow.on_way.front().map(|packet| packet.number) else { break };
            let Some(place) = number.checked_sub(first) else { continue };
            let packet = &mut flow.on_way[usize::try_from(place).unwrap()];
            if std::mem::replace(&mut packet.is_done, true) {
                continue;
            }
            newest_ns = Some(packet.sent_ns);
            flow.in_flight -= PACKET_BYTES;
            flow.left = flow.left.saturating_sub(PACKET_BYTES);
            flow.outcome.delivered_bytes += PACKET_BYTES;
            flow.sender.acked(now, base + Duration::from_nanos(packet.sent_ns), PACKET_BYTES);
        }
        let Some(newest_ns) = newest_ns else { return };
        let latest = Duration::from_nanos(now_ns - newest_ns);
        let rtt = flow.rtt.unwrap_or(Duration::from_millis(333));
        flow.sender.acks_done(now, flow.in_flight, flow.is_app_limited, rtt);
        flow.rtt = Some(flow.rtt.map_or(latest, |rtt| (rtt * 7 + latest) / 8));
        let largest = numbers[numbers.len() - 1];
        let (mut lost, mut lost_ns) = (0, 0);
        while flow.on_way.front().is_some_and(|packet| packet.is_done || packet.number + 3 <= largest) {
            let packet = flow.on_way.pop_front().unwrap();
            if !packet.is_done {
                lost += PACKET_BYTES;
                lost_ns = packet.sent_ns;
            }
        }
        if lost > 0 {
            flow.in_flight -= lost;
            flow.sender.lost(now, base + Duration::from_nanos(lost_ns), lost);
        }
        if flow.left == 0 {
            flow.outcome.finished_ms.get_or_insert(now_ns / 1_000_000);
            return;
        }
        flow.timer_ns = u64::MAX;
        self.send(index);
    }
}
