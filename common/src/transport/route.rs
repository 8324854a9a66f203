//! What the system knows of the way to an address, before anything was sent there.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use rustix::net::sockopt;

use crate::limits;

/// Headers in front of a datagram's payload (RFC 791 §3.1, RFC 8200 §3, RFC 768).
const IPV4_HEADERS_BYTES: u32 = 20 + 8;
const IPV6_HEADERS_BYTES: u32 = 40 + 8;

/// The largest payload worth trying towards `remote`, and from there: what its route carries, as far as the interface and what was heard from
/// routers of late say (`IP_MTU`, ip(7)). The path may still carry less. Sends nothing.
pub(super) fn datagram_bytes(remote: SocketAddr) -> u16 {
    let carried = match route_bytes(remote) {
        Ok(bytes) => u16::try_from(bytes).unwrap_or(u16::MAX),
        Err(err) => {
            // Dialling meets the same, if it matters.
            tracing::debug!(%err, "the size of datagrams towards the gateway is not known");
            limits::DATAGRAM_BYTES_MAX
        }
    };
    carried.clamp(limits::DATAGRAM_BYTES_INITIAL, limits::DATAGRAM_BYTES_MAX)
}

fn route_bytes(remote: SocketAddr) -> io::Result<u32> {
    let socket = match remote {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(remote)?;
    Ok(match remote {
        SocketAddr::V4(_) => sockopt::ip_mtu(&socket)?.saturating_sub(IPV4_HEADERS_BYTES),
        SocketAddr::V6(_) => sockopt::ipv6_mtu(&socket)?.saturating_sub(IPV6_HEADERS_BYTES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_the_largest_and_a_path_that_is_not_known_is_tried_with_them() {
        for remote in ["127.0.0.1:9", "[::1]:9"] {
            assert_eq!(datagram_bytes(remote.parse().unwrap()), limits::DATAGRAM_BYTES_MAX, "{remote}");
        }
        // A network that has no route, or one by an interface of any size.
        let bytes = datagram_bytes("198.51.100.1:9".parse().unwrap());
        assert!((limits::DATAGRAM_BYTES_INITIAL..=limits::DATAGRAM_BYTES_MAX).contains(&bytes));
    }

    #[test]
    fn headers_are_taken_off() {
        // The kernel's interface has 65,536 bytes, an IPv4 packet at most one less.
        assert_eq!(route_bytes("127.0.0.1:9".parse().unwrap()).unwrap(), 65_535 - IPV4_HEADERS_BYTES);
    }
}
