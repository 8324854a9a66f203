//! The QUIC paths of all connections, added up, so that no series belongs to one peer.
//!
//! Connections are looked at when the metrics are read and once more when they end; what they lost and carried before is not
//! forgotten with them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::Connection;

/// The open connections. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<usize, (Connection, Totals)>,
    /// Of connections that ended since the last look.
    ended: Totals,
}

/// Counts that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) lost_packets: u64,
    pub(crate) udp_bytes_in: u64,
    pub(crate) udp_bytes_out: u64,
}

impl Totals {
    fn of(connection: &Connection) -> Self {
        let stats = connection.stats();
        Self {
            lost_packets: stats.path.lost_packets,
            udp_bytes_in: stats.udp_rx.bytes,
            udp_bytes_out: stats.udp_tx.bytes,
        }
    }

    fn add(&mut self, now: Self, before: Self) {
        self.lost_packets += now.lost_packets.saturating_sub(before.lost_packets);
        self.udp_bytes_in += now.udp_bytes_in.saturating_sub(before.udp_bytes_in);
        self.udp_bytes_out += now.udp_bytes_out.saturating_sub(before.udp_bytes_out);
    }
}

/// All paths at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) rtt_max: Duration,
    pub(crate) rtt_mean: Duration,
    pub(crate) window_bytes: u64,
    pub(crate) datagram_bytes_min: u16,
    /// What has been added since the last look.
    pub(crate) new: Totals,
}

impl Paths {
    /// Counts `connection` as open until the result is dropped.
    pub(crate) fn watch(&self, connection: Connection) -> OpenPath {
        let id = connection.stable_id();
        self.inner.lock().expect("no holder panics").open.insert(id, (connection, Totals::default()));
        OpenPath { paths: self.clone(), id }
    }

    /// Those that are open now.
    pub(crate) fn open(&self) -> Vec<Connection> {
        let inner = self.inner.lock().expect("no holder panics");
        inner.open.values().map(|(connection, _)| connection.clone()).collect()
    }

    pub(crate) fn look(&self) -> Seen {
        let mut inner = self.inner.lock().expect("no holder panics");
        let mut seen = Seen { new: std::mem::take(&mut inner.ended), ..Seen::default() };
        let mut rtt_sum = Duration::ZERO;
        for (connection, before) in inner.open.values_mut() {
            let path = connection.stats().path;
            seen.rtt_max = seen.rtt_max.max(path.rtt);
            rtt_sum += path.rtt;
            if connection.close_reason().is_none() {
                // A closing one has no window.
                seen.window_bytes = seen.window_bytes.saturating_add(path.cwnd);
            }
            seen.datagram_bytes_min = match seen.connections {
                0 => path.current_mtu,
                _ => seen.datagram_bytes_min.min(path.current_mtu),
            };
            seen.connections += 1;
            let now = Totals::of(connection);
            seen.new.add(now, std::mem::replace(before, now));
        }
        let count = u32::try_from(seen.connections.max(1)).unwrap_or(u32::MAX);
        seen.rtt_mean = rtt_sum / count;
        seen
    }
}

/// An open connection among the others.
#[derive(Debug)]
pub(crate) struct OpenPath {
    paths: Paths,
    id: usize,
}

impl Drop for OpenPath {
    fn drop(&mut self) {
        let mut inner = self.paths.inner.lock().expect("no holder panics");
        if let Some((connection, before)) = inner.open.remove(&self.id) {
            inner.ended.add(Totals::of(&connection), before);
        }
    }
}
