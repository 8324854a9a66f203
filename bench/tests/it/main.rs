//! What stands beside the code says the same as the code; children end with their owner; every peer that is installed moves a tree.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do ends its test")]

mod calls;
mod latency;
mod metrics;
mod peers;
mod process;
