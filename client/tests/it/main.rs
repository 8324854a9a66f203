//! The real `swarm`, run as a process against a real gateway in this process: what it says, and what it exits with.

#![expect(clippy::unwrap_used, reason = "what the tests set up themselves either holds or fails the test")]

mod services;
mod syncing;
mod trust;
mod usage;
mod world;
