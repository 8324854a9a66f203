//! The packets between the two ends of one direction, each with the time at which it is due.
//!
//! Packets in order stand in a queue and those held back in a heap, so that the common case costs no comparison. The buffers are reused, the
//! last one given back first (it is still in the processor's cache), and grow in slabs as far as the limit; no packet allocates.
//! One buffer beyond the limit is always there to read the next packet into. Pure: it knows neither clock nor device.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    ops::Range,
};

/// Buffers that are made at once: 384 KiB at an MTU of 1,500; chosen, not measured.
const SLAB_PACKETS: usize = 256;

/// Packets on their way.
#[derive(Debug)]
pub(super) struct DelayLine {
    packet_bytes: usize,
    packets_max: usize,
    slabs: Vec<Vec<u8>>,
    vacant: Vec<usize>,
    in_order: VecDeque<Entry>,
    held_back: BinaryHeap<Reverse<Entry>>,
}

/// A packet: when it is due, where it is, how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due_ns: u64,
    slot: usize,
    bytes: usize,
}

/// Whether a packet keeps its place among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It is due no earlier than every packet before it.
    Kept,
    /// Others may overtake it.
    HeldBack,
}

impl DelayLine {
    /// Room for `packets_max` packets of up to `packet_bytes` bytes.
    pub(super) fn new(packet_bytes: usize, packets_max: usize) -> Self {
        let mut line = Self {
            packet_bytes,
            packets_max,
            slabs: Vec::new(),
            vacant: Vec::new(),
            in_order: VecDeque::new(),
            held_back: BinaryHeap::new(),
        };
        line.grow();
        line
    }

    /// The buffer for the next packet. What is written there counts only once it is pushed.
    pub(super) fn next_buffer(&mut self) -> &mut [u8] {
        let (slab, range) = self.place(self.next_slot());
        &mut self.slabs[slab][range]
    }

    /// Takes the first `bytes` of the next buffer as a packet that is due at `due_ns`; says whether there was room.
    pub(super) fn push(&mut self, bytes: usize, due_ns: u64, order: Order) -> bool {
        if self.len() >= self.packets_max {
            return false;
        }
        let entry = Entry { due_ns, slot: self.next_slot(), bytes };
        self.vacant.pop();
        match order {
            Order::Kept => self.in_order.push_back(entry),
            Order::HeldBack => self.held_back.push(Reverse(entry)),
        }
        if self.vacant.is_empty() {
            self.grow();
        }
        true
    }

    /// Removes the next packet that is due at `now_ns`, and says where it lies until the next buffer is asked for.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<&[u8]> {
        let next_ns = self.next_due_ns().filter(|due_ns| *due_ns <= now_ns)?;
        let entry = match self.in_order.front() {
            Some(entry) if entry.due_ns == next_ns => self.in_order.pop_front()?,
            _ => self.held_back.pop()?.0,
        };
        self.vacant.push(entry.slot);
        let (slab, range) = self.place(entry.slot);
        Some(&self.slabs[slab][range][..entry.bytes])
    }

    /// When the next packet is due.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let in_order = self.in_order.front().map(|entry| entry.due_ns);
        let held_back = self.held_back.peek().map(|entry| entry.0.due_ns);
        match (in_order, held_back) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn len(&self) -> usize {
        self.in_order.len() + self.held_back.len()
    }

    fn next_slot(&self) -> usize {
        *self.vacant.last().expect("a slab is added whenever the last buffer is taken")
    }

    fn grow(&mut self) {
        let first = self.slabs.len() * SLAB_PACKETS;
        self.slabs.push(vec![0; SLAB_PACKETS * self.packet_bytes]);
        self.vacant.extend((first..first + SLAB_PACKETS).rev());
    }

    fn place(&self, slot: usize) -> (usize, Range<usize>) {
        let start = (slot % SLAB_PACKETS) * self.packet_bytes;
        (slot / SLAB_PACKETS, start..start + self.packet_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(line: &mut DelayLine, letter: u8, due_ns: u64, order: Order) -> bool {
        line.next_buffer()[..2].fill(letter);
        line.push(2, due_ns, order)
    }

    fn drain(line: &mut DelayLine, now_ns: u64) -> String {
        let mut letters = String::new();
        while let Some(packet) = line.pop_due(now_ns) {
            assert_eq!(packet.len(), 2);
            letters.push(char::from(packet[0]));
        }
        letters
    }

    #[test]
    fn packets_come_out_when_they_are_due_and_in_order() {
        let mut line = DelayLine::new(4, 10);
        for (letter, due_ns) in [(b'a', 10), (b'b', 10), (b'c', 30)] {
            assert!(push(&mut line, letter, due_ns, Order::Kept));
        }
        assert_eq!(drain(&mut line, 9), "");
        assert_eq!(line.next_due_ns(), Some(10));
        assert_eq!(drain(&mut line, 10), "ab");
        assert_eq!(drain(&mut line, 100), "c");
        assert_eq!(line.next_due_ns(), None);
    }

    #[test]
    fn a_packet_held_back_is_overtaken() {
        let mut line = DelayLine::new(4, 10);
        push(&mut line, b'a', 10, Order::Kept);
        push(&mut line, b'b', 25, Order::HeldBack);
        push(&mut line, b'c', 20, Order::Kept);
        push(&mut line, b'd', 30, Order::Kept);
        assert_eq!(drain(&mut line, 20), "ac");
        assert_eq!(line.next_due_ns(), Some(25));
        assert_eq!(drain(&mut line, 30), "bd");
    }

    #[test]
    fn a_full_line_refuses_and_takes_again_after_one_has_left() {
        let mut line = DelayLine::new(4, 2);
        assert!(push(&mut line, b'a', 1, Order::Kept));
        assert!(push(&mut line, b'b', 2, Order::HeldBack));
        assert!(!push(&mut line, b'x', 3, Order::Kept));
        assert_eq!(drain(&mut line, 1), "a");
        assert!(push(&mut line, b'c', 3, Order::Kept));
        assert_eq!(drain(&mut line, 3), "bc");
    }

    #[test]
    fn buffers_are_reused_and_never_shared() {
        let packets = SLAB_PACKETS * 3;
        let mut line = DelayLine::new(8, packets);
        for round in 0..4u64 {
            for packet in 0..packets as u64 {
                line.next_buffer().copy_from_slice(&(round * 1_000_000 + packet).to_le_bytes());
                assert!(line.push(8, packet, Order::Kept));
            }
            for packet in 0..packets as u64 {
                assert_eq!(line.pop_due(u64::MAX).unwrap(), (round * 1_000_000 + packet).to_le_bytes());
            }
        }
        assert_eq!(line.slabs.len(), 4);
    }
}
