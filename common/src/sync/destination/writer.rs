//! Checks what has arrived and writes it under temporary names.
//!
//! A pack is checked as a whole before any of its files is written. A large file's chunks are checked and written as they come, and
//! the file when it is complete. Content that does not match its hash ends the sync: it is a defect of the source, or a lie.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use async_channel::Receiver;

use super::{
    Shared, UNWANTED, Work,
    assembly::{Assembly, Step},
    attributes,
    bases::{Basis, Candidate},
    commit::{Committer, Written},
    decoder::Decoder,
    duplicates::Duplicate,
    items, moved,
    rebuild::{self, BASIS_CHANGED, BASIS_UNREADABLE, MISFIT},
};
use crate::{
    entry::Metadata,
    hash::chunk_chaining_value,
    limits::{CHUNK_BYTES, FILES_OPEN_MAX},
    path::Name,
    root::{Dir, File, describe},
    sync::{Stage, SyncError, tree::NodeType, unit::IncomingUnit},
    wire::{
        data::{FileAttempt, PackFile, Patch, Segment, UnitHeader},
        sync::Durability,
    },
};

/// What a file is told that did not survive the way.
pub(super) const DAMAGED: SyncError = SyncError::Protocol("content does not match its hash");

/// Writes until the queue is closed. Blocks.
pub(super) fn write(shared: &Shared, queue: &Receiver<Work>, committer: &Committer) {
    let writer = Writer { shared, committer };
    let mut decoder = Decoder::new(shared);
    while let Ok(work) = queue.recv_blocking() {
        let result = match work {
            Work::Unit(unit) => decoder.plain(unit).and_then(|unit| writer.unit(&unit)),
            Work::Same(index, hash) => writer.same(index, &hash),
            Work::Copy(duplicate) => {
                writer.duplicate(&duplicate);
                Ok(())
            }
            Work::Digests(_) => Err(UNWANTED),
        };
        if let Err(err) = result {
            shared.abort(err);
            queue.close();
            return;
        }
    }
}

/// Makes the file `index`, under a temporary name, of `size` bytes of another one that have this hash.
pub(super) fn copy(
    shared: &Shared,
    index: u32,
    (from, size): (&File, u64),
    hash: &[u8; 32],
) -> io::Result<Written> {
    let writer = Writer { shared, committer: &Committer::AtOnce };
    let written = writer
        .staged(index, writer.listed(index), size, |out| rebuild::copy(shared, (from, size), hash, out))?;
    Ok(Written { hash: Some(*hash), ..written })
}

struct Writer<'a> {
    shared: &'a Shared,
    committer: &'a Committer,
}

impl Writer<'_> {
    fn unit(&self, unit: &IncomingUnit) -> Result<(), SyncError> {
        let bytes = &unit.payload.bytes;
        match &unit.header {
            UnitHeader::Pack { hash, files } => self.pack(hash, files, bytes),
            UnitHeader::Chunk { file, number, size, chaining_value, segments } if segments.is_empty() => {
                if u64::from(*size) != unit.payload.bytes.len() as u64 {
                    return Err(MISFIT);
                }
                self.chunk(*file, *number, bytes, chaining_value)
            }
            UnitHeader::Chunk { file, number, size, chaining_value, segments } => {
                self.patched_chunk(*file, (*number, *size, chaining_value), segments, bytes)
            }
            UnitHeader::FileEnd { file, hash, metadata } => {
                let assembly = self.assembly(*file)?;
                let Some(assembly) = assembly else { return Ok(()) };
                let step = assembly.end(*file, *hash, *metadata)?;
                self.after(*file, &assembly, step)
            }
        }
    }

    fn pack(&self, hash: &[u8; 32], files: &[PackFile], mut bytes: &[u8]) -> Result<(), SyncError> {
        let tally = &self.shared.tally;
        if tally.timed(Stage::Hash, || blake3::hash(bytes)) != *hash {
            return Err(DAMAGED);
        }
        for file in files {
            let content;
            (content, bytes) = bytes.split_at(file.size as usize);
            if !self.shared.pending.take(file.index) {
                return Err(UNWANTED);
            }
            match &file.patch {
                None => self.verified(file, content),
                Some(patch) => self.patched(file, patch, content)?,
            }
        }
        Ok(())
    }

    /// A small file that is built from an old one.
    fn patched(&self, file: &PackFile, patch: &Patch, literals: &[u8]) -> Result<(), SyncError> {
        let shared = self.shared;
        // The source may have been told too little to know what it patches.
        let is_likely = shared.bases.get(file.index).is_some_and(|basis| basis.is_likely());
        let size: u64 = patch.segments.iter().map(|segment| u64::from(segment.size())).sum();
        let size = usize::try_from(size).ok().filter(|&size| size as u64 <= CHUNK_BYTES).ok_or(MISFIT)?;
        rebuild::check(shared, file.index, &patch.segments, (literals.len(), size))?;
        let metadata = file.metadata.unwrap_or_else(|| self.listed(file.index));
        let bytes = u64::try_from(size).expect("at most a chunk");
        let mut is_damaged = false;
        let written = self.staged(file.index, metadata, bytes, |out| {
            let hash = rebuild::write(shared, file.index, (&patch.segments, literals), out)?;
            is_damaged = *hash.as_bytes() != patch.hash;
            if is_damaged { Err(io::Error::other(BASIS_CHANGED)) } else { Ok(()) }
        });
        match written {
            Ok(written) => self.arrived(Written { hash: Some(patch.hash), ..written }),
            Err(_) if is_likely => return self.again(file.index),
            Err(_) if is_damaged && shared.bases.get(file.index).is_none() => return Err(DAMAGED),
            Err(err) => {
                shared.tally.received.fetch_add(1, Relaxed);
                shared.fail_io(file.index, "cannot be written", &err);
                shared.settled(file.index);
            }
        }
        Ok(())
    }

    /// A file is written as it should be.
    fn arrived(&self, written: Written) {
        let tally = &self.shared.tally;
        tally.received.fetch_add(1, Relaxed);
        tally.verified.fetch_add(1, Relaxed);
        self.committer.commit(self.shared, written);
        self.shared.settled(written.index);
    }

    /// What most likely was here of a file that was taken is something else: it is wanted by its chunks.
    fn again(&self, index: u32) -> Result<(), SyncError> {
        self.shared.pending.want_again(index);
        if self.shared.bases.differs(index) { Ok(()) } else { Err(UNWANTED) }
    }

    /// A small file whose content is right.
    fn verified(&self, file: &PackFile, content: &[u8]) {
        let tally = &self.shared.tally;
        match tally.timed(Stage::Write, || self.small(file, content)) {
            Ok(written) => self.arrived(written),
            Err(err) => {
                tally.received.fetch_add(1, Relaxed);
                tally.verified.fetch_add(1, Relaxed);
                self.shared.fail_io(file.index, "cannot be written", &err);
                self.shared.settled(file.index);
            }
        }
    }

    /// Writes a whole file under a temporary name.
    fn small(&self, file: &PackFile, content: &[u8]) -> io::Result<Written> {
        let metadata = file.metadata.unwrap_or_else(|| self.listed(file.index));
        let bytes = u64::try_from(content.len()).expect("at most a chunk");
        self.staged(file.index, metadata, bytes, |out| {
            if content.is_empty() { Ok(()) } else { out.write_at(0, content) }
        })
    }

    /// Makes a file under a temporary name that `fill` gives its content.
    fn staged(
        &self,
        index: u32,
        metadata: Metadata,
        bytes: u64,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<Written> {
        let staging = self.shared.landing.staging()?;
        let temp = staging.next_name();
        let written = || {
            let out = staging.dir().create_file(temp.as_name())?;
            fill(&out)?;
            out.end_at(bytes)?;
            attributes::set_file(self.shared, index, &out, metadata)?;
            if self.shared.options.durability == Durability::File {
                self.shared.tally.timed(Stage::Sync, || out.sync())?;
            }
            Ok(())
        };
        match written() {
            Ok(()) => Ok(Written { index, temp: Some(temp), bytes, hash: None }),
            Err(err) => {
                // It may not exist; what stays goes with the staging place.
                let _gone = staging.dir().remove_file(temp.as_name());
                Err(err)
            }
        }
    }

    fn patched_chunk(
        &self,
        file: FileAttempt,
        (number, size, value): (u64, u32, &[u8; 32]),
        segments: &[Segment],
        literals: &[u8],
    ) -> Result<(), SyncError> {
        let size = usize::try_from(size).ok().filter(|&size| size as u64 <= CHUNK_BYTES).ok_or(MISFIT)?;
        // Which begins it where this is its first unit, and tells one that was given up.
        let Some(assembly) = self.assembly(file)? else { return Ok(()) };
        let reason = match rebuild::content(self.shared, file.index, segments, literals, size)? {
            Ok(content) if chunk_chaining_value(number, &content.bytes) == *value => {
                return self.chunk(file, number, &content.bytes, value);
            }
            Ok(_) if self.shared.bases.get(file.index).is_none() => return Err(DAMAGED),
            Ok(_) => BASIS_CHANGED.to_owned(),
            Err(err) => format!("{BASIS_UNREADABLE}: {}", describe(&err)),
        };
        self.give_up(file.index, &assembly, &reason);
        Ok(())
    }

    fn chunk(&self, file: FileAttempt, number: u64, bytes: &[u8], value: &[u8; 32]) -> Result<(), SyncError> {
        let chunks = file.size.div_ceil(CHUNK_BYTES);
        let due = || CHUNK_BYTES.min(file.size - number * CHUNK_BYTES);
        if file.size <= CHUNK_BYTES || number >= chunks || u64::try_from(bytes.len()) != Ok(due()) {
            return Err(SyncError::Protocol("a chunk does not fit its file"));
        }
        if self.shared.tally.timed(Stage::Hash, || chunk_chaining_value(number, bytes)) != *value {
            return Err(DAMAGED);
        }
        let Some(assembly) = self.assembly(file)? else { return Ok(()) };
        let step = self.shared.tally.timed(Stage::Write, || assembly.write(file, number, bytes, *value))?;
        self.after(file, &assembly, step)
    }

    /// The assembly of a large file, begun with its first unit; `None` for a file that was given up.
    fn assembly(&self, file: FileAttempt) -> Result<Option<Arc<Assembly>>, SyncError> {
        let shared = self.shared;
        if shared.tree.read().expect("no holder panics").node_type(file.index) != Some(NodeType::File) {
            return Err(UNWANTED);
        }
        // Made before the lock is taken, under which no disk call happens.
        let staging = shared.landing.staging();
        let key = shared.landing.partial_key(&shared.path_of(file.index));
        // Two threads may come here for one file: the one that takes it begins, the other finds what was begun.
        let found = shared.assemblies.find_or_begin(file, FILES_OPEN_MAX, || {
            if !shared.pending.take(file.index) {
                return Err(UNWANTED);
            }
            Ok(staging.and_then(|staging| Ok(Assembly::new(staging, &key?))))
        })?;
        match found.transpose() {
            Ok(assembly) => Ok(assembly),
            Err(err) => {
                shared.fail_io(file.index, "cannot be written", &err);
                shared.settled(file.index);
                Ok(None)
            }
        }
    }

    /// Goes on with a large file after something was added to it.
    fn after(&self, file: FileAttempt, assembly: &Assembly, step: Step) -> Result<(), SyncError> {
        match step {
            Step::More => return Ok(()),
            Step::Failed(err) => {
                self.give_up(file.index, assembly, &format!("cannot be written: {}", describe(&err)));
                return Ok(());
            }
            Step::Complete(metadata) => self.complete(file, assembly, metadata),
        }
        Ok(())
    }

    /// Ends a large file that cannot become complete.
    fn give_up(&self, index: u32, assembly: &Assembly, reason: &str) {
        if self.shared.assemblies.give_up(index) {
            assembly.discard();
            self.shared.fail(index, reason);
            self.shared.settled(index);
        }
    }

    fn complete(&self, file: FileAttempt, assembly: &Assembly, metadata: Metadata) {
        let index = file.index;
        // Its source may have withdrawn it meanwhile.
        if !self.shared.assemblies.complete(index, file.attempt) {
            return;
        }
        let tally = &self.shared.tally;
        tally.received.fetch_add(1, Relaxed);
        tally.verified.fetch_add(1, Relaxed);
        let is_durable = self.shared.options.durability == Durability::File;
        let finished = tally.timed(Stage::Write, || {
            assembly.finish(is_durable, |file| attributes::set_file(self.shared, index, file, metadata))
        });
        if let Some(basis) = self.shared.bases.get(index) {
            self.forget_partial(&basis);
        }
        match finished {
            Ok((temp, bytes, hash)) => {
                let written = Written { index, temp: Some(temp), bytes, hash: Some(hash) };
                self.committer.commit(self.shared, written);
            }
            Err(err) => {
                assembly.discard();
                self.shared.fail_io(index, "cannot be written", &err);
            }
        }
        self.shared.settled(index);
    }

    /// A file whose content is here already: in its place, where mode and time may not be right, or elsewhere.
    fn same(&self, index: u32, hash: &[u8; 32]) -> Result<(), SyncError> {
        let shared = self.shared;
        let is_file = shared.tree.read().expect("no holder panics").node_type(index) == Some(NodeType::File);
        if !is_file || !shared.pending.take(index) {
            return Err(UNWANTED);
        }
        let basis = shared.bases.get(index).ok_or(UNWANTED)?;
        if let Candidate::Other(from) = &basis.candidate
            && moved::wait(shared, index, from, (&basis, hash))
        {
            let tally = &shared.tally;
            tally.bytes_copied.fetch_add(basis.len(), Relaxed);
            tally.received.fetch_add(1, Relaxed);
            tally.verified.fetch_add(1, Relaxed);
            shared.settled(index);
            return Ok(());
        }
        if basis.candidate != Candidate::Own || !basis.is_whole {
            return self.copy(index, &basis, hash);
        }
        match basis.has(shared, index, hash) {
            Ok(true) => self.keep(index, basis.len()),
            _ if basis.is_likely() => return self.again(index),
            _ => return Err(DAMAGED),
        }
        shared.settled(index);
        Ok(())
    }

    /// Leaves a file where it is and gives it its mode and time.
    fn keep(&self, index: u32, bytes: u64) {
        let shared = self.shared;
        let metadata = self.listed(index);
        let set = || {
            let name = shared.name_of(index);
            let dir = shared.parent_dir(index)?;
            let file = dir.open_file(Name::new(&name).expect("listed as a name"))?;
            let stat = file.stat()?;
            if !shared.replaced.is_as_planned(index, &stat) {
                return Err(io::Error::other(BASIS_CHANGED));
            }
            let name = Name::new(&name).expect("listed as a name");
            let differs = stat.metadata != metadata || attributes::differ(shared, index, (&dir, name), &stat);
            if differs {
                shared.landing.note_change();
                shared.replaced.note_restamped(&stat, metadata.mtime);
                attributes::set_file(shared, index, &file, metadata)?;
            }
            self.make_kept_durable(&file, &dir, stat.device)?;
            Ok(differs)
        };
        match set() {
            Ok(differs) => {
                items::kept(shared, index, differs);
                shared.tally.files_unchanged.fetch_add(1, Relaxed);
                shared.tally.bytes_unchanged.fetch_add(bytes, Relaxed);
                if shared.options.remove_source {
                    // It may have come here a moment ago.
                    self.committer.commit(shared, Written { index, temp: None, bytes: 0, hash: None });
                }
            }
            Err(err) => shared.fail_io(index, "it is the same, and cannot be kept", &err),
        }
    }

    /// Makes sure that a file which the source may remove does not depend on what somebody else has just written here. A barrier for many
    /// follows, but for other file systems.
    fn make_kept_durable(&self, file: &File, dir: &Dir, device: u64) -> io::Result<()> {
        let Shared { options, landing, tally, .. } = self.shared;
        if !options.remove_source {
            return Ok(());
        }
        let has_barrier =
            options.durability == Durability::Batch && landing.staging()?.dir().stat_self()?.device == device;
        if has_barrier {
            return Ok(());
        }
        tally.timed(Stage::Sync, || file.sync().and_then(|()| dir.sync()))
    }

    /// Removes what an interrupted sync has left of a file, once it is all in a new one.
    fn forget_partial(&self, basis: &Basis) {
        if let Candidate::Partial { key, .. } = &basis.candidate {
            self.shared.landing.remove_partial(key);
        }
    }

    /// Makes a file of another one that is here.
    fn copy(&self, index: u32, basis: &Basis, hash: &[u8; 32]) -> Result<(), SyncError> {
        let shared = self.shared;
        if !basis.is_likely() && !basis.has(shared, index, hash).unwrap_or(false) {
            return Err(DAMAGED);
        }
        let metadata = self.listed(index);
        let copied = self
            .staged(index, metadata, basis.len(), |out| rebuild::whole(shared, index, (basis, hash), out));
        self.forget_partial(basis);
        match copied {
            Ok(written) => {
                shared.tally.bytes_copied.fetch_add(basis.len(), Relaxed);
                self.arrived(Written { hash: Some(*hash), ..written });
            }
            Err(_) if basis.is_likely() => return self.again(index),
            Err(err) => {
                shared.fail_io(index, "cannot be copied from what is here", &err);
                shared.settled(index);
            }
        }
        Ok(())
    }

    /// Makes a file of another one of this sync.
    fn duplicate(&self, duplicate: &Duplicate) {
        let shared = self.shared;
        let &Duplicate { index, of, .. } = duplicate;
        let bytes = shared.tree.read().expect("no holder panics").size(of);
        let copied = shared.tally.timed(Stage::Write, || {
            let from = match shared.duplicates.kept(of) {
                Some(temp) => shared.landing.staging()?.dir().open_file(temp.as_name())?,
                None => {
                    let name = shared.name_of(of);
                    shared.parent_dir(of)?.open_file(Name::new(&name).expect("listed as a name"))?
                }
            };
            copy(shared, index, (&from, bytes), &duplicate.hash)
        });
        match copied {
            Ok(written) => {
                shared.tally.received.fetch_add(1, Relaxed);
                shared.tally.verified.fetch_add(1, Relaxed);
                self.committer.commit(shared, written);
            }
            Err(err) => {
                let doing = format!("cannot be copied from `{}`, which is the same", shared.path_of(of));
                shared.fail_io(index, &doing, &err);
            }
        }
    }

    fn listed(&self, index: u32) -> Metadata {
        self.shared.tree.read().expect("no holder panics").metadata(index)
    }
}
