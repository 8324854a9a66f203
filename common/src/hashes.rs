//! The state store: which hash a file had when it was last read, so that a file that nobody has changed is not read again.
//!
//! A file is known by what the kernel says of it: device, inode, size, modification and change time. The change time cannot be set by
//! programs, so content that was written shows, wherever the file has been moved meanwhile; what is changed through a shared mapping shows as
//! soon as the kernel notes it, which may take half a minute. A hash is kept only if, when reading began, the last change lay
//! far enough back for the next one to get another time. What is kept saves reading and nothing else: without the
//! store, or with one that is damaged, files are read.
//!
//! The format, all integers little-endian:
//!
//! ```text
//! header, 4096 bytes:   "swarmwire hashes", version u32 = 1, log2 of the number of buckets u32, zeros
//! bucket, 4096 bytes:   the first 16 bytes of BLAKE3 of the rest of the bucket, then 51 slots
//! slot, 80 bytes:       device u64, inode u64, size u64, mtime seconds i64, ctime seconds i64,
//!                       mtime nanoseconds u32, ctime nanoseconds u32, BLAKE3 of the content [u8; 32]
//! ```
//!
//! A file's bucket is BLAKE3 of its device and inode (the first 8 bytes, modulo the number of buckets); within it the latest slot is the first, and
//! unused ones, which follow all others, are zeros. A full bucket doubles their number, up to [`BUCKETS_LOG2_MAX`]; then the oldest slot is
//! overwritten. A bucket whose sum is wrong counts as empty, so neither a crash nor processes that write at the same time need
//! anything else, and nothing is ever synced to the disk.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{entry::Timestamp, root::Stat};

const MAGIC: &[u8; 16] = b"swarmwire hashes";
const VERSION: u32 = 1;

/// A page: what the kernel reads and writes as one.
const BUCKET_BYTES: usize = 4096;
const SUM_BYTES: usize = 16;
const SLOT_BYTES: usize = 80;
const SLOTS: usize = (BUCKET_BYTES - SUM_BYTES) / SLOT_BYTES;

/// 16 buckets: 816 files in 68 KiB.
const BUCKETS_LOG2_MIN: u32 = 4;

/// Log2 of the most buckets: 1.6 million files in 128 MiB.
pub const BUCKETS_LOG2_MAX: u32 = 15;

/// By how much the clock that dates changes may be behind, at most: a tick of 10 ms, doubled.
const TICK_NANOSECONDS: i128 = 20_000_000;

/// The same of file systems that keep times in seconds or in two.
const COARSE_TICK_NANOSECONDS: i128 = 2_000_000_000;

/// Remembered hashes, in one file. Shared by all syncs of a process; several processes may use one file. Calls block.
#[derive(Debug)]
pub struct HashStore {
    path: PathBuf,
    clock: fn() -> Timestamp,
    table: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Nobody has asked yet.
    Unopened,
    Open(Table),
    /// It cannot be used, which was told once.
    Unusable,
}

impl HashStore {
    /// A store in the file `path`, made when it is first needed. `clock` gives the time of day.
    pub fn new(path: PathBuf, clock: fn() -> Timestamp) -> Self {
        Self { path, clock, table: Mutex::new(State::Unopened) }
    }

    /// The hash of the regular file of which `stat` was taken, if it is known.
    pub fn get(&self, stat: &Stat) -> Option<[u8; 32]> {
        self.with_table(|table| table.get(&Slot::key(stat))).flatten()
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Keeps the hash of a regular file. `stat` must have been the same before and after the file was read, which began at `began`.
    pub fn put(&self, stat: &Stat, hash: [u8; 32], began: Timestamp) {
        self.put_all(&[(*stat, hash)], began);
    }

    /// As [`Self::put`], of several files, for each of which reading began at `began` or later. Costs much less than one by one.
    pub fn put_all(&self, files: &[(Stat, [u8; 32])], began: Timestamp) {
        let settled = files.iter().filter(|(stat, _)| is_settled(stat.ctime, began));
        let slots: Vec<Slot> = settled.map(|(stat, hash)| Slot { hash: *hash, ..Slot::key(stat) }).collect();
        if !slots.is_empty() {
            self.with_table(|table| table.put(&self.path, slots));
        }
    }

    fn with_table<T>(&self, act: impl FnOnce(&mut Table) -> io::Result<T>) -> Option<T> {
        let mut state = self.table.lock().expect("no holder panics");
        if let State::Unopened = *state {
            *state = self.usable(Table::open(&self.path)).map_or(State::Unusable, State::Open);
        }
        let State::Open(table) = &mut *state else { return None };
        let result = self.usable(act(table));
        if result.is_none() {
            *state = State::Unusable;
        }
        result
    }

    fn usable<T>(&self, result: io::Result<T>) -> Option<T> {
        result
            .map_err(|err| {
                tracing::warn!(%err, path = %self.path.display(), "hashes cannot be remembered; files are read instead");
            })
            .ok()
    }
}

/// A store, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Memory(Option<Arc<HashStore>>);

impl Memory {
    /// What is remembered in `store`.
    pub fn of(store: Arc<HashStore>) -> Self {
        Self(Some(store))
    }

    /// The time of day, before a file is read whose hash is to be remembered.
    pub fn begin(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|store| store.now())
    }

    /// As [`HashStore::get`].
    pub fn get(&self, stat: &Stat) -> Option<[u8; 32]> {
        self.0.as_ref()?.get(stat)
    }

    /// As [`HashStore::put_all`], of files that are read no more.
    pub fn put_all(&self, files: &[(Stat, [u8; 32])]) {
        if let Some(store) = &self.0 {
            store.put_all(files, store.now());
        }
    }

    /// As [`HashStore::put`].
    pub fn put(&self, stat: &Stat, hash: [u8; 32], began: Option<Timestamp>) {
        if let (Some(store), Some(began)) = (&self.0, began) {
            store.put(stat, hash, began);
        }
    }
}

/// Whether a change from now on must get another change time than this one.
fn is_settled(ctime: Timestamp, now: Timestamp) -> bool {
    let tick = if ctime.nanoseconds == 0 { COARSE_TICK_NANOSECONDS } else { TICK_NANOSECONDS };
    now.as_nanoseconds() - ctime.as_nanoseconds() > tick
}

/// What is kept of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    device: u64,
    inode: u64,
    size: u64,
    mtime: Timestamp,
    ctime: Timestamp,
    hash: [u8; 32],
}

impl Slot {
    fn key(stat: &Stat) -> Self {
        let Stat { device, inode, size, ctime, .. } = *stat;
        Self { device, inode, size, mtime: stat.metadata.mtime, ctime, hash: [0; 32] }
    }

    fn is_of_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// The first bytes of a hash: their low bits are the number of the file's bucket.
    fn place(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.device.to_le_bytes()).update(&self.inode.to_le_bytes());
        u64_at(hasher.finalize().as_bytes(), 0)
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let seconds = |at| i64::from_le_bytes(u64_at(bytes, at).to_le_bytes());
        let time =
            |seconds, nanoseconds_at| Timestamp { seconds, nanoseconds: u32_at(bytes, nanoseconds_at) };
        Self {
            device: u64_at(bytes, 0),
            inode: u64_at(bytes, 8),
            size: u64_at(bytes, 16),
            mtime: time(seconds(24), 40),
            ctime: time(seconds(32), 44),
            hash: bytes[48..SLOT_BYTES].try_into().expect("32 bytes"),
        }
    }

    fn write_to(&self, bytes: &mut Vec<u8>) {
        for number in [self.device, self.inode, self.size] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.mtime.seconds.to_le_bytes());
        bytes.extend_from_slice(&self.ctime.seconds.to_le_bytes());
        bytes.extend_from_slice(&self.mtime.nanoseconds.to_le_bytes());
        bytes.extend_from_slice(&self.ctime.nanoseconds.to_le_bytes());
        bytes.extend_from_slice(&self.hash);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// The open file.
#[derive(Debug)]
struct Table {
    file: File,
    buckets_log2: u32,
}

impl Table {
    /// Opens the file, and begins anew where it is none of ours.
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let file = options().open(path)?;
        match Self::buckets_log2(&file)? {
            Some(buckets_log2) => Ok(Self { file, buckets_log2 }),
            None => {
                file.set_len(0)?;
                Self::make(file, BUCKETS_LOG2_MIN)
            }
        }
    }

    fn make(file: File, buckets_log2: u32) -> io::Result<Self> {
        let mut header = vec![0; BUCKET_BYTES];
        header[..16].copy_from_slice(MAGIC);
        header[16..20].copy_from_slice(&VERSION.to_le_bytes());
        header[20..24].copy_from_slice(&buckets_log2.to_le_bytes());
        file.write_all_at(&header, 0)?;
        file.set_len(offset(1 << buckets_log2))?;
        Ok(Self { file, buckets_log2 })
    }

    /// What the header says, if it is one of ours and the file has the size that it says.
    fn buckets_log2(file: &File) -> io::Result<Option<u32>> {
        let mut header = [0; BUCKET_BYTES];
        match file.read_exact_at(&mut header, 0) {
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let log2 = u32_at(&header, 20);
        let is_ours = header[..16] == *MAGIC
            && u32_at(&header, 16) == VERSION
            && (BUCKETS_LOG2_MIN..=BUCKETS_LOG2_MAX).contains(&log2)
            && header[24..].iter().all(|&byte| byte == 0)
            && file.metadata()?.len() == offset(1 << log2);
        Ok(is_ours.then_some(log2))
    }

    fn get(&self, key: &Slot) -> io::Result<Option<[u8; 32]>> {
        let found = self.read(self.bucket_of(key))?.into_iter().find(|slot| slot.is_of_file(key));
        Ok(found.filter(|slot| *key == Slot { hash: key.hash, ..*slot }).map(|slot| slot.hash))
    }

    /// Keeps slots, bucket by bucket.
    fn put(&mut self, path: &Path, mut slots: Vec<Slot>) -> io::Result<()> {
        slots.sort_by_cached_key(|slot| self.bucket_of(slot));
        while let Some(bucket) = slots.last().map(|slot| self.bucket_of(slot)) {
            let start = slots.partition_point(|slot| self.bucket_of(slot) < bucket);
            let new = &slots[start..];
            let mut kept = self.read(bucket)?;
            kept.retain(|other| !new.iter().any(|slot| other.is_of_file(slot)));
            if kept.len() + new.len() > SLOTS && self.buckets_log2 < BUCKETS_LOG2_MAX {
                self.double(path)?;
                return self.put(path, slots);
            }
            kept.splice(0..0, new.iter().copied());
            kept.truncate(SLOTS);
            self.write(bucket, &kept)?;
            slots.truncate(start);
        }
        Ok(())
    }

    /// Puts a table of twice as many buckets in the place of this one.
    fn double(&mut self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("new");
        let file = options().truncate(true).open(&beside)?;
        let larger = Self::make(file, self.buckets_log2 + 1)?;
        for bucket in 0..1 << self.buckets_log2 {
            let (low, high): (Vec<_>, Vec<_>) =
                self.read(bucket)?.into_iter().partition(|slot| larger.bucket_of(slot) == bucket);
            larger.write(bucket, &low)?;
            larger.write(bucket + (1 << self.buckets_log2), &high)?;
        }
        std::fs::rename(&beside, path)?;
        *self = larger;
        Ok(())
    }

    fn bucket_of(&self, slot: &Slot) -> u64 {
        slot.place() & ((1 << self.buckets_log2) - 1)
    }

    /// The slots of a bucket; none if it is damaged, or was never written.
    fn read(&self, bucket: u64) -> io::Result<Vec<Slot>> {
        let mut bytes = [0; BUCKET_BYTES];
        match self.file.read_exact_at(&mut bytes, offset(bucket)) {
            // Somebody has cut the file off.
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(Vec::new()),
            other => other?,
        }
        let (sum, slots) = bytes.split_at(SUM_BYTES);
        if *sum != blake3::hash(slots).as_bytes()[..SUM_BYTES] {
            return Ok(Vec::new());
        }
        let slots = slots.chunks_exact(SLOT_BYTES);
        Ok(slots.take_while(|slot| slot.iter().any(|&byte| byte != 0)).map(Slot::from_bytes).collect())
    }

    fn write(&self, bucket: u64, slots: &[Slot]) -> io::Result<()> {
        let mut bytes = vec![0; SUM_BYTES];
        slots.iter().for_each(|slot| slot.write_to(&mut bytes));
        bytes.resize(BUCKET_BYTES, 0);
        let sum = blake3::hash(&bytes[SUM_BYTES..]);
        bytes[..SUM_BYTES].copy_from_slice(&sum.as_bytes()[..SUM_BYTES]);
        self.file.write_all_at(&bytes, offset(bucket))
    }
}

/// Where a bucket begins.
fn offset(bucket: u64) -> u64 {
    (bucket + 1) * BUCKET_BYTES as u64
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        entry::{Metadata, Owner},
        root::EntryType,
    };

    fn now() -> Timestamp {
        Timestamp { seconds: 1_000_000, nanoseconds: 0 }
    }

    fn stat(inode: u64) -> Stat {
        let time = |seconds| Timestamp { seconds, nanoseconds: 5 };
        Stat {
            entry_type: EntryType::File,
            size: 100 + inode,
            metadata: Metadata { mode: 0o644, mtime: time(7) },
            ctime: time(8),
            device: 3,
            inode,
            has_links: false,
            owner: Owner::default(),
        }
    }

    fn hash(inode: u64) -> [u8; 32] {
        blake3::hash(&inode.to_le_bytes()).into()
    }

    fn store(dir: &tempfile::TempDir) -> HashStore {
        HashStore::new(dir.path().join("hashes"), now)
    }

    #[test]
    fn a_file_is_known_until_anything_of_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let known = stat(1);
        assert_eq!(store(&dir).get(&known), None);
        store(&dir).put(&known, hash(1), now());
        let later = |time: Timestamp| Timestamp { nanoseconds: time.nanoseconds + 1, ..time };
        let mtime = Metadata { mtime: later(known.metadata.mtime), ..known.metadata };
        let store = store(&dir);
        for other in [
            Stat { size: 0, ..known },
            Stat { metadata: mtime, ..known },
            Stat { ctime: later(known.ctime), ..known },
            Stat { device: 4, ..known },
            Stat { inode: 2, ..known },
        ] {
            assert_eq!(store.get(&other), None, "{other:?}");
        }
        assert_eq!(store.get(&known), Some(hash(1)));
        store.put(&Stat { size: 0, ..known }, hash(2), now());
        assert_eq!(store.get(&known), None, "one hash is kept of a file");
        assert_eq!(store.get(&Stat { size: 0, ..known }), Some(hash(2)));
    }

    #[test]
    fn a_file_that_may_change_unnoticed_is_not_kept() {
        let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        for (ctime, is_kept) in [
            (time(999_999, 979_000_000), true),
            (time(999_999, 981_000_000), false),
            (time(1_000_000, 1), false),
            (time(1_000_007, 1), false),
            (time(999_999, 0), false),
            (time(999_997, 0), true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let store = store(&dir);
            store.put(&Stat { ctime, ..stat(1) }, hash(1), now());
            assert_eq!(store.get(&Stat { ctime, ..stat(1) }).is_some(), is_kept, "{ctime:?}");
        }
    }

    #[test]
    fn it_grows_with_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let (count, one_by_one) = (5_000, 1_000);
        (0..one_by_one).for_each(|inode| store.put(&stat(inode), hash(inode), now()));
        let rest: Vec<_> = (one_by_one..count).map(|inode| (stat(inode), hash(inode))).collect();
        store.put_all(&rest, now());
        for inode in 0..count {
            assert_eq!(store.get(&stat(inode)), Some(hash(inode)), "{inode}");
        }
        let bytes = fs::metadata(dir.path().join("hashes")).unwrap().len();
        assert!((count * 80..count * 80 * 5).contains(&bytes), "{bytes}");
        assert!(!dir.path().join("hashes.new").exists());
    }

    #[test]
    fn beyond_its_bound_the_oldest_of_a_bucket_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hashes");
        let mut table = Table::make(options().open(&path).unwrap(), BUCKETS_LOG2_MAX).unwrap();
        let first = Slot::key(&stat(0));
        let alike: Vec<_> = (0..)
            .map(|inode| Slot::key(&stat(inode)))
            .filter(|slot| table.bucket_of(slot) == table.bucket_of(&first))
            .take(SLOTS + 1)
            .collect();
        alike.iter().for_each(|slot| table.put(&path, vec![*slot]).unwrap());
        assert_eq!(table.get(&alike[0]).unwrap(), None);
        assert!(alike[1..].iter().all(|slot| table.get(slot).unwrap().is_some()));
    }

    #[test]
    fn what_is_damaged_is_forgotten_and_never_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hashes");
        let fill = || (0..100).for_each(|inode| store(&dir).put(&stat(inode), hash(inode), now()));
        fill();
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(397) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let store = store(&dir);
            let wrong = |inode| store.get(&stat(inode)).is_some_and(|found| found != hash(inode));
            assert!(!(0..100).any(wrong), "byte {at}");
        }
        for damaged in [&b""[..], b"swarmwire hashes", &whole[..9_000], &[0xff; 70_000]] {
            fs::write(&path, damaged).unwrap();
            assert!((0..100).all(|inode| store(&dir).get(&stat(inode)).is_none()));
            fill();
            assert_eq!(fs::read(&path).unwrap(), whole, "it is what it was");
        }
    }

    #[test]
    fn where_none_can_be_made_nothing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("hashes")).unwrap();
        let store = store(&dir);
        store.put(&stat(1), hash(1), now());
        assert_eq!(store.get(&stat(1)), None);
    }
}
