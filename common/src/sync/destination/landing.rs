//! Where the source's top lands, the directories below it, and the staging place.
//!
//! The rules are those of DESIGN §8: a directory lands inside the destination under its own name, or, when its contents are meant,
//! becomes the destination; a file goes into an existing directory under its own name and otherwise takes the destination's.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{Shared, attributes, backup::Backup, extraneous, fresh, items, links, moved, receipts};
use crate::{
    entry::Kind,
    limits,
    path::{Name, RelPath},
    root::{
        Dir, File, Root,
        attributes::Namespaces,
        staging::{self, PartialKey, Staging},
    },
    sync::{Destination, PlaceError, Stage, SyncError, tree::Tree},
    wire::{status::Status, sync::Durability},
};

/// The destination once it is known what comes.
#[derive(Debug)]
pub(super) struct Landing {
    destination: Destination,
    /// Path of the top entry below the root.
    base: OnceLock<RelPath>,
    handles: Mutex<Handles>,
    staging: Mutex<Option<Arc<Staging>>>,
    /// Directories that are in place and get their metadata in the end, in the order of the listing.
    directories: Mutex<Vec<u32>>,
    /// Files of which interrupted syncs have left something where this one stages.
    partials: OnceLock<HashSet<PartialKey>>,
    /// Whether anything below the top was changed.
    changed: AtomicBool,
    backup: Backup,
}

/// Open directories by index, the oldest going first.
#[derive(Debug, Default)]
struct Handles {
    open: HashMap<u32, Arc<Dir>>,
    order: VecDeque<u32>,
}

impl Landing {
    pub(super) fn new(destination: Destination) -> Self {
        Self {
            destination,
            base: OnceLock::new(),
            handles: Mutex::default(),
            staging: Mutex::default(),
            directories: Mutex::default(),
            partials: OnceLock::new(),
            changed: AtomicBool::new(false),
            backup: Backup::default(),
        }
    }

    /// Decides where the top lands and, unless it is a dry run, makes the directories above it.
    pub(super) fn land(&self, name: &[u8], kind: &Kind, dry_run: bool) -> Result<(), SyncError> {
        let Destination { root, path, is_directory, .. } = &self.destination;
        let fail = |err: &io::Error| SyncError::Place(PlaceError::from_io(path, err));
        // A source that was asked for a link has declined it.
        if matches!(kind, Kind::Symlink { .. }) || !self.destination.accepts(name, kind) {
            return Err(SyncError::Protocol("it sends something else than what was asked for"));
        }
        let inside = match kind {
            Kind::Directory => !name.is_empty(),
            _ => *is_directory || path.is_root() || self.destination.exists_as_directory(),
        };
        let base = if inside {
            let name = Name::new(name).map_err(|_| SyncError::Protocol("the top has no valid name"))?;
            if name.is_reserved() {
                return Err(SyncError::Protocol("the top has a reserved name"));
            }
            path.join(name).map_err(|err| SyncError::Place(PlaceError::from_path(err)))?
        } else {
            path.clone()
        };
        if !inside && *kind != Kind::Directory && self.destination.backup.is_some() {
            let reason = "is not a directory, in which old versions could be kept".to_owned();
            let status = Status::Conflict;
            return Err(SyncError::Place(PlaceError { status, path: path.clone(), reason }));
        }
        self.backup.land(&self.destination, &base)?;
        if dry_run {
            return self.base.set(base).map_err(|_| SyncError::Protocol("it names the top twice"));
        }
        let above = base.split_last().map(|(parent, _)| parent).unwrap_or_default();
        root.create_dir_all(&above).map_err(|err| SyncError::Place(PlaceError::not_made(&above, &err)))?;
        self.base.set(base).map_err(|_| SyncError::Protocol("it names the top twice"))?;
        self.clean_staging().map_err(|err| fail(&err))
    }

    /// The directory that holds the top entry.
    pub(super) fn parent_of_top(&self) -> io::Result<Arc<Dir>> {
        let parent = self.base().split_last().map(|(parent, _)| parent).unwrap_or_default();
        Ok(Arc::new(self.destination.root.dir(&parent)?))
    }

    /// The top's own name; `None` where the top is the root.
    pub(super) fn top_name(&self) -> Option<Vec<u8>> {
        self.base().split_last().map(|(_, name)| name.as_bytes().to_vec())
    }

    /// The directory `index` of the listing.
    pub(super) fn dir(&self, tree: &Tree, index: u32) -> io::Result<Arc<Dir>> {
        if let Some(dir) = self.handles.lock().expect("no holder panics").open.get(&index) {
            return Ok(dir.clone());
        }
        let below = tree.path(index).map_err(|err| io::Error::new(io::ErrorKind::InvalidFilename, err))?;
        let path = self.path_below(&below)?;
        let dir = Arc::new(self.destination.root.dir(&path)?);
        self.handles.lock().expect("no holder panics").keep(index, dir.clone());
        Ok(dir)
    }

    /// The staging place, made when it is first needed.
    pub(super) fn staging(&self) -> io::Result<Arc<Staging>> {
        let mut staging = self.staging.lock().expect("no holder panics");
        if let Some(staging) = &*staging {
            return Ok(staging.clone());
        }
        let made =
            Arc::new(Staging::create(&self.staging_parent()?, self.destination.partial_bytes_max, || {
                getrandom::u64().unwrap_or_default()
            })?);
        *staging = Some(made.clone());
        if let Err(err) = made.expire_partials() {
            tracing::warn!(%err, "unfinished files of long ago could not be removed");
        }
        Ok(made)
    }

    /// The key by which what is left of an unfinished file is found.
    pub(super) fn partial_key(&self, path: &RelPath) -> io::Result<PartialKey> {
        Ok(PartialKey::of(&self.path_below(path)?))
    }

    /// The key of the file at `path`, if an interrupted sync has left something of it.
    pub(super) fn partial(&self, path: impl FnOnce() -> RelPath) -> Option<PartialKey> {
        let partials = self.partials.get().filter(|partials| !partials.is_empty())?;
        self.partial_key(&path()).ok().filter(|key| partials.contains(key))
    }

    /// What an interrupted sync has left of a file.
    pub(super) fn open_partial(&self, key: &PartialKey) -> io::Result<File> {
        staging::open_partial(&self.staging_parent()?, key)
    }

    /// Removes what an interrupted sync has left of a file that is complete now.
    pub(super) fn remove_partial(&self, key: &PartialKey) {
        let removed = self.staging_parent().and_then(|parent| staging::remove_partial(&parent, key));
        if let Err(err) = removed {
            tracing::warn!(%err, "an unfinished file that is complete now was left behind");
        }
    }

    /// What is unfinished is not worth keeping for a later sync: this one has come to its end, or its source lies.
    pub(super) fn forget_partials(&self) {
        if let Some(staging) = &*self.staging.lock().expect("no holder panics") {
            staging.forget_partials();
        }
    }

    /// Lets go of the staging place; it is removed with its last user.
    pub(super) fn remove_staging(&self) {
        self.staging.lock().expect("no holder panics").take();
    }

    /// Notes that a directory is in place.
    pub(super) fn add_directory(&self, index: u32) {
        self.directories.lock().expect("no holder panics").push(index);
    }

    /// Notes that a directory that is in place cannot be used, which is told once.
    pub(super) fn remove_directory(&self, index: u32) {
        self.directories.lock().expect("no holder panics").retain(|&known| known != index);
    }

    /// The directories that are in place so far, in the order of the listing.
    pub(super) fn directories(&self) -> Vec<u32> {
        self.directories.lock().expect("no holder panics").clone()
    }

    /// The directory at `path` below the top as it is found now, whatever handle an earlier look has left.
    pub(super) fn dir_now(&self, path: &RelPath) -> io::Result<Dir> {
        self.destination.root.dir(&crate::sync::join(self.base(), path)?)
    }

    /// Notes that something was changed, so that the end has something to make durable.
    pub(super) fn note_change(&self) {
        self.changed.store(true, Relaxed);
    }

    /// What it is all about.
    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The root that everything lands in.
    pub(super) fn root(&self) -> &Root {
        &self.destination.root
    }

    /// Which extended attributes may be set here.
    pub(super) fn namespaces(&self) -> Namespaces {
        self.destination.namespaces
    }

    /// Where old versions go.
    pub(super) fn backup(&self) -> &Backup {
        &self.backup
    }

    /// The place that was typed, below the root.
    pub(super) fn destination_path(&self) -> &RelPath {
        &self.destination.path
    }

    /// Where an entry of this path below the top is, below the root.
    pub(super) fn path_below(&self, path: &RelPath) -> io::Result<RelPath> {
        crate::sync::join(self.base(), path)
    }

    fn base(&self) -> &RelPath {
        self.base.get().expect("the top is the first thing that is planned")
    }

    /// Removes what crashed syncs have left where this one would stage.
    fn clean_staging(&self) -> io::Result<()> {
        let parent = self.staging_parent()?;
        let cleaned = staging::clean(&parent)?;
        // Set once, because the top lands once.
        self.partials.get_or_init(|| staging::partials(&parent).unwrap_or_default());
        if cleaned > 0 {
            tracing::info!(cleaned, "removed the leftovers of interrupted syncs");
        }
        Ok(())
    }

    fn staging_parent(&self) -> io::Result<Dir> {
        let root = &self.destination.root;
        let base = match root.dir(self.base()) {
            Ok(base) => base,
            // The top is a file, or a directory that is still to be made.
            Err(_) => self.parent_of_top()?.try_clone()?,
        };
        self.destination.staging_parent(&base)
    }
}

impl Handles {
    fn keep(&mut self, index: u32, dir: Arc<Dir>) {
        if self.open.insert(index, dir).is_some() {
            return;
        }
        self.order.push_back(index);
        if self.order.len() > limits::DIR_HANDLES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
    }
}

/// Removes the staging place and what the source does not have, gives the directories their metadata, children first, and makes all of it durable. Blocks.
pub(super) fn finish(shared: &Shared) -> Result<(), SyncError> {
    let landing = &shared.landing;
    links::make(shared);
    landing.forget_partials();
    extraneous::remove(shared);
    moved::copy_left(shared);
    shared.take_fatal()?;
    landing.remove_staging();
    items::flush(shared);
    fresh::remember(shared);
    receipts::flush(shared);
    // What cannot be entered ends the sync.
    shared.take_fatal()?;
    if shared.options.dry_run {
        return Ok(());
    }
    let directories = std::mem::take(&mut *landing.directories.lock().expect("no holder panics"));
    let kept = if landing.destination.keeps_top { Some(0) } else { None };
    for &index in directories.iter().rev().filter(|&&index| Some(index) != kept) {
        if let Err(err) = shared.tally.timed(Stage::Write, || set_directory_metadata(shared, index)) {
            shared.fail_io(index, "cannot set the directory's mode and time", &err);
        }
    }
    if shared.options.durability == Durability::None || !landing.changed.load(Relaxed) {
        return Ok(());
    }
    // Where the source landed may be another file system than the root's.
    let landed = || landing.staging_parent()?.sync_file_system();
    shared.tally.timed(Stage::Sync, landed).map_err(|err| {
        SyncError::Disk(format!("the destination cannot be made durable: {}", crate::root::describe(&err)))
    })?;
    shared.tally.durable.fetch_add(shared.links.made() + shared.moved.late(), Relaxed);
    Ok(())
}

fn set_directory_metadata(shared: &Shared, index: u32) -> io::Result<()> {
    let tree = shared.tree.read().expect("no holder panics");
    let wanted = tree.metadata(index);
    let dir = shared.landing.dir(&tree, index)?;
    drop(tree);
    if attributes::set_directory(shared, index, &dir, wanted)? {
        shared.landing.note_change();
    }
    Ok(())
}
