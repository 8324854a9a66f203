//! The `offload` service: how full the file system of a directory is, and, if that is asked for, the right to be the only one who moves files from it, or to
//! it.
//!
//! The reply is a [`Space`], and all there is where nothing is held. Otherwise the controller may ask again, by [`OffloadAsk::Measure`], as often as it
//! likes, and holds the directory until either side ends the channel. What is moved goes through `sync`.

use serde::{Deserialize, Serialize};

/// Asks for the space of a directory's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffloadRequest {
    /// `RelPath` below the gateway's root; a directory.
    pub path: Vec<u8>,
    /// As what it is held.
    pub holds: HoldAs,
}

/// As what a directory is held as long as the channel lives: nobody else may hold it, one above or one below it, as the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldAs {
    /// It is not held.
    Nothing,
    /// Files are moved away from it.
    Source,
    /// Files are moved to it. It may be still to be made.
    Destination,
}

/// Bytes of a file system, as df counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// All there are.
    pub total: u64,
    /// Those in use.
    pub used: u64,
    /// Those that programs without privileges may still use. What is reserved is in neither.
    pub available: u64,
    /// Bytes of a block: what a file takes is a multiple of it.
    pub block: u32,
}

/// One frame from the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffloadAsk {
    /// How full is it now?
    Measure,
}

/// One frame from the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffloadMessage {
    /// The answer.
    Measured(Space),
    /// The gateway lives.
    Alive,
}
