//! The laboratory: what shows that Swarmwire works, and how fast, on the machine at hand.
//!
//! [`demo`] is the first thing a newcomer runs. Everything else measures: Swarmwire and its [peers](peer) do the same work in turns, over loopback or over
//! an emulated [`link`], and what they cost goes to a [`report`]. All drive the release binaries as separate processes, as a user would, and compare every
//! tree that comes out with the one that went in. Nothing here is part of the product, and no timing is asserted by a test.

pub mod binaries;
pub mod calls;
pub mod change;
pub mod cli;
pub mod compare;
pub mod crowd;
pub mod demo;
pub mod fair;
mod figures;
mod gateway;
pub mod ground;
pub mod guard;
pub mod latency;

pub mod link;
pub mod machine;
pub mod peer;
pub mod process;
mod random;
pub mod record;
pub mod report;
pub mod scale;
pub mod verify;
pub mod work;
pub mod workload;
