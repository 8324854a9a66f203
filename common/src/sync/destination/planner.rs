//! Goes through the listing as it streams in, looks at what is there, and acts on `plan`'s decisions.
//!
//! Directories and links are made at once; files are asked for in runs, a message per listing block. Entries must come sorted within
//! their directory and after it, which rules out doubles; a listing that breaks the rules ends the sync.

mod asked;
mod digests;
mod disk;
mod found;
mod rehearse;
mod verify;
mod wants;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use async_channel::{Receiver, RecvError};

use super::{
    Shared, attributes, backup,
    bases::{Candidate, Telling},
    comparing, items,
};
use crate::{
    entry::{Kind, Metadata},
    limits::CHUNK_BYTES,
    path::Name,
    root::{Dir, File, Stat, staging::PartialKey},
    sync::{
        Stage, SyncError,
        change::change,
        plan::{Action, Existing, decide, is_kept},
        rotation::Series,
    },
    wire::extra::Extra,
    wire::sync::{Deletion, DestinationMessage, ListingEntry, SourceMessage, SyncOptions},
};
use digests::Comparing;
use disk::{Found, Place, look, make_directory, make_symlink, make_writable};
use found::{Seeking, is_rotated, rotated_away};
use wants::Wants;

/// Bytes that a grown file must have had for its signature (20 bytes and its place in a message) to be less than these.
const GROWN_BYTES_MIN: u64 = 64;

/// Plans until the listing ends. Blocks.
pub(super) fn plan(shared: &Shared, blocks: &Receiver<SourceMessage>) {
    let mut planner = Planner {
        shared,
        states: HashMap::new(),
        seeking: Vec::new(),
        rotated_away: HashSet::new(),
        is_fresh: false,
        current: None,
        comparing: Comparing::default(),
        wants: Wants::default(),
    };
    while let Ok(message) = next(&mut planner, blocks) {
        match planner.in_turn(message) {
            Ok(More::Yes) => {}
            Ok(More::No) => return,
            Err(err) => return shared.abort(err),
        }
    }
}

/// The next message of the listing. Answers go out before it is waited for.
fn next(planner: &mut Planner<'_>, blocks: &Receiver<SourceMessage>) -> Result<SourceMessage, RecvError> {
    blocks.try_recv().or_else(|_| {
        planner.answer();
        blocks.recv_blocking()
    })
}

struct Planner<'a> {
    shared: &'a Shared,
    /// What became of each listed directory.
    states: HashMap<u32, DirState>,
    /// Files that are wanted once it is known what else is here.
    seeking: Vec<Seeking>,
    /// Names in the block at hand whose content may have moved on to another name.
    rotated_away: HashSet<Vec<u8>>,
    /// Nothing was here before, so no file can have been another one.
    is_fresh: bool,
    current: Option<Current>,
    comparing: Comparing,
    wants: Wants,
}

/// The directory whose blocks are coming.
struct Current {
    index: u32,
    /// None when the directory is not in place.
    dir: Option<Arc<Dir>>,
    surroundings: Surroundings,
    /// Names of files that may be listed although they were not asked for.
    rotations: Series,
    last_name: Vec<u8>,
}

/// What an entry's directory is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Surroundings {
    /// Made by this sync, so nothing is in it.
    New,
    Existing,
}

impl Surroundings {
    fn look(self, shared: &Shared, place: &Place<'_>) -> io::Result<Found> {
        match self {
            Self::New => Ok((Existing::Nothing, None)),
            Self::Existing => look(shared, place),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DirState {
    /// Made by us: nothing is in it.
    New,
    Existing,
    /// Not in place; what is in it cannot be either.
    Failed,
}

enum More {
    Yes,
    No,
}

impl Planner<'_> {
    fn message(&mut self, message: SourceMessage) -> Result<More, SyncError> {
        match message {
            SourceMessage::Top { name, entry, metadata, extra } => {
                let attributes = extra.map(|extra| extra.attributes).unwrap_or_default();
                self.shared.told.put(0, &attributes)?;
                self.top(&name, &entry, metadata)?;
            }
            SourceMessage::Listing { directory, entries } => self.block(directory, entries)?,
            SourceMessage::ListingEnd { entries, .. } => {
                if entries != self.shared.tree.read().expect("no holder panics").len() || entries == 0 {
                    return Err(SyncError::Protocol("its listing is not complete"));
                }
                self.shared.tally.listing_complete.store(1, Relaxed);
                self.answer();
                self.wants.tell(self.shared);
                self.seek();
                self.shared.bases.finish(self.shared);
                self.say(DestinationMessage::PlanEnd);
                self.shared.pending.plan_ended();
                return Ok(More::No);
            }
            _ => return Err(SyncError::Protocol("it sent something else than a listing")),
        }
        Ok(More::Yes)
    }

    fn top(&mut self, name: &[u8], kind: &Kind, metadata: Metadata) -> Result<(), SyncError> {
        let shared = self.shared;
        let was_there =
            shared.landing.land(name, kind, shared.options.dry_run).map(|()| shared.landing.top_name())?;
        let index = self.record(0, &[], kind, metadata)?;
        let Some(name) = was_there else {
            // The top becomes the root itself, which is there.
            if shared.options.verify {
                let found = shared.landing.root().top().stat_self();
                let found = found.map(|stat| (Existing::Directory, Some(stat)));
                self.compare_found(found, index, kind, metadata);
                return Ok(());
            }
            self.states.insert(index, DirState::Existing);
            shared.landing.add_directory(index);
            return Ok(());
        };
        if shared.options.dry_run {
            let parent = shared.landing.parent_of_top().ok();
            let name = Name::new(&name).expect("it came from a path");
            self.rehearse((parent.as_deref(), name), index, kind, metadata);
            return Ok(());
        }
        let parent = shared.landing.parent_of_top();
        let parent = parent.map_err(|err| SyncError::Disk(format!("the destination is gone: {err}")))?;
        let name = Name::new(&name).expect("it came from a path");
        let place = Place { dir: &parent, name, index };
        self.entry(&place, look(shared, &place), kind, metadata);
        self.wants.tell(self.shared);
        Ok(())
    }

    fn block(&mut self, directory: u32, entries: Vec<ListingEntry>) -> Result<(), SyncError> {
        self.rotated_away = rotated_away(&entries);
        self.entries(directory, entries.into_iter().map(|entry| (entry, None)))
    }

    /// Plans entries of a directory, some of which may have been looked at already.
    fn entries(
        &mut self,
        directory: u32,
        entries: impl Iterator<Item = (ListingEntry, Option<Found>)>,
    ) -> Result<(), SyncError> {
        if self.current.as_ref().is_none_or(|current| current.index != directory) {
            self.current = Some(self.enter(directory)?);
        }
        let (mut current, shared) = (self.current.take().expect("just set"), self.shared);
        for (entry, found) in entries {
            let name = Name::new(&entry.name)
                .ok()
                .filter(|name| !name.is_reserved() && name.as_bytes() > current.last_name.as_slice())
                .ok_or(SyncError::Protocol("an entry has an invalid name, or stands out of order"))?;
            let index = self.record(directory, name.as_bytes(), &entry.kind, entry.metadata)?;
            self.require_asked((index, name), &current.rotations, (&entry.kind, entry.metadata))?;
            let is_link = self.record_extra(index, &entry.kind, entry.extra.as_ref())?;
            match &current.dir {
                _ if backup::is_at(shared, || shared.path_of(index)) => {
                    self.refuse(index, &entry.kind, "its place is that of the backup directory");
                }
                dir if is_link && (dir.is_some() || self.is_rehearsal(None, current.surroundings)) => {
                    shared.links.add(index);
                }
                dir if self.is_rehearsal(dir.as_deref(), current.surroundings) => {
                    self.rehearse((dir.as_deref(), name), index, &entry.kind, entry.metadata);
                }
                Some(dir) => {
                    let place = Place { dir, name, index };
                    let found =
                        found.map(Ok).unwrap_or_else(|| current.surroundings.look(self.shared, &place));
                    self.entry(&place, found, &entry.kind, entry.metadata);
                }
                None => self.refuse(index, &entry.kind, "its directory is not in place"),
            }
            current.last_name = entry.name;
        }
        self.current = Some(current);
        self.wants.tell(self.shared);
        Ok(())
    }

    fn enter(&mut self, directory: u32) -> Result<Current, SyncError> {
        // A directory's blocks come in a row, so its state is asked for once.
        let state = self.states.remove(&directory);
        let state = state.ok_or(SyncError::Protocol("it lists something that is no directory, or twice"))?;
        let dir = match state {
            DirState::Failed => None,
            DirState::New if self.shared.options.dry_run => None,
            DirState::New | DirState::Existing => {
                let tree = self.shared.tree.read().expect("no holder panics");
                let dir = self.shared.landing.dir(&tree, directory);
                drop(tree);
                dir.map_err(|err| {
                    self.shared.landing.remove_directory(directory);
                    self.shared.fail_io(directory, "the directory cannot be opened", &err);
                })
                .ok()
            }
        };
        if directory == 0 {
            // A destination that was made beforehand is as new as one that was not.
            let is_empty = || dir.as_ref().is_some_and(|dir| dir.names().is_ok_and(|names| names.is_empty()));
            self.is_fresh = state == DirState::New || is_empty();
        }
        let is_new = state == DirState::New || directory == 0 && self.is_fresh;
        let surroundings = if is_new { Surroundings::New } else { Surroundings::Existing };
        let rotations = self.rotations_in(directory);
        Ok(Current { index: directory, dir, surroundings, rotations, last_name: Vec::new() })
    }

    fn record(&self, parent: u32, name: &[u8], kind: &Kind, metadata: Metadata) -> Result<u32, SyncError> {
        let tally = &self.shared.tally;
        tally.entries_listed.fetch_add(1, Relaxed);
        if let Kind::File { size } = kind {
            tally.files_listed.fetch_add(1, Relaxed);
            tally.bytes_listed.fetch_add(*size, Relaxed);
        }
        let mut tree = self.shared.tree.write().expect("no holder panics");
        tree.push(parent, name, kind, metadata).ok_or(SyncError::TooManyEntries)
    }

    /// Takes what else is told of an entry that was just recorded; whether it is another name of a file.
    fn record_extra(&self, index: u32, kind: &Kind, extra: Option<&Extra>) -> Result<bool, SyncError> {
        let Some(Extra { link, attributes }) = extra else { return Ok(false) };
        self.shared.told.put(index, attributes)?;
        let Some(first) = *link else { return Ok(false) };
        if !self.shared.tree.write().expect("no holder panics").link_last(first) {
            return Err(SyncError::Protocol("it lists a link to something that is no file before it"));
        }
        if let Kind::File { size } = kind {
            self.shared.tally.bytes_listed.fetch_sub(*size, Relaxed);
        }
        Ok(true)
    }

    /// An entry that cannot be where it belongs.
    fn refuse(&mut self, index: u32, kind: &Kind, reason: &str) {
        if *kind == Kind::Directory {
            self.states.insert(index, DirState::Failed);
        }
        self.shared.fail(index, reason);
    }

    /// Decides about one entry and acts.
    fn entry(&mut self, place: &Place<'_>, found: io::Result<Found>, kind: &Kind, metadata: Metadata) {
        let shared = self.shared;
        let (existing, stat) = match found {
            Ok(found) => found,
            Err(err) => {
                if *kind == Kind::Directory {
                    self.states.insert(place.index, DirState::Failed);
                }
                return shared.fail_io(place.index, "what is there cannot be looked at", &err);
            }
        };
        let action = decide_here(shared, place.index, (kind, metadata), &existing);
        let action = with_attributes(shared, place, (kind, metadata), (&existing, stat.as_ref()), action);
        items::planned(shared, place.index, change(kind, metadata, &existing, action));
        let has = match existing {
            Existing::File { size, .. } => Some(size),
            _ => None,
        };
        let is_wanted = matches!(action, Action::Fetch | Action::FetchWithBasis | Action::FetchUnlessSame);
        if let (true, Some(stat)) = (is_wanted, &stat) {
            shared.replaced.note(place.index, stat);
        }
        match kind {
            Kind::File { size } if is_wanted => {
                self.fetch(place, (*size, has), action);
            }
            Kind::File { size } => self.file(place, *size, metadata, action),
            Kind::Directory => self.directory(place, metadata, action),
            Kind::Symlink { target } => self.symlink(place, target, metadata, action),
        }
    }

    /// Asks for a file's content at once, or puts it off until it is known what else is here: it may have been another file before.
    fn fetch(&mut self, place: &Place<'_>, (size, has): (u64, Option<u64>), action: Action) {
        if action == Action::FetchUnlessSame {
            return self.wants.push_with(self.shared, place.index, (Candidate::Own, Telling::Mark));
        }
        let own = action == Action::FetchWithBasis;
        if let Some(key) = partial(self.shared, place.index, size) {
            let candidate = Candidate::Partial { key, own };
            return self.wants.push_with(self.shared, place.index, (candidate, Telling::Chunks));
        }
        let was_cut = has.is_some_and(|has| has > size);
        let is_log = is_rotated(place.name) || self.rotated_away.contains(place.name.as_bytes());
        let may_have_moved = has.is_none() || was_cut || is_log;
        if !self.is_fresh && may_have_moved && size > 0 {
            self.seeking.push(Seeking { index: place.index, own });
        } else if own {
            let telling = Telling::of_growing(size, has.unwrap_or_default());
            self.wants.push_with(self.shared, place.index, (Candidate::Own, telling));
        } else {
            self.wants.push(self.shared, place.index);
        }
    }

    fn file(&self, place: &Place<'_>, size: u64, metadata: Metadata, action: Action) {
        let (shared, index) = (self.shared, place.index);
        match action {
            Action::SetMetadata => {
                let set = |file: File| {
                    // Only an empty file gets another time.
                    if size == 0 {
                        shared.replaced.note_restamped(&file.stat()?, metadata.mtime);
                    }
                    attributes::set_file(shared, index, &file, metadata)
                };
                match place.dir.open_file_to_change(place.name).and_then(set) {
                    Ok(()) => {
                        shared.landing.note_change();
                        unchanged(shared, size);
                    }
                    Err(err) => shared.fail_io(index, "its mode cannot be set", &err),
                }
            }
            Action::Refuse(reason) => shared.fail(index, reason),
            _ => {
                // Its handler may have lived on, when the sync that it was of was done again.
                if let Some(key) = partial(shared, index, size) {
                    shared.landing.remove_partial(&key);
                }
                unchanged(shared, size);
            }
        }
    }

    fn directory(&mut self, place: &Place<'_>, metadata: Metadata, action: Action) {
        let (shared, index) = (self.shared, place.index);
        let state = match action {
            Action::Refuse(reason) => {
                shared.fail(index, reason);
                DirState::Failed
            }
            // The rest of its metadata comes in the end.
            Action::Keep | Action::SetMetadata => match make_writable(place) {
                Ok(()) => DirState::Existing,
                Err(err) => {
                    shared.fail_io(index, "the directory cannot be opened", &err);
                    DirState::Failed
                }
            },
            _ => match shared.tally.timed(Stage::Write, || make_directory(shared, place, metadata, action)) {
                Ok(state) => state,
                Err(err) => {
                    shared.fail_io(index, "the directory cannot be made", &err);
                    DirState::Failed
                }
            },
        };
        if state != DirState::Failed {
            shared.landing.add_directory(index);
        }
        if state == DirState::New {
            shared.landing.note_change();
        }
        self.states.insert(index, state);
    }

    fn symlink(&self, place: &Place<'_>, target: &[u8], metadata: Metadata, action: Action) {
        let shared = self.shared;
        match action {
            Action::Refuse(reason) => shared.fail(place.index, reason),
            Action::Keep => {}
            Action::SetMetadata => match attributes::set_link(shared, place.index, (place.dir, place.name)) {
                Ok(()) => shared.landing.note_change(),
                Err(err) => shared.fail_io(place.index, "its owner cannot be set", &err),
            },
            _ => match shared
                .tally
                .timed(Stage::Write, || make_symlink(shared, place, (target, metadata), action))
            {
                Ok(()) => shared.landing.note_change(),
                Err(err) => shared.fail_io(place.index, "the link cannot be made", &err),
            },
        }
    }

    fn say(&self, message: DestinationMessage) {
        // A closed channel means that the sync has ended; the listing's queue is closed with it.
        let _ended = self.shared.control.send_blocking(message);
    }
}

fn decide_here(
    shared: &Shared,
    index: u32,
    (kind, metadata): (&Kind, Metadata),
    existing: &Existing,
) -> Action {
    // Where the top lands was typed by somebody: nothing in its way is ever removed.
    let delete = if index == 0 { Deletion::None } else { shared.options.delete };
    match decide(kind, metadata, existing, SyncOptions { delete, ..shared.options }) {
        Action::Fetch if shared.selection().missing_ok() && has_grown(kind, existing) => {
            Action::FetchWithBasis
        }
        action => action,
    }
}

/// Whether a file looks like a log that goes on. Where a few paths are synced over and over, a small one would be sent again and again.
fn has_grown(kind: &Kind, existing: &Existing) -> bool {
    match (kind, existing) {
        (Kind::File { size }, Existing::File { size: has, .. }) => *has >= GROWN_BYTES_MIN && size > has,
        _ => false,
    }
}

/// The action for an entry that is as it should be, but perhaps for its owner and attributes. Notes one that is not what others may be links to.
fn with_attributes(
    shared: &Shared,
    place: &Place<'_>,
    (kind, metadata): (&Kind, Metadata),
    (existing, stat): (&Existing, Option<&Stat>),
    action: Action,
) -> Action {
    let (Action::Keep, Some(stat)) = (action, stat) else { return action };
    if is_kept(kind, metadata, existing, shared.options.keep) {
        let is_listed = |size: u64| stat.size == size && stat.metadata.mtime == metadata.mtime;
        if !matches!((kind, existing), (Kind::File { size }, Existing::File { .. }) if is_listed(*size)) {
            shared.note_absent(place.index);
        }
        return Action::Keep;
    }
    let differ = attributes::differ(shared, place.index, (place.dir, place.name), stat);
    if differ { Action::SetMetadata } else { Action::Keep }
}

/// The key of what an interrupted sync has left of a large file.
fn partial(shared: &Shared, index: u32, size: u64) -> Option<PartialKey> {
    shared.landing.partial(|| shared.path_of(index)).filter(|_| size > CHUNK_BYTES)
}

fn unchanged(shared: &Shared, size: u64) {
    shared.tally.files_unchanged.fetch_add(1, Relaxed);
    shared.tally.bytes_unchanged.fetch_add(size, Relaxed);
}
