//! Reads wanted files, hashes them and makes units of them: packs of small files, chunks of large ones.
//!
//! A file is sent as it was at one moment. It counts as unchanged if its size and modification time after reading are those from
//! before; otherwise it is read a second time, and what comes out the same twice was there, whole, between the two readings. So a
//! log that grows arrives as a prefix. A file that keeps changing in other ways is named as failed.

mod digest;
mod large;
mod pack;
mod patch;
mod same;
mod sparse;
mod twin;

use std::{
    cell::RefCell,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use async_channel::Sender;
use bytes::Bytes;

use super::{
    Gone, Shared,
    encoder::Encoder,
    wanted::{Has, Want},
};
use crate::{
    delta::Signature,
    entry::Metadata,
    limits::{self, CHUNK_BYTES},
    path::Name,
    root::{Dir, EntryType, File, Stat, describe},
    sync::{Stage, SyncError, join, unit::OutgoingUnit},
    wire::{
        data::UnitHeader,
        sync::{Digest, Mark, SourceMessage},
    },
};
use pack::Pack;
use patch::Told;

/// Reads until nothing more is wanted. Blocks. Ends quietly when the sync is over.
pub(super) fn read(shared: &Shared, units: &Sender<OutgoingUnit>) -> Result<(), SyncError> {
    let encoder = RefCell::new(Encoder::new(shared));
    let mut reader =
        Reader { shared, units, encoder, pack: Pack::new(&shared.pool), digests: Vec::new(), dir: None };
    // Only a sync that has ended elsewhere stops a reader, and there the reason is known.
    reader.run().and_then(|()| shared.tell_stages()).or(Ok(()))
}

struct Reader<'a> {
    shared: &'a Shared,
    units: &'a Sender<OutgoingUnit>,
    encoder: RefCell<Encoder<'a>>,
    pack: Pack,
    /// Hashes that are not told yet, where only these are wanted.
    digests: Vec<Digest>,
    /// The directory of the last file: wants come directory by directory.
    dir: Option<(u32, Arc<Dir>)>,
}

/// What the listing says of a file.
struct Listed {
    index: u32,
    size: u64,
    metadata: Metadata,
    has: Has,
}

impl Listed {
    /// What a large file may be built from.
    fn basis(&self) -> Option<&Signature> {
        if let Has::Chunks(basis) = &self.has { Some(basis) } else { None }
    }
}

/// Why a file is not sent.
enum ReadError {
    Io(io::Error),
    /// It changed each time it was read.
    Changing,
    /// It is shorter than it was listed: a log that has been rotated since. The destination needs its old content when the new name is
    /// known, which is soon where a few paths are synced again and again.
    Cut,
    /// It is no regular file any more.
    Replaced,
    /// It is another file, and what is listed as a link to it is not.
    Swapped,
    Gone,
}

impl From<io::Error> for ReadError {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

impl From<Gone> for ReadError {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Reader<'_> {
    fn run(&mut self) -> Result<(), Gone> {
        loop {
            let want = match self.shared.wanted.try_next() {
                Some(want) => want,
                None => {
                    // Nothing to do for now: what is read should not wait for company.
                    self.flush()?;
                    let Some(want) = self.shared.wanted.next() else { return Ok(()) };
                    want
                }
            };
            let index = want.index;
            match self.file(want) {
                Ok(()) => {}
                Err(ReadError::Gone) => return Err(Gone),
                Err(err) => {
                    let path = self.shared.path_of(index);
                    self.shared.fail(Some(index), &path, &err.reason())?;
                }
            }
        }
    }

    fn file(&mut self, want: Want) -> Result<(), ReadError> {
        let listed = self.listed(want);
        if let Has::Beginning { size, mark } = listed.has
            && (size == listed.size || listed.size > CHUNK_BYTES)
        {
            return self.unless(&listed, size, mark);
        }
        let started = std::time::Instant::now();
        let file = self.open(listed.index)?;
        self.check_links(listed.index, &file.stat()?)?;
        if listed.has != Has::Nothing
            && self.shared.source.selection.missing_ok()
            && regular(&file)?.size < listed.size
        {
            return Err(ReadError::Cut);
        }
        if self.shared.options.compares_only() {
            return self.digest(&listed, &file);
        }
        if listed.has == Has::Nothing
            && let Some((of, hash)) = self.original(listed.index, &file)
        {
            self.shared.removal.note(listed.index, &file.stat()?, || hash);
            return Ok(self.shared.say(SourceMessage::Duplicate { index: listed.index, of, hash })?);
        }
        if listed.size > CHUNK_BYTES {
            return self.large(&listed, &file);
        }
        let start = self.pack.start();
        let result = self.small(&listed, &file, start);
        self.shared.tally.charge(Stage::Read, started.elapsed());
        if !matches!(result, Ok(Small::Packed)) {
            self.pack.buffer.bytes.truncate(start);
        }
        match result? {
            Small::Packed => {}
            Small::Same(hash) => self.same(listed.index, hash)?,
            Small::Differs => self.differs(listed.index)?,
            Small::Grown if matches!(listed.has, Has::Beginning { .. }) => self.differs(listed.index)?,
            Small::Grown => return self.large(&listed, &file),
        }
        if self.pack.is_full() {
            self.flush()?;
        }
        Ok(())
    }

    /// Whether a file that is listed under several names still is the one that was.
    fn check_links(&self, index: u32, stat: &Stat) -> Result<(), ReadError> {
        if self.shared.options.preserve.hard_links && !self.shared.hard_links.is_as_listed(index, stat) {
            return Err(ReadError::Swapped);
        }
        Ok(())
    }

    fn listed(&self, want: Want) -> Listed {
        let tree = self.shared.tree.read().expect("no holder panics");
        let index = want.index;
        Listed { index, size: tree.size(index), metadata: tree.metadata(index), has: want.has }
    }

    fn open(&mut self, index: u32) -> Result<File, ReadError> {
        let source = &self.shared.source;
        if index == 0 {
            let (parent, name) = source.path.split_last().ok_or(ReadError::Replaced)?;
            return Ok(source.root.dir(&parent)?.open_file(name)?);
        }
        if let Some(place) = self.shared.places.of(index) {
            let place = join(&source.path, &place)?;
            let (parent, name) = place.split_last().ok_or(ReadError::Replaced)?;
            return Ok(source.root.dir(&parent)?.open_file(name)?);
        }
        let parent = self.shared.tree.read().expect("no holder panics").parent(index);
        let dir = match &self.dir {
            Some((known, dir)) if *known == parent => dir.clone(),
            _ => {
                let dir = Arc::new(source.root.dir(&self.shared.location_of(parent)?)?);
                self.dir = Some((parent, dir.clone()));
                dir
            }
        };
        // The tree is locked for no disk call: the control reader asks it too, and has others to serve.
        let name = {
            let tree = self.shared.tree.read().expect("no holder panics");
            tree.name(index).ok_or(ReadError::Replaced)?.as_bytes().to_vec()
        };
        Ok(dir.open_file(Name::new(&name).expect("listed as a name"))?)
    }

    /// Reads a file of at most a chunk to the end of the pack, which is at `start`. Unless it is packed, what was read of it stays behind.
    fn small(&mut self, listed: &Listed, file: &File, start: usize) -> Result<Small, ReadError> {
        let size = usize::try_from(listed.size).expect("at most a chunk");
        let read = file.read_at(0, size, &mut self.pack.buffer.bytes);
        let stat = regular(file)?;
        let read = read?;
        let as_listed =
            read == size && stat.size == listed.size && stat.metadata.mtime == listed.metadata.mtime;
        let (metadata, seen) = if as_listed {
            ((stat.metadata.mode != listed.metadata.mode).then_some(stat.metadata), stat)
        } else {
            self.pack.buffer.bytes.truncate(start);
            match self.small_changing(file, start)? {
                Some(seen) => (Some(seen.metadata), seen),
                None => return Ok(Small::Grown),
            }
        };
        let content = &self.pack.buffer.bytes[start..];
        self.shared.removal.note(listed.index, &seen, || blake3::hash(content).into());
        let buffer = &mut self.pack.buffer.bytes;
        let told = match &listed.has {
            Has::Nothing => Told::Whole,
            Has::Chunks(basis) => self.shared.tally.timed(Stage::Hash, || patch::small(buffer, start, basis)),
            Has::Beginning { size, mark: Mark::Sample(sample) } => {
                self.shared.tally.timed(Stage::Hash, || patch::grown(buffer, start, *size, sample))
            }
            // Which is of another size, and by its hash it is told as a whole.
            Has::Beginning { mark: Mark::Whole(_), .. } => Told::Differs,
        };
        let told = match told {
            Told::Whole if self.shared.options.preserve.sparse => {
                patch::sparse(&mut self.pack.buffer.bytes, start)
            }
            told => told,
        };
        let patch = match told {
            Told::Same(hash) => return Ok(Small::Same(hash)),
            Told::Differs => return Ok(Small::Differs),
            Told::Patch(patch) => Some(patch),
            Told::Whole => None,
        };
        self.pack.add(listed.index, start, metadata, patch);
        Ok(Small::Packed)
    }

    /// As [`Self::small`], for a file that is not as it was listed. `None` if it has grown beyond a chunk.
    fn small_changing(&mut self, file: &File, start: usize) -> Result<Option<Stat>, ReadError> {
        let buffer = &mut self.pack.buffer.bytes;
        for _ in 0..limits::READ_ATTEMPTS_MAX {
            let before = regular(file)?;
            if before.size > CHUNK_BYTES {
                return Ok(None);
            }
            let size = usize::try_from(before.size).expect("at most a chunk");
            if file.read_at(0, size, buffer)? == size {
                let after = regular(file)?;
                if after.same_content(&before) {
                    return Ok(Some(before));
                }
                let mut again = Vec::with_capacity(size);
                if file.read_at(0, size, &mut again)? == size && again == buffer[start..] {
                    return Ok(Some(before));
                }
            }
            buffer.truncate(start);
        }
        Err(ReadError::Changing)
    }

    fn same(&self, index: u32, hash: [u8; 32]) -> Result<(), Gone> {
        let bytes = self.shared.tree.read().expect("no holder panics").size(index);
        self.shared.tally.bytes_copied.fetch_add(bytes, Relaxed);
        self.shared.say(SourceMessage::Same { index, hash })
    }

    /// Sends the pack on its way, if there is something in it.
    fn flush(&mut self) -> Result<(), Gone> {
        self.tell_digests()?;
        if self.pack.is_empty() {
            return Ok(());
        }
        let pack = std::mem::replace(&mut self.pack, Pack::new(&self.shared.pool));
        let hash = self.shared.tally.timed(Stage::Hash, || blake3::hash(&pack.buffer.bytes));
        let header = UnitHeader::Pack { hash: hash.into(), files: pack.files };
        self.send(header, pack.buffer.into_bytes())
    }

    /// Queues a unit, compressed where that pays. Blocks while the network is behind.
    fn send(&self, header: UnitHeader, payload: Bytes) -> Result<(), Gone> {
        let unit = self.encoder.borrow_mut().encode(header, payload);
        let bytes = u64::try_from(unit.payload.len()).expect("usize has 64 bits or fewer");
        self.shared.tally.bytes_queued.fetch_add(bytes, Relaxed);
        self.shared.tally.timed(Stage::WaitNetwork, || self.units.send_blocking(unit)).map_err(|_| Gone)
    }
}

/// What became of a small file.
enum Small {
    Packed,
    /// The destination has this content, with this hash.
    Same([u8; 32]),
    /// It does not begin with what the destination has.
    Differs,
    /// It is larger than a chunk by now.
    Grown,
}

/// What the open file is, as long as it is a regular one.
fn regular(file: &File) -> Result<Stat, ReadError> {
    let stat = file.stat()?;
    if stat.entry_type == EntryType::File { Ok(stat) } else { Err(ReadError::Replaced) }
}

impl ReadError {
    fn reason(&self) -> String {
        match self {
            Self::Io(err) if err.kind() == io::ErrorKind::NotFound => {
                "vanished before it was read".to_owned()
            }
            Self::Io(err) => format!("cannot be read: {}", describe(err)),
            Self::Changing => "changed each time it was read".to_owned(),
            Self::Cut => "became shorter before it was read".to_owned(),
            Self::Replaced => "is no regular file any more".to_owned(),
            Self::Swapped => {
                "has several names, and was replaced under this one since it was listed".to_owned()
            }
            Self::Gone => "the sync ended".to_owned(),
        }
    }
}
