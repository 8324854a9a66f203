//! Large files that are coming in: chunks of one attempt, in any order, from any stream.
//!
//! A chunk is counted before it is written and a file is complete when all counted chunks are on the disk, so that nothing is
//! written to a file, or put in its place, once it is complete. Each file is settled once: it is complete here, given up here, or
//! withdrawn by its source. What still comes of a file that is settled is dropped where an honest source can have sent it.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{UNWANTED, writer::DAMAGED};
use crate::{
    entry::Metadata,
    hash::TreeHasher,
    limits::CHUNK_BYTES,
    root::{
        File,
        staging::{PartialKey, Staging, TempName},
    },
    sync::SyncError,
    wire::data::FileAttempt,
};

/// All large files of a sync, by index. Its lock is held for no disk call: the control reader takes it too.
#[derive(Debug, Default)]
pub(super) struct Assemblies {
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_index: HashMap<u32, Slot>,
    /// How many of them are open.
    open: usize,
}

#[derive(Debug)]
enum Slot {
    Open(Arc<Assembly>),
    /// Complete with this attempt: what still comes of earlier ones is dropped.
    Complete(u32),
    /// Failed here or withdrawn by the source: what still comes of it is dropped.
    GivenUp,
}

impl Assemblies {
    /// The file that a unit belongs to, begun by `begin` with its first unit; `None` where the unit is to be dropped. A file that
    /// cannot be begun is given up.
    pub(super) fn find_or_begin(
        &self,
        reading: FileAttempt,
        open_max: usize,
        begin: impl FnOnce() -> Result<io::Result<Assembly>, SyncError>,
    ) -> Result<Option<io::Result<Arc<Assembly>>>, SyncError> {
        let mut slots = self.slots();
        match slots.by_index.get(&reading.index) {
            Some(Slot::Open(assembly)) => return Ok(Some(Ok(assembly.clone()))),
            Some(Slot::GivenUp) => return Ok(None),
            Some(Slot::Complete(attempt)) if reading.attempt < *attempt => return Ok(None),
            Some(Slot::Complete(_)) => return Err(UNWANTED),
            None => {}
        }
        if slots.open >= open_max {
            return Err(SyncError::Protocol("it sends too many large files at once"));
        }
        Ok(Some(match begin()? {
            Ok(assembly) => {
                let assembly = Arc::new(assembly);
                slots.open += 1;
                slots.by_index.insert(reading.index, Slot::Open(assembly.clone()));
                Ok(assembly)
            }
            Err(err) => {
                slots.by_index.insert(reading.index, Slot::GivenUp);
                Err(err)
            }
        }))
    }

    /// Settles a file as failed here; false if it was settled before.
    pub(super) fn give_up(&self, index: u32) -> bool {
        self.slots().settle(index, Slot::GivenUp)
    }

    /// Settles a file as complete with this attempt; false if it was settled before.
    pub(super) fn complete(&self, index: u32, attempt: u32) -> bool {
        self.slots().settle(index, Slot::Complete(attempt))
    }

    /// Gives a file up because its source will not send it; says what was known of it. `take` tells whether it was wanted and nothing
    /// of it had come, and is asked under the same lock under which a file is begun.
    pub(super) fn withdraw(&self, index: u32, take: impl FnOnce() -> bool) -> Withdrawn {
        let mut slots = self.slots();
        match slots.by_index.get(&index) {
            Some(Slot::Open(_)) => {
                slots.settle(index, Slot::GivenUp);
                Withdrawn::Open
            }
            Some(Slot::GivenUp) => Withdrawn::GivenUp,
            Some(Slot::Complete(_)) => Withdrawn::Unknown,
            None if take() => {
                slots.by_index.insert(index, Slot::GivenUp);
                Withdrawn::Awaited
            }
            None => Withdrawn::Unknown,
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().expect("no holder panics")
    }
}

impl Slots {
    fn settle(&mut self, index: u32, as_what: Slot) -> bool {
        let Some(slot @ Slot::Open(_)) = self.by_index.get_mut(&index) else { return false };
        *slot = as_what;
        self.open -= 1;
        true
    }
}

/// What was known of a file that its source withdraws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withdrawn {
    /// It was coming.
    Open,
    /// It was wanted, and nothing of it had come.
    Awaited,
    /// It had failed here, or was withdrawn before.
    GivenUp,
    /// It was not wanted, or all of it had come.
    Unknown,
}

/// One large file.
#[derive(Debug)]
pub(super) struct Assembly {
    staging: Arc<Staging>,
    /// The same for each attempt, so that a later sync finds what this one leaves.
    temp: TempName,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The reading that counts; none before the first unit.
    current: Option<Current>,
    /// The disk has refused it: what other threads still have of it is dropped.
    is_discarded: bool,
}

#[derive(Debug)]
struct Current {
    reading: FileAttempt,
    file: Arc<File>,
    /// Values of the chunks that have come; none once the file is complete.
    tree: Option<TreeHasher>,
    /// Chunks that are in the file.
    chunks_written: u64,
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

/// Where a unit goes.
enum Entered<'a> {
    Current(&'a mut Current),
    /// Nowhere: a later attempt has begun, or the file is discarded.
    Obsolete,
    /// Nowhere: the attempt's file could not be made.
    Failed(io::Error),
}

impl Assembly {
    /// A file of which nothing has come. Touches no disk.
    pub(super) fn new(staging: Arc<Staging>, key: &PartialKey) -> Self {
        Self { staging, temp: TempName::partial(key), state: Mutex::default() }
    }

    /// Adds a chunk that matches its chaining value. The writing itself happens outside the lock.
    pub(super) fn write(
        &self,
        reading: FileAttempt,
        number: u64,
        bytes: &[u8],
        value: [u8; 32],
    ) -> Result<Step, SyncError> {
        let file = match self.enter(&mut self.state(), reading)? {
            Entered::Current(current) => {
                current.add(number, value)?;
                current.file.clone()
            }
            Entered::Obsolete => return Ok(Step::More),
            Entered::Failed(err) => return Ok(Step::Failed(err)),
        };
        let written = file.write_at(number * CHUNK_BYTES, bytes);
        let mut state = self.state();
        // Where a later attempt has begun meanwhile, it does not matter what became of this one.
        let Some(current) = state.current.as_mut().filter(|current| current.reading == reading) else {
            return Ok(Step::More);
        };
        if let Err(err) = written {
            return Ok(Step::Failed(err));
        }
        current.chunks_written += 1;
        current.step()
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
        match self.enter(&mut self.state(), reading)? {
            Entered::Current(current) => {
                if current.end.replace((hash, metadata)).is_some() {
                    return Err(SyncError::Protocol("a file ended twice"));
                }
                current.step()
            }
            Entered::Obsolete => Ok(Step::More),
            Entered::Failed(err) => Ok(Step::Failed(err)),
        }
    }

    /// Gives a complete file its size and, by `set_metadata`, its metadata; gives its temporary name, size and hash.
    pub(super) fn finish(
        &self,
        sync: bool,
        set_metadata: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<(TempName, u64, [u8; 32])> {
        let state = self.state();
        let current = state.current.as_ref().expect("a complete file has a reading");
        current.file.end_at(current.reading.size)?;
        set_metadata(&current.file)?;
        if sync {
            current.file.sync()?;
        }
        let (hash, _) = current.end.expect("a complete file has ended");
        Ok((self.temp, current.reading.size, hash))
    }

    /// Gives back the room of a file that failed.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        state.is_discarded = true;
        if state.current.take().is_some() {
            self.remove();
        }
    }

    /// Goes to the attempt `reading`, beginning anew if it is a later one.
    fn enter<'a>(&self, state: &'a mut State, reading: FileAttempt) -> Result<Entered<'a>, SyncError> {
        let current = &mut state.current;
        let has_begun = match current.as_ref() {
            _ if state.is_discarded => return Ok(Entered::Obsolete),
            Some(known) if known.reading.attempt > reading.attempt => return Ok(Entered::Obsolete),
            // What has been checked is not replaced.
            Some(known) if known.tree.is_none() => return Err(UNWANTED),
            Some(known) if known.reading == reading => true,
            Some(known) if known.reading.attempt == reading.attempt => {
                return Err(SyncError::Protocol("a file has two sizes at once"));
            }
            Some(_) | None => false,
        };
        if !has_begun {
            if current.take().is_some() {
                self.remove();
            }
            match self.begin(reading) {
                Ok(begun) => *current = Some(begun),
                Err(err) => return Ok(Entered::Failed(err)),
            }
        }
        Ok(Entered::Current(current.as_mut().expect("begun just now or before")))
    }

    fn begin(&self, reading: FileAttempt) -> io::Result<Current> {
        let file = Arc::new(self.staging.dir().create_file(self.temp.as_name())?);
        let tree = Some(TreeHasher::new(reading.size.div_ceil(CHUNK_BYTES)));
        Ok(Current { reading, file, tree, chunks_written: 0, end: None })
    }

    fn remove(&self) {
        // What cannot be removed goes with the staging place.
        let _gone = self.staging.dir().remove_file(self.temp.as_name());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl Current {
    /// Counts a chunk, which must not have come before.
    fn add(&mut self, number: u64, value: [u8; 32]) -> Result<(), SyncError> {
        let tree = self.tree.as_mut().ok_or(UNWANTED)?;
        tree.add(number, value).map_err(|_| SyncError::Protocol("a file's chunks do not add up"))
    }

    fn step(&mut self) -> Result<Step, SyncError> {
        let Some((hash, metadata)) = self.end else { return Ok(Step::More) };
        if self.chunks_written < self.reading.size.div_ceil(CHUNK_BYTES) {
            return Ok(Step::More);
        }
        let own = self.tree.take().and_then(TreeHasher::finish);
        if own.is_none_or(|own| own != hash) {
            return Err(DAMAGED);
        }
        Ok(Step::Complete(metadata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hash::chunk_chaining_value,
        path::{Name, RelPath},
        root::Root,
    };

    fn key() -> PartialKey {
        PartialKey::of(&RelPath::root())
    }

    const SIZE: u64 = CHUNK_BYTES + 5;

    /// A file of two chunks in a staging place of its own, with the content that it should have.
    struct Fixture {
        top: tempfile::TempDir,
        assembly: Assembly,
        content: Vec<u8>,
    }

    impl Fixture {
        fn new() -> Self {
            let top = tempfile::tempdir().unwrap();
            let root = Root::open(top.path()).unwrap();
            let staging = Arc::new(Staging::create(root.top(), u64::MAX, || 7).unwrap());
            let content = (0..=250).cycle().take(usize::try_from(SIZE).unwrap()).collect();
            Self { top, assembly: Assembly::new(staging, &key()), content }
        }

        fn chunk(&self, attempt: u32, number: u64, bytes: &[u8]) -> Result<Step, SyncError> {
            self.assembly.write(reading(attempt), number, bytes, chunk_chaining_value(number, bytes))
        }

        fn end(&self, attempt: u32) -> Result<Step, SyncError> {
            self.assembly.end(reading(attempt), blake3::hash(&self.content).into(), Metadata::default())
        }

        fn send_all(&self, attempt: u32) -> Step {
            let (first, second) = self.content.split_at(usize::try_from(CHUNK_BYTES).unwrap());
            assert!(matches!(self.chunk(attempt, 1, second), Ok(Step::More)));
            assert!(matches!(self.end(attempt), Ok(Step::More)));
            self.chunk(attempt, 0, first).unwrap()
        }

        /// What would get the file's name now.
        fn assert_content(&self) {
            let (temp, size, _) = self.assembly.finish(false, |_| Ok(())).unwrap();
            assert_eq!(size, SIZE);
            let mut found = Vec::new();
            let dir = self.assembly.staging.dir();
            rustix::fs::chmod(self.path(temp), rustix::fs::Mode::RUSR).unwrap();
            dir.open_file(temp.as_name()).unwrap().read_at(0, self.content.len(), &mut found).unwrap();
            assert!(found == self.content);
        }

        fn path(&self, temp: TempName) -> std::path::PathBuf {
            self.top.path().join(".swarmwire-0000000000000007").join(Name::as_os_str(temp.as_name()))
        }
    }

    fn reading(attempt: u32) -> FileAttempt {
        FileAttempt { index: 1, attempt, size: SIZE }
    }

    /// A source that goes on sending while the other thread gives the file its name used to have its bytes written over those
    /// that had been checked, or put another file in their place, unchecked; one more chunk used to kill the thread.
    #[test]
    fn nothing_gets_into_a_file_that_is_complete() {
        let fixture = Fixture::new();
        assert!(matches!(fixture.send_all(0), Step::Complete(_)));
        for attempt in [0, 1] {
            assert!(fixture.chunk(attempt, 1, b"other").is_err(), "a chunk of attempt {attempt}");
            assert!(fixture.end(attempt).is_err(), "the end of attempt {attempt}");
        }
        fixture.assert_content();
    }

    #[test]
    fn a_chunk_that_comes_twice_is_refused_before_it_is_written() {
        let fixture = Fixture::new();
        let (first, second) = fixture.content.split_at(usize::try_from(CHUNK_BYTES).unwrap());
        fixture.chunk(0, 1, second).unwrap();
        assert!(fixture.chunk(0, 1, b"other").is_err());
        fixture.chunk(0, 0, first).unwrap();
        assert!(matches!(fixture.end(0), Ok(Step::Complete(_))));
        fixture.assert_content();
    }

    #[test]
    fn a_later_attempt_replaces_an_earlier_one_of_which_the_rest_is_dropped() {
        let fixture = Fixture::new();
        fixture.chunk(0, 1, b"other").unwrap();
        assert!(matches!(fixture.send_all(1), Step::Complete(_)));
        assert!(matches!(fixture.chunk(0, 0, b"late"), Ok(Step::More)));
        fixture.assert_content();
    }

    /// Each way to settle a file takes it off what is awaited, so a file that is settled twice would end the sync before another
    /// has come.
    #[test]
    fn a_file_is_settled_once() {
        let assemblies = Assemblies::default();
        let begin = |assemblies: &Assemblies, index, attempt| {
            let top = tempfile::tempdir().unwrap();
            let staging =
                Arc::new(Staging::create(Root::open(top.path()).unwrap().top(), u64::MAX, || 7).unwrap());
            let reading = FileAttempt { index, attempt, size: SIZE };
            assemblies
                .find_or_begin(reading, 1, || Ok(Ok(Assembly::new(staging, &key()))))
                .map(|found| found.is_some())
        };
        assert!(begin(&assemblies, 1, 1).unwrap());
        assert!(begin(&assemblies, 2, 0).is_err(), "one at a time");
        assert!(assemblies.complete(1, 1));
        assert!(!assemblies.give_up(1) && !assemblies.complete(1, 1));
        assert_eq!(assemblies.withdraw(1, || false), Withdrawn::Unknown);
        assert!(!begin(&assemblies, 1, 0).unwrap(), "a late unit of an earlier attempt is dropped");
        assert!(begin(&assemblies, 1, 1).is_err(), "a unit of the attempt that is complete is not");

        assert!(begin(&assemblies, 2, 0).unwrap());
        assert_eq!(assemblies.withdraw(2, || false), Withdrawn::Open);
        assert!(!assemblies.give_up(2) && !assemblies.complete(2, 0));
        assert_eq!(assemblies.withdraw(2, || false), Withdrawn::GivenUp);

        assert_eq!(assemblies.withdraw(3, || true), Withdrawn::Awaited);
        assert!(!begin(&assemblies, 3, 0).unwrap(), "what overtook its withdrawal is dropped");
    }
}
