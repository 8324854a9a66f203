//! What a process says on standard error: all of it goes to the log, its last lines to whoever called.
//!
//! A worker says something in one call after the other, and these are of different callers. What it has said until a call begins, be it read or still in the
//! pipe, is not told to that call's caller.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use rustix::io::ioctl_fionread;
use swarmwire_common::{escape::escape, limits};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
};

use crate::subroutines::pace::Pace;

/// Lines that are kept for the caller, and bytes of each.
const LAST_LINES: usize = 20;
const LINE_BYTES_MAX: usize = 1024;

/// What is said, as it is read.
pub(super) struct Words {
    stderr: BufReader<pipe::Receiver>,
    is_over: bool,
    /// What has been read of a line.
    line: Vec<u8>,
    /// Bytes of all lines before it.
    position: u64,
    /// The first byte that is told.
    told_from: u64,
    last: VecDeque<String>,
    subroutine: Arc<str>,
    /// The id of the call that the process works for, as far as that is known.
    call: Option<u64>,
    logged: Pace,
}

impl Words {
    pub(super) fn new(stderr: pipe::Receiver, subroutine: Arc<str>, call: Option<u64>) -> Self {
        Self {
            stderr: BufReader::new(stderr),
            is_over: false,
            line: Vec::new(),
            position: 0,
            told_from: 0,
            last: VecDeque::new(),
            subroutine,
            call,
            logged: Pace::new(Instant::now()),
        }
    }

    /// What is read from now on is logged as said in this call.
    pub(super) fn belong_to(&mut self, call: Option<u64>) {
        self.call = call;
    }

    /// Tells nothing of what has been said until now.
    pub(super) fn forget(&mut self) {
        self.last.clear();
        // Where that cannot be known, nothing is told at all.
        let in_pipe = ioctl_fionread(self.stderr.get_ref()).unwrap_or(u64::MAX);
        let read = self.position + (self.line.len() + self.stderr.buffer().len()) as u64;
        self.told_from = read.saturating_add(in_pipe);
    }

    /// Reads until nobody can say anything more. Cancel-safe.
    pub(super) async fn listen(&mut self) {
        while !self.is_over {
            let room = (LINE_BYTES_MAX - self.line.len()) as u64;
            let read = (&mut self.stderr).take(room).read_until(b'\n', &mut self.line).await;
            self.is_over = !read.is_ok_and(|count| count > 0);
            if !self.line.is_empty() {
                self.take_line();
            }
        }
    }

    /// The same, and waits for ever then.
    pub(super) async fn listen_on(&mut self) {
        self.listen().await;
        std::future::pending::<()>().await;
    }

    /// The last lines.
    pub(super) fn into_last(self) -> String {
        let mut words = Vec::from(self.last).join("\n");
        if words.len() > limits::CALL_REASON_BYTES_MAX / 2 {
            words.drain(..words.ceil_char_boundary(words.len() - limits::CALL_REASON_BYTES_MAX / 2));
        }
        words
    }

    fn take_line(&mut self) {
        self.log_line();
        let untold = usize::try_from(self.told_from.saturating_sub(self.position)).unwrap_or(usize::MAX);
        self.position += self.line.len() as u64;
        if let Some(told) = self.line.get(untold..).filter(|told| !told.is_empty()) {
            if self.last.len() == LAST_LINES {
                self.last.pop_front();
            }
            self.last.push_back(String::from_utf8_lossy(told.trim_ascii_end()).into_owned());
        }
        self.line.clear();
    }

    fn log_line(&mut self) {
        let (subroutine, call) = (&self.subroutine, self.call);
        let paced = self.logged.take(Instant::now());
        if let Some(lines) = paced.left_out {
            tracing::info!(%subroutine, call, lines, "left out what a subroutine's program says");
        }
        if paced.is_logged {
            let line = escape(self.line.trim_ascii_end());
            tracing::info!(%subroutine, call, %line, "a subroutine's program says");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn what_was_said_before_is_not_told_wherever_it_is() {
        let (mut stderr, receiver) = pipe::pipe().unwrap();
        let mut words = Words::new(receiver, "lamp".into(), None);
        stderr.write_all(b"read\nhalf of ").await.unwrap();
        while words.line.is_empty() {
            tokio::select! {
                biased;
                () = words.listen() => panic!("it is not over"),
                () = tokio::task::yield_now() => {}
            }
        }
        stderr.write_all(b"a line\nin the pipe\nand half").await.unwrap();
        words.forget();
        stderr.write_all(b" of mine\nmine\n").await.unwrap();
        drop(stderr);
        words.listen().await;
        assert_eq!(words.into_last(), " of mine\nmine");
    }

    #[tokio::test]
    async fn the_last_lines_are_told_and_none_is_longer_than_it_may_be() {
        let (mut stderr, receiver) = pipe::pipe().unwrap();
        let mut words = Words::new(receiver, "lamp".into(), None);
        let long = "x".repeat(LINE_BYTES_MAX);
        let said: String = (0..LAST_LINES).map(|number| format!("{number}\n")).collect();
        stderr.write_all(format!("{said}{long}yz\nend").as_bytes()).await.unwrap();
        drop(stderr);
        words.listen().await;
        let told = words.into_last();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!((lines.len(), lines[0]), (LAST_LINES, "3"));
        assert_eq!(lines[LAST_LINES - 3..], [long.as_str(), "yz", "end"]);
    }
}
