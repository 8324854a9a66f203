//! A call on its way to a worker, and what comes back.

use std::{sync::Arc, time::Instant, vec};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value as Json;
use swarmwire_common::wire::{call::CallKind, status::Status};
use tokio::sync::mpsc::{self, OwnedPermit};

use super::{feed::Source, frame::Frame};
use crate::subroutines::{Context, Failure, Room};

/// A call that no worker has begun.
pub(super) struct Job {
    context: Context,
    pub(super) kind: CallKind,
    args: Option<Json>,
    pub(super) source: Source,
    pub(super) answer: Answer,
}

/// Where the answer goes.
pub(super) struct Answer {
    pub(super) frames: mpsc::Sender<Given>,
    /// The end is told without waiting for the caller.
    last: OwnedPermit<Given>,
}

/// What is said of a call.
pub(super) enum Given {
    /// Parts or items, as many as were there at once.
    Frames(Vec<Frame>),
    /// What had not been given before the end, and the end; of a send, its value.
    Last(Vec<Frame>, Result<i64, Failure>),
}

/// What a worker is told of a call.
#[derive(Serialize)]
struct Head<'a> {
    subroutine: &'a str,
    id: u64,
    kind: &'static str,
    caller: String,
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<&'a Json>,
}

impl Job {
    /// A call, and where its answers come out.
    pub(super) fn new(
        context: Context,
        kind: CallKind,
        args: Option<Json>,
        source: Source,
    ) -> (Box<Self>, Answers) {
        // One for frames and one for the end.
        let (frames, receiver) = mpsc::channel(2);
        let Ok(last) = frames.clone().try_reserve_owned() else { unreachable!("nothing has been sent") };
        let answer = Answer { frames, last };
        context._room.gets_process();
        (
            Box::new(Self { context, kind, args, source, answer }),
            Answers { receiver, frames: Vec::new().into_iter(), ended: None },
        )
    }

    /// Whether nobody waits for it any longer.
    pub(super) fn is_given_up(&self) -> bool {
        self.answer.frames.is_closed()
    }

    /// One more with each call of the subroutine.
    pub(super) fn id(&self) -> u64 {
        self.context.id()
    }

    /// What a call takes up, for as long as it is kept.
    pub(super) fn room(&self) -> Arc<Room> {
        Arc::clone(&self.context._room)
    }

    /// What a worker is told of it, as JSON.
    pub(super) fn head(&self) -> Vec<u8> {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now()).as_millis();
        let head = Head {
            subroutine: self.context.subroutine(),
            id: self.context.id(),
            kind: self.kind.as_str(),
            caller: self.context.caller().to_string(),
            deadline_ms: self.context.deadline().map(left).map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            args: self.args.as_ref(),
        };
        serde_json::to_vec(&head).expect("values, texts and numbers have a JSON")
    }
}

impl Answer {
    /// What is left of the answer, and the end. What the call has taken up should be free by now.
    pub(super) fn end(self, left: Vec<Frame>, ended: Result<i64, Failure>) {
        self.last.send(Given::Last(left, ended));
    }
}

/// What a worker gives for a call. Dropped, the call is given up.
pub(super) struct Answers {
    receiver: mpsc::Receiver<Given>,
    frames: vec::IntoIter<Frame>,
    /// What comes after them.
    ended: Option<Result<i64, Failure>>,
}

/// A piece of an answer.
pub(super) enum Piece {
    Part(Bytes),
    Item(i64, Bytes),
    End(i64),
}

impl Answers {
    /// What comes next; after an end or a failure nothing does.
    pub(super) async fn next(&mut self) -> Result<Piece, Failure> {
        loop {
            match self.frames.next() {
                Some(Frame::Part(bytes)) => return Ok(Piece::Part(bytes)),
                Some(Frame::Item(ident, bytes)) => return Ok(Piece::Item(ident, bytes)),
                Some(_) => unreachable!("an end is told apart from frames"),
                None => {}
            }
            if let Some(ended) = self.ended.take() {
                return ended.map(Piece::End);
            }
            match self.receiver.recv().await {
                Some(Given::Frames(frames)) => self.frames = frames.into_iter(),
                Some(Given::Last(left, ended)) => {
                    (self.frames, self.ended) = (left.into_iter(), Some(ended));
                }
                None => {
                    return Err(Failure::of(Status::Unavailable, "the subroutine's workers are being ended"));
                }
            }
        }
    }
}
