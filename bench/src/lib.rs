//! The laboratory: what shows that Swarmwire works, and how fast, on the machine at hand.
//!
//! [`demo`] is the first thing a newcomer runs; [`compare`] puts the same work through Swarmwire and through an rsync daemon. Both drive the
//! release binaries as separate processes, as a user would, and compare every tree that comes out with the one that went in.
//! Nothing here is part of the product, and no timing is asserted by a test.

mod binaries;
pub mod compare;
pub mod demo;
mod figures;
mod gateway;
pub mod generate;
mod machine;
mod process;
pub mod record;
pub mod report;
mod verify;
