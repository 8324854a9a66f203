//! The real `swarm`, run as a process against a real gateway in this process: what it says, and what it exits with.

#![expect(clippy::unwrap_used, reason = "what the tests set up themselves either holds or fails the test")]

mod arrival;
mod backups;
mod builtins;
mod calls;
mod compressing;
mod damage;
#[path = "../../../server/tests/shared/disks.rs"]
mod disks;
mod examples;
mod hindrances;
mod kills;
mod losses;
mod many;
mod mirrors;
mod model;
mod moving;
mod offload;
mod placement;
mod preserving;
mod programs;
mod relay;
mod selecting;
mod services;
mod stranger;
mod syncing;
#[path = "../../../server/tests/shared/trees.rs"]
mod trees;
mod trust;
mod unreadable;
mod usage;
mod verifying;
mod watch;
mod world;
