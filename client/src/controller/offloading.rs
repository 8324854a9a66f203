//! How full the gateway's disk is, and the right to be the only one who moves files away from a directory of it.

use std::time::Duration;

use swarmwire_common::{
    channel::Channel,
    codec, limits,
    path::RelPath,
    root::Space,
    wire::{
        offload::{OffloadAsk, OffloadMessage, OffloadRequest, Space as WireSpace},
        open::SERVICE_OFFLOAD,
    },
};
use tokio::time::{Instant, timeout};

use super::{Controller, RequestError};

/// How long a gateway may take to say how full a disk is, however alive it is: it waits for what was removed. Chosen, not measured.
const MEASURE_TIME_MAX: Duration = Duration::from_secs(600);

/// A directory at the gateway that nobody else offloads as long as this lives.
#[derive(Debug)]
pub struct Holding {
    channel: Channel,
    space: Space,
}

impl Controller {
    /// The space of the file system in which the directory at `path` is.
    pub async fn space(&self, path: &RelPath) -> Result<Space, RequestError> {
        Ok(self.open_offload(path, false).await?.space)
    }

    /// Takes the directory at `path`. The gateway is busy where somebody else has it, or one above or below it; a hold of the same identity on the
    /// very same path is taken over.
    pub async fn hold(&self, path: &RelPath) -> Result<Holding, RequestError> {
        self.open_offload(path, true).await
    }

    async fn open_offload(&self, path: &RelPath, holds: bool) -> Result<Holding, RequestError> {
        let request = OffloadRequest { path: path.as_bytes().to_vec(), holds };
        let (channel, body) = self.open(SERVICE_OFFLOAD, &request).await?;
        let space: WireSpace = codec::decode::<_, { limits::OPEN_FRAME_BYTES_MAX }>(&body)
            .map_err(|_| RequestError::Protocol("its reply to the offload is malformed"))?;
        Ok(Holding { channel, space: from_wire(space) })
    }
}

impl Holding {
    /// The space of the directory's file system when it was taken or measured last.
    pub fn space(&self) -> Space {
        self.space
    }

    /// Asks for the space now; what has been removed before is counted as free. Not cancel-safe.
    pub async fn measure(&mut self) -> Result<Space, RequestError> {
        timeout(limits::REPLY_TIMEOUT, self.channel.send.send(&OffloadAsk::Measure))
            .await
            .map_err(|_| RequestError::Silent)??;
        let deadline = Instant::now() + MEASURE_TIME_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(limits::SYNC_SILENCE_MAX);
            let message = self.channel.recv.recv::<_, { limits::OFFLOAD_FRAME_BYTES_MAX }>();
            let message = timeout(left, message).await.map_err(|_| RequestError::Silent)??;
            if let OffloadMessage::Measured(space) = message {
                self.space = from_wire(space);
                return Ok(self.space);
            }
        }
    }
}

fn from_wire(WireSpace { total, used, available, block }: WireSpace) -> Space {
    Space { total, used, available, block: block.into() }
}
