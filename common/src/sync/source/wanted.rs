//! What the destination wants and no reader has taken yet.
//!
//! Wants come in ascending order and each file at most once, so the queue is bounded by the listing without a limit of its own, and
//! pushing never waits.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::{
    sync::{
        SyncError,
        tree::{NodeType, Tree},
    },
    wire::sync::Run,
};

/// One file to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) index: u32,
    /// Not to be sent if its content hashes to this.
    pub(super) unless: Option<[u8; 32]>,
}

/// The queue between the control reader and the reader threads.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The lowest index that may still be wanted.
    next_index: u32,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Job {
    Run(Run),
    Unless(u32, [u8; 32]),
}

impl Wanted {
    pub(super) fn push_runs(&self, tree: &Tree, runs: &[Run]) -> Result<(), SyncError> {
        let mut state = self.state();
        for &run in runs {
            let end = run.first.checked_add(run.count).filter(|_| run.count > 0);
            state.admit(tree, run.first, end)?;
            state.jobs.push_back(Job::Run(run));
        }
        self.changed.notify_all();
        Ok(())
    }

    pub(super) fn push_unless(&self, tree: &Tree, files: &[(u32, [u8; 32])]) -> Result<(), SyncError> {
        let mut state = self.state();
        for &(index, hash) in files {
            state.admit(tree, index, index.checked_add(1))?;
            state.jobs.push_back(Job::Unless(index, hash));
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Nothing more will be wanted.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// The sync is over: what is queued is forgotten.
    pub(super) fn abandon(&self) {
        self.state().jobs.clear();
        self.close();
    }

    /// The next file, if one is queued.
    pub(super) fn try_next(&self) -> Option<Want> {
        self.state().take()
    }

    /// The next file; waits for one. `None` when nothing more will come.
    pub(super) fn next(&self) -> Option<Want> {
        let idle = |state: &mut State| state.jobs.is_empty() && !state.closed;
        self.changed.wait_while(self.state(), idle).expect("no holder panics").take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    /// Checks that `first..end` are listed files that were not wanted before.
    fn admit(&mut self, tree: &Tree, first: u32, end: Option<u32>) -> Result<(), SyncError> {
        let Some(end) = end.filter(|&end| end <= tree.len()) else {
            return Err(SyncError::Protocol("it wants an entry that was not listed"));
        };
        if first < self.next_index {
            return Err(SyncError::Protocol("it wants entries out of order or twice"));
        }
        if self.closed {
            return Err(SyncError::Protocol("it wants entries after the end of its plan"));
        }
        if (first..end).any(|index| tree.node_type(index) != Some(NodeType::File)) {
            return Err(SyncError::Protocol("it wants the content of something that is no file"));
        }
        self.next_index = end;
        Ok(())
    }

    fn take(&mut self) -> Option<Want> {
        match self.jobs.front_mut()? {
            Job::Run(run) if run.count > 1 => {
                let index = run.first;
                run.first += 1;
                run.count -= 1;
                return Some(Want { index, unless: None });
            }
            _ => {}
        }
        match self.jobs.pop_front()? {
            Job::Run(run) => Some(Want { index: run.first, unless: None }),
            Job::Unless(index, hash) => Some(Want { index, unless: Some(hash) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Want, Wanted};
    use crate::{
        entry::{Kind, Metadata},
        sync::tree::Tree,
        wire::sync::Run,
    };

    fn tree(files: u8) -> Tree {
        let mut tree = Tree::default();
        tree.push(0, b"", &Kind::Directory, Metadata::default());
        for file in 0..files {
            tree.push(0, &[b'a' + file], &Kind::File { size: 1 }, Metadata::default());
        }
        tree
    }

    #[test]
    fn runs_come_out_file_by_file_and_then_the_end() {
        let (wanted, tree) = (Wanted::default(), tree(4));
        wanted.push_runs(&tree, &[Run { first: 1, count: 2 }]).unwrap();
        wanted.push_unless(&tree, &[(4, [7; 32])]).unwrap();
        wanted.close();
        let plain = |index| Some(Want { index, unless: None });
        assert_eq!([wanted.next(), wanted.try_next()], [plain(1), plain(2)]);
        assert_eq!(wanted.next(), Some(Want { index: 4, unless: Some([7; 32]) }));
        assert_eq!(wanted.next(), None);
    }

    #[test]
    fn a_lying_destination_is_told_so() {
        let tree = tree(4);
        for runs in [
            &[Run { first: 0, count: 1 }][..],
            &[Run { first: 4, count: 2 }],
            &[Run { first: 1, count: 0 }],
            &[Run { first: 2, count: u32::MAX }],
            &[Run { first: 3, count: 1 }, Run { first: 1, count: 1 }],
            &[Run { first: 1, count: 2 }, Run { first: 2, count: 1 }],
        ] {
            assert!(Wanted::default().push_runs(&tree, runs).is_err(), "{runs:?}");
        }
        let closed = Wanted::default();
        closed.close();
        assert!(closed.push_runs(&tree, &[Run { first: 1, count: 1 }]).is_err());
    }
}
