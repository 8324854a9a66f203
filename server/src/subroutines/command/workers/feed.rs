//! What goes to a worker: a call, its input as it comes, and its end.

use std::io;

use bytes::{Buf, Bytes};
use futures_util::{FutureExt, future::BoxFuture};
use swarmwire_common::limits;
use tokio::net::unix::pipe;

use super::frame::{self, CALL, DATA, END, GIVEN_UP};
use crate::subroutines::{Failure, Input};

/// What a call brings with it.
pub(super) enum Source {
    /// All of it is there.
    Whole(Bytes),
    /// It comes piece by piece.
    Streamed(Input),
}

/// The next piece, and where the ones after it come from.
type Coming = BoxFuture<'static, (Input, Result<Option<Bytes>, Failure>)>;

enum Rest {
    Whole(Bytes),
    Coming(Coming),
    /// The end has been said, or will not be.
    Over,
}

/// Frames on their way. None is left cut short, or the worker could not be told anything any more.
pub(super) struct Feed {
    /// What is left of the frame that is being written.
    pending: Bytes,
    rest: Rest,
    /// The worker reads no more.
    is_broken: bool,
}

impl Feed {
    pub(super) fn new(head: &[u8], source: Source) -> Self {
        let rest = match source {
            Source::Whole(bytes) => Rest::Whole(bytes),
            Source::Streamed(input) => Rest::Coming(next(input)),
        };
        Self { pending: frame::frame(CALL, head), rest, is_broken: false }
    }

    /// Whether the worker is between two frames, and is sent no other.
    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty() && matches!(self.rest, Rest::Over)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Sends nothing more of the input.
    pub(super) fn stop(&mut self) {
        self.rest = Rest::Over;
    }

    /// Sends nothing more of the input, and that the call is given up.
    pub(super) fn give_up(&mut self) {
        self.stop();
        if !self.is_broken {
            let notice = frame::frame(GIVEN_UP, &[]);
            self.pending = [&self.pending[..], &notice].concat().into();
        }
    }

    /// Goes on until there is nothing to do at once; fails where the input does. To be called until it [is done](Self::is_done). Cancel-safe.
    pub(super) async fn go_on(&mut self, stdin: &pipe::Sender) -> Result<(), Failure> {
        if self.pending.is_empty() {
            self.pending = match &mut self.rest {
                Rest::Over => return Ok(()),
                Rest::Whole(bytes) if bytes.is_empty() => {
                    self.rest = Rest::Over;
                    frame::frame(END, &[])
                }
                Rest::Whole(bytes) => {
                    let piece = bytes.split_to(bytes.len().min(limits::CALL_FRAME_BYTES_MAX));
                    frame::frame(DATA, &piece)
                }
                Rest::Coming(coming) => {
                    let (input, piece) = coming.await;
                    self.rest = Rest::Over;
                    match piece? {
                        Some(piece) => {
                            self.rest = Rest::Coming(next(input));
                            frame::frame(DATA, &piece)
                        }
                        None => frame::frame(END, &[]),
                    }
                }
            };
        }
        stdin.writable().await?;
        match stdin.try_write(&self.pending) {
            Ok(count) => self.pending.advance(count),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                // How it ended is seen where its answers come from.
                self.is_broken = true;
                self.pending = Bytes::new();
                self.rest = Rest::Over;
            }
        }
        Ok(())
    }
}

fn next(mut input: Input) -> Coming {
    async move {
        let piece = input.next().await;
        (input, piece)
    }
    .boxed()
}
