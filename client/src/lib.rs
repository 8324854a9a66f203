//! Swarmwire.
