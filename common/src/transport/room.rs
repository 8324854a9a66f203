//! Room for channels: how many a gateway lets its peer open.
//!
//! A peer must always be able to open one more channel than there are handlers, to be told that all are in use. But quinn makes an entry for every
//! stream that is offered, at once, so what is offered follows what is open.

use quinn::{Connection, VarInt};

use crate::limits;

/// The channels that are offered on one connection.
#[derive(Debug)]
pub struct ChannelRoom(u32);

impl ChannelRoom {
    /// What a connection begins with.
    pub fn new() -> Self {
        Self(limits::CHANNELS_OFFERED)
    }

    /// Offers more on `connection`, if `open` channels are half of what is offered, up to `limits::CHANNELS_MAX`.
    pub fn keep(&mut self, connection: &Connection, open: usize) {
        let more = self.more(open);
        if more > self.0 {
            self.0 = more;
            connection.set_max_concurrent_bi_streams(VarInt::from_u32(more));
        }
    }

    fn more(&self, open: usize) -> u32 {
        let is_short = u32::try_from(open).is_ok_and(|open| open >= self.0 / 2);
        if is_short { (self.0 * 2).min(limits::CHANNELS_MAX) } else { self.0 }
    }
}

impl Default for ChannelRoom {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_room_for_as_many_again_up_to_the_most() {
        let mut room = ChannelRoom::new();
        assert_eq!(room.more(63), limits::CHANNELS_OFFERED);
        for open in 0..limits::CHANNELS_MAX {
            room = ChannelRoom(room.more(open as usize));
            assert!(room.0 > open);
        }
        assert_eq!(room.0, limits::CHANNELS_MAX);
    }
}
