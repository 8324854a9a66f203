//! Moving files: pass after pass over what is there, batch after batch, each of them one sync.

use std::{sync::Arc, time::SystemTime};

use swarmwire_common::{
    entry::Timestamp,
    filter::{List, Selection},
    path::{Name, RelPath},
    root::{Root, attributes::Namespaces},
    sync::{Destination, Outcome, Source, Tally},
    wire::{
        extra::Preserve,
        sync::{Direction, Selection as WireSelection, SyncOptions},
    },
};

use super::{
    Account, Candidate, Interrupted, Journal, Offload, OffloadError, State, Usage,
    batch::{self, Room},
    journal::BatchLedger,
    note, owed,
    side::{Files, Side, blocking},
};
use crate::controller::{Controller, Holding, RemotePath};

/// The directory at the destination in which earlier files are kept whose names are taken by new ones, each below the time at which that happened.
pub const EARLIER: &str = ".offload-earlier";

/// How often all is listed again, because others write meanwhile. Chosen: who writes faster than files move will not be caught up with.
const PASSES_MAX: usize = 8;

/// Where it goes on between batches.
pub(super) struct Course<'a> {
    pub(super) controller: &'a Controller,
    pub(super) journal: &'a Arc<Journal>,
    pub(super) account: &'a mut Account,
    pub(super) side: Side,
    /// The destination at the gateway; on this machine nothing but its locks is held.
    pub(super) destination: Option<Holding>,
    /// The directory on this machine.
    pub(super) root: Arc<Root>,
    pub(super) usage: Usage,
    /// What is gone on with, until the first pass.
    pub(super) interrupted: Option<Interrupted>,
}

/// What of a batch was moved.
struct Moves {
    bytes: u64,
    /// Nothing of it stays.
    is_whole: bool,
    /// Of something of it the destination says that it has no space.
    found_no_space: bool,
}

/// Why it ends where files go and the disk does not get any emptier.
const NOTHING_WON: &str = "as much was moved as should free enough, and the disk is as full as before: what was removed may have holes or \
     further names (hard links), be open in programs or be kept by a snapshot, or others write as fast";

/// Why it ends where nothing more fits.
const NO_SPACE: &str = "the destination has no space";

/// What has been moved since the disk was last seen to get emptier.
struct Yield {
    lowest: u64,
    /// Bytes that should go, as of then.
    excess: u64,
    /// Bytes that should have been won since.
    moved: u64,
    /// Files that went one by one since that is enough.
    tries: usize,
}

/// What may be of no use of the oldest that go when as much has gone as should be enough, file by file: of those with holes or further names. Chosen.
const TRIES_MAX: usize = 8;

impl Yield {
    fn new(used: u64, excess: u64) -> Self {
        Self { lowest: used, excess, moved: 0, tries: 0 }
    }

    /// Takes how full it is after `moved` bytes went. Whether it is of no use to go on.
    fn is_none_after(&mut self, moved: u64, used: u64, excess: u64) -> bool {
        if used < self.lowest {
            *self = Self::new(used, excess);
            return false;
        }
        if self.is_doubtful() {
            self.tries += 1;
        }
        self.moved = self.moved.saturating_add(moved);
        self.is_doubtful() && self.tries == TRIES_MAX
    }

    /// Whether as much has gone as should be enough, and nothing was won.
    fn is_doubtful(&self) -> bool {
        self.moved > 0 && self.moved >= self.excess
    }
}

/// Whether a failure says that the destination's disk, or what its owner may have of it, is full.
fn says_no_space(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["no space", "storage full", "quota"].iter().any(|word| reason.contains(word))
}

impl Offload {
    /// Moves files until it is not fuller than *until*, or nothing is left that can go.
    pub(super) async fn move_all(
        &self,
        course: &mut Course<'_>,
        files: Files,
    ) -> Result<State, OffloadError> {
        let mut there = files.there;
        for _ in 0..PASSES_MAX {
            let has_moved = self.pass(course, there).await?;
            let is_above = course.usage.is_above(self.terms.until);
            if course.account.stopped.is_some() {
                break;
            }
            // Others may have written meanwhile, or removed what could not be moved.
            let is_sure = self.terms.capacity.is_none() && !(is_above && has_moved);
            if is_sure && course.account.failed.is_empty() {
                return Ok(if is_above { State::Unreached } else { State::Reached });
            }
            let files = self.look_again(course).await?;
            if !course.usage.is_above(self.terms.until) {
                return Ok(State::Reached);
            }
            if !has_moved {
                break;
            }
            there = files.there;
        }
        Ok(State::Unreached)
    }

    /// Moves of these files those that may go, the oldest first, as far as it is needed. Says whether any was moved.
    async fn pass(&self, course: &mut Course<'_>, there: Vec<Candidate>) -> Result<bool, OffloadError> {
        let mut eligible = self.terms.eligible(there, (self.clock)());
        let Account { failed, elsewhere, .. } = &*course.account;
        eligible.retain(|file| !failed.contains_key(&file.path) && !elsewhere.contains(&file.path));
        let mut owed = owed(&eligible, course.interrupted.take().as_ref());
        let (mut rest, mut has_moved) = (&eligible[..], false);
        let mut won = Yield::new(course.usage.used, course.usage.excess(self.terms.until));
        loop {
            let excess = course.usage.excess(self.terms.until);
            let block = course.side.space().block;
            if rest.is_empty() || owed == 0 && excess == 0 || course.account.stopped.is_some() {
                return Ok(has_moved);
            }
            let room = self.room(course).await?;
            let count = if owed > 0 {
                batch::next(&self.terms, &rest[..owed], (u64::MAX, block), room)
            } else if won.is_doubtful() {
                1
            } else {
                batch::next(&self.terms, rest, (excess, block), room)
            };
            let (batch, after) = rest.split_at(count);
            // What is owed is known by the line of its own batch.
            if let Some(last) = batch.last().filter(|_| owed == 0) {
                let last = (last.mtime, last.path.clone());
                note(course.journal, move |journal| journal.batch(&last)).await?;
            }
            let was_owed = owed > 0;
            owed = owed.saturating_sub(count);
            let before = course.account.files_moved;
            let moved = self.move_batch(course, batch).await?;
            has_moved |= course.account.files_moved > before;
            rest = after;
            if moved.found_no_space {
                course.account.stopped = Some(NO_SPACE);
            }
            match self.terms.capacity {
                Some(_) if moved.is_whole => {
                    course.usage.used = course.usage.used.saturating_sub(moved.bytes);
                    course.side.check_hold().await?;
                }
                // What was not moved may have been removed, by an earlier run that was killed and of which the gateway has not noticed that.
                Some(_) => drop(self.look_again(course).await?),
                None => {
                    course.side.measure().await?;
                    course.usage = Usage::of(&course.side.space()).ok_or(OffloadError::NoSize)?;
                    let worth = batch.iter().map(|file| self.terms.worth(file.size, block));
                    let worth = if moved.is_whole { worth.fold(0, u64::saturating_add) } else { moved.bytes };
                    let (used, excess) = (course.usage.used, course.usage.excess(self.terms.until));
                    if !was_owed && won.is_none_after(worth, used, excess) {
                        course.account.stopped.get_or_insert(NOTHING_WON);
                    }
                }
            }
            course.account.after = Some(course.usage);
        }
    }

    /// What fits at the destination.
    async fn room(&self, course: &mut Course<'_>) -> Result<Room, OffloadError> {
        let space = match &mut course.destination {
            Some(holding) => holding.measure().await?,
            None => {
                let root = Arc::clone(&course.root);
                blocking(move || root.top().space().map_err(|err| OffloadError::local(root.path(), &err)))
                    .await?
            }
        };
        Ok(Room::of(&space))
    }

    /// Lists what is there by now, and how full a quota is with it.
    async fn look_again(&self, course: &mut Course<'_>) -> Result<Files, OffloadError> {
        let files = course.side.list(course.controller, self.is_one_file_system()).await?;
        course.account.settle(&files, self.is_one_file_system());
        if self.terms.capacity.is_some() {
            course.usage = self.terms.usage(&files.there, &course.side.space()).unwrap_or(course.usage);
        }
        Ok(files)
    }

    /// Moves these files.
    async fn move_batch(&self, course: &mut Course<'_>, batch: &[Candidate]) -> Result<Moves, OffloadError> {
        let selection = Arc::new(self.selection(batch)?);
        let ledger = Arc::new(BatchLedger::new(Arc::clone(course.journal)));
        let Outcome { report, error } = self.sync(course, selection, Arc::clone(&ledger)).await?;
        let safe = ledger.take();
        if let Some(err) = error {
            course.account.add_broken(safe);
            return Err(err.into());
        }
        let (bytes, stays) = course.account.add(batch, &safe, &report.failed);
        let is_whole = stays.is_empty();
        let found_no_space = stays.iter().any(|(_, reason)| says_no_space(reason));
        note(course.journal, move |journal| journal.stays(&stays)).await?;
        Ok(Moves { bytes, is_whole, found_no_space })
    }

    /// These files, as far as they are what was listed: whatever takes the place of one of them is mostly newer.
    fn selection(&self, batch: &[Candidate]) -> Result<Selection, OffloadError> {
        let asked = WireSelection {
            size_max: batch.iter().map(|file| file.size).max(),
            mtime_max: batch.iter().map(|file| file.mtime).max(),
            one_file_system: self.is_one_file_system(),
            ..WireSelection::default()
        };
        let mut list = List::default();
        batch.iter().try_for_each(|file| list.push(file.path.clone())).map_err(OffloadError::List)?;
        Ok(Selection::from_wire(asked).map_err(OffloadError::List)?.listing(list))
    }

    async fn sync(
        &self,
        course: &Course<'_>,
        selection: Arc<Selection>,
        ledger: Arc<BatchLedger>,
    ) -> Result<Outcome, OffloadError> {
        let options = SyncOptions {
            remove_source: true,
            preserve: Preserve { sparse: true, ..Preserve::default() },
            jobs: self.jobs,
            ..SyncOptions::default()
        };
        let remote = RemotePath { path: self.remote.clone(), trailing_slash: true };
        let (earlier, now) = (earlier((self.clock)()), Timestamp::from((self.clock)()));
        let (root, hashes, tally) = (Arc::clone(&course.root), self.hashes.clone(), Arc::<Tally>::default());
        match self.direction {
            Direction::Pull => {
                let opened = blocking(move || Ok(Destination::open(root, RelPath::root(), true, false)?));
                let destination = opened.await?.carrying(Namespaces::permitted()).selecting(selection);
                let destination = destination.keeping_top().accounting(ledger).backing_up(earlier);
                let destination = match hashes {
                    Some(hashes) => destination.remembering(hashes),
                    None => destination,
                };
                Ok(course.controller.pull(&remote, destination, options, tally).await?)
            }
            Direction::Push => {
                let opened =
                    blocking(move || Ok(Source::open(root, RelPath::root(), None)?.selecting(selection)?));
                let source = opened.await?.opened_at(now).accounting(ledger).backing_up(earlier);
                let source = match hashes {
                    Some(hashes) => source.remembering(hashes),
                    None => source,
                };
                Ok(course.controller.push(source, &remote, options, tally).await?)
            }
        }
    }
}

/// Where the destination keeps what a sync that begins now replaces: nothing is there yet, so that nothing of that is replaced.
fn earlier(now: SystemTime) -> RelPath {
    let time = humantime::format_rfc3339_nanos(now).to_string();
    let names = [EARLIER, &time].map(|name| Name::new(name.as_bytes()).expect("a plain name"));
    let path = names.into_iter().try_fold(RelPath::root(), |path, name| path.join(name));
    path.expect("two short names")
}

#[cfg(test)]
mod tests {
    use std::io;

    use swarmwire_common::root::describe;

    use super::*;

    #[test]
    fn it_is_of_no_use_to_go_on_where_all_was_moved_that_should_free_enough_and_some_more() {
        let mut won = Yield::new(100, 30);
        assert!(!won.is_none_after(20, 100, 30) && !won.is_none_after(0, 105, 35) && !won.is_doubtful());
        assert!(!won.is_none_after(10, 100, 30) && won.is_doubtful());
        let mut tries = (1..).take_while(|_| !won.is_none_after(1, 100, 30));
        assert_eq!(tries.by_ref().last(), Some(TRIES_MAX - 1));
        let mut won = Yield::new(100, 30);
        assert!(!won.is_none_after(30, 100, 30) && won.is_doubtful());
        assert!(!won.is_none_after(1, 99, 29) && !won.is_doubtful(), "it gets emptier");
        assert!(!won.is_none_after(28, 99, 29) && !won.is_doubtful());
        assert!(!won.is_none_after(1, 120, 50) && won.is_doubtful());
        let mut idle = Yield::new(100, 0);
        assert!(!idle.is_none_after(0, 100, 0) && !idle.is_doubtful(), "nothing was moved");
    }

    #[test]
    fn a_full_disk_is_known_by_what_is_said_of_it() {
        for code in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            let told = describe(&io::Error::from(code));
            assert!(says_no_space(&told), "{told}");
        }
        assert!(!says_no_space(&describe(&io::Error::from(rustix::io::Errno::ACCESS))));
    }
}
