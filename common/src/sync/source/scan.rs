//! Walks the source tree and says what is there, directory by directory.
//!
//! A directory is opened by its path from the root, listed, and its entries looked at relative to the handle. What cannot be listed is
//! named and the walk goes on; what vanishes between listing and looking was never there.
//!
//! What each entry is, and whether it takes part, is found out in `look`.

mod look;

use std::{io, sync::atomic::Ordering::Relaxed};

use super::Shared;
use crate::{
    entry::Kind,
    filter::Selection,
    limits,
    path::Name,
    root::describe,
    sync::{Stage, SyncError},
    wire::sync::{ListingEntry, SourceMessage},
};

/// Walks the tree as far as it is selected. Blocks. Ends quietly when the sync is over.
pub(super) fn scan(shared: &Shared, selection: &Selection) -> Result<(), SyncError> {
    let met = vec![false; selection.list().map_or(0, |list| list.paths().len())];
    match (Scan { shared, selection, met, bytes: 0 }).run() {
        Err(Stop::Sync(err)) => Err(err),
        Ok(()) | Err(Stop::Gone) => Ok(()),
    }
}

enum Stop {
    Gone,
    Sync(SyncError),
}

impl From<super::Gone> for Stop {
    fn from(_: super::Gone) -> Self {
        Self::Gone
    }
}

struct Scan<'a> {
    shared: &'a Shared,
    selection: &'a Selection,
    /// Which of the paths that are listed were there.
    met: Vec<bool>,
    bytes: u64,
}

/// A listing block that is being filled.
struct Block {
    directory: u32,
    entries: Vec<ListingEntry>,
    /// Estimated size on the wire.
    bytes: usize,
}

impl Scan<'_> {
    fn run(mut self) -> Result<(), Stop> {
        let source = &self.shared.source;
        let metadata = source.top.metadata;
        self.record(0, &ListingEntry { name: Vec::new(), kind: source.kind.clone(), metadata })?;
        self.shared.say(SourceMessage::Top {
            name: source.name.clone(),
            entry: source.kind.clone(),
            metadata,
        })?;

        let mut directories = Vec::new();
        if source.kind == Kind::Directory {
            directories.push(0);
        }
        while let Some(directory) = directories.pop() {
            let below = directories.len();
            self.directory(directory, &mut directories)?;
            // The first subdirectory comes next, so that the walk is in the order of the names.
            directories[below..].reverse();
        }

        self.tell_missing()?;
        let entries = self.shared.tree.read().expect("no holder panics").len();
        self.shared.tally.listing_complete.store(1, Relaxed);
        Ok(self.shared.say(SourceMessage::ListingEnd { entries, bytes: self.bytes })?)
    }

    fn directory(&mut self, index: u32, directories: &mut Vec<u32>) -> Result<(), Stop> {
        let (shared, path) = (self.shared, self.shared.path_of(index));
        let listed = shared.tally.timed(Stage::Scan, || {
            let dir = shared.source.root.dir(&shared.location_of(index)?)?;
            let names = dir.names()?;
            Ok((dir, names))
        });
        let (dir, names) = match listed {
            Ok(listed) => listed,
            // Removed since its parent was listed: its entry stands, empty.
            Err(err) => return Ok(shared.fail(None, &path, &cannot_list(&err))?),
        };
        let mut block = Block::new(index);
        for name in &names {
            let name = Name::new(name).expect("listed as a name");
            if shared.source.leaves_out(&path, name) {
                continue;
            }
            let Some(found) = self.look(&dir, name, (index, &path))? else { continue };
            let entry = found.entry;
            let entry_index = self.record(index, &entry)?;
            if let Some(place) = found.place {
                shared.places.note(entry_index, place);
            }
            if found.is_entered {
                directories.push(entry_index);
            }
            block.push(entry);
            if block.bytes >= limits::LISTING_BLOCK_BYTES_TARGET {
                block.send(shared)?;
                block = Block::new(index);
            }
        }
        if !block.entries.is_empty() {
            block.send(shared)?;
        }
        Ok(())
    }

    /// Names what is listed and was not there, unless it would not have taken part.
    fn tell_missing(&mut self) -> Result<(), Stop> {
        let paths = self.selection.list().map(|list| list.paths()).unwrap_or_default();
        for (path, _) in paths.iter().zip(&self.met).filter(|(_, met)| !**met) {
            if !path.is_root() && !self.selection.rules_leave_out(path, false) {
                self.shared.fail(None, path, "is in the list of files and was not found")?;
            }
        }
        Ok(())
    }

    fn record(&mut self, parent: u32, entry: &ListingEntry) -> Result<u32, Stop> {
        let tally = &self.shared.tally;
        tally.entries_listed.fetch_add(1, Relaxed);
        if let Kind::File { size } = entry.kind {
            tally.files_listed.fetch_add(1, Relaxed);
            tally.bytes_listed.fetch_add(size, Relaxed);
            self.bytes = self.bytes.saturating_add(size);
        }
        let mut tree = self.shared.tree.write().expect("no holder panics");
        tree.push(parent, &entry.name, &entry.kind, entry.metadata)
            .ok_or(Stop::Sync(SyncError::TooManyEntries))
    }
}

impl Block {
    fn new(directory: u32) -> Self {
        Self { directory, entries: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, entry: ListingEntry) {
        let target = if let Kind::Symlink { target } = &entry.kind { target.len() } else { 0 };
        // Kind, size, mode and time take at most 32 bytes beside the names.
        self.bytes += 32 + entry.name.len() + target;
        self.entries.push(entry);
    }

    fn send(self, shared: &Shared) -> Result<(), Stop> {
        Ok(shared.say(SourceMessage::Listing { directory: self.directory, entries: self.entries })?)
    }
}

fn cannot_list(err: &io::Error) -> String {
    format!("the directory cannot be listed: {}", describe(err))
}
