//! What the destination wants and no reader has taken yet.
//!
//! Each file is wanted at most once and the chunks told with them are limited, so the queue is bounded by the listing without a limit of
//! its own, and pushing never waits.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::{
    delta::{Cuts, Signature},
    limits,
    sync::{
        SyncError,
        tree::{NodeType, Tree},
    },
    wire::sync::{Beginning, Mark, Run, WantWith},
};

/// One file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) index: u32,
    pub(super) has: Has,
}

/// What the destination has that may be like a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Has {
    Nothing,
    /// Content of these chunks.
    Chunks(Signature),
    /// This many bytes, which may be all of the file or its beginning; if they are not, the file is not wanted so.
    Beginning {
        size: u64,
        mark: Mark,
    },
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
    /// Which are wanted, and may not be once more.
    known: Bits,
    /// Which have been wanted beyond what they may begin with.
    compared: Bits,
    /// Chunks of the signatures that are queued.
    chunks: usize,
    /// Bytes of all files that are or were wanted.
    bytes: u64,
    closed: bool,
}

#[derive(Debug)]
enum Job {
    Run(Run),
    With(Want),
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

    pub(super) fn push_with(&self, tree: &Tree, files: Vec<WantWith>) -> Result<(), SyncError> {
        let mut state = self.state();
        for WantWith { index, average_log2, chunks } in files {
            state.admit(tree, index, index.checked_add(1))?;
            let cuts = Cuts::from_log2(average_log2);
            let cuts = cuts.ok_or(SyncError::Protocol("it cuts files in a way that nobody does"))?;
            let fits =
                |size: u32| usize::try_from(size).is_ok_and(|size| (1..=cuts.longest()).contains(&size));
            state.chunks += chunks.len();
            if chunks.len() > limits::SIGNATURE_CHUNKS_MAX
                || state.chunks > limits::SIGNATURE_CHUNKS_TOLD_MAX
                || !chunks.iter().all(|&(size, _)| fits(size))
            {
                return Err(SyncError::Protocol("it tells more or larger chunks than it may"));
            }
            state.jobs.push_back(Job::With(Want { index, has: Has::Chunks(Signature { cuts, chunks }) }));
        }
        self.changed.notify_all();
        Ok(())
    }

    pub(super) fn push_beyond(&self, tree: &Tree, files: Vec<Beginning>) -> Result<(), SyncError> {
        let mut state = self.state();
        for Beginning { index, size, mark } in files {
            state.admit(tree, index, index.checked_add(1))?;
            // Each costs reading a file, so it may be asked of it once.
            if !state.compared.set(index) {
                return Err(TWICE);
            }
            state.jobs.push_back(Job::With(Want { index, has: Has::Beginning { size, mark } }));
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Bytes of all files that are or were wanted, as they are listed.
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Nothing more will be wanted.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Whether nothing more will be wanted.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
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
        if self.closed {
            return Err(SyncError::Protocol("it wants entries after the end of its plan"));
        }
        for index in first..end {
            if tree.node_type(index) != Some(NodeType::File) {
                return Err(SyncError::Protocol("it wants the content of something that is no file"));
            }
            if !self.known.set(index) {
                return Err(TWICE);
            }
            if !self.compared.has(index) {
                self.bytes = self.bytes.saturating_add(tree.size(index));
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Want> {
        match self.jobs.front_mut()? {
            Job::Run(run) if run.count > 1 => {
                let index = run.first;
                run.first += 1;
                run.count -= 1;
                return Some(Want { index, has: Has::Nothing });
            }
            _ => {}
        }
        match self.jobs.pop_front()? {
            Job::Run(run) => Some(Want { index: run.first, has: Has::Nothing }),
            Job::With(want) => {
                match &want.has {
                    Has::Chunks(basis) => self.chunks -= basis.chunks.len(),
                    // Whatever the answer, the destination may find that it has something else.
                    Has::Beginning { .. } => self.known.clear(want.index),
                    Has::Nothing => {}
                }
                Some(want)
            }
        }
    }
}

const TWICE: SyncError = SyncError::Protocol("it wants an entry twice");

/// One bit per entry.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word & 1 << (index % 64) != 0)
    }

    /// Sets the bit; false if it was set.
    fn set(&mut self, index: u32) -> bool {
        let (word, bit) = (index as usize / 64, 1 << (index % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let was_set = self.0[word] & bit != 0;
        self.0[word] |= bit;
        !was_set
    }

    fn clear(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut(index as usize / 64) {
            *word &= !(1 << (index % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Has, Want, Wanted};
    use crate::{
        delta::{Cuts, Signature},
        entry::{Kind, Metadata},
        limits,
        sync::tree::Tree,
        wire::sync::{Beginning, Mark, Run, WantWith},
    };

    fn tree(files: u8) -> Tree {
        let mut tree = Tree::default();
        tree.push(0, b"", &Kind::Directory, Metadata::default());
        for file in 0..files {
            tree.push(0, &[b'a' + file], &Kind::File { size: 1 }, Metadata::default());
        }
        tree
    }

    fn with(index: u32, average_log2: u8, chunks: Vec<u32>) -> WantWith {
        WantWith { index, average_log2, chunks: chunks.into_iter().map(|size| (size, [7; 16])).collect() }
    }

    #[test]
    fn runs_come_out_file_by_file_and_then_the_end() {
        let (wanted, tree) = (Wanted::default(), tree(4));
        wanted.push_runs(&tree, &[Run { first: 2, count: 2 }]).unwrap();
        wanted.push_with(&tree, vec![with(1, 13, vec![5])]).unwrap();
        wanted.close();
        let plain = |index| Some(Want { index, has: Has::Nothing });
        assert_eq!([wanted.next(), wanted.try_next()], [plain(2), plain(3)]);
        let basis = Signature { cuts: Cuts::from_log2(13).unwrap(), chunks: vec![(5, [7; 16])] };
        assert_eq!(wanted.next(), Some(Want { index: 1, has: Has::Chunks(basis) }));
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
            &[Run { first: 3, count: 1 }, Run { first: 3, count: 1 }],
            &[Run { first: 1, count: 2 }, Run { first: 2, count: 1 }],
        ] {
            assert!(Wanted::default().push_runs(&tree, runs).is_err(), "{runs:?}");
        }
        for files in [
            vec![with(0, 13, vec![])],
            vec![with(5, 13, vec![])],
            vec![with(1, 13, vec![]), with(1, 13, vec![])],
            vec![with(1, 12, vec![])],
            vec![with(1, 200, vec![])],
            vec![with(1, 13, vec![0])],
            vec![with(1, 13, vec![32_769])],
            vec![with(1, 13, vec![1; limits::SIGNATURE_CHUNKS_MAX + 1])],
        ] {
            assert!(Wanted::default().push_with(&tree, files).is_err());
        }
        let closed = Wanted::default();
        closed.close();
        assert!(closed.push_runs(&tree, &[Run { first: 1, count: 1 }]).is_err());
    }

    #[test]
    fn a_file_is_compared_once_and_wanted_once_more_after_that() {
        let (wanted, tree) = (Wanted::default(), tree(2));
        let mark = Mark::Sample([7; 32]);
        let beyond = || wanted.push_beyond(&tree, vec![Beginning { index: 1, size: 1, mark }]);
        let run = || wanted.push_runs(&tree, &[Run { first: 1, count: 1 }]);
        beyond().unwrap();
        assert!(run().is_err(), "nobody has looked at it");
        assert_eq!(wanted.next(), Some(Want { index: 1, has: Has::Beginning { size: 1, mark } }));
        run().unwrap();
        assert_eq!(wanted.bytes(), 1, "it is one file");
        assert!(run().is_err());
        wanted.next().unwrap();
        assert!(run().is_err());
        assert!(beyond().is_err(), "that would be a reading for each message");
    }

    #[test]
    fn signatures_that_wait_are_bounded_and_those_that_were_taken_do_not_count() {
        let (wanted, tree) = (Wanted::default(), tree(20));
        let full = |index| vec![with(index, 13, vec![1; limits::SIGNATURE_CHUNKS_MAX])];
        for index in 1..=8 {
            wanted.push_with(&tree, full(index)).unwrap();
        }
        wanted.try_next().unwrap();
        wanted.push_with(&tree, full(9)).unwrap();
        assert!(wanted.push_with(&tree, full(10)).is_err());
    }
}
