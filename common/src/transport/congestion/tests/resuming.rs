//! The model on a path of which something is remembered, rightly or not.

use std::time::{Duration, Instant};

use super::{
    Model, mbit,
    simulator::{Flow, Link, Network, Outcome, PACKET_BYTES, Sender},
};

const MEGABYTE: u64 = 1_000_000;

/// A model that is told what to begin with as a connection is: after its handshake, whose round trip it has seen.
struct Resuming {
    model: Model,
    window_bytes: Option<u64>,
}

impl Sender for Resuming {
    fn sent(&mut self, now: Instant, last_packet: u64) {
        self.model.sent(now, last_packet);
    }

    fn acked(&mut self, _: Instant, sent: Instant, bytes: u64) {
        self.model.acked(sent, bytes);
    }

    fn acks_done(&mut self, now: Instant, in_flight: u64, app_limited: bool, rtt: Duration) {
        self.model.acks_done(now, in_flight, app_limited, rtt);
        if let Some(window_bytes) = self.window_bytes.take() {
            self.model.resume(window_bytes);
        }
    }

    fn lost(&mut self, _: Instant, _: Instant, bytes: u64) {
        self.model.lost(bytes);
    }

    fn window(&self) -> u64 {
        self.model.window()
    }
}

/// Moves 21 MB over a path that is remembered to carry a window of so many bytes, if it is; what became of them, and in how many milliseconds.
fn moved(link: Link, window_bytes: Option<u64>) -> (Outcome, u64) {
    let model = Model::new(Instant::now(), u16::try_from(PACKET_BYTES).unwrap());
    let sender = Box::new(Resuming { model, window_bytes });
    let mut network = Network::new(link, vec![Flow::new(sender, 0, 21 * MEGABYTE)], 7);
    network.run(120_000);
    let outcome = network.flows[0].outcome.clone();
    let finished_ms = outcome.finished_ms.expect("all arrives in time");
    (outcome, finished_ms)
}

#[test]
fn a_path_that_is_as_it_was_is_filled_at_once() {
    // The simulator's first round trip takes 333 ms. Then there is one for the last acknowledgement, and 0.17 s for 21 MB at the whole rate; the rest is
    // for the half of the rate that is not believed at first.
    let link = mbit(1_000, 100, 0.0, 1.0);
    let (_, unknown_ms) = moved(link, None);
    let (outcome, known_ms) = moved(link, Some(6_250_000));
    assert!(known_ms <= 333 + 460, "{known_ms} ms");
    assert!(unknown_ms >= known_ms + 700, "{known_ms} ms, and {unknown_ms} ms without");
    assert_eq!(outcome.dropped_at_queue, 0);
}

#[test]
fn a_path_that_has_become_slower_is_given_way_to_within_a_round_trip() {
    // A tenth of the rate: the first round trip brings five times what the path holds, and the queue takes as much as it holds itself.
    for (queue, most) in [(1.0, 5 * MEGABYTE), (4.0, MEGABYTE)] {
        let link = mbit(100, 100, 0.0, queue);
        let (outcome, resumed_ms) = moved(link, Some(6_250_000));
        let dropped = outcome.dropped_at_queue * PACKET_BYTES;
        assert!(dropped <= most, "queue {queue}: {dropped} bytes dropped");
        let (_, ms) = moved(link, None);
        assert!(resumed_ms <= ms + 300, "queue {queue}: {resumed_ms} ms, and {ms} ms without");
    }
}
