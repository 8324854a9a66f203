//! The half of a call that leads to its caller: the reply, what follows it, and when it is given up.

use std::{
    future::pending,
    pin::{Pin, pin},
    time::Instant,
};

use bytes::Bytes;
use swarmwire_common::{
    channel::{FrameError, FrameSender},
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
    /// Ready once nobody reads any more.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_reply: bool,
    /// Whether a frame may have left in part.
    is_torn: bool,
    /// Bytes that may still be given.
    bytes_left: u64,
}

impl Caller {
    pub(super) fn new(send: FrameSender, id: u64, deadline: Option<Deadline>, output_bytes_max: u64) -> Self {
        let stopped = Box::pin(send.stopped());
        Self { send, id, deadline, stopped, has_reply: false, is_torn: false, bytes_left: output_bytes_max }
    }

    /// Does the subroutine's work, while the caller hears now and then that it goes on.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = pin!(work);
        loop {
            let pause = if self.has_reply { limits::HEARTBEAT_INTERVAL } else { limits::CALL_REPLY_DELAY };
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = &mut self.stopped => return Err(Ended::Gone),
                failure = passed(self.deadline.as_ref()) => return Err(failure.into()),
                () = sleep(pause) => {}
            }
            if self.has_reply {
                self.say(&CallMessage::Alive, Bytes::new()).await?;
            } else {
                self.begin().await?;
            }
        }
    }

    /// Says that the call goes on, unless that was said.
    pub(super) async fn begin(&mut self) -> Result<(), Ended> {
        if self.has_reply {
            return Ok(());
        }
        self.reply(&CallReply::Running { id: self.id }).await
    }

    /// All of a batch, in the reply if it fits.
    pub(super) async fn whole(&mut self, bytes: Bytes) -> Result<(), Ended> {
        self.spend(bytes.len())?;
        soon(self.reply(&CallReply::Done { id: self.id, bytes: bytes.into() })).await
    }

    /// Whether all of a batch may be given as one.
    pub(super) fn fits_reply(&self, bytes: &Bytes) -> bool {
        !self.has_reply && bytes.len() <= limits::CALL_INLINE_BYTES_MAX
    }

    /// A part of a batch.
    pub(super) async fn part(&mut self, mut bytes: Bytes) -> Result<(), Ended> {
        self.spend(bytes.len())?;
        self.begin().await?;
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(limits::CALL_FRAME_BYTES_MAX));
            let length = u32::try_from(part.len()).expect("a part is small");
            self.say(&CallMessage::Part { bytes: length }, part).await?;
        }
        Ok(())
    }

    /// Some items of a stream, or none.
    pub(super) async fn items(&mut self, count: u32, bytes: Bytes) -> Result<(), Ended> {
        if count == 0 {
            return Ok(());
        }
        self.spend(bytes.len())?;
        let length = u32::try_from(bytes.len()).expect("items have a bound each, and few travel together");
        self.say(&CallMessage::Items { count, bytes: length }, bytes).await
    }

    /// What a send gave.
    pub(super) async fn returned(&mut self, value: i64) -> Result<(), Ended> {
        if self.has_reply {
            return self.last(&CallMessage::Returned { value }).await;
        }
        soon(self.reply(&CallReply::Returned { value })).await
    }

    /// The last message.
    pub(super) async fn last(&mut self, message: &CallMessage) -> Result<(), Ended> {
        self.begin().await?;
        soon(self.say(message, Bytes::new())).await
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

    /// Tells how it ended, if that has not been told, closes, and waits a moment until the caller has all of it.
    pub(super) async fn end(mut self, ended: Result<(), Ended>) -> Status {
        let status = self.tell_end(ended).await;
        if let Ok(status) = status {
            self.send.finish();
            if timeout(limits::REPLY_TIMEOUT, &mut self.stopped).await.is_err() {
                tracing::debug!("an answer that was not taken");
            }
            return status;
        }
        let (Ok(status) | Err(status)) = status;
        self.send.reset(status);
        status
    }

    /// The status, once it has been told, or cannot be.
    async fn tell_end(&mut self, ended: Result<(), Ended>) -> Result<Status, Status> {
        let Failure { status, reason } = match ended {
            Ok(()) => return Ok(Status::Ok),
            Err(Ended::Gone) => return Err(Status::Cancelled),
            Err(Ended::Failed(failure)) => failure,
        };
        if self.is_torn {
            // What follows half of a frame would be taken for the rest of it.
            return Err(status);
        }
        let telling = async {
            if self.has_reply {
                return self.send.send(&CallMessage::Failed { status: status.into(), reason }).await;
            }
            let reply =
                open::Reply { status: status.into(), detail: reason, retry_after_ms: 0, body: Vec::new() };
            self.send.send(&reply).await
        };
        // A caller that takes nothing does not take this, either.
        match timeout(limits::REPLY_TIMEOUT, telling).await {
            Ok(Ok(())) => Ok(status),
            Ok(Err(err)) => {
                tracing::debug!(%err, "a failure that did not arrive");
                Err(status)
            }
            Err(_) => Err(status),
        }
    }

    async fn reply(&mut self, body: &CallReply) -> Result<(), Ended> {
        let reply = open::Reply {
            status: Status::Ok.into(),
            detail: String::new(),
            retry_after_ms: 0,
            body: codec::encode(body),
        };
        self.has_reply = true;
        let Self { send, stopped, deadline, is_torn, .. } = self;
        deliver(send.send(&reply), stopped, deadline.as_ref(), is_torn).await
    }

    async fn say(&mut self, message: &CallMessage, raw: Bytes) -> Result<(), Ended> {
        let Self { send, stopped, deadline, is_torn, .. } = self;
        deliver(send.send_with(message, raw), stopped, deadline.as_ref(), is_torn).await
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        match self.bytes_left.checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => Err(Failure::of(
                Status::TooLarge,
                "the subroutine gives more bytes than it may (`max_output`)",
            )),
        }
    }
}

/// Waits for flow control, and for nobody who is gone.
async fn deliver(
    sending: impl Future<Output = Result<(), FrameError>>,
    stopped: &mut (impl Future<Output = ()> + Unpin),
    deadline: Option<&Deadline>,
    is_torn: &mut bool,
) -> Result<(), Ended> {
    *is_torn = true;
    tokio::select! {
        biased;
        sent = sending => {
            *is_torn = false;
            sent.map_err(|err| {
                tracing::debug!(%err, "a caller is gone");
                Ended::Gone
            })
        }
        () = stopped => Err(Ended::Gone),
        failure = passed(deadline) => Err(failure.into()),
    }
}

/// What comes last is said without a handler, so who does not take it keeps nothing.
async fn soon(saying: impl Future<Output = Result<(), Ended>>) -> Result<(), Ended> {
    timeout(limits::REPLY_TIMEOUT, saying).await.unwrap_or(Err(Ended::Gone))
}

/// Waits until then; for ever without a time.
async fn passed(deadline: Option<&Deadline>) -> Failure {
    match deadline {
        Some(deadline) => {
            sleep_until(deadline.at.into()).await;
            deadline.failure()
        }
        None => pending().await,
    }
}
