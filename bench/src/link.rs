//! Links between two network namespaces, so that TCP and QUIC peers cross the very same one: emulated in user space (delay, loss, rate,
//! queue, jitter, reordering, and changes of these in mid-run), or a plain pair of virtual Ethernet devices.
//!
//! [`Link`] is what was asked for, [`Network`] the two ends joined, [`Namespace`] one end, [`Traffic`] what crossed. [`check`] proves the
//! emulator on the machine at hand. All of it needs root, and nothing of it outlives the process.

mod address;
pub mod check;
mod delay_line;
mod description;
mod forwarder;
mod namespace;
mod network;
mod quantity;
mod shaper;
mod tcp;
mod traffic;

pub use check::expect_below_ceiling;
pub use description::{Conditions, Emulated, Link, Phase, Share};
pub use namespace::{Namespace, loopback_bytes};
pub use network::Network;
pub use traffic::{Direction, Passage, Passages, Traffic};
