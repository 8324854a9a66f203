//! Which listing blocks were told by a digest, and which of them the destination does not have.
//!
//! A destination that has something already has agreed to be told so. It answers for each digest, in order; a block that it does not have is
//! listed after all. What is not answered is bounded, because the destination keeps what it cannot use before an answer to an earlier
//! one has come.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::{limits, sync::SyncError, wire::sync::Run};

/// Shared by the control reader, which takes the answers, and the scan.
#[derive(Debug)]
pub(super) struct Digests {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_on: bool,
    /// Blocks that are not answered.
    untold: VecDeque<Run>,
    /// Their entries.
    entries: usize,
    /// Blocks to be listed after all.
    differing: VecDeque<Run>,
    /// Of the latest answers, how many more were no than yes.
    misses: u32,
    is_over: bool,
}

/// How to go on with the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Tell the block by its digest.
    Digest,
    /// List its entries.
    List,
    /// List this earlier block first.
    Relist(Run),
    /// The sync is over.
    Over,
}

/// Answers no more than yes after which the rest is listed at once: the tree has changed all over, and each digest costs a second look.
const MISSES_MAX: u32 = 16;

impl Digests {
    /// `is_on` says that the destination has something to compare with.
    pub(super) fn new(is_on: bool) -> Self {
        Self { state: Mutex::new(State { is_on, ..State::default() }), changed: Condvar::new() }
    }

    /// Takes whether the destination has the blocks that were told, in their order.
    pub(super) fn answer(&self, has: &[bool]) -> Result<(), SyncError> {
        let mut state = self.state();
        for &has in has {
            let run = state.untold.pop_front();
            let run = run.ok_or(SyncError::Protocol("it compares more than was told"))?;
            state.entries -= run.count as usize;
            if has {
                state.misses = state.misses.saturating_sub(1);
            } else {
                state.differing.push_back(run);
                state.misses += 1;
                state.is_on &= state.misses < MISSES_MAX;
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    /// How to tell the next block. Waits while too much is not answered.
    pub(super) fn turn(&self, block: Run) -> Turn {
        let count = block.count as usize;
        let waits = |state: &mut State| {
            // Where it is listed, nothing may be open; where it is told, not too much.
            let room = if state.is_on { limits::DIGEST_ENTRIES_AHEAD_MAX.saturating_sub(count) } else { 0 };
            !state.is_over && state.differing.is_empty() && state.entries > room
        };
        let mut state = self.changed.wait_while(self.state(), waits).expect("no holder panics");
        if state.is_over {
            return Turn::Over;
        }
        if let Some(run) = state.differing.pop_front() {
            return Turn::Relist(run);
        }
        if !state.is_on {
            return Turn::List;
        }
        state.untold.push_back(block);
        state.entries += count;
        Turn::Digest
    }

    /// The next block that is to be listed after all, once the scan is complete. Waits for all answers; `None` after the last.
    pub(super) fn rest(&self) -> Option<Run> {
        let waits =
            |state: &mut State| !state.is_over && state.differing.is_empty() && !state.untold.is_empty();
        self.changed.wait_while(self.state(), waits).expect("no holder panics").differing.pop_front()
    }

    /// The sync is over.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.is_over = true;
        state.differing.clear();
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::{Digests, MISSES_MAX, Turn};
    use crate::{limits::DIGEST_ENTRIES_AHEAD_MAX, wire::sync::Run};

    fn block(first: u32, count: u32) -> Run {
        Run { first, count }
    }

    #[test]
    fn blocks_are_told_by_digest_where_that_is_agreed_and_listed_where_they_differ() {
        assert_eq!(Digests::new(false).turn(block(1, 10)), Turn::List);
        let digests = Digests::new(true);
        assert!(digests.answer(&[true]).is_err(), "nothing was told");
        for first in [11, 21, 31] {
            assert_eq!(digests.turn(block(first, 10)), Turn::Digest);
        }
        digests.answer(&[true, false]).unwrap();
        assert_eq!(digests.turn(block(41, 10)), Turn::Relist(block(21, 10)));
        assert_eq!(digests.turn(block(41, 10)), Turn::Digest);
        digests.answer(&[false, true]).unwrap();
        assert_eq!([digests.rest(), digests.rest()], [Some(block(31, 10)), None]);
        digests.abandon();
        assert_eq!(digests.turn(block(51, 1)), Turn::Over);
    }

    #[test]
    fn what_is_not_answered_is_bounded() {
        let digests = Digests::new(true);
        let half = u32::try_from(DIGEST_ENTRIES_AHEAD_MAX / 2).unwrap();
        assert_eq!(digests.turn(block(1, half)), Turn::Digest);
        assert_eq!(digests.turn(block(1 + half, half)), Turn::Digest);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| digests.turn(block(1 + 2 * half, 1)));
            digests.answer(&[true]).unwrap();
            assert_eq!(waiting.join().unwrap(), Turn::Digest);
        });
    }

    #[test]
    fn a_tree_that_has_changed_all_over_is_listed_at_once() {
        let digests = Digests::new(true);
        for first in 0..MISSES_MAX {
            assert_eq!(digests.turn(block(first, 1)), Turn::Digest);
            digests.answer(&[false]).unwrap();
            assert_eq!(digests.rest(), Some(block(first, 1)));
        }
        assert_eq!(digests.turn(block(99, 1)), Turn::List);
    }
}
