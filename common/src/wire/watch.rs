//! The `watch` service: what changes at the gateway, as it happens.
//!
//! After an `ok` reply the gateway sends [`WatchMessage`] frames until it or the controller ends the channel. Paths are relative to the
//! path asked for. They are hints about where to look; what is there is found out by a sync.

use serde::{Deserialize, Serialize};

use super::sync::Selection;

/// Asks to be told of changes at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// `RelPath` below the gateway's root.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// Which entries matter.
    pub selection: Selection,
}

/// One frame from the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchMessage {
    /// From now on no change is missed.
    Ready,
    /// These have changed, come or gone, with all that is below them. The empty path is the top, and so everything.
    Changed(Vec<Vec<u8>>),
    /// The gateway lives.
    Alive,
    /// What was watched is not there any longer; the last message.
    Gone,
    /// The gateway's system does not let it be watched; the last message.
    Refused {
        /// Why.
        reason: String,
    },
}
