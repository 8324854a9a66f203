//! What stands beside the code must say the same as the code.

mod metrics;
