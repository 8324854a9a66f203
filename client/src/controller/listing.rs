//! A listing as it arrives from the gateway, page by page.
//!
//! Every path is checked before it is given out: a gateway cannot name anything outside of what was asked for. The caller
//! drives; nothing is read ahead of it but what the connection's windows hold.

use std::{collections::VecDeque, time::Duration};

use swarmwire_common::{
    channel::FrameReceiver,
    entry::Metadata,
    limits,
    path::RelPath,
    wire::list::{ListEntry, ListKind, ListMessage},
};
use tokio::time::timeout;

use super::RequestError;

/// How long a listing may pause. Between two pages the gateway may have to read and hash one file; ten minutes is 60 GB at
/// 100 MB/s (chosen, not measured). A gateway that is gone is noticed by `limits::IDLE_TIMEOUT`.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// One thing that a listing says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListItem {
    /// Something is there.
    Entry {
        /// Relative to the path that was listed.
        path: RelPath,
        /// What it is.
        kind: ListKind,
        /// Mode and modification time.
        metadata: Metadata,
        /// BLAKE3 of a regular file's content, if it was asked for.
        hash: Option<[u8; 32]>,
    },
    /// Something could not be listed or hashed.
    Failed {
        /// Relative to the path that was listed.
        path: RelPath,
        /// The gateway's words; escape them before showing them.
        reason: String,
    },
}

/// A listing under way.
#[derive(Debug)]
pub struct Listing {
    recv: FrameReceiver,
    page: VecDeque<ListEntry>,
    is_over: bool,
}

impl Listing {
    pub(super) fn new(recv: FrameReceiver) -> Self {
        Self { recv, page: VecDeque::new(), is_over: false }
    }

    /// The next item, parents before children; `None` at the end. Not cancel-safe.
    pub async fn next(&mut self) -> Result<Option<ListItem>, RequestError> {
        while !self.is_over {
            if let Some(ListEntry { path, kind, metadata, hash }) = self.page.pop_front() {
                return Ok(Some(ListItem::Entry { path: checked(path)?, kind, metadata, hash }));
            }
            let message = self.recv.recv::<_, { limits::CONTROL_FRAME_BYTES_MAX }>();
            match timeout(PAUSE_MAX, message).await.map_err(|_| RequestError::Silent)?? {
                // Pages without anything would never come to an end.
                ListMessage::Page(entries) if entries.is_empty() => {
                    return Err(RequestError::Protocol("its listing has an empty page"));
                }
                ListMessage::Page(entries) => self.page = entries.into(),
                ListMessage::Failed { path, reason } => {
                    return Ok(Some(ListItem::Failed { path: checked(path)?, reason }));
                }
                ListMessage::End => self.is_over = true,
            }
        }
        Ok(None)
    }
}

fn checked(path: Vec<u8>) -> Result<RelPath, RequestError> {
    RelPath::from_wire(path).map_err(|_| RequestError::Protocol("its listing has a path that is none"))
}
