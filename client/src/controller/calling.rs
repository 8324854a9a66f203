//! Subroutines of the gateway: called, streamed from, and fed.
//!
//! Each call is a channel of its own. A future or [`Items`] that is dropped ends its channel, and with it what runs at the gateway, within a
//! round trip. What is not taken is not made: a stream is ahead of its consumer by a window of the channel at most.

mod items;
mod payload;
mod swarm;

use std::{fmt, ops::ControlFlow, pin::pin, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use swarmwire_common::{
    channel::{Channel, FrameReceiver, FrameSender},
    codec,
    escape::escape_lines,
    limits,
    wire::{
        call::{CallKind, CallMessage, CallReply, CallRequest, Codec, ServiceInfo, ServicesPage},
        open::{SERVICE_CALL, SERVICE_SERVICES},
        status::Status,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::{Instant, sleep, timeout, timeout_at},
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

/// The options of a call, from its beginning on.
#[derive(Clone, Copy, Debug)]
struct Limits {
    deadline: Option<Instant>,
    /// Until when a busy gateway is asked again; none for ever.
    wait_until: Option<Instant>,
}

impl Limits {
    fn new(options: CallOptions) -> Self {
        let start = Instant::now();
        // What no clock can show is as good as for ever.
        let deadline = options.deadline.and_then(|time| start.checked_add(time));
        Self { deadline, wait_until: start.checked_add(options.wait) }
    }

    /// Tries until there is a handler.
    async fn until_free<T>(
        self,
        mut attempt: impl AsyncFnMut() -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        loop {
            let err = match before(self.deadline, attempt()).await? {
                Err(err) if err.status() == Some(Status::Busy) => err,
                ended => return ended,
            };
            let RequestError::Refused { retry_after_ms, .. } = &err else { return Err(err) };
            let pause = Duration::from_millis((*retry_after_ms).into());
            let left = self.wait_until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(err);
            }
            before(self.deadline, sleep(left.map_or(pause, |left| pause.min(left)))).await?;
        }
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

/// Waits for the last answer while the input is fed. A gateway that has given it needs no more.
async fn answered<T>(
    feed: impl Future<Output = Result<(), RequestError>>,
    answer: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let (mut feed, mut answer) = (pin!(feed), pin!(answer));
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        fed = &mut feed => match fed {
            // Of a connection that is lost, and of a function that takes no more, the answer tells.
            Ok(()) | Err(RequestError::Lost(_)) => {}
            Err(err) => return Err(err),
        },
    }
    answer.await
}

/// Bytes that are read at once, at least.
const FEED_BYTES_MIN: usize = 4 * 1024;

/// The half of a call that leads to the gateway. Dropped before it is finished it is reset, so that half of a buffer is never taken for all of it.
struct Feeding {
    send: FrameSender,
    is_complete: bool,
}

impl Feeding {
    fn new(send: FrameSender) -> Self {
        Self { send, is_complete: false }
    }

    /// Sends `rest`, and that it is all.
    async fn frames(mut self, mut rest: Bytes) -> Result<(), RequestError> {
        while !rest.is_empty() {
            let frame = rest.split_to(rest.len().min(limits::CALL_FRAME_BYTES_MAX));
            self.send.send_frame(frame).await?;
        }
        self.complete();
        Ok(())
    }

    /// Sends what comes out of `buffer`, and that it is all.
    async fn all(mut self, buffer: &mut (impl AsyncRead + Unpin)) -> Result<(), RequestError> {
        let mut frame = BytesMut::new();
        loop {
            // What was sent before may still be held: a little of it must not hold all of a buffer.
            if frame.capacity() < FEED_BYTES_MIN {
                frame.reserve(limits::CALL_FRAME_BYTES_MAX);
            }
            let mut room = (&mut frame).limit(limits::CALL_FRAME_BYTES_MAX);
            match timeout(limits::HEARTBEAT_INTERVAL, buffer.read_buf(&mut room)).await {
                Ok(Ok(0)) => break,
                Ok(Ok(_)) => self.send.send_frame(frame.split().freeze()).await?,
                Ok(Err(err)) => return Err(RequestError::Source(err)),
                // An empty frame says that we live.
                Err(_) => self.send.send_frame(Bytes::new()).await?,
            }
        }
        self.complete();
        Ok(())
    }

    fn complete(&mut self) {
        self.is_complete = true;
        self.send.finish();
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        if !self.is_complete {
            self.send.reset(Status::Cancelled);
        }
    }
}

/// The half of a call that comes from the gateway.
struct Running {
    recv: FrameReceiver,
    deadline: Option<Instant>,
    /// Arguments that are still on their way.
    feed: Option<BoxFuture<'static, Result<(), RequestError>>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Running {
    fn new(recv: FrameReceiver, deadline: Option<Instant>) -> Self {
        Self { recv, deadline, feed: None }
    }

    async fn reply(&mut self) -> Result<CallReply, RequestError> {
        let Self { recv, deadline, feed } = self;
        let body = before(*deadline, fed(feed, async { Ok(recv.reply().await?) })).await??;
        codec::decode::<_, { limits::OPEN_FRAME_BYTES_MAX }>(&body)
            .map_err(|_| RequestError::Protocol("its reply to a call is malformed"))
    }

    async fn value(&mut self) -> Result<i64, RequestError> {
        let reply = self.reply().await?;
        self.value_after(reply).await
    }

    async fn value_after(&mut self, reply: CallReply) -> Result<i64, RequestError> {
        match reply {
            CallReply::Returned { value } => return Ok(value),
            CallReply::Running { .. } => {}
            CallReply::Done { .. } => return Err(UNEXPECTED),
        }
        match self.message().await? {
            CallMessage::Returned { value } => Ok(value),
            _ => Err(UNEXPECTED),
        }
    }

    /// The next message that says something.
    async fn message(&mut self) -> Result<CallMessage, RequestError> {
        loop {
            let Self { recv, deadline, feed } = self;
            let message = async {
                let message = recv.recv::<_, { limits::OPEN_FRAME_BYTES_MAX }>();
                Ok(timeout(limits::SYNC_SILENCE_MAX, message).await.map_err(|_| RequestError::Silent)??)
            };
            match before(*deadline, fed(feed, message)).await?? {
                CallMessage::Alive => {}
                CallMessage::Failed { status, reason } => {
                    let status = Status::from(status);
                    if status == Status::Ok {
                        return Err(RequestError::Protocol("a call has failed and all is well"));
                    }
                    return Err(RequestError::Refused {
                        status,
                        detail: escape_lines(&reason),
                        retry_after_ms: 0,
                    });
                }
                message => return Ok(message),
            }
        }
    }

    /// Appends the bytes that a message has announced to `buffer`.
    async fn raw_onto(&mut self, bytes: u32, limit: usize, buffer: &mut Vec<u8>) -> Result<(), RequestError> {
        let size = usize::try_from(bytes).expect("usize has 32 bits or more");
        if size > limit {
            return Err(RequestError::Protocol("a message of a call announces more bytes than one may have"));
        }
        let Self { recv, deadline, feed } = self;
        let read = async {
            let mut left = size;
            while left > 0 {
                let some = recv.recv_some(left, buffer);
                left -= timeout(limits::SYNC_SILENCE_MAX, some).await.map_err(|_| RequestError::Silent)??;
            }
            Ok(())
        };
        before(*deadline, fed(feed, read)).await?
    }
}

/// Goes on feeding while `work` is done.
async fn fed<T>(
    feed: &mut Option<BoxFuture<'static, Result<(), RequestError>>>,
    work: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let mut work = pin!(work);
    loop {
        let Some(feeding) = feed else { return work.await };
        let ended = tokio::select! {
            biased;
            done = &mut work => return done,
            ended = feeding => ended,
        };
        *feed = None;
        match ended {
            // Of a connection that is lost, and of a function that takes no more, the answer tells.
            Ok(()) | Err(RequestError::Lost(_)) => {}
            Err(err) => return Err(err),
        }
    }
}

/// Gives up at the deadline.
async fn before<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, RequestError> {
    let Some(deadline) = deadline else { return Ok(work.await) };
    timeout_at(deadline, work).await.map_err(|_| RequestError::Refused {
        status: Status::Deadline,
        detail: String::new(),
        retry_after_ms: 0,
    })
}
