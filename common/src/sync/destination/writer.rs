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
    commit::{Committer, Written},
    decoder::Decoder,
};
use crate::{
    entry::Metadata,
    hash::chunk_chaining_value,
    limits::{CHUNK_BYTES, FILES_OPEN_MAX},
    root::describe,
    sync::{Stage, SyncError, tree::NodeType, unit::IncomingUnit},
    wire::{
        data::{FileAttempt, PackFile, UnitHeader},
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
            Work::Same(index) => writer.same(index),
        };
        if let Err(err) = result {
            shared.abort(err);
            queue.close();
            return;
        }
    }
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
            UnitHeader::Chunk { file, number, size: _, chaining_value } => {
                self.chunk(*file, *number, bytes, chaining_value)
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
            tally.received.fetch_add(1, Relaxed);
            tally.verified.fetch_add(1, Relaxed);
            match tally.timed(Stage::Write, || self.small(file, content)) {
                Ok(written) => self.committer.commit(self.shared, written),
                Err(err) => self.shared.fail_io(file.index, "cannot be written", &err),
            }
            self.shared.pending.delivered();
        }
        Ok(())
    }

    /// Writes a whole file under a temporary name.
    fn small(&self, file: &PackFile, content: &[u8]) -> io::Result<Written> {
        let metadata = file.metadata.unwrap_or_else(|| self.listed(file.index));
        let staging = self.shared.landing.staging()?;
        let temp = staging.next_name();
        let written = || {
            let out = staging.dir().create_file(temp.as_name())?;
            if !content.is_empty() {
                out.write_at(0, content)?;
            }
            out.set_metadata(metadata)?;
            if self.shared.options.durability == Durability::File {
                self.shared.tally.timed(Stage::Sync, || out.sync())?;
            }
            Ok(())
        };
        match written() {
            Ok(()) => Ok(Written { index: file.index, temp, bytes: u64::from(file.size) }),
            Err(err) => {
                // It may not exist; what stays goes with the staging place.
                let _gone = staging.dir().remove_file(temp.as_name());
                Err(err)
            }
        }
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
        // Made before the lock is taken, under which no disk call happens.
        let staging = shared.landing.staging();
        // Two threads may come here for one file: the one that takes it begins, the other finds what was begun.
        let found = shared.assemblies.find_or_begin(file, FILES_OPEN_MAX, || {
            if shared.pending.take(file.index) { Ok(staging.map(Assembly::new)) } else { Err(UNWANTED) }
        })?;
        match found.transpose() {
            Ok(assembly) => Ok(assembly),
            Err(err) => {
                shared.fail_io(file.index, "cannot be written", &err);
                shared.pending.delivered();
                Ok(None)
            }
        }
    }

    /// Goes on with a large file after something was added to it.
    fn after(&self, file: FileAttempt, assembly: &Assembly, step: Step) -> Result<(), SyncError> {
        match step {
            Step::More => return Ok(()),
            Step::Failed(err) => {
                if self.shared.assemblies.give_up(file.index) {
                    assembly.discard();
                    self.shared.fail(file.index, &format!("cannot be written: {}", describe(&err)));
                    self.shared.pending.delivered();
                }
                return Ok(());
            }
            Step::Complete(metadata) => self.complete(file, assembly, metadata),
        }
        Ok(())
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
        let finished = tally.timed(Stage::Write, || assembly.finish(metadata, is_durable));
        match finished {
            Ok((temp, bytes)) => self.committer.commit(self.shared, Written { index, temp, bytes }),
            Err(err) => {
                assembly.discard();
                self.shared.fail_io(index, "cannot be written", &err);
            }
        }
        self.shared.pending.delivered();
    }

    /// A file whose content is right already; mode and time may not be.
    fn same(&self, index: u32) -> Result<(), SyncError> {
        let tree = self.shared.tree.read().expect("no holder panics");
        if tree.node_type(index) != Some(NodeType::File) || !self.shared.pending.take(index) {
            return Err(UNWANTED);
        }
        let (metadata, size) = (tree.metadata(index), tree.size(index));
        drop(tree);
        let set = || {
            let dir = self.shared.parent_dir(index)?;
            let name = self.shared.name_of(index);
            let file = dir.open_file(crate::path::Name::new(&name).expect("listed as a name"))?;
            if file.stat()?.metadata != metadata {
                self.shared.landing.note_change();
                file.set_metadata(metadata)?;
            }
            Ok(())
        };
        match set() {
            Ok(()) => {
                self.shared.tally.files_unchanged.fetch_add(1, Relaxed);
                self.shared.tally.bytes_unchanged.fetch_add(size, Relaxed);
            }
            Err(err) => self.shared.fail_io(index, "its mode and time cannot be set", &err),
        }
        self.shared.pending.delivered();
        Ok(())
    }

    fn listed(&self, index: u32) -> Metadata {
        self.shared.tree.read().expect("no holder panics").metadata(index)
    }
}
