//! The gateway from outside: over its sockets, by peers made of the wire alone, and as the binary `swarmd`.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do ends its test")]

mod admission;
mod attacks;
mod binary;
#[path = "../shared/disks.rs"]
mod disks;
mod grants;
mod handlers;
mod harness;
mod hostile;
mod kills;
mod lifecycle;
mod listing;
mod observed;
mod offloading;
mod process;
mod refusals;
mod subroutines;
#[path = "../shared/trees.rs"]
mod trees;
mod watching;
mod workers;
