//! What is wanted and not yet told to the source: runs of indexes.

use crate::{
    sync::destination::{
        Shared,
        bases::{Candidate, Telling},
    },
    wire::sync::{DestinationMessage, Run},
};

/// Wants since the last message.
#[derive(Default)]
pub(super) struct Wants {
    runs: Vec<Run>,
    /// Those for which there is something to build them from.
    with: Vec<(u32, Candidate, Telling)>,
}

impl Wants {
    /// Wants a file.
    pub(super) fn push(&mut self, shared: &Shared, index: u32) {
        shared.pending.want(index);
        match self.runs.last_mut() {
            Some(run) if run.first + run.count == index => run.count += 1,
            _ => self.runs.push(Run { first: index, count: 1 }),
        }
    }

    /// Wants a file, and has something that it may be built from.
    pub(super) fn push_with(
        &mut self,
        shared: &Shared,
        index: u32,
        (candidate, telling): (Candidate, Telling),
    ) {
        shared.pending.want(index);
        self.with.push((index, candidate, telling));
    }

    /// Has the source told what is wanted so far.
    pub(super) fn tell(&mut self, shared: &Shared) {
        let with = std::mem::take(&mut self.with);
        if !with.is_empty() {
            shared.bases.ask(with);
        }
        let runs = std::mem::take(&mut self.runs);
        if !runs.is_empty() {
            // A closed channel means that the sync has ended; the listing's queue is closed with it.
            let _ended = shared.control.send_blocking(DestinationMessage::Want(runs));
        }
    }
}
