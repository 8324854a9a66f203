//! What stands beside the code says the same as the code; children end with their owner; every peer that is installed moves a tree.

mod metrics;
mod peers;
mod process;
