//! A process that runs: when it has ended and how, and what it says on standard error.

use std::{
    collections::VecDeque, io, os::fd::OwnedFd, pin::Pin, process::ExitStatus, sync::Arc, time::Duration,
};

use futures_util::future::BoxFuture;
use swarmwire_common::{escape::escape, limits};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, unix::AsyncFd},
    net::unix::pipe,
    time::{Instant, timeout},
};

use super::group::{Group, TERMINATION_TIME_MAX};
use crate::subroutines::Failure;

/// Lines of standard error that are logged in a second.
const LINES_PER_SECOND: u32 = 50;

/// Lines of standard error that are kept for the caller, and bytes of each.
const LAST_LINES: usize = 20;
const LINE_BYTES_MAX: usize = 1024;

/// A process with its group. Dropped, it is ended.
pub(super) struct Running {
    pub(super) group: Group,
    exited: AsyncFd<OwnedFd>,
    pub(super) has_exited: bool,
    listening: Option<BoxFuture<'static, String>>,
    words: String,
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
    pub(super) fn new(group: Group, stderr: pipe::Receiver, subroutine: Arc<str>) -> io::Result<Self> {
        let exited = watched(group.pidfd()?)?;
        let listening: BoxFuture<'static, _> = Box::pin(last_words(stderr, subroutine));
        Ok(Self { group, exited, has_exited: false, listening: Some(listening), words: String::new() })
    }

    /// Reads standard error until the process has ended; on and on, once that was told. Cancel-safe.
    pub(super) async fn exit(&mut self) -> io::Result<()> {
        loop {
            tokio::select! {
                words = going(&mut self.listening) => {
                    self.listening = None;
                    self.words = words;
                }
                gone = self.exited.readable(), if !self.has_exited => {
                    gone?.retain_ready();
                    self.has_exited = true;
                    return Ok(());
                }
            }
        }
    }

    /// How it ended, once it has. What is left of its group is asked to end, and killed where it holds on to standard error.
    pub(super) async fn end(mut self) -> io::Result<Exited> {
        if !self.has_exited {
            self.exit().await?;
        }
        self.group.terminate();
        if let Some(mut listening) = self.listening.take() {
            self.words = if let Ok(words) = timeout(TERMINATION_TIME_MAX, &mut listening).await {
                words
            } else {
                self.group.kill();
                timeout(TERMINATION_TIME_MAX, listening).await.unwrap_or_default()
            };
        }
        let status = self.group.reap()?;
        Ok(Exited { status, words: self.words })
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

/// Reads standard error into the log; gives its last lines.
async fn last_words(stderr: pipe::Receiver, subroutine: Arc<str>) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut last = VecDeque::new();
    let mut line = Vec::new();
    let (mut second, mut logged) = (Instant::now(), 0);
    loop {
        line.clear();
        let read = (&mut stderr).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await;
        if !read.is_ok_and(|count| count > 0) {
            break;
        }
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        if second.elapsed() >= Duration::from_secs(1) {
            if logged > LINES_PER_SECOND {
                let lines = logged - LINES_PER_SECOND;
                tracing::info!(%subroutine, lines, "left out what a subroutine's program says");
            }
            (second, logged) = (Instant::now(), 0);
        }
        logged += 1;
        if logged <= LINES_PER_SECOND {
            tracing::info!(%subroutine, line = %escape(text.as_bytes()), "a subroutine's program says");
        }
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }
    let mut words = Vec::from(last).join("\n");
    if words.len() > limits::CALL_REASON_BYTES_MAX / 2 {
        words.drain(..words.ceil_char_boundary(words.len() - limits::CALL_REASON_BYTES_MAX / 2));
    }
    words
}
