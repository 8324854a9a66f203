//! How full the gateway's disk is, and the right to be the only one who moves files away from a directory of it, or to one.

use std::time::Duration;

use swarmwire_common::{
    channel::{Channel, FrameError},
    codec, limits,
    path::RelPath,
    root::Space,
    wire::{
        offload::{HoldAs, OffloadAsk, OffloadMessage, OffloadRequest, Space as WireSpace},
        open::SERVICE_OFFLOAD,
    },
};
use tokio::time::{Instant, timeout};

use super::{Controller, RequestError};

/// How long a gateway may take to say how full a disk is, however alive it is: it waits for what was removed. Chosen, not measured.
const MEASURE_TIME_MAX: Duration = Duration::from_secs(600);

/// A directory at the gateway that nobody else moves files away from, or to, as long as this lives.
#[derive(Debug)]
pub struct Holding {
    channel: Channel,
    space: Space,
}

impl Controller {
    /// The space of the file system in which the directory at `path` is.
    pub async fn space(&self, path: &RelPath) -> Result<Space, RequestError> {
        Ok(self.open_offload(path, HoldAs::Nothing).await?.space)
    }

    /// Takes the directory at `path`, to move files away from it. The gateway is busy where somebody else has it, or one above or below it; a hold of the
    /// same identity on the very same path is taken over: the connection that has it is closed, and what runs on it is over when this returns.
    pub async fn hold_source(&self, path: &RelPath) -> Result<Holding, RequestError> {
        self.open_offload(path, HoldAs::Source).await
    }

    /// The same to move files to it; it may be still to be made. Needs the grant `push` only.
    pub async fn hold_destination(&self, path: &RelPath) -> Result<Holding, RequestError> {
        self.open_offload(path, HoldAs::Destination).await
    }

    async fn open_offload(&self, path: &RelPath, holds: HoldAs) -> Result<Holding, RequestError> {
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

    /// Asks for the space now; what has been removed before from a source is counted as free. Not cancel-safe.
    pub async fn measure(&mut self) -> Result<Space, RequestError> {
        let asked = timeout(limits::REPLY_TIMEOUT, self.channel.send.send(&OffloadAsk::Measure)).await;
        match asked.map_err(|_| RequestError::Silent)? {
            // Why the gateway does not listen any longer is said by its own half.
            Ok(()) | Err(FrameError::Reset(_)) => {}
            Err(err) => return Err(err.into()),
        }
        let deadline = Instant::now() + MEASURE_TIME_MAX;
        let recv = &mut self.channel.recv;
        let next = async || recv.recv::<_, { limits::OFFLOAD_FRAME_BYTES_MAX }>().await;
        self.space = from_wire(answer(deadline, next).await?);
        Ok(self.space)
    }
}

/// Takes what the gateway says until it is an answer, however often it says before that it lives.
async fn answer(
    deadline: Instant,
    mut next: impl AsyncFnMut() -> Result<OffloadMessage, FrameError>,
) -> Result<WireSpace, RequestError> {
    loop {
        // Of what is there already more would be taken in no time at all.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(RequestError::Silent);
        }
        let message = timeout(left.min(limits::SYNC_SILENCE_MAX), next()).await;
        if let OffloadMessage::Measured(space) = message.map_err(|_| RequestError::Silent)?? {
            return Ok(space);
        }
    }
}

fn from_wire(WireSpace { total, used, available, block }: WireSpace) -> Space {
    Space { total, used, available, block: block.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: a gateway that only ever said that it lives was waited for without an end.
    #[tokio::test]
    async fn a_gateway_that_lives_and_does_not_answer_is_given_up() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut said = 0_u64;
        let alive = async || {
            said += 1;
            assert!(Instant::now() < deadline + limits::SYNC_SILENCE_MAX, "it never ends");
            Ok(OffloadMessage::Alive)
        };
        assert!(matches!(answer(deadline, alive).await, Err(RequestError::Silent)));
        assert!(said > 0);
        let space = WireSpace { total: 3, used: 1, available: 2, block: 1 };
        let mut messages = [OffloadMessage::Measured(space), OffloadMessage::Alive].to_vec();
        let told = async || messages.pop().ok_or(FrameError::Ended);
        assert_eq!(answer(Instant::now() + MEASURE_TIME_MAX, told).await.unwrap(), space);
    }
}
