//! Conditional backup: when a disk is fuller than it should be, its oldest files are moved away until it is not.
//!
//! [`Offload::run`] looks how full it is, lists what is there, and moves the oldest files in batches (`batch`), each by a sync that removes at the
//! source what is durable at the destination (`swarmwire_common::sync`); after each batch it looks again. When to do that and which files may
//! go is said by [`Terms`]. Everything that is decided is pure.
//!
//! It may be interrupted at any moment and repeated: what is safe and was not removed is compared and removed, and a [`Journal`] remembers that an
//! offload is not at its end, so that the next one goes on to *until* although it is not above *above* any longer. A file whose name an earlier one has
//! at the destination does not replace it: that is kept below [`EARLIER`]. Nothing here prints or tries again.

mod account;
mod batch;
mod error;
mod journal;
mod moving;
mod probe;
mod side;
mod terms;

use std::{fs, io, path::PathBuf, sync::Arc, time::SystemTime};

use swarmwire_certs::{Fingerprint, PrivateDir};
use swarmwire_common::{
    escape::escape,
    hashes::HashStore,
    path::RelPath,
    root::{Root, Space},
    sync::Failure,
    wire::{status::Status, sync::Direction},
};

use crate::controller::{Controller, Holding, RequestError};
pub use account::{Account, State};
pub use error::OffloadError;
pub use journal::{Interrupted, Journal};
pub use moving::EARLIER;
pub use terms::{BadTerms, Candidate, Percent, Terms, Usage};

use moving::Course;
use probe::Probe;
use side::{Files, LocalHold, Side, blocking};

/// What is offloaded, where to, and on which terms.
#[derive(Clone, Debug)]
pub struct Offload {
    /// Pull: from the gateway to this machine.
    pub direction: Direction,
    /// The directory at the gateway.
    pub remote: RelPath,
    /// The directory on this machine.
    pub local: PathBuf,
    /// When, how far, and which files.
    pub terms: Terms,
    /// Threads of each end that read or write files.
    pub jobs: u8,
    /// Where hashes of files on this machine are remembered.
    pub hashes: Option<Arc<HashStore>>,
    /// Tells the time of day.
    pub clock: fn() -> SystemTime,
}

/// What an offload would do.
#[derive(Debug)]
pub struct Plan {
    /// The files that would be moved, the oldest first.
    pub files: Vec<Candidate>,
    /// How full it is.
    pub before: Usage,
    /// How full it would be.
    pub after: Usage,
    /// What it would come to.
    pub state: State,
    /// What could not be looked at.
    pub failed: Vec<Failure>,
}

impl Offload {
    /// Opens the journal of this offload in `dir` (`Home::offloads`), which no other process has then, nor another one with the same destination at the
    /// gateway. `name` is what the gateway is called. Blocks.
    pub fn journal(
        &self,
        dir: PrivateDir,
        gateway: Fingerprint,
        name: &str,
    ) -> Result<Arc<Journal>, OffloadError> {
        let there = format!("{name}:{}", escape(self.remote.as_bytes()));
        let here = escape(self.local.as_os_str().as_encoded_bytes()).into_owned();
        let busy = |what: String| {
            let by = "by another process of this user; try again when that has ended";
            OffloadError::Busy(format!("{what} {by}"))
        };
        let (from, to, lock) = match self.direction {
            Direction::Pull => (there, here, None),
            Direction::Push => {
                let destination = [b"to", &gateway.as_bytes()[..], self.remote.as_bytes()].concat();
                let lock = Journal::lock(&dir, &destination)?;
                let busy = || busy(format!("files are being offloaded to `{there}`"));
                (here, there.clone(), Some(lock.ok_or_else(busy)?))
            }
        };
        let (subject, terms) = (self.subject(gateway)?, self.terms_key(gateway));
        let title = format!("offload {from} to {to}");
        let journal = Journal::open(dir, (&subject, &terms), &title, self.clock)?;
        let journal = journal.ok_or_else(|| busy(format!("`{from}` is being offloaded")))?;
        Ok(Arc::new(journal.locking(lock)))
    }

    /// The last such offload, if it was interrupted, so that the next one goes on with it. Blocks.
    pub fn interrupted(
        &self,
        dir: &PrivateDir,
        gateway: Fingerprint,
    ) -> Result<Option<Interrupted>, OffloadError> {
        Ok(Journal::was_interrupted(dir, (&self.subject(gateway)?, &self.terms_key(gateway)))?)
    }

    /// What tells apart which files go how far and where to, as only the same is gone on with.
    fn terms_key(&self, gateway: Fingerprint) -> Vec<u8> {
        let destination = match self.direction {
            Direction::Pull => self.local.as_os_str().as_encoded_bytes().to_vec(),
            Direction::Push => [&gateway.as_bytes()[..], self.remote.as_bytes()].concat(),
        };
        [self.terms.key().as_bytes(), b"\n", &destination[..]].concat()
    }

    /// What tells this offload apart from others: the directory that is offloaded.
    fn subject(&self, gateway: Fingerprint) -> Result<Vec<u8>, OffloadError> {
        Ok(match self.direction {
            Direction::Pull => [b"pull", &gateway.as_bytes()[..], self.remote.as_bytes()].concat(),
            Direction::Push => {
                let real = self.local.canonicalize().map_err(|err| OffloadError::local(&self.local, &err))?;
                [b"push", real.as_os_str().as_encoded_bytes()].concat()
            }
        })
    }

    /// Says what would be moved, and changes nothing. It holds nothing either, so others may be at it.
    pub async fn plan(
        &self,
        controller: &Controller,
        interrupted: Option<&Interrupted>,
    ) -> Result<Plan, OffloadError> {
        let (space, files) = match self.direction {
            Direction::Pull => {
                let path = self.local.clone();
                blocking(move || side::require_directory_or_nothing(&path)).await?;
                (controller.space(&self.remote).await?, side::list_there(controller, &self.remote).await?)
            }
            Direction::Push => {
                let path = self.local.clone();
                let opened = blocking(move || {
                    let root = side::open_root(&path)?;
                    let space = root.top().space().map_err(|err| OffloadError::local(&path, &err))?;
                    Ok((Arc::new(root), space))
                });
                let (root, space) = opened.await?;
                (space, side::list_here(root, self.is_one_file_system()).await?)
            }
        };
        let before = self.terms.usage(&files.there, &space).ok_or(OffloadError::NoSize)?;
        let mut plan =
            Plan { files: Vec::new(), before, after: before, state: State::NotDue, failed: files.failed };
        let eligible = self.terms.eligible(files.there, (self.clock)());
        let owed = owed(&eligible, interrupted);
        if owed > 0 || self.is_due(before, interrupted.is_some()) {
            for (place, file) in eligible.into_iter().enumerate() {
                if place >= owed && !plan.after.is_above(self.terms.until) {
                    break;
                }
                let worth = self.terms.worth(file.size, space.block);
                plan.after.used = plan.after.used.saturating_sub(worth);
                plan.files.push(file);
            }
            let is_reached = !plan.after.is_above(self.terms.until);
            plan.state = if is_reached { State::Reached } else { State::Unreached };
        }
        Ok(plan)
    }

    /// Moves what has to go. What was moved, and what not, is in `account` even if an error ends it; run again with the same one, it goes on.
    pub async fn run(
        &self,
        controller: &Controller,
        journal: &Arc<Journal>,
        account: &mut Account,
    ) -> Result<(), OffloadError> {
        let side = match self.direction {
            Direction::Pull => Side::there(controller, &self.remote).await?,
            Direction::Push => Side::here(&self.local).await?,
        };
        let ended = self.run_at(side, controller, journal, account).await;
        ended.map_err(|err| match controller.ended_as() {
            Some(Status::Busy) => self.overtaken(),
            _ => err.beside_hold(),
        })
    }

    /// What is told whose hold was taken over.
    fn overtaken(&self) -> OffloadError {
        let what = match self.direction {
            Direction::Pull => "offloads it",
            Direction::Push => "moves files to it",
        };
        OffloadError::Busy(format!(
            "`{}` was taken over: another process with this identity {what} now, from another machine or with another state \
             directory; let only one of them do it",
            self.remote
        ))
    }

    /// The same where `side` is held.
    async fn run_at(
        &self,
        side: Side,
        controller: &Controller,
        journal: &Arc<Journal>,
        account: &mut Account,
    ) -> Result<(), OffloadError> {
        let looking = Arc::clone(journal);
        let interrupted = blocking(move || looking.interrupted().map_err(OffloadError::Journal)).await?;
        let was_interrupted = interrupted.is_some();
        let is_idle = account.is_settled() && !was_interrupted && self.is_seen_idle(&side.space());
        let is_pull = self.direction == Direction::Pull;
        // Before the listing, which would show it. That it cannot be put there matters where something is to be done.
        let probe = if is_idle || !is_pull { None } else { Some(Probe::put(&self.local).await) };
        let files =
            if is_idle { Files::default() } else { side.list(controller, self.is_one_file_system()).await? };
        account.settle(&files, self.is_one_file_system());
        let usage = self.terms.usage(&files.there, &side.space()).ok_or(OffloadError::NoSize)?;
        account.before.get_or_insert(usage);
        account.stopped = None;
        account.after = Some(usage);
        // Whether they may go is asked when they do.
        let owes = files.there.iter().any(|file| is_owed(file, interrupted.as_ref()));
        if !owes && !self.is_due(usage, was_interrupted) {
            account.state = if was_interrupted { State::Reached } else { State::NotDue };
            if let Some(Ok(probe)) = probe {
                probe.remove().await?;
            }
            if !was_interrupted {
                return Ok(());
            }
            // What the interrupted one may have under way there comes to its end with it.
            drop(self.hold_destination(controller).await?);
            return note(journal, move |journal| journal.end(usage)).await;
        }
        self.require_two_places(controller, probe, &files).await?;
        if !was_interrupted {
            let terms = self.terms.clone();
            note(journal, move |journal| journal.begin(&terms, usage)).await?;
        }
        let (root, _hold) = self.open_local().await?;
        let destination = self.hold_destination(controller).await?;
        let mut course = Course { controller, journal, account, side, destination, root, usage, interrupted };
        let state = self.move_all(&mut course, files).await?;
        (course.account.state, course.account.after) = (state, Some(course.usage));
        let usage = course.usage;
        note(journal, move |journal| journal.end(usage)).await
    }

    /// Fails if what is moved would be moved onto itself, or below where it is.
    async fn require_two_places(
        &self,
        controller: &Controller,
        probe: Option<Result<Probe, OffloadError>>,
        files: &Files,
    ) -> Result<(), OffloadError> {
        let probe = match probe {
            Some(probe) => probe?,
            None => Probe::put(&self.local).await?,
        };
        probe::sweep(&self.local).await?;
        let seen = match self.direction {
            Direction::Pull => probe.is_not_below(controller, &self.remote, files).await,
            Direction::Push => probe.is_not_above(controller, &self.remote).await,
        };
        probe.remove().await?;
        seen
    }

    /// Takes the destination, where it is at the gateway. What an earlier run that was killed has under way there is over then.
    async fn hold_destination(&self, controller: &Controller) -> Result<Option<Holding>, OffloadError> {
        if self.direction == Direction::Pull {
            return Ok(None);
        }
        match controller.hold_destination(&self.remote).await {
            Ok(holding) => Ok(Some(holding)),
            // The directory, and not a handler, and nobody knows for how long.
            Err(err @ RequestError::Refused { status: Status::Busy, retry_after_ms: 0, .. }) => {
                Err(OffloadError::Busy(err.to_string()))
            }
            Err(err) => Err(err.into()),
        }
    }

    /// Whether the disk alone tells that nothing is to be done, so that nothing needs to be listed.
    fn is_seen_idle(&self, space: &Space) -> bool {
        let usage = Usage::of(space).filter(|_| self.terms.capacity.is_none());
        usage.is_some_and(|usage| !self.is_due(usage, false))
    }

    /// Of a disk only the files count that are on it.
    fn is_one_file_system(&self) -> bool {
        self.terms.capacity.is_none()
    }

    fn is_due(&self, usage: Usage, was_interrupted: bool) -> bool {
        usage.is_above(self.terms.above) || was_interrupted && usage.is_above(self.terms.until)
    }

    /// The directory on this machine; where it is the destination, made if it is missing, and nobody else's meanwhile, as two that put a file of one name
    /// there could lose one of them.
    async fn open_local(&self) -> Result<(Arc<Root>, Option<LocalHold>), OffloadError> {
        let (path, is_destination) = (self.local.clone(), self.direction == Direction::Pull);
        blocking(move || {
            if !is_destination {
                return Ok((Arc::new(side::open_root(&path)?), None));
            }
            fs::create_dir_all(&path).map_err(|err| OffloadError::not_written(&path, &err))?;
            Ok((Arc::new(side::open_root(&path)?), Some(LocalHold::take(&path)?)))
        })
        .await
    }
}

/// Whether a file belongs to the batch at which an earlier one was interrupted, if it may go: it may be at both places.
fn is_owed(file: &Candidate, interrupted: Option<&Interrupted>) -> bool {
    let last = interrupted.and_then(|interrupted| interrupted.last.as_ref());
    last.is_some_and(|(mtime, path)| (file.mtime, &file.path) <= (*mtime, path))
}

/// How many of `files`, which may go and are sorted, are those.
fn owed(files: &[Candidate], interrupted: Option<&Interrupted>) -> usize {
    files.partition_point(|file| is_owed(file, interrupted))
}

async fn note(
    journal: &Arc<Journal>,
    write: impl FnOnce(&Journal) -> io::Result<()> + Send + 'static,
) -> Result<(), OffloadError> {
    let journal = Arc::clone(journal);
    blocking(move || write(&journal).map_err(OffloadError::Journal)).await
}
