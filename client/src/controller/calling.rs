//! Subroutines of the gateway: called, streamed from, and fed.
//!
//! Each call is a channel of its own. A future or [`Items`] that is dropped ends its channel, and with it what runs at the gateway, within a
//! round trip. What is not taken is not made: a stream is ahead of its consumer by a window of the channel at most.

mod bounds;
mod feeding;
mod items;
mod payload;
mod running;
mod swarm;

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use swarmwire_common::{
    channel::{Channel, FrameReceiver},
    limits,
    wire::{
        call::{CallKind, CallMessage, CallReply, CallRequest, Codec, ServiceInfo, ServicesPage},
        open::{SERVICE_CALL, SERVICE_SERVICES},
        status::Status,
    },
};
use tokio::{
    io::AsyncRead,
    time::{Instant, timeout},
};

use self::{
    bounds::{Limits, before},
    feeding::{Feeding, answered},
    running::Running,
};
use super::{Controller, RequestError};

pub use items::Items;
pub use payload::Payload;
pub use swarm::Swarm;

/// How to call.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions {
    /// How long it may take, from now to its end, at both ends.
    pub deadline: Option<Duration>,
    /// How long to try again while the gateway is busy.
    pub wait: Duration,
}

/// What a batch gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchReply {
    /// One more with each call of this subroutine, so that results can be put in order.
    pub id: u64,
    /// What it gave.
    pub bytes: Bytes,
}

/// A batch whose result is taken piece by piece.
#[derive(Debug)]
pub struct Batch {
    id: u64,
    /// All of it, where it came with the reply.
    whole: Option<Bytes>,
    running: Option<Running>,
}

impl Batch {
    /// One more with each call of this subroutine.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The next piece; `None` at the end. Not cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RequestError> {
        if let Some(whole) = self.whole.take() {
            return Ok(Some(whole));
        }
        let mut piece = Vec::new();
        Ok(self.piece_onto(&mut piece).await?.then(|| piece.into()))
    }

    /// Appends the next piece of those that come one by one to `buffer`; says whether there was one. Not cancel-safe.
    async fn piece_onto(&mut self, buffer: &mut Vec<u8>) -> Result<bool, RequestError> {
        let Some(running) = &mut self.running else { return Ok(false) };
        match running.message().await? {
            CallMessage::Part { bytes } => {
                running.raw_onto(bytes, limits::CALL_FRAME_BYTES_MAX, buffer).await?;
                Ok(true)
            }
            CallMessage::End => {
                self.running = None;
                Ok(false)
            }
            _ => Err(UNEXPECTED),
        }
    }
}

/// Bytes of a batch that are collected; larger ones are taken piece by piece ([`Controller::batch`]). Chosen.
const WHOLE_BYTES_MAX: usize = 1 << 30;

/// Subroutines that a gateway may tell of. Chosen: more than anybody has, few enough to be held.
const SERVICES_MAX: usize = 65_536;

const UNEXPECTED: RequestError = RequestError::Protocol("a message of a call is not the one that is due");

impl Controller {
    /// Calls a batch, and gives all that it gives.
    pub async fn call(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Bytes, RequestError> {
        Ok(self.call_batch(name, arguments, options).await?.bytes)
    }

    /// Calls a batch, and gives all that it gives, with its id.
    pub async fn call_batch(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<BatchReply, RequestError> {
        let mut batch = self.batch(name, arguments, options).await?;
        let id = batch.id;
        if let Some(bytes) = batch.whole {
            return Ok(BatchReply { id, bytes });
        }
        let mut all = Vec::new();
        while batch.piece_onto(&mut all).await? {
            if all.len() > WHOLE_BYTES_MAX {
                return Err(RequestError::Refused {
                    status: Status::TooLarge,
                    detail: "the subroutine gives more than fits in memory; take it piece by piece"
                        .to_owned(),
                    retry_after_ms: 0,
                });
            }
        }
        Ok(BatchReply { id, bytes: all.into() })
    }

    /// Calls a batch whose result is taken piece by piece.
    pub async fn batch(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Batch, RequestError> {
        let (running, reply) = self.called(name, CallKind::Batch, arguments.into(), options).await?;
        match reply {
            CallReply::Done { id, bytes } => Ok(Batch { id, whole: Some(bytes.into()), running: None }),
            CallReply::Running { id } => Ok(Batch { id, whole: None, running: Some(running) }),
            CallReply::Returned { .. } => Err(UNEXPECTED),
        }
    }

    /// Begins a stream.
    pub async fn stream(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Items, RequestError> {
        let (running, reply) = self.called(name, CallKind::Stream, arguments.into(), options).await?;
        match reply {
            CallReply::Running { .. } => Ok(Items::new(running)),
            CallReply::Done { .. } | CallReply::Returned { .. } => Err(UNEXPECTED),
        }
    }

    /// Streams to `on_item` until that says stop or the stream is at its end, which `on_end` is told then and only then.
    pub async fn stream_to(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
        mut on_item: impl FnMut(i64, Bytes) -> ControlFlow<()>,
        on_end: impl FnOnce(),
    ) -> Result<(), RequestError> {
        let mut items = self.stream(name, arguments, options).await?;
        while let Some((ident, bytes)) = items.next().await? {
            if on_item(ident, bytes).is_break() {
                return Ok(());
            }
        }
        on_end();
        Ok(())
    }

    /// Feeds a buffer to a send, as fast as that takes it, and gives its integer.
    pub async fn send(
        &self,
        name: &str,
        buffer: impl AsyncRead + Unpin,
        options: CallOptions,
    ) -> Result<i64, RequestError> {
        self.feed(name, buffer, options).await
    }

    /// What subroutines there are, among those that this identity may call.
    pub async fn services(&self) -> Result<Vec<ServiceInfo>, RequestError> {
        let (mut channel, _) = self.open(SERVICE_SERVICES, &()).await?;
        let mut services = Vec::new();
        let pages = async {
            while let Some(page) =
                channel.recv.try_recv::<ServicesPage, { limits::CONTROL_FRAME_BYTES_MAX }>().await?
            {
                services.extend(page.services);
                if services.len() > SERVICES_MAX {
                    return Err(RequestError::Protocol("it tells of more subroutines than there can be"));
                }
            }
            Ok::<_, RequestError>(())
        };
        timeout(limits::REPLY_TIMEOUT, pages).await.map_err(|_| RequestError::Silent)??;
        Ok(services)
    }

    /// Several handlers at a time, for the same subroutine.
    pub fn swarm(&self, handlers: usize) -> Swarm<'_> {
        Swarm::new(self, handlers)
    }

    /// Calls with arguments, again while the gateway is busy.
    async fn called(
        &self,
        name: &str,
        kind: CallKind,
        payload: Payload,
        options: CallOptions,
    ) -> Result<(Running, CallReply), RequestError> {
        let Payload { codec, bytes } = payload;
        let first = bytes.slice(..bytes.len().min(limits::CALL_INLINE_BYTES_MAX));
        let rest = bytes.slice(first.len()..);
        let limits = Limits::new(options);
        let attempt = async || {
            let request = request(name, kind, codec, &first, !rest.is_empty(), limits);
            let (mut feeding, recv) = self.ask(&request).await?;
            let mut running = Running::new(recv, limits.deadline);
            if rest.is_empty() {
                feeding.complete();
            } else {
                // The gateway may say that the call goes on while the arguments are on their way.
                running.feed = Some(Box::pin(feeding.frames(rest.clone())));
            }
            let reply = running.reply().await?;
            Ok((running, reply))
        };
        limits.until_free(attempt).await
    }

    async fn feed(
        &self,
        name: &str,
        mut buffer: impl AsyncRead + Unpin,
        options: CallOptions,
    ) -> Result<i64, RequestError> {
        let limits = Limits::new(options);
        if options.wait.is_zero() {
            let request = request(name, CallKind::Send, Codec::Raw, &[], true, limits);
            let (feeding, recv) = before(limits.deadline, self.ask(&request)).await??;
            let mut running = Running::new(recv, limits.deadline);
            return answered(feeding.all(&mut buffer), running.value()).await;
        }
        // What is read is gone, so nothing is until there is a handler.
        let attempt = async || {
            let request = request(name, CallKind::Send, Codec::Raw, &[], true, limits);
            let (feeding, recv) = self.ask(&request).await?;
            let mut running = Running::new(recv, limits.deadline);
            let reply = running.reply().await?;
            Ok((feeding, running, reply))
        };
        let (feeding, mut running, reply) = limits.until_free(attempt).await?;
        answered(feeding.all(&mut buffer), running.value_after(reply)).await
    }

    async fn ask(&self, request: &CallRequest) -> Result<(Feeding, FrameReceiver), RequestError> {
        let Channel { send, recv } = self.begin(SERVICE_CALL, request).await?.ask().await?;
        Ok((Feeding::new(send), recv))
    }
}

fn request(
    name: &str,
    kind: CallKind,
    codec: Codec,
    input: &[u8],
    continues: bool,
    limits: Limits,
) -> CallRequest {
    let left = limits.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let deadline_ms = left.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1));
    CallRequest { name: name.to_owned(), kind, codec, deadline_ms, input: input.to_vec(), continues }
}
