//! A process that runs: when it has ended and how, and what it says on standard error.

use std::{io, os::fd::OwnedFd, pin::Pin, process::ExitStatus};

use futures_util::future::BoxFuture;
use tokio::{io::unix::AsyncFd, time::timeout};

use super::{
    group::{Group, TERMINATION_TIME_MAX},
    words::Words,
};
use crate::subroutines::Failure;

/// A process with its group. Dropped, it is ended.
pub(super) struct Running {
    pub(super) group: Group,
    exited: AsyncFd<OwnedFd>,
    pub(super) has_exited: bool,
    words: Words,
}

/// How a program ended.
pub(super) struct Exited {
    status: ExitStatus,
    /// The last lines of its standard error.
    words: String,
}

impl Exited {
    /// A failure unless it says that all is well.
    pub(super) fn success(self) -> Result<(), Failure> {
        if self.status.success() {
            return Ok(());
        }
        Err(Failure::new(self.describe("program")))
    }

    /// How whatever it was has ended, and what it said last.
    pub(super) fn describe(&self, what: &str) -> String {
        // `exit status: 3` or `signal: 9 (SIGKILL)`.
        let mut reason = format!("the {what} ended with {}", self.status);
        if !self.words.is_empty() {
            reason += ":\n";
            reason += &self.words;
        }
        reason
    }
}

impl Running {
    pub(super) fn new(group: Group, words: Words) -> io::Result<Self> {
        let exited = watched(group.pidfd()?)?;
        Ok(Self { group, exited, has_exited: false, words })
    }

    /// What it says from now on belongs to the call of this id, or to none.
    pub(super) fn work_for(&mut self, call: Option<u64>) {
        self.words.belong_to(call);
    }

    /// What it has said until now is not among its last lines.
    pub(super) fn forget_words(&mut self) {
        self.words.forget();
    }

    /// Reads standard error until the process has ended; on and on, once that was told. Cancel-safe.
    pub(super) async fn exit(&mut self) -> io::Result<()> {
        tokio::select! {
            () = self.words.listen_on() => Ok(()),
            gone = self.exited.readable(), if !self.has_exited => {
                gone?.retain_ready();
                self.has_exited = true;
                Ok(())
            }
        }
    }

    /// How it ended, once it has. What is left of its group is asked to end, and killed where it holds on to standard error.
    pub(super) async fn end(mut self) -> io::Result<Exited> {
        if !self.has_exited {
            self.exit().await?;
        }
        self.group.terminate();
        if timeout(TERMINATION_TIME_MAX, self.words.listen()).await.is_err() {
            self.group.kill();
            if timeout(TERMINATION_TIME_MAX, self.words.listen()).await.is_err() {
                tracing::debug!("what has left a subroutine's process group holds its standard error");
            }
        }
        let status = self.group.reap()?;
        Ok(Exited { status, words: self.words.into_last() })
    }
}

/// Goes on with what there is to be done beside something else.
pub(super) async fn going<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => Pin::new(work).await,
        None => std::future::pending().await,
    }
}

#[expect(deprecated, reason = "what takes its place is unsafe; a descriptor that is owned satisfies it")]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}
