//! Flow control of a connection: how far its streams may be ahead of their readers, all of them together.
//!
//! A stream whose reader takes its time fills its own window and then waits. But once such streams fill the window of the connection, everything on it
//! waits, whoever reads (RFC 9000 §4.1). So the windows of a connection grow with the streams in use: there is room for each of them to be a whole window
//! ahead, and for a quarter more.
//!
//! What was granted once cannot be taken back (RFC 9000 §4.1), so windows never shrink, and a connection may be sent as much ahead as it ever had streams in use
//! at a time. At a gateway all connections together grow within a [`Budget`]. One that gets nothing of it goes on with what it has.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::{Connection, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// Windows of streams by which the connections of a gateway may grow, beyond what each begins with. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    /// For as many streams in use at a time, on however many connections: twice that, since windows grow by doubling.
    pub fn for_streams(streams: usize) -> Self {
        Self(Arc::new(Semaphore::new(streams.saturating_mul(2).min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self, windows: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_many_owned(u32::try_from(windows).ok()?).ok()
    }
}

/// The windows of one connection in both directions. Cheap to clone; all clones are the same. There is to be one for a connection.
#[derive(Clone, Debug)]
pub struct FlowControl(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connection: Connection,
    receive_bytes: u64,
    send_bytes: u64,
    budget: Option<Budget>,
    in_use: Mutex<InUse>,
}

/// Streams in use, and the room that was made for them.
#[derive(Debug)]
struct InUse {
    streams: u64,
    /// Times what the path needs.
    factor: u64,
    /// What the budget gave, until the connection is over.
    permits: Vec<OwnedSemaphorePermit>,
}

impl FlowControl {
    /// Gives a connection the windows that its path needs, once it is known whose it is. They follow from the round trip as it is now, after
    /// the handshake, so a short path holds no more memory for the sake of long ones. They grow within the budget, or without one as far as streams are
    /// used.
    pub fn of(connection: &Connection, budget: Option<Budget>) -> Self {
        let rtt = connection.rtt();
        let shared = Shared {
            connection: connection.clone(),
            receive_bytes: window_bytes(rtt).into(),
            send_bytes: send_window_bytes(rtt).into(),
            budget,
            in_use: Mutex::new(InUse { streams: 0, factor: 1, permits: Vec::new() }),
        };
        shared.announce(1);
        Self(Arc::new(shared))
    }

    /// Makes room for `streams`, until the result is dropped.
    pub fn share(&self, streams: usize) -> Share {
        let Shared { receive_bytes, budget, in_use, .. } = &*self.0;
        let streams = streams as u64;
        let mut in_use = in_use.lock().expect("no holder panics");
        if in_use.take(streams, *receive_bytes, budget.as_ref()) {
            // While nobody else can say how much it is.
            self.0.announce(in_use.factor);
        }
        drop(in_use);
        Share { flow: self.clone(), streams }
    }
}

impl Shared {
    /// Says how much may be received, and how much may be sent without being acknowledged: both this many times what the path needs, but of what is sent,
    /// which is in memory here, no more than on the longest path.
    fn announce(&self, factor: u64) {
        let receive = announced_bytes(self.receive_bytes * factor);
        let receive = VarInt::from_u64(receive).expect("no streams whose windows come near 2^62 bytes");
        self.connection.set_receive_window(receive);
        self.connection.set_send_window((self.send_bytes * factor).min(limits::SEND_WINDOW_BYTES_MAX.into()));
    }
}

/// A quarter more than what streams may fill: quinn tells the peer that there is room again only when an eighth of the window has been read, so all stands
/// still if less than that is left.
fn announced_bytes(window_bytes: u64) -> u64 {
    window_bytes + window_bytes / 4
}

impl InUse {
    /// Counts `streams` more; says whether the windows, of `bytes` at first, grow for them. They do so by doubling, so that streams which come and go cost
    /// nothing.
    fn take(&mut self, streams: u64, bytes: u64, budget: Option<&Budget>) -> bool {
        const STREAM: u64 = limits::STREAM_WINDOW_BYTES as u64;
        self.streams += streams;
        let mut factor = self.factor;
        while self.streams * STREAM > bytes * factor {
            factor *= 2;
        }
        if factor == self.factor {
            return false;
        }
        if let Some(budget) = budget {
            let growth = bytes * (factor - self.factor);
            let Some(permit) = budget.take(growth.div_ceil(STREAM)) else { return false };
            self.permits.push(permit);
        }
        self.factor = factor;
        true
    }
}

/// Room for some streams of a connection.
#[derive(Debug)]
pub struct Share {
    flow: FlowControl,
    streams: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.flow.0.in_use.lock().expect("no holder panics").streams -= self.streams;
    }
}

/// Data streams that fill the send window of a connection with this round trip, but for what is left for control: where they fill all of it, a ping
/// waits behind as many round trips as they are ahead.
pub(crate) fn data_streams(rtt: Duration) -> usize {
    /// Windows of a stream that are left for control.
    const CONTROL_WINDOWS: usize = 2;
    let streams = send_window_bytes(rtt) / limits::STREAM_WINDOW_BYTES;
    let streams = usize::try_from(streams).expect("usize has 32 bits or more");
    (streams - CONTROL_WINDOWS).clamp(limits::DATA_STREAMS, limits::DATA_STREAMS_MAX)
}

/// Bytes that the streams of a sync may be ahead of their readers.
fn window_bytes(rtt: Duration) -> u32 {
    let path = u128::from(limits::PATH_RATE_BYTES) * rtt.as_micros() / 1_000_000;
    let window = path * u128::from(limits::WINDOW_ROUND_TRIPS);
    u32::try_from(window)
        .unwrap_or(u32::MAX)
        .clamp(limits::CONNECTION_WINDOW_BYTES, limits::CONNECTION_WINDOW_BYTES_MAX)
}

/// Bytes of a sync that may be written and not yet acknowledged.
fn send_window_bytes(rtt: Duration) -> u32 {
    window_bytes(rtt).min(limits::SEND_WINDOW_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_streams_grow_with_the_round_trip_and_only_then() {
        use limits::{
            CONNECTION_WINDOW_BYTES, CONNECTION_WINDOW_BYTES_MAX, DATA_STREAMS, SEND_WINDOW_BYTES_MAX,
        };
        for (ms, receive, send, streams) in [
            (0, CONNECTION_WINDOW_BYTES, CONNECTION_WINDOW_BYTES, DATA_STREAMS),
            (20, CONNECTION_WINDOW_BYTES, CONNECTION_WINDOW_BYTES, DATA_STREAMS),
            (40, 15_000_000, 15_000_000, 5),
            (100, 37_500_000, 37_500_000, 15),
            (150, CONNECTION_WINDOW_BYTES_MAX, SEND_WINDOW_BYTES_MAX, 20),
            (60_000, CONNECTION_WINDOW_BYTES_MAX, SEND_WINDOW_BYTES_MAX, 20),
        ] {
            let rtt = Duration::from_millis(ms);
            let windows = (window_bytes(rtt), send_window_bytes(rtt), data_streams(rtt));
            assert_eq!(windows, (receive, send, streams), "{ms} ms");
        }
    }

    #[test]
    fn data_never_fills_what_may_be_sent() {
        for ms in 0..2000 {
            let rtt = Duration::from_millis(ms);
            let data = limits::STREAM_WINDOW_BYTES * u32::try_from(data_streams(rtt)).unwrap();
            let room = limits::STREAM_WINDOW_BYTES * 2;
            assert!(data + room <= send_window_bytes(rtt).min(window_bytes(rtt)), "{ms} ms");
        }
    }

    fn unused() -> InUse {
        InUse { streams: 0, factor: 1, permits: Vec::new() }
    }

    #[test]
    fn one_sync_needs_no_more_than_its_path_and_every_stream_has_room() {
        for ms in 0..200 {
            let rtt = Duration::from_millis(ms);
            let (bytes, mut in_use) = (u64::from(window_bytes(rtt)), unused());
            assert!(!in_use.take(1 + data_streams(rtt) as u64, bytes, None), "{ms} ms");
            for _ in 0..1000 {
                in_use.take(1, bytes, None);
                let announced = announced_bytes(bytes * in_use.factor);
                let full = in_use.streams * u64::from(limits::STREAM_WINDOW_BYTES);
                // Below an eighth quinn announces nothing.
                assert!(
                    announced - full >= (announced / 8).max(limits::STREAM_WINDOW_BYTES.into()),
                    "{ms} ms: {in_use:?}"
                );
            }
        }
    }

    #[test]
    fn connections_grow_within_the_budget_until_they_are_gone() {
        let (bytes, budget) = (u64::from(limits::CONNECTION_WINDOW_BYTES), Budget::for_streams(64));
        let mut first = unused();
        assert!(first.take(64, bytes, Some(&budget)));
        assert_eq!(first.factor, 16);
        first.streams = 0;
        let mut second = unused();
        assert!(!second.take(64, bytes, Some(&budget)), "what one has is not there for another");
        assert!(!second.take(1, bytes, Some(&budget)));
        drop(first);
        assert!(second.take(1, bytes, Some(&budget)));
        assert_eq!(second.factor, 16);
    }
}
