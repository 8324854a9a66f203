//! What is wanted and not yet told to the source: runs of indexes, or files by the hash of what is here.
//!
//! The source takes wants in ascending order only, so one kind is told before the other begins.

use crate::{
    sync::destination::Shared,
    wire::sync::{DestinationMessage, Run},
};

/// Wants since the last message.
#[derive(Default)]
pub(super) struct Wants {
    runs: Vec<Run>,
    unless: Vec<(u32, [u8; 32])>,
}

impl Wants {
    /// Wants a file.
    pub(super) fn push(&mut self, shared: &Shared, index: u32) {
        shared.pending.want(index);
        if !self.unless.is_empty() {
            self.tell(shared);
        }
        match self.runs.last_mut() {
            Some(run) if run.first + run.count == index => run.count += 1,
            _ => self.runs.push(Run { first: index, count: 1 }),
        }
    }

    /// Wants a file unless its content hashes to what is here.
    pub(super) fn push_unless(&mut self, shared: &Shared, index: u32, hash: [u8; 32]) {
        shared.pending.want(index);
        if !self.runs.is_empty() {
            self.tell(shared);
        }
        self.unless.push((index, hash));
    }

    /// Tells the source what is wanted so far.
    pub(super) fn tell(&mut self, shared: &Shared) {
        let Self { runs, unless } = std::mem::take(self);
        let runs = (!runs.is_empty()).then_some(DestinationMessage::Want(runs));
        let unless = (!unless.is_empty()).then_some(DestinationMessage::WantUnless(unless));
        for message in runs.into_iter().chain(unless) {
            // A closed channel means that the sync has ended; the listing's queue is closed with it.
            let _ended = shared.control.send_blocking(message);
        }
    }
}
