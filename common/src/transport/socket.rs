//! The UDP socket beneath an endpoint: no send is larger than one system call takes.
//!
//! quinn hands over up to ten datagrams at once, to be cut apart by the kernel or the network card (generic segmentation offload). The
//! kernel takes at most 64 KiB so; when it refuses more, quinn-udp gives up segmentation for the life of the socket, and the path falls
//! back to its smallest datagrams. So that a path may have larger datagrams than a tenth of 64 KiB, fewer are asked for at once where
//! they are large, and what is still too much is sent in parts.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};

/// The most that one send may hold: what an IPv4 packet has room for beside its own header and UDP's.
const SEND_BYTES_MAX: usize = 65_535 - 20 - 8;

/// Datagrams of fewer bytes tell nothing of what a path carries: no path of QUIC's carries less (RFC 9000 §14).
const PATH_BYTES_MIN: usize = 1200;

/// A socket of quinn's that keeps to the limit.
#[derive(Debug)]
pub(super) struct BoundedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    /// Size of the last datagram that was as large as a path may be. Only a hint: connections have different paths.
    datagram_bytes: AtomicUsize,
}

impl BoundedSocket {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>) -> Self {
        Self { inner, datagram_bytes: AtomicUsize::new(PATH_BYTES_MIN) }
    }
}

impl AsyncUdpSocket for BoundedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    /// Sends in parts what is too large for one send. Where a later part would block, all are sent again, as quinn does with what it
    /// has not got rid of; the peer takes the doubles for what they are.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let datagram_bytes = transmit.segment_size.unwrap_or(transmit.contents.len());
        if datagram_bytes >= PATH_BYTES_MIN {
            self.datagram_bytes.store(datagram_bytes, Relaxed);
        }
        parts(transmit).try_for_each(|part| self.inner.try_send(&part))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        let fitting = SEND_BYTES_MAX / self.datagram_bytes.load(Relaxed);
        fitting.clamp(1, self.inner.max_transmit_segments())
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// The same datagrams in as few sends as the limit allows.
fn parts<'a>(transmit: &Transmit<'a>) -> impl Iterator<Item = Transmit<'a>> {
    let datagram_bytes = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
    let part_bytes = (SEND_BYTES_MAX / datagram_bytes).max(1) * datagram_bytes;
    transmit.contents.chunks(part_bytes).map(move |contents| Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn,
        contents,
        segment_size: (contents.len() > datagram_bytes).then_some(datagram_bytes),
        src_ip: transmit.src_ip,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of the datagrams of a send, as the kernel makes them.
    fn datagrams(transmit: &Transmit<'_>) -> Vec<usize> {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        transmit.contents.chunks(segment).map(<[u8]>::len).collect()
    }

    #[test]
    fn parts_are_the_same_datagrams_within_the_limit() {
        for (segment, len, sends) in [
            (None, 40, 1),
            (None, 65_400, 1),
            (Some(1452), 14_520, 1),
            (Some(1452), 13_068 + 7, 1),
            (Some(6500), 65_000, 1),
            (Some(8952), 89_520, 2),
            (Some(16_000), 160_000, 3),
            (Some(65_400), 196_207, 4),
        ] {
            let contents: Vec<u8> = (0_u8..251).cycle().take(len).collect();
            let destination = SocketAddr::from(([192, 0, 2, 1], 4433));
            let whole =
                Transmit { destination, ecn: None, contents: &contents, segment_size: segment, src_ip: None };
            let parts: Vec<Transmit<'_>> = parts(&whole).collect();
            assert_eq!(parts.len(), sends, "{segment:?}");
            assert!(parts.iter().all(|part| part.contents.len() <= SEND_BYTES_MAX), "{segment:?}");
            assert_eq!(
                parts.iter().flat_map(datagrams).collect::<Vec<_>>(),
                datagrams(&whole),
                "{segment:?}"
            );
            let sent: Vec<u8> = parts.iter().flat_map(|part| part.contents).copied().collect();
            assert_eq!(sent, contents, "{segment:?}");
            let several = |part: &Transmit<'_>| part.contents.len() > segment.unwrap_or(usize::MAX);
            assert!(parts.iter().all(|part| part.segment_size.is_some() == several(part)), "{segment:?}");
        }
    }
}
