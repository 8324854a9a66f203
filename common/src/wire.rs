//! The messages of `swarmwire/1`, byte by byte in WIRE.md.
//!
//! A connection carries channels (bidirectional streams) and data streams (unidirectional ones that belong to a channel):
//!
//! - the controller opens a channel and sends [`open::Open`]: version, service, the service's request;
//! - the gateway answers [`open::Reply`]: a [`status::Status`] and, when it is `ok`, the service's reply;
//! - from then on the service's own messages follow, each in a frame: a `u32` length (big-endian) and that many bytes.
//!
//! A message is bounded before it is decoded and decoded by `codec` alone. File content is never a message: on a data stream
//! a [`data::Unit`] comes in a frame, and the bytes it announces follow raw. Wire types are values without behaviour;
//! whoever receives one turns it into a domain type (`RelPath`, `Name`) or refuses it.
//!
//! Enum variants are only ever appended: their position is their number on the wire.

pub mod call;
pub mod change;
pub mod data;
pub mod extra;
pub mod list;
pub mod offload;
pub mod open;
pub mod status;
pub mod sync;
pub mod watch;

/// TLS application protocol (RFC 7301). Another number is another protocol.
pub const ALPN: &[u8] = b"swarmwire/1";

/// Version in the opening frame, for changes that keep the framing.
pub const VERSION: u16 = 1;

#[cfg(test)]
pub(crate) mod tests;
