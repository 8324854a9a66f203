//! How much a connection sends before it hears that it arrived: the choice of a congestion control, and one of our own.
//!
//! quinn's CUBIC takes every lost packet for a full queue, and so leaves almost nothing of a long path that loses one in a thousand;
//! quinn's BBR carries on through losses, but has up to half of its packets dropped at the queue that it fills. [`Congestion::Auto`] is
//! a model of the path (`congestion/model.rs`) after draft-ietf-ccwg-bbr (BBRv3): it sends as fast as the path was seen to deliver, keeps the
//! queue short, and gives way to losses that are more than chance. RFC 9002 §7 lets a sender use what it likes, within its principles.
//!
//! Each end chooses for what it sends, and needs no leave of the other: for a push it is the controller's choice that counts, for a pull the
//! gateway's. This file only translates between quinn's trait and the model; it decides nothing.

mod deliveries;
mod model;
mod rate;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use quinn::{
    Connection,
    congestion::{BbrConfig, Controller, ControllerFactory, CubicConfig},
};
use quinn_proto::RttEstimator;

use super::{SeenPath, goodbye};
use model::{Found, INITIAL_WINDOW_BYTES, Model};

/// A congestion control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// Ours: what the path was seen to deliver, short queues, unmoved by random loss.
    #[default]
    Auto,
    /// quinn's CUBIC (RFC 9438), which gives way to any loss.
    Cubic,
    /// quinn's BBR, which gives way to none.
    Bbr,
}

impl Congestion {
    /// What makes the control of each connection.
    pub(super) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Auto => Arc::new(Models),
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::Bbr => Arc::new(BbrConfig::default()),
        }
    }
}

/// What the model of `connection` has found out about its path, if it has one.
pub(super) fn seen(connection: &Connection) -> Option<SeenPath> {
    let Found { rate_bytes, round_trip, is_limit } = modelled(connection)?.model.found()?;
    Some(SeenPath { rate_bytes, round_trip, is_limit })
}

/// Lets the model of `connection` begin with this window when it next sends something.
pub(super) fn resume(connection: &Connection, window_bytes: u64) {
    if let Some(modelled) = modelled(connection) {
        // Only the first word counts.
        let _earlier = modelled.resumed.set(window_bytes);
    }
}

/// A copy of what controls the connection, if that is ours.
fn modelled(connection: &Connection) -> Option<Box<Modelled>> {
    goodbye::control(connection)?.into_any().downcast().ok()
}

struct Models;

impl ControllerFactory for Models {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Modelled {
            model: Model::new(now, current_mtu),
            rtt: Duration::ZERO,
            resumed: Arc::default(),
            has_resumed: false,
        })
    }
}

/// The model behind quinn's trait.
#[derive(Clone)]
struct Modelled {
    model: Model,
    /// The smoothed round trip, which quinn tells with each packet of a batch and not at its end.
    rtt: Duration,
    /// The window to begin with, which may be told after the handshake; shared by all copies.
    resumed: Arc<OnceLock<u64>>,
    has_resumed: bool,
}

impl Controller for Modelled {
    fn on_sent(&mut self, now: Instant, _: u64, last_packet_number: u64) {
        if !self.has_resumed
            && let Some(&window_bytes) = self.resumed.get()
        {
            self.has_resumed = true;
            self.model.resume(window_bytes);
        }
        self.model.sent(now, last_packet_number);
    }

    fn on_ack(&mut self, _: Instant, sent: Instant, bytes: u64, _: bool, rtt: &RttEstimator) {
        self.rtt = rtt.get();
        self.model.acked(sent, bytes);
    }

    fn on_end_acks(&mut self, _: Instant, in_flight: u64, app_limited: bool, _: Option<u64>) {
        // quinn tells when it began to look for datagrams. A thread that had to wait for a processor after that finds some that came later, and
        // round trips would seem shorter than the path; on a busy machine by half. What is late by the real clock does no harm.
        let now = Instant::now();
        self.model.acks_done(now, in_flight, app_limited, self.rtt);
    }

    fn on_congestion_event(
        &mut self,
        _: Instant,
        _: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        if is_persistent_congestion {
            self.model.begin_anew();
        } else if lost_bytes == 0 {
            self.model.marked();
        } else {
            self.model.lost(lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.model.set_mtu(new_mtu);
    }

    fn window(&self) -> u64 {
        self.model.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_WINDOW_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
