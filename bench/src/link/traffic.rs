//! What went over a link, in each direction, since it was built.
//!
//! Counters are kept by the one thread that forwards a direction, and read by anyone at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::namespace::DeviceCounters;

/// Both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the near end to the far one.
    pub to_far: Direction,
    /// From the far end to the near one.
    pub to_near: Direction,
}

/// What one end sent, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// Packets that the sender gave to the link, lost ones included.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
    /// Of the packets, those that found a queue full.
    pub queue_drops: u64,
    /// Of the packets, those that chance took.
    pub random_losses: u64,
}

impl Traffic {
    /// What has been added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self { to_far: self.to_far.since(&earlier.to_far), to_near: self.to_near.since(&earlier.to_near) }
    }
}

impl Direction {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            queue_drops: self.queue_drops - earlier.queue_drops,
            random_losses: self.random_losses - earlier.random_losses,
        }
    }
}

/// What one kind of sender gave to a link in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Packets, lost ones included.
    pub packets: u64,
    /// Of the packets, those that found the queue full.
    pub queue_drops: u64,
    /// Bytes of those that got through, IP headers included.
    pub bytes_passed: u64,
}

/// One direction by who sent: what shares a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passages {
    /// UDP: QUIC.
    pub udp: Passage,
    /// All else: TCP.
    pub other: Passage,
}

/// The live counters of one kind of sender.
#[derive(Debug, Default)]
pub(super) struct PassageCounters {
    pub(super) packets: AtomicU64,
    pub(super) queue_drops: AtomicU64,
    pub(super) bytes_passed: AtomicU64,
}

impl PassageCounters {
    pub(super) fn read(&self) -> Passage {
        Passage {
            packets: self.packets.load(Ordering::Relaxed),
            queue_drops: self.queue_drops.load(Ordering::Relaxed),
            bytes_passed: self.bytes_passed.load(Ordering::Relaxed),
        }
    }
}

/// The live counters of one direction.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) queue_drops: AtomicU64,
    pub(super) random_losses: AtomicU64,
    pub(super) udp: PassageCounters,
    pub(super) other: PassageCounters,
}

impl Counters {
    /// Adds to a counter. They are independent sums: nothing else is published through them, so no order is needed.
    pub(super) fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }

    /// The sums, and what the sending device itself dropped because the forwarder did not come to read it in time. Their bytes are not known.
    pub(super) fn read(&self, device: &DeviceCounters) -> Direction {
        Direction {
            packets: self.packets.load(Ordering::Relaxed) + device.send_drops,
            bytes: self.bytes.load(Ordering::Relaxed),
            queue_drops: self.queue_drops.load(Ordering::Relaxed) + device.send_drops,
            random_losses: self.random_losses.load(Ordering::Relaxed),
        }
    }
}

/// An Ethernet header, in bytes, which a virtual Ethernet device counts and an IP packet does not have.
const ETHERNET_HEADER: u64 = 14;

impl From<DeviceCounters> for Direction {
    /// What a virtual Ethernet device sent, in the packets that its kernel exchanged (up to 64 KiB each, with offloads).
    fn from(device: DeviceCounters) -> Self {
        Self {
            packets: device.sent_packets + device.send_drops,
            bytes: device.sent_bytes - device.sent_packets * ETHERNET_HEADER,
            queue_drops: device.send_drops,
            random_losses: 0,
        }
    }
}
