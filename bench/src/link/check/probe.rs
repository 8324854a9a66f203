//! What the check sends over a link: UDP datagrams, numbered or timed, between a socket at each end.
//!
//! It measures from outside, at the sockets, and never asks the emulator. Each probe ends by itself: at a count, at a time, or
//! when nothing has arrived for [`SILENCE`] beyond the link's round trip.

use std::{
    io::{ErrorKind, Result as IoResult},
    net::UdpSocket,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::link::{Namespace, Network};

/// Headers of IPv4 (without options) and UDP, in bytes.
pub(super) const HEADERS: usize = 20 + 8;

/// How long a probe listens to nothing before it ends, beyond the round trip: far more than a busy machine delays a thread.
const SILENCE: Duration = Duration::from_millis(200);

/// Buffer of each receiving socket, in bytes: 16 Ki packets of the kernel's accounting, so that the socket loses nothing.
const RECEIVE_BUFFER: usize = 32 << 20;

/// Packets of a flood that are on their way at once: a tenth of what a TUN device and the receiving socket keep.
const WINDOW: u64 = 1_024;

/// How often a flood looks whether its window has moved.
const WINDOW_POLL: Duration = Duration::from_micros(100);

/// How often a paced sender sends what has become due.
const PACE: Duration = Duration::from_millis(1);

/// A socket at each end, connected to the other.
pub(super) struct Ends {
    pub(super) near: UdpSocket,
    pub(super) far: UdpSocket,
}

/// A ping that came back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    /// After the first ping was sent.
    pub(super) sent: Duration,
    pub(super) round_trip: Duration,
}

/// What a flood brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) elapsed: Duration,
}

/// How much went in and came out of a link that was offered more than its rate, in bits/s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overdrive {
    pub(super) sent: f64,
    pub(super) received: f64,
}

impl Ends {
    /// Opens both; a receiver gives up after [`SILENCE`] beyond `rtt`.
    pub(super) fn open(network: &Network, rtt: Duration) -> Result<Self> {
        let bind = |end: &Namespace, address| {
            let socket = end.run(|| UdpSocket::bind((address, 0)))?.context("failed to bind a socket")?;
            set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)
                .context("failed to enlarge a receive buffer")?;
            socket.set_read_timeout(Some(rtt + SILENCE))?;
            anyhow::Ok(socket)
        };
        let near = bind(network.near(), network.near_address())?;
        let far = bind(network.far(), network.far_address())?;
        near.connect(far.local_addr()?)?;
        far.connect(near.local_addr()?)?;
        Ok(Self { near, far })
    }

    /// Sends `count` pings, one in each `interval`, from the near end to the far one and back.
    pub(super) fn echoes(&self, count: u64, interval: Duration) -> Result<Vec<Echo>> {
        let start = Instant::now();
        thread::scope(|scope| {
            let echo = scope.spawn(|| echo(&self.far, count));
            let send = scope.spawn(|| send_pings(&self.near, count, interval, start));
            let mut echoes = Vec::new();
            while (echoes.len() as u64) < count {
                let Some(sent_ns) = receive_number(&self.near, &mut [0; 8])? else { break };
                let sent = Duration::from_nanos(sent_ns);
                echoes.push(Echo { sent, round_trip: start.elapsed().saturating_sub(sent) });
            }
            for thread in [echo, send] {
                thread.join().expect("a probe's thread returns its errors")?;
            }
            ensure!(!echoes.is_empty(), "no ping came back");
            Ok(echoes)
        })
    }
}

/// Sends numbered packets of `bytes` (headers included) as fast as they get through, until `packets` or `time` is reached.
pub(super) fn flood(
    (from, to): (&UdpSocket, &UdpSocket),
    bytes: usize,
    packets: u64,
    time: Duration,
) -> Result<Flood> {
    let start = Instant::now();
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut payload = vec![0; bytes - HEADERS];
            let mut sent = 0;
            while sent < packets && start.elapsed() < time {
                while sent - seen.load(Ordering::Relaxed).min(sent) >= WINDOW && start.elapsed() < time {
                    thread::sleep(WINDOW_POLL);
                }
                sent += 1;
                payload[..8].copy_from_slice(&sent.to_le_bytes());
                from.send(&payload)?;
            }
            IoResult::Ok(sent)
        });
        let mut buffer = vec![0; bytes];
        let (mut received, mut last) = (0, start);
        while seen.load(Ordering::Relaxed) < packets {
            match receive_number(to, &mut buffer)? {
                Some(number) => {
                    received += 1;
                    last = Instant::now();
                    seen.fetch_max(number, Ordering::Relaxed);
                }
                // A sender that has not been given a processor is silent, too.
                None if sender.is_finished() => break,
                None => (),
            }
        }
        let sent = sender.join().expect("a probe's thread returns its errors")?;
        Ok(Flood { sent, received, elapsed: last - start })
    })
}

/// Sends packets of `bytes` (headers included) at `rate` bits/s for `time`. What arrives counts after the first third.
pub(super) fn overdrive(ends: &Ends, bytes: usize, rate: u64, time: Duration) -> Result<Overdrive> {
    let start = Instant::now();
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let payload = vec![0; bytes - HEADERS];
            let mut sent: u32 = 0;
            while start.elapsed() < time {
                let due = start.elapsed().as_secs_f64() * rate as f64 / (8 * bytes) as f64;
                while f64::from(sent) < due {
                    ends.near.send(&payload)?;
                    sent += 1;
                }
                thread::sleep(PACE);
            }
            IoResult::Ok(sent)
        });
        let mut buffer = vec![0; bytes];
        let (mut packets, mut first, mut last) = (0, None, start);
        while start.elapsed() < time && receive_number(&ends.far, &mut buffer)?.is_some() {
            last = Instant::now();
            if last - start > time / 3 {
                first.get_or_insert(last);
                packets += 1;
            }
        }
        let sent = sender.join().expect("a probe's thread returns its errors")?;
        let rate =
            |packets: u32, time: Duration| f64::from(packets) * (8 * bytes) as f64 / time.as_secs_f64();
        let window = last - first.context("nothing arrived")?;
        // The first packet opens the window, and its own time lies before it.
        Ok(Overdrive { sent: rate(sent, time), received: rate(packets - 1, window) })
    })
}

/// Sends `count` packets of `bytes` (headers included) at once; returns how many arrive, and how long the sending took.
pub(super) fn burst(ends: &Ends, bytes: usize, count: u64) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let payload = vec![0; bytes - HEADERS];
    for _ in 0..count {
        ends.near.send(&payload)?;
    }
    let sending = start.elapsed();
    let mut buffer = vec![0; bytes];
    let mut arrived = 0;
    while receive_number(&ends.far, &mut buffer)?.is_some() {
        arrived += 1;
    }
    Ok((arrived, sending))
}

fn echo(socket: &UdpSocket, count: u64) -> IoResult<()> {
    let mut buffer = [0; 8];
    for _ in 0..count {
        let Some(number) = receive_number(socket, &mut buffer)? else { break };
        socket.send(&number.to_le_bytes())?;
    }
    Ok(())
}

fn send_pings(socket: &UdpSocket, count: u64, interval: Duration, start: Instant) -> IoResult<()> {
    let mut due = Duration::ZERO;
    for _ in 0..count {
        thread::sleep(due.saturating_sub(start.elapsed()));
        let now_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        socket.send(&now_ns.to_le_bytes())?;
        due += interval;
    }
    Ok(())
}

/// The number at the front of the next packet, or `None` after silence.
fn receive_number(socket: &UdpSocket, buffer: &mut [u8]) -> IoResult<Option<u64>> {
    match socket.recv(buffer) {
        Ok(_) => Ok(buffer.first_chunk().map(|number| u64::from_le_bytes(*number))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
