//! Large files that are coming in: chunks of one attempt, in any order, from any stream.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use super::writer::DAMAGED;
use crate::{
    entry::Metadata,
    hash::TreeHasher,
    limits::CHUNK_BYTES,
    root::{
        File,
        staging::{Staging, TempName},
    },
    sync::SyncError,
    wire::data::FileAttempt,
};

/// All large files of a sync, by index.
#[derive(Debug, Default)]
pub(super) struct Assemblies {
    slots: Mutex<HashMap<u32, Slot>>,
}

#[derive(Debug)]
enum Slot {
    Open(Arc<Assembly>),
    /// Failed here or withdrawn by the source: what still comes of it is dropped.
    GivenUp,
}

impl Assemblies {
    pub(super) fn get(&self, index: u32) -> Option<Arc<Assembly>> {
        match self.slots().get(&index) {
            Some(Slot::Open(assembly)) => Some(assembly.clone()),
            _ => None,
        }
    }

    pub(super) fn was_given_up(&self, index: u32) -> bool {
        matches!(self.slots().get(&index), Some(Slot::GivenUp))
    }

    /// Begins a file unless another thread has; `None` if it was given up. A file that cannot be begun is given up.
    pub(super) fn begin(
        &self,
        index: u32,
        open_max: usize,
        begin: impl FnOnce() -> Result<io::Result<Assembly>, SyncError>,
    ) -> Result<Option<io::Result<Arc<Assembly>>>, SyncError> {
        let mut slots = self.slots();
        match slots.get(&index) {
            Some(Slot::Open(assembly)) => return Ok(Some(Ok(assembly.clone()))),
            Some(Slot::GivenUp) => return Ok(None),
            None => {}
        }
        if slots.values().filter(|slot| matches!(slot, Slot::Open(_))).count() >= open_max {
            return Err(SyncError::Protocol("it sends too many large files at once"));
        }
        Ok(Some(match begin()? {
            Ok(assembly) => {
                let assembly = Arc::new(assembly);
                slots.insert(index, Slot::Open(assembly.clone()));
                Ok(assembly)
            }
            Err(err) => {
                slots.insert(index, Slot::GivenUp);
                Err(err)
            }
        }))
    }

    /// Gives a file up; false if it was already.
    pub(super) fn give_up(&self, index: u32) -> bool {
        !matches!(self.slots().insert(index, Slot::GivenUp), Some(Slot::GivenUp))
    }

    /// Gives a file up because its source will not send it; says what was known of it. A file that is complete is unknown.
    pub(super) fn withdraw(&self, index: u32) -> Withdrawn {
        match self.slots().insert(index, Slot::GivenUp) {
            Some(Slot::Open(_)) => Withdrawn::Open,
            Some(Slot::GivenUp) => Withdrawn::GivenUp,
            None => Withdrawn::Unknown,
        }
    }

    /// Forgets a file that is complete.
    pub(super) fn remove(&self, index: u32) {
        self.slots().remove(&index);
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<u32, Slot>> {
        self.slots.lock().expect("no holder panics")
    }
}

/// What was known of a file that its source withdraws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withdrawn {
    /// It was coming.
    Open,
    /// It had failed here.
    GivenUp,
    /// Nothing of it had come, or all of it.
    Unknown,
}

/// One large file.
#[derive(Debug)]
pub(super) struct Assembly {
    staging: Arc<Staging>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    temp: TempName,
    file: Arc<File>,
    /// The reading that counts; none before the first unit.
    reading: Option<FileAttempt>,
    tree: Option<TreeHasher>,
    end: Option<([u8; 32], Metadata)>,
}

/// What adding to a file led to.
#[derive(Debug)]
pub(super) enum Step {
    /// More is due, or the unit was of an earlier attempt.
    More,
    /// All is there and matches the file's hash.
    Complete(Metadata),
    /// The disk refused it.
    Failed(io::Error),
}

impl Assembly {
    pub(super) fn begin(staging: Arc<Staging>) -> io::Result<Self> {
        let (temp, file) = create(&staging)?;
        let state = State { temp, file, reading: None, tree: None, end: None };
        Ok(Self { staging, state: Mutex::new(state) })
    }

    /// Adds a chunk that matches its chaining value. The writing itself happens outside the lock.
    pub(super) fn write(
        &self,
        reading: FileAttempt,
        number: u64,
        bytes: &[u8],
        value: [u8; 32],
    ) -> Result<Step, SyncError> {
        let file = match self.enter(reading)? {
            Ok(Some(state)) => state.file.clone(),
            Ok(None) => return Ok(Step::More),
            Err(err) => return Ok(Step::Failed(err)),
        };
        if let Err(err) = file.write_at(number * CHUNK_BYTES, bytes) {
            return Ok(Step::Failed(err));
        }
        let mut state = self.state();
        if state.reading != Some(reading) {
            return Ok(Step::More);
        }
        let tree = state.tree.as_mut().expect("set with the reading");
        tree.add(number, value).map_err(|_| SyncError::Protocol("a file's chunks do not add up"))?;
        state.step()
    }

    /// Takes the end of a file.
    pub(super) fn end(
        &self,
        reading: FileAttempt,
        hash: [u8; 32],
        metadata: Metadata,
    ) -> Result<Step, SyncError> {
        if reading.size <= CHUNK_BYTES {
            return Err(SyncError::Protocol("a small file came in chunks"));
        }
        match self.enter(reading)? {
            Ok(Some(mut state)) => {
                if state.end.replace((hash, metadata)).is_some() {
                    return Err(SyncError::Protocol("a file ended twice"));
                }
                state.step()
            }
            Ok(None) => Ok(Step::More),
            Err(err) => Ok(Step::Failed(err)),
        }
    }

    /// Gives a complete file its metadata; gives its temporary name and size.
    pub(super) fn finish(&self, metadata: Metadata, sync: bool) -> io::Result<(TempName, u64)> {
        let state = self.state();
        state.file.set_metadata(metadata)?;
        if sync {
            state.file.sync()?;
        }
        Ok((state.temp, state.reading.map_or(0, |reading| reading.size)))
    }

    /// Goes to the attempt `reading`, beginning anew if it is a later one; `None` if it is an earlier one.
    fn enter(&self, reading: FileAttempt) -> Result<io::Result<Option<MutexGuard<'_, State>>>, SyncError> {
        let mut state = self.state();
        match state.reading {
            Some(current) if current == reading => return Ok(Ok(Some(state))),
            Some(current) if current.attempt == reading.attempt => {
                return Err(SyncError::Protocol("a file has two sizes at once"));
            }
            Some(current) if current.attempt > reading.attempt => return Ok(Ok(None)),
            Some(_) => match create(&self.staging) {
                Ok((temp, file)) => {
                    // The earlier attempt's file; what cannot be removed goes with the staging place.
                    let _gone = self.staging.dir().remove_file(state.temp.as_name());
                    (state.temp, state.file) = (temp, file);
                }
                Err(err) => return Ok(Err(err)),
            },
            None => {}
        }
        state.reading = Some(reading);
        state.tree = Some(TreeHasher::new(reading.size.div_ceil(CHUNK_BYTES)));
        state.end = None;
        Ok(Ok(Some(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    fn step(&mut self) -> Result<Step, SyncError> {
        let (Some(tree), Some((hash, metadata))) = (&self.tree, self.end) else { return Ok(Step::More) };
        if !tree.is_complete() {
            return Ok(Step::More);
        }
        let own = self.tree.take().and_then(TreeHasher::finish);
        if own.is_none_or(|own| own != hash) {
            return Err(DAMAGED);
        }
        Ok(Step::Complete(metadata))
    }
}

fn create(staging: &Staging) -> io::Result<(TempName, Arc<File>)> {
    let temp = staging.next_name();
    Ok((temp, Arc::new(staging.dir().create_file(temp.as_name())?)))
}
