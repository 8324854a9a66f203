//! Another address for one end of a link: what a router on the way does that translates addresses.
//!
//! An IPv4 packet in, the same with another source or destination out, checksums included (RFC 1624): those of the header and of UDP or TCP. Pure.

use std::{net::Ipv4Addr, ops::Range};

/// Where an IPv4 header has its addresses (RFC 791 §3.1).
pub(super) const SOURCE: Range<usize> = 12..16;
pub(super) const DESTINATION: Range<usize> = 16..20;

/// Where it has its checksum, and the number of the protocol within.
const CHECKSUM: usize = 10;
const PROTOCOL: usize = 9;

/// Numbers of protocols, and where their headers have checksums over the addresses (RFC 768, RFC 9293 §3.1).
const UDP: (u8, usize) = (17, 6);
const TCP: (u8, usize) = (6, 16);

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the near end to the far one.
    ToFar,
    /// From the far end to the near one.
    ToNear,
}

/// Has the near end, which is `own`, seen at `other` by the far one. Says whether the packet still goes somewhere: nobody is at `own` any more.
pub(super) fn translate(packet: &mut [u8], way: Way, own: Ipv4Addr, other: Ipv4Addr) -> bool {
    match way {
        Way::ToFar => replace(packet, SOURCE, own, other),
        Way::ToNear => replace(packet, DESTINATION, other, own),
    }
}

/// Puts `new` where `old` is, if it is.
fn replace(packet: &mut [u8], field: Range<usize>, old: Ipv4Addr, new: Ipv4Addr) -> bool {
    if packet.get(field.clone()) != Some(&old.octets()[..]) {
        return false;
    }
    packet[field].copy_from_slice(&new.octets());
    mend(packet, CHECKSUM, old, new);
    let header_bytes = usize::from(packet[0] & 0x0f) * 4;
    let is_first_fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff == 0;
    let checksum = [UDP, TCP].into_iter().find(|(protocol, _)| *protocol == packet[PROTOCOL]);
    if let Some((_, place)) = checksum.filter(|_| is_first_fragment) {
        mend(packet, header_bytes + place, old, new);
    }
    true
}

/// Brings the checksum at `place` up to date (RFC 1624 §3, equation 3).
fn mend(packet: &mut [u8], place: usize, old: Ipv4Addr, new: Ipv4Addr) {
    let Some(field) = packet.get_mut(place..place + 2) else { return };
    let words = |address: Ipv4Addr| {
        let [a, b, c, d] = address.octets();
        [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
    };
    let mut sum = u32::from(!u16::from_be_bytes([field[0], field[1]]));
    sum += words(old).into_iter().map(|word| u32::from(!word)).sum::<u32>();
    sum += words(new).into_iter().map(u32::from).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [high, low] = u32::to_be_bytes(!sum)[2..] else { return };
    field.copy_from_slice(&[high, low]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 9);
    const FAR: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 2);

    fn sum(bytes: &[u8]) -> u16 {
        let mut sum: u32 = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    /// The sum over the pseudo header and UDP, which is all ones if the checksum is right (RFC 768).
    fn udp_sum(packet: &[u8]) -> u16 {
        let length = u16::try_from(packet.len() - 20).unwrap().to_be_bytes();
        sum(&[&packet[12..20], &[0, 17], &length, &packet[20..]].concat())
    }

    fn udp(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 32, 7, 7, 0x40, 0, 64, 17, 0, 0];
        packet.extend([source.octets(), destination.octets()].concat());
        packet.extend([0x11, 0x51, 0x12, 0x34, 0, 12, 0, 0, 1, 2, 3, 4]);
        let header = (!sum(&packet[..20])).to_be_bytes();
        packet[10..12].copy_from_slice(&header);
        let checksum = (!udp_sum(&packet)).to_be_bytes();
        packet[26..28].copy_from_slice(&checksum);
        packet
    }

    #[test]
    fn a_translated_packet_is_the_one_that_the_other_address_would_have_sent() {
        let mut packet = udp(NEAR, FAR);
        assert!(translate(&mut packet, Way::ToFar, NEAR, OTHER));
        assert_eq!(packet, udp(OTHER, FAR));
        assert_eq!((sum(&packet[..20]), udp_sum(&packet)), (0xffff, 0xffff));
        let mut answer = udp(FAR, OTHER);
        assert!(translate(&mut answer, Way::ToNear, NEAR, OTHER));
        assert_eq!(answer, udp(FAR, NEAR));
    }

    #[test]
    fn what_goes_to_the_address_before_goes_nowhere() {
        assert!(!translate(&mut udp(FAR, NEAR), Way::ToNear, NEAR, OTHER));
        assert!(!translate(&mut [0x45, 0], Way::ToNear, NEAR, OTHER));
    }
}
