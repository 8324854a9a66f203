//! Closing a connection so that the peer hears of it.
//!
//! quinn-proto, up to 0.11.19 at least, holds the packet with CONNECTION_CLOSE back while the congestion window is full, and since
//! a closed connection takes no more acknowledgements, the packet then never leaves: the peer waits for its idle timeout
//! (quinn-rs/quinn#2785, mended after that release). A close in mid-transfer is just that case. RFC 9002 §7 exempts such
//! packets, so the window is opened here right before a close. Otherwise the congestion control is what was chosen (`congestion.rs`).

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use quinn::{
    Connection,
    congestion::{Controller, ControllerFactory, ControllerMetrics},
};
use quinn_proto::RttEstimator;

use super::Congestion;
use crate::wire::status::Status;

/// A window that holds nothing back: above 2^32 − 1 bytes quinn does not pace either.
const OPEN_WINDOW_BYTES: u64 = 1 << 32;

/// Ends the connection at once, telling the peer `status` and `reason`, however much is on its way.
pub fn close(connection: &Connection, status: Status, reason: &[u8]) {
    if let Ok(window) = connection.congestion_state().into_any().downcast::<Window>() {
        window.is_open.store(true, Relaxed);
    }
    connection.close(status.into(), reason);
}

/// A copy of the chosen control of `connection`, if this module has made it.
pub(super) fn control(connection: &Connection) -> Option<Box<dyn Controller>> {
    connection.congestion_state().into_any().downcast::<Window>().ok().map(|window| window.inner)
}

/// Makes the congestion control of each connection.
pub(super) struct Windows(Arc<dyn ControllerFactory + Send + Sync>);

impl Windows {
    pub(super) fn new(congestion: Congestion) -> Self {
        Self(congestion.factory())
    }
}

impl ControllerFactory for Windows {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::clone(&self.0).build(now, current_mtu);
        Box::new(Window { inner, is_open: Arc::default() })
    }
}

/// The chosen control, until it is opened. Clones are opened together.
struct Window {
    inner: Box<dyn Controller>,
    is_open: Arc<AtomicBool>,
}

impl Controller for Window {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.is_open.load(Relaxed) { OPEN_WINDOW_BYTES } else { self.inner.window() }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), is_open: Arc::clone(&self.is_open) })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
