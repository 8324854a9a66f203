//! What both ends of a swarm must agree on: names, messages, hashes, bounds, and the sync engine.
//!
//! The pure half (`path`, `entry`, `filter`, `hash`, `delta`, `zeros`, `value`, `codec`, `wire`, `limits`) turns bytes into values and decides; it knows no
//! clock, file system, socket or randomness. The other half acts: `root` is the only way to the trees on the disk, `hashes` keeps a
//! file of its own beside them, `heap` tunes the allocator, `transport` is the only place that builds QUIC configuration, `channel` puts
//! frames on a stream, and `sync` moves a tree.
//!
//! Nothing here prints, and nothing here decides who may do what: that is the gateway's (`server::grants`).

pub mod channel;
pub mod codec;
pub mod delta;
pub mod entry;
pub mod escape;
pub mod filter;
pub mod hash;
pub mod hashes;
pub mod heap;
pub mod limits;
pub mod path;
pub mod root;
pub mod size;
pub mod sync;
pub mod transport;
pub mod value;
pub mod watch;
pub mod wire;
pub mod zeros;
