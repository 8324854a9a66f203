//! Walks the source tree and says what is there, directory by directory.
//!
//! A directory is opened by its path from the root, listed, and its entries looked at relative to the handle. What cannot be listed is
//! named and the walk goes on; what vanishes between listing and looking was never there.
//!
//! What each entry is, and whether it takes part, is found out in `look`; what else is told of it in `extra`.

mod extra;
mod look;
mod rotated;

use std::{collections::HashSet, io, sync::atomic::Ordering::Relaxed};

use rustix::io::Errno;

use super::{Shared, digests::Turn, select};
use crate::{
    entry::Kind,
    filter::Selection,
    limits,
    path::{Name, RelPath},
    root::{Dir, describe},
    sync::{Stage, SyncError, attributes::AttributeSets},
    wire::sync::{ListingEntry, Run, SourceMessage, block_digest},
};

/// What is told of a path that was asked for, and is not met, or lies on another file system where those are left out.
pub const LISTED_NOT_FOUND: &str = "is in the list of files and was not found";

/// Walks the tree as far as it is selected. Blocks. Ends quietly when the sync is over.
pub(super) fn scan(shared: &Shared, selection: &Selection) -> Result<(), SyncError> {
    let met = vec![false; selection.list().map_or(0, |list| list.paths().len())];
    let rotated = HashSet::new();
    let scan = Scan { shared, selection, met, rotated, bytes: 0, told: AttributeSets::default() };
    match scan.run() {
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
    /// Names in the directory at hand that are not listed and take part all the same.
    rotated: HashSet<Vec<u8>>,
    bytes: u64,
    /// What was told of owners and attributes.
    told: AttributeSets,
}

/// A listing block that is being filled.
struct Block {
    directory: u32,
    /// Index of the first entry.
    first: u32,
    entries: Vec<ListingEntry>,
    /// Estimated size on the wire.
    bytes: usize,
}

impl Scan<'_> {
    fn run(mut self) -> Result<(), Stop> {
        let source = &self.shared.source;
        select::tell(self.shared, self.selection)?;
        let (metadata, extra) = self.top()?;
        let entry = ListingEntry { name: Vec::new(), kind: source.kind.clone(), metadata, extra };
        self.record(0, &entry)?;
        let (name, ListingEntry { kind: entry, extra, .. }) = (source.name.clone(), entry);
        self.shared.say(SourceMessage::Top { name, entry, metadata, extra })?;

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
        self.shared.say(SourceMessage::ListingEnd { entries, bytes: self.bytes })?;
        self.shared.tell_stages()?;
        while let Some(run) = self.shared.digests.rest() {
            self.relist(run)?;
        }
        Ok(())
    }

    fn directory(&mut self, index: u32, directories: &mut Vec<u32>) -> Result<(), Stop> {
        let (shared, path) = (self.shared, self.shared.path_of(index));
        let listed = shared.tally.timed(Stage::Scan, || {
            let dir = shared.source.root.dir(&shared.location_of(index)?)?;
            Ok((self.names(&dir, &path)?, dir))
        });
        let (names, dir) = match listed {
            Ok(listed) => listed,
            Err(err) if index != 0 && self.selection.missing_ok() && is_gone(&err) => return Ok(()),
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
            let extra = self.extra((&dir, name), &path, &found)?;
            let entry = ListingEntry { extra, ..found.entry };
            let entry_index = self.record(index, &entry)?;
            if let Some(place) = found.place {
                shared.places.note(entry_index, place);
            }
            if found.is_entered {
                directories.push(entry_index);
            }
            block.push(entry_index, entry);
            if block.bytes >= limits::LISTING_BLOCK_BYTES_TARGET {
                self.tell(block)?;
                block = Block::new(index);
            }
        }
        if !block.entries.is_empty() {
            self.tell(block)?;
        }
        Ok(())
    }

    /// Tells a block by its digest, where the destination may have it, or lists it.
    fn tell(&self, Block { directory, first, entries, .. }: Block) -> Result<(), Stop> {
        let shared = self.shared;
        let count = u32::try_from(entries.len()).expect("bounded by ENTRIES_MAX");
        loop {
            match shared.digests.turn(Run { first, count }) {
                Turn::Relist(run) => self.relist(run)?,
                Turn::List => return Ok(shared.say(SourceMessage::Listing { directory, entries })?),
                Turn::Digest => {
                    let hash = shared.tally.timed(Stage::Scan, || block_digest(&entries));
                    let last = entries.last().map(|entry| entry.name.clone()).unwrap_or_default();
                    return Ok(shared.say(SourceMessage::ListingDigest { directory, last, count, hash })?);
                }
                Turn::Over => return Err(Stop::Gone),
            }
        }
    }

    /// Lists a block that was told by its digest and that the destination does not have.
    fn relist(&self, run: Run) -> Result<(), Stop> {
        let shared = self.shared;
        let mut entries: Vec<ListingEntry> = {
            let tree = shared.tree.read().expect("no holder panics");
            (run.first..run.first + run.count).map(|index| tree.entry(index)).collect()
        };
        let directory = shared.tree.read().expect("no holder panics").parent(run.first);
        let mut dir = None;
        for entry in &mut entries {
            let Kind::Symlink { target } = &mut entry.kind else { continue };
            // A link that is gone by now is listed with no target, which the destination cannot make.
            let mut read = || {
                if dir.is_none() {
                    dir = Some(shared.source.root.dir(&shared.location_of(directory)?)?);
                }
                let dir: &Dir = dir.as_ref().expect("just opened");
                dir.read_link(Name::new(&entry.name).expect("listed as a name"))
            };
            *target = read().unwrap_or_default();
        }
        Ok(shared.say(SourceMessage::Listing { directory, entries })?)
    }

    /// The names in a directory that may take part, ascending.
    fn names(&mut self, dir: &Dir, path: &RelPath) -> io::Result<Vec<Vec<u8>>> {
        self.rotated.clear();
        let Some(mut names) = self.selection.names_in(path) else { return dir.names() };
        if self.selection.missing_ok() {
            self.rotated = rotated::just_rotated(dir, &names);
            names.extend(self.rotated.iter().cloned());
            names.sort_unstable();
        }
        Ok(names)
    }

    /// Names what is listed and was not there, unless it would not have taken part.
    fn tell_missing(&mut self) -> Result<(), Stop> {
        if self.selection.missing_ok() {
            return Ok(());
        }
        let paths = self.selection.list().map(|list| list.paths()).unwrap_or_default();
        for (path, _) in paths.iter().zip(&self.met).filter(|(_, met)| !**met) {
            let is_left_out =
                self.selection.rules_leave_out(path, false) || self.shared.source.leaves_out_below(path);
            if !path.is_root() && !is_left_out {
                self.shared.fail(None, path, LISTED_NOT_FOUND)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, parent: u32, entry: &ListingEntry) -> Result<u32, Stop> {
        let tally = &self.shared.tally;
        tally.entries_listed.fetch_add(1, Relaxed);
        let first = entry.extra.as_ref().and_then(|extra| extra.link);
        if let Kind::File { size } = entry.kind {
            tally.files_listed.fetch_add(1, Relaxed);
            let size = if first.is_some() { 0 } else { size };
            tally.bytes_listed.fetch_add(size, Relaxed);
            self.bytes = self.bytes.saturating_add(size);
        }
        let mut tree = self.shared.tree.write().expect("no holder panics");
        let index = tree
            .push(parent, &entry.name, &entry.kind, entry.metadata)
            .ok_or(Stop::Sync(SyncError::TooManyEntries))?;
        first.is_none_or(|first| tree.link_last(first)).then_some(index).ok_or(Stop::Sync(SyncError::Worker))
    }
}

impl Block {
    fn new(directory: u32) -> Self {
        Self { directory, first: 0, entries: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, index: u32, entry: ListingEntry) {
        if self.entries.is_empty() {
            self.first = index;
        }
        let target = if let Kind::Symlink { target } = &entry.kind { target.len() } else { 0 };
        // Kind, size, mode and time take at most 32 bytes beside the names.
        let extra = entry.extra.as_ref().map_or(0, |extra| {
            let count = extra.attributes.xattrs.as_ref().map_or(0, Vec::len);
            24 + 6 * count + extra.attributes.xattr_bytes()
        });
        self.bytes += 32 + entry.name.len() + target + extra;
        self.entries.push(entry);
    }
}

/// Whether a directory has been removed, or something else has its name.
fn is_gone(err: &io::Error) -> bool {
    matches!(Errno::from_io_error(err), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

fn cannot_list(err: &io::Error) -> String {
    format!("the directory cannot be listed: {}", describe(err))
}
