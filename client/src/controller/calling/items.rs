//! The items of a stream as they arrive.

use bytes::{Buf, Bytes};
use futures_util::{Stream, stream};
use swarmwire_common::{limits, wire::call::CallMessage};

use super::{RequestError, UNEXPECTED, running::Running};

/// Bytes of an item beside its own: ident and length.
const HEAD_BYTES: usize = 12;

/// The most that a frame of items may have: one that is nearly full, and the largest item on top of it.
const FRAME_BYTES_MAX: usize = limits::ITEMS_BYTES_TARGET + HEAD_BYTES + limits::ITEM_BYTES_MAX;

/// A stream of a subroutine. Dropping it ends that.
#[derive(Debug)]
pub struct Items {
    running: Option<Running>,
    /// Items that have arrived together.
    frame: Bytes,
    left: u32,
}

impl Items {
    pub(super) fn new(running: Running) -> Self {
        Self { running: Some(running), frame: Bytes::new(), left: 0 }
    }

    /// The next item and its ident; `None` at the end. After an error there is nothing more. Not cancel-safe.
    pub async fn next(&mut self) -> Result<Option<(i64, Bytes)>, RequestError> {
        loop {
            if self.left > 0 {
                let item = self.take();
                if item.is_err() {
                    self.running = None;
                }
                return item.map(Some);
            }
            let Some(running) = &mut self.running else { return Ok(None) };
            match arrived(running).await {
                Ok(Some((count, frame))) => (self.left, self.frame) = (count, frame),
                Ok(None) => self.running = None,
                Err(err) => {
                    self.running = None;
                    return Err(err);
                }
            }
        }
    }

    /// Whether [`Self::next`] gives an item without waiting.
    pub fn has_more(&self) -> bool {
        self.left > 0
    }

    /// As a stream of futures.
    pub fn into_stream(self) -> impl Stream<Item = Result<(i64, Bytes), RequestError>> + Send {
        stream::unfold(self, async |mut items| items.next().await.transpose().map(|item| (item, items)))
    }

    /// One that has arrived.
    fn take(&mut self) -> Result<(i64, Bytes), RequestError> {
        const CUT: RequestError = RequestError::Protocol("an item of a stream is cut short");
        self.left -= 1;
        if self.frame.len() < HEAD_BYTES {
            return Err(CUT);
        }
        let ident = self.frame.get_i64();
        let length = usize::try_from(self.frame.get_u32()).expect("usize has 32 bits or more");
        if self.frame.len() < length || (self.left == 0 && self.frame.len() != length) {
            return Err(CUT);
        }
        Ok((ident, self.frame.split_to(length)))
    }
}

/// The next frame of items; `None` at the end.
async fn arrived(running: &mut Running) -> Result<Option<(u32, Bytes)>, RequestError> {
    match running.message().await? {
        CallMessage::Items { count, bytes } => {
            let mut frame = Vec::new();
            running.raw_onto(bytes, FRAME_BYTES_MAX, &mut frame).await?;
            Ok(Some((count, frame.into())))
        }
        CallMessage::End => Ok(None),
        _ => Err(UNEXPECTED),
    }
}
