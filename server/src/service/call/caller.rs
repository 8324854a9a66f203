//! The half of a call that leads to its caller: the reply, what follows it, and when it is given up.

use std::{
    future::{pending, ready},
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use bytes::Bytes;
use swarmwire_common::{
    channel::{FrameError, FrameSender, framed},
    codec, limits,
    wire::{
        call::{CallMessage, CallReply},
        open,
        status::Status,
    },
};
use tokio::time::{sleep, sleep_until, timeout};

use super::deadline::Deadline;
use crate::subroutines::Failure;

/// How long the end of a call that failed waits for that of what works for it: two seconds for a worker to come to an end, two between SIGTERM and SIGKILL,
/// and one to die. Below any silence.
const ENDING_TIME_MAX: Duration = Duration::from_secs(5);

/// Why a call is over before it is complete.
#[derive(Debug)]
pub(super) enum Ended {
    /// The caller is told.
    Failed(Failure),
    /// There is no caller any longer.
    Gone,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The caller, as long as it listens.
pub(super) struct Caller {
    send: FrameSender,
    id: u64,
    deadline: Option<Deadline>,
    /// When it is said at the latest that the call goes on.
    reply_at: Instant,
    /// What is said next: a frame, and what follows it. It lies here, since each future that it passed through had room for two of it.
    due: [Bytes; 2],
    /// Ready once nobody reads any more.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_reply: bool,
    /// Whether a frame may have left in part.
    is_torn: bool,
    /// Whether its end was told.
    is_finished: bool,
    /// Bytes that may be given in all.
    bytes_max: u64,
    /// Those that may still be given.
    bytes_left: u64,
    /// What has come of a batch of which nothing was said yet: it may be all, and fits into the reply.
    held: Vec<u8>,
}

impl Caller {
    /// Of a call that has begun at `start`.
    pub(super) fn new(
        send: FrameSender,
        id: u64,
        start: Instant,
        deadline: Option<Deadline>,
        bytes_max: u64,
    ) -> Self {
        let stopped = Box::pin(send.stopped());
        let reply_at = Deadline::reply_at(deadline.as_ref(), start);
        Self {
            send,
            id,
            deadline,
            reply_at,
            due: [Bytes::new(), Bytes::new()],
            stopped,
            has_reply: false,
            is_torn: false,
            is_finished: false,
            bytes_max,
            bytes_left: bytes_max,
            held: Vec::new(),
        }
    }

    /// Does the subroutine's work, while the caller hears now and then that it goes on. Neither the clock nor a timer is touched for work that is done at once.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = pin!(work);
        loop {
            let pause = if self.has_reply {
                Pause::For(limits::HEARTBEAT_INTERVAL)
            } else {
                Pause::Until(self.reply_at)
            };
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = &mut self.stopped => return Err(Ended::Gone),
                late = passed(self.deadline.as_ref(), Some(pause)) => if let Some(failure) = late {
                    return Err(failure.into());
                }
            }
            if self.has_reply {
                self.put(&CallMessage::Alive, Bytes::new());
                self.deliver(None).await?;
            } else {
                self.begin().await?;
            }
        }
    }

    /// Says that the call goes on, unless that was said, and gives what was held until then.
    pub(super) async fn begin(&mut self) -> Result<(), Ended> {
        if self.has_reply {
            return Ok(());
        }
        self.put_running();
        self.deliver(None).await?;
        if self.put_held() {
            self.deliver(None).await?;
        }
        Ok(())
    }

    /// All of a batch, in the reply, which it [fits](Self::fits_reply).
    pub(super) async fn whole(&mut self, bytes: Bytes) -> Result<(), Ended> {
        self.spend(bytes.len())?;
        self.put_reply(&CallReply::Done { id: self.id, bytes: bytes.into() });
        self.deliver(Some(limits::REPLY_TIMEOUT)).await
    }

    /// Whether all of a batch may be given as one.
    pub(super) fn fits_reply(&self, bytes: &Bytes) -> bool {
        !self.has_reply
            && bytes.len() <= limits::CALL_INLINE_BYTES_MAX
            && bytes.len() as u64 <= self.bytes_left
    }

    /// A part of a batch, or as much of it as may be given. It is held for as long as it may be told in the reply.
    pub(super) async fn part(&mut self, mut bytes: Bytes) -> Result<(), Ended> {
        let affordable = usize::try_from(self.bytes_left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let too_much = bytes.split_off(affordable);
        self.spend(bytes.len())?;
        if !self.has_reply && self.held.len() + bytes.len() <= limits::CALL_INLINE_BYTES_MAX {
            self.held.extend_from_slice(&bytes);
        } else {
            self.begin().await?;
            while !bytes.is_empty() {
                let part = bytes.split_to(bytes.len().min(limits::CALL_FRAME_BYTES_MAX));
                self.put_part(part);
                self.deliver(None).await?;
            }
        }
        Ok(self.spend(too_much.len())?)
    }

    /// The end of a batch that was given in parts: with all of it, where nothing was said yet.
    pub(super) async fn complete(&mut self) -> Result<(), Ended> {
        if self.has_reply {
            return self.last(&CallMessage::End).await;
        }
        let bytes = std::mem::take(&mut self.held);
        self.put_reply(&CallReply::Done { id: self.id, bytes });
        self.deliver(Some(limits::REPLY_TIMEOUT)).await
    }

    /// Some items of a stream, which were paid for, or none.
    pub(super) async fn items(&mut self, count: u32, bytes: Bytes) -> Result<(), Ended> {
        if count == 0 {
            return Ok(());
        }
        let length = u32::try_from(bytes.len()).expect("items have a bound each, and few travel together");
        self.put(&CallMessage::Items { count, bytes: length }, bytes);
        self.deliver(None).await
    }

    /// What a send gave.
    pub(super) async fn returned(&mut self, value: i64) -> Result<(), Ended> {
        if self.has_reply {
            return self.last(&CallMessage::Returned { value }).await;
        }
        self.put_reply(&CallReply::Returned { value });
        self.deliver(Some(limits::REPLY_TIMEOUT)).await
    }

    /// The last message.
    pub(super) async fn last(&mut self, message: &CallMessage) -> Result<(), Ended> {
        self.begin().await?;
        self.put(message, Bytes::new());
        self.deliver(Some(limits::REPLY_TIMEOUT)).await
    }

    /// Lets something come to its end before the caller hears how the call has ended; for a while, and for nobody who is gone.
    pub(super) async fn after(&mut self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = work => {}
            // That it is gone is seen again.
            () = &mut self.stopped => self.stopped = Box::pin(ready(())),
            () = sleep(ENDING_TIME_MAX) => tracing::debug!("what works for a call takes long to end"),
        }
    }

    /// How it ended for its caller: whatever a function makes of that its time is over.
    pub(super) fn judge(&self, ended: Result<(), Ended>) -> Result<(), Ended> {
        match (ended, &self.deadline) {
            (Err(Ended::Failed(_)), Some(deadline)) if Instant::now() >= deadline.at => {
                Err(deadline.failure().into())
            }
            (ended, _) => ended,
        }
    }

    /// Tells how it ended, if that has not been told, and closes. What was told is still on its way.
    pub(super) async fn end(&mut self, ended: Result<(), Ended>) -> Status {
        match self.tell_end(ended).await {
            Ok(status) => {
                self.send.finish();
                self.is_finished = true;
                status
            }
            Err(status) => {
                self.send.reset(status);
                status
            }
        }
    }

    /// Waits a moment until the caller has all that was told.
    pub(super) async fn taken(&mut self) {
        if self.is_finished && timeout(limits::REPLY_TIMEOUT, &mut self.stopped).await.is_err() {
            tracing::debug!("an answer that was not taken");
        }
    }

    /// The status, once it has been told, or cannot be.
    async fn tell_end(&mut self, ended: Result<(), Ended>) -> Result<Status, Status> {
        let failure = match ended {
            Ok(()) => return Ok(Status::Ok),
            Err(Ended::Gone) => return Err(Status::Cancelled),
            Err(Ended::Failed(failure)) => failure,
        };
        let status = failure.status;
        if self.is_torn {
            // What follows half of a frame would be taken for the rest of it.
            return Err(status);
        }
        // A caller that takes nothing does not take this, either. Apart from the future of every call, few of which end so.
        match timeout(limits::REPLY_TIMEOUT, Box::pin(self.tell_failure(failure))).await {
            Ok(Ok(())) => Ok(status),
            Ok(Err(err)) => {
                tracing::debug!(%err, "a failure that did not arrive");
                Err(status)
            }
            Err(_) => Err(status),
        }
    }

    /// What had come of a batch, and why no more does.
    async fn tell_failure(&mut self, Failure { status, reason }: Failure) -> Result<(), FrameError> {
        if !self.held.is_empty() {
            self.put_running();
            self.send.send_framed(&mut self.due).await?;
            self.put_held();
            self.send.send_framed(&mut self.due).await?;
        }
        if self.has_reply {
            self.put(&CallMessage::Failed { status: status.into(), reason }, Bytes::new());
        } else {
            let reply =
                open::Reply { status: status.into(), detail: reason, retry_after_ms: 0, body: Vec::new() };
            self.due = [framed(&reply), Bytes::new()];
        }
        self.send.send_framed(&mut self.due).await
    }

    /// Has what was held delivered next, if there is any.
    fn put_held(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        let is_any = !held.is_empty();
        if is_any {
            self.put_part(held.into());
        }
        is_any
    }

    fn put_part(&mut self, part: Bytes) {
        let bytes = u32::try_from(part.len()).expect("a part is small");
        self.put(&CallMessage::Part { bytes }, part);
    }

    /// Has a message delivered next, and the bytes that it announces.
    fn put(&mut self, message: &CallMessage, raw: Bytes) {
        self.due = [framed(message), raw];
    }

    /// The same for the one reply there is.
    fn put_reply(&mut self, body: &CallReply) {
        self.has_reply = true;
        let reply = open::Reply {
            status: Status::Ok.into(),
            detail: String::new(),
            retry_after_ms: 0,
            body: codec::encode(body),
        };
        self.due = [framed(&reply), Bytes::new()];
    }

    /// The reply of a call that goes on.
    fn put_running(&mut self) {
        self.put_reply(&CallReply::Running { id: self.id });
    }

    /// Delivers what is due: waits for flow control, `patience` at most, and for nobody who is gone. What comes last is said with patience: there is no handler any
    /// longer, so who does not take it keeps nothing.
    async fn deliver(&mut self, patience: Option<Duration>) -> Result<(), Ended> {
        let Self { send, due, stopped, deadline, is_torn, .. } = self;
        *is_torn = true;
        tokio::select! {
            biased;
            sent = send.send_framed(due) => {
                *is_torn = false;
                sent.map_err(|err| {
                    tracing::debug!(%err, "a caller is gone");
                    Ended::Gone
                })
            }
            () = stopped => Err(Ended::Gone),
            late = passed(deadline.as_ref(), patience.map(Pause::For)) => Err(late.map_or(Ended::Gone, Ended::Failed)),
        }
    }

    /// Pays for `bytes` of a result.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        match self.bytes_left.checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => {
                let limit = self.bytes_max;
                let reason = format!("the subroutine gives more than {limit} bytes, its `max_output`");
                Err(Failure::of(Status::TooLarge, reason))
            }
        }
    }
}

/// How long it is waited for what may take longer.
#[derive(Clone, Copy, Debug)]
enum Pause {
    For(Duration),
    Until(Instant),
}

/// Waits until the deadline, and gives what it means, or until a pause is over; for ever without either.
async fn passed(deadline: Option<&Deadline>, pause: Option<Pause>) -> Option<Failure> {
    let pause = pause.map(|pause| match pause {
        Pause::For(time) => Instant::now() + time,
        Pause::Until(at) => at,
    });
    let deadline = deadline.filter(|deadline| pause.is_none_or(|pause| deadline.at <= pause));
    match deadline.map(|deadline| deadline.at).or(pause) {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
    deadline.map(Deadline::failure)
}
