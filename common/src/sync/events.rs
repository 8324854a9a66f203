//! What changes at the destination, as a stream that the edge draws: a bounded queue from the engine to whoever shows it.
//!
//! The engine waits while the queue is full, so the edge must go on taking or close it. A sync to which nobody listens has none.

use async_channel::{Receiver, Sender};

use crate::{limits, path::RelPath, wire::change::Change};

/// One entry that was changed, or would be in a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Below the top of the sync; escape it before showing it.
    pub path: RelPath,
    /// What became of it.
    pub change: Change,
}

/// The engine's end.
#[derive(Clone, Debug)]
pub struct Events(Sender<Event>);

/// The edge's end. Dropping or closing it lets the engine go on without it.
#[derive(Debug)]
pub struct EventQueue(Receiver<Event>);

/// Both ends of a queue.
pub fn events() -> (Events, EventQueue) {
    let (sender, receiver) = async_channel::bounded(limits::EVENTS_QUEUED_MAX);
    (Events(sender), EventQueue(receiver))
}

impl Events {
    /// Tells from a task. A queue that was closed is told nothing.
    pub(super) async fn tell(&self, event: Event) {
        let _closed = self.0.send(event).await;
    }

    /// Tells from a thread.
    pub(super) fn tell_blocking(&self, event: Event) {
        let _closed = self.0.send_blocking(event);
    }
}

impl EventQueue {
    /// The next event, or `None` at the end of the sync. Cancel-safe.
    pub async fn next(&self) -> Option<Event> {
        self.0.recv().await.ok()
    }

    /// The next event that is there already.
    pub fn try_next(&self) -> Option<Event> {
        self.0.try_recv().ok()
    }

    /// Wants no more.
    pub fn close(&self) {
        self.0.close();
    }
}
