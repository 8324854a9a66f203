//! How a channel begins: one opening frame, one reply, and the requests of the small services.

use serde::{Deserialize, Serialize};

use super::status::StatusCode;

/// First frame of a channel, controller → gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// [`super::VERSION`] of the sender.
    pub version: u16,
    /// The service's name, one of the `SERVICE_*` constants.
    pub service: String,
    /// The service's own request, encoded; empty where it has none.
    #[serde(with = "serde_bytes")]
    pub request: Vec<u8>,
}

/// Answer to [`Open`], gateway → controller. Unless the status is `ok` nothing follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Number of the status table.
    pub status: StatusCode,
    /// One sentence about this request; empty when it is `ok`.
    pub detail: String,
    /// With `busy`: milliseconds after which trying again makes sense. Otherwise 0.
    pub retry_after_ms: u32,
    /// The service's own reply, encoded; empty where it has none.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// Echo of any bytes: each frame that the controller sends comes back, until it finishes the stream. No request.
pub const SERVICE_PING: &str = "ping";
/// Admission with an invitation: [`JoinRequest`] → [`JoinReply`]. The only service for an unknown identity.
pub const SERVICE_JOIN: &str = "join";
/// Contents of a directory: `list::ListRequest`.
pub const SERVICE_LIST: &str = "list";
/// One directory transfer: `sync::SyncRequest`.
pub const SERVICE_SYNC: &str = "sync";
/// Changes at a path as they happen: `watch::WatchRequest`.
pub const SERVICE_WATCH: &str = "watch";
/// How full the file system of a directory is, and the right to offload it: `offload::OffloadRequest`.
pub const SERVICE_OFFLOAD: &str = "offload";
/// A subroutine of the gateway: `call::CallRequest`.
pub const SERVICE_CALL: &str = "call";
/// What subroutines there are. No request; `call::ServicesPage` frames follow the reply.
pub const SERVICE_SERVICES: &str = "services";
/// Orderly end of the gateway. No request; the reply comes before the end.
pub const SERVICE_STOP: &str = "stop";

/// Presents an invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The secret of the invitation, as text.
    pub token: String,
    /// What this controller calls itself, for the gateway's list of clients. At most 255 bytes.
    pub name: String,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the identity may do from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// The grant's operations, comma-separated, as `swarmd clients` shows them.
    pub allow: String,
    /// The grant's path prefix; empty for the whole root.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
}
