//! Flow-control windows of a connection: how far its streams may be ahead of their readers, all of them together.
//!
//! A stream whose reader takes its time fills its own window and then waits. But once such streams fill the window of the connection, everything on it
//! waits, whoever reads (RFC 9000 §4.1). So the window has room for every stream in use to be as far ahead as it may, and for one more. What that
//! costs in memory is bounded by the streams in use, which handlers are taken for and controllers open.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::{Connection, VarInt};

use crate::limits;

/// The windows of one connection in both directions. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Windows(Arc<Both>);

#[derive(Debug)]
struct Both {
    connection: Connection,
    receiving: Mutex<Side>,
    sending: Mutex<Side>,
}

/// One direction. It grows with the streams in use and stays as it is, since a window costs nothing: what is in it does.
#[derive(Debug)]
struct Side {
    bytes: u64,
    streams: u64,
}

impl Windows {
    /// Gives a connection the windows that its path needs, once it is known whose it is. They follow from the round trip as it is now, after
    /// the handshake, so a short path holds no more memory for the sake of long ones.
    pub fn of(connection: &Connection) -> Self {
        let rtt = connection.rtt();
        let side = |bytes: u32| Side { bytes: bytes.into(), streams: 0 };
        let (receiving, sending) = (side(window_bytes(rtt)), side(send_window_bytes(rtt)));
        connection.set_receive_window(var_int(receiving.bytes));
        connection.set_send_window(sending.bytes);
        Self(Arc::new(Both {
            connection: connection.clone(),
            receiving: Mutex::new(receiving),
            sending: Mutex::new(sending),
        }))
    }

    /// Makes room for `streams` that the peer sends on, until the result is dropped.
    pub fn receiving(&self, streams: usize) -> Share {
        self.share(Direction::Receiving, streams)
    }

    /// Makes room for `streams` to send on, until the result is dropped.
    pub fn sending(&self, streams: usize) -> Share {
        self.share(Direction::Sending, streams)
    }

    fn share(&self, direction: Direction, streams: usize) -> Share {
        let streams = streams as u64;
        let Both { connection, .. } = &*self.0;
        let mut side = self.0.side(direction).lock().expect("no holder panics");
        if side.take(streams) {
            // While nobody else can say how much it is.
            match direction {
                Direction::Receiving => connection.set_receive_window(var_int(side.bytes)),
                Direction::Sending => connection.set_send_window(side.bytes),
            }
        }
        drop(side);
        Share { windows: self.clone(), direction, streams }
    }
}

impl Both {
    fn side(&self, direction: Direction) -> &Mutex<Side> {
        match direction {
            Direction::Receiving => &self.receiving,
            Direction::Sending => &self.sending,
        }
    }
}

impl Side {
    /// Counts `streams` more; says whether the window has grown for them. It does so by doubling, so that streams which come and go cost nothing.
    fn take(&mut self, streams: u64) -> bool {
        let before = self.bytes;
        self.streams += streams;
        while self.streams * u64::from(limits::STREAM_WINDOW_BYTES) >= self.bytes {
            self.bytes *= 2;
        }
        self.bytes > before
    }
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Receiving,
    Sending,
}

/// Room for some streams of a connection.
#[derive(Debug)]
pub struct Share {
    windows: Windows,
    direction: Direction,
    streams: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut side = self.windows.0.side(self.direction).lock().expect("no holder panics");
        side.streams -= self.streams;
    }
}

fn var_int(bytes: u64) -> VarInt {
    VarInt::from_u64(bytes).expect("no streams whose windows come near 2^62 bytes")
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

    #[test]
    fn one_sync_needs_no_more_than_its_path_and_every_stream_has_room() {
        for ms in 0..200 {
            let rtt = Duration::from_millis(ms);
            let mut side = Side { bytes: send_window_bytes(rtt).into(), streams: 0 };
            assert!(!side.take(1 + data_streams(rtt) as u64), "{ms} ms");
            for _ in 0..1000 {
                side.take(1);
                let room = side.bytes - side.streams * u64::from(limits::STREAM_WINDOW_BYTES);
                assert!(room > 0 && side.bytes < 4 * (side.bytes - room), "{ms} ms: {side:?}");
            }
        }
    }
}
