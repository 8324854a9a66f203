//! Where a sync takes from and where it lands, opened and checked before the first byte moves.

use std::{any::Any, io, sync::Arc, time::Duration};

use super::{Events, Ledger};
use crate::{
    entry::{Kind, Timestamp},
    filter::{Selection, Subject},
    hashes::{HashStore, Memory},
    limits,
    path::{Name, PathError, RelPath},
    root::{self, Dir, EntryType, Root, Stat, attributes::Namespaces},
    watch::{News, Watch},
    wire::{extra::Preserve, status::Status},
};

/// What is dropped when nothing of a sync runs any longer. A thread that waits for the disk may outlive the sync's future, if that is dropped.
pub type Guard = Arc<dyn Any + Send + Sync>;

/// A file or directory to sync from.
#[derive(Debug)]
pub struct Source {
    pub(super) root: Arc<Root>,
    pub(super) path: RelPath,
    pub(super) name: Vec<u8>,
    pub(super) top: Stat,
    pub(super) kind: Kind,
    pub(super) events: Option<Events>,
    pub(super) selection: Arc<Selection>,
    pub(super) namespaces: Namespaces,
    pub(super) compares: bool,
    pub(super) hashes: Memory,
    pub(super) as_of: Option<Timestamp>,
    pub(super) ledger: Option<Arc<dyn Ledger>>,
    backup: Option<RelPath>,
    left_out: Option<RelPath>,
    _guard: Option<Guard>,
}

impl Source {
    /// Opens what is at `path` below `root`. Blocks.
    ///
    /// `name` is what it is called when it lands inside a directory. Without one a directory's contents are meant, and a file keeps
    /// the name it has in `path`.
    pub fn open(root: Arc<Root>, path: RelPath, name: Option<Name<'_>>) -> Result<Self, PlaceError> {
        let fail = |err: io::Error| PlaceError::from_io(&path, &err);
        let top = root.stat(&path).map_err(fail)?;
        let kind = match top.entry_type {
            EntryType::File => Kind::File { size: top.size },
            EntryType::Directory => {
                root.dir(&path).map_err(fail)?;
                Kind::Directory
            }
            EntryType::Symlink => {
                return Err(PlaceError::new(
                    Status::Denied,
                    &path,
                    "is a symbolic link, which is not followed",
                ));
            }
            EntryType::Special(kind) => {
                let reason = format!("is a {}, which cannot be synced", kind.as_str());
                return Err(PlaceError::new(Status::Invalid, &path, &reason));
            }
        };
        let name = match (&kind, path.split_last()) {
            (Kind::File { .. }, Some((_, own))) if name.is_none() => own.as_bytes().to_vec(),
            _ => name.map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
        };
        Ok(Self {
            root,
            path,
            name,
            top,
            kind,
            events: None,
            selection: Arc::default(),
            as_of: None,
            ledger: None,
            backup: None,
            left_out: None,
            _guard: None,
            namespaces: Namespaces::default(),
            compares: false,
            hashes: Memory::default(),
        })
    }

    /// What it is called when it lands inside a directory; empty where its contents are meant.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Tells listing blocks by their digests, if the destination has agreed to compare.
    pub fn comparing(self, compares: bool) -> Self {
        Self { compares, ..self }
    }

    /// The time of day, which the engine does not know. Files that were changed about then are looked at twice before they are removed,
    /// and all are without it.
    pub fn opened_at(mut self, now: Timestamp) -> Self {
        self.as_of = Some(now);
        self
    }

    /// Enters each file that is safe at the destination, before it is removed.
    pub fn accounting(mut self, ledger: Arc<dyn Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Keeps `guard` as long as anything of the sync runs.
    pub fn guarded(mut self, guard: Guard) -> Self {
        self._guard = Some(guard);
        self
    }

    /// Passes on what the destination tells of its changes.
    pub fn telling(mut self, events: Events) -> Self {
        self.events = Some(events);
        self
    }

    /// Tells extended attributes of these namespaces, where the options ask for them.
    pub fn carrying(mut self, namespaces: Namespaces) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// Sees of modes and of holes what the options ask for.
    pub(super) fn prepared(mut self, preserve: Preserve) -> io::Result<Self> {
        self.root = prepared(self.root, preserve)?;
        Ok(self)
    }

    /// Only what is selected takes part.
    ///
    /// A single file has been named itself, so no rule and no expression leaves it out. One beyond the bounds on size or time is
    /// refused, and so is a list of paths where there is nothing to list.
    pub fn selecting(mut self, selection: Arc<Selection>) -> Result<Self, PlaceError> {
        let refuse = |reason| Err(PlaceError::new(Status::Invalid, &self.path, reason));
        if let Kind::File { size } = self.kind {
            if !selection.within_bounds(Subject::File { size, mtime: self.top.metadata.mtime }) {
                return refuse("is a file that the bounds on size or age leave out");
            }
            if selection.awaits_list() || selection.list().is_some() {
                return refuse("is a file, and a list of paths needs a directory");
            }
        }
        self.selection = selection;
        Ok(self)
    }

    /// The destination keeps old versions in `dir` below the place that was typed. If that lies in the tree, here it does not take part.
    pub fn backing_up(mut self, dir: RelPath) -> Self {
        let above = usize::from(!self.name.is_empty());
        let is_below = dir.components().take(above).all(|name| name.as_bytes() == self.name);
        let below = dir.components().skip(above).try_fold(RelPath::root(), |below, name| below.join(name));
        self.left_out = below.ok().filter(|path| is_below && !path.is_root());
        self.backup = Some(dir);
        self
    }

    /// Where the destination is to keep old versions.
    pub fn backup(&self) -> Option<&RelPath> {
        self.backup.as_ref()
    }

    /// Whether `name` of the directory `parent` below the top is where the destination keeps old versions.
    pub(super) fn leaves_out(&self, parent: &RelPath, name: Name<'_>) -> bool {
        let last = self.left_out.as_ref().and_then(|path| path.split_last());
        last.is_some_and(|(above, last)| last == name && above == *parent)
    }

    /// Whether `path` below the top is where the destination keeps old versions, or below that.
    pub(super) fn leaves_out_below(&self, path: &RelPath) -> bool {
        let is_at_or_above = |dir: &RelPath| {
            let count = dir.components().count();
            path.components().take(count).eq(dir.components())
        };
        self.left_out.as_ref().is_some_and(is_at_or_above)
    }

    /// What is selected.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Remembers the hashes of files, and does not read those again that it knows.
    pub fn remembering(self, hashes: Arc<HashStore>) -> Self {
        Self { hashes: Memory::of(hashes), ..self }
    }
}

impl Source {
    /// Watches what it takes from, as far as that is selected. Blocks; must be called within a tokio runtime.
    pub fn watch(&self, news: Arc<News>) -> io::Result<Watch> {
        Watch::start(Arc::clone(&self.root), self.path.clone(), Arc::clone(&self.selection), news)
    }

    /// Which directory it is, on this machine; `None` for a file.
    pub fn identity(&self) -> Option<(u64, u64)> {
        (self.kind == Kind::Directory).then_some((self.top.device, self.top.inode))
    }
}

/// A place to sync into. What exists there decides where a source lands: see `landing`.
#[derive(Debug)]
pub struct Destination {
    pub(super) root: Arc<Root>,
    pub(super) path: RelPath,
    pub(super) is_directory: bool,
    pub(super) stage_at_top: bool,
    pub(super) events: Option<Events>,
    pub(super) selection: Arc<Selection>,
    pub(super) namespaces: Namespaces,
    compares: bool,
    pub(super) hashes: Memory,
    pub(super) backup: Option<RelPath>,
    pub(super) partial_bytes_max: u64,
    pub(super) farewell_time: Duration,
    pub(super) ledger: Option<Arc<dyn Ledger>>,
    pub(super) keeps_top: bool,
    asked: Option<Asked>,
    _guard: Option<Guard>,
}

/// What a source must call its top.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    file: Vec<u8>,
    directory: Vec<u8>,
}

impl Destination {
    /// Checks what is at `path` below `root`. Nothing is made yet. Blocks.
    ///
    /// `is_directory` says that the path was typed with a trailing slash. With `stage_at_top` the staging place is at the top of `root`
    /// (a gateway's), otherwise where the source lands.
    pub fn open(
        root: Arc<Root>,
        path: RelPath,
        is_directory: bool,
        stage_at_top: bool,
    ) -> Result<Self, PlaceError> {
        let mut above = path.clone();
        loop {
            match root.stat(&above) {
                Ok(stat) => {
                    let is_last = above == path;
                    check_way(&above, stat, is_last, is_directory)?;
                }
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(PlaceError::from_io(&above, &err)),
            }
            let Some((parent, _)) = above.split_last() else { break };
            above = parent;
        }
        Ok(Self {
            root,
            path,
            is_directory,
            stage_at_top,
            events: None,
            selection: Arc::default(),
            namespaces: Namespaces::default(),
            compares: false,
            hashes: Memory::default(),
            backup: None,
            partial_bytes_max: limits::PARTIAL_BYTES_DEFAULT,
            farewell_time: limits::REPLY_TIMEOUT,
            ledger: None,
            keeps_top: false,
            asked: None,
            _guard: None,
        })
    }

    /// Tells what is changed, where the options ask for it.
    pub fn telling(mut self, events: Events) -> Self {
        self.events = Some(events);
        self
    }

    /// Enters each file that is safe here, before the source is told so and removes it.
    pub fn accounting(mut self, ledger: Arc<dyn Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Leaves the top's own mode and time as they are: some of a directory's entries are taken, and not the directory.
    pub fn keeping_top(mut self) -> Self {
        self.keeps_top = true;
        self
    }

    /// Does not wait for the source to say goodbye, but for a moment (`limits::FAREWELL_TIME`), unless it removes files: a controller, which
    /// closes the connection then.
    pub fn leaving_first(self) -> Self {
        Self { farewell_time: limits::FAREWELL_TIME, ..self }
    }

    /// Takes extended attributes of these namespaces, where the options ask for them.
    pub fn carrying(mut self, namespaces: Namespaces) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// Sets of modes and writes of zeros what the options ask for.
    pub(super) fn prepared(mut self, preserve: Preserve) -> io::Result<Self> {
        self.root = prepared(self.root, preserve)?;
        Ok(self)
    }

    /// Agrees to compare digests of listing blocks, if there is something where a top of this name lands. To be called once what is
    /// selected is known: what only one side leaves out would be told of neither. Blocks.
    pub fn comparing(mut self, name: &[u8]) -> Self {
        let base = match Name::new(name) {
            _ if name.is_empty() => Ok(self.path.clone()),
            Ok(name) => self.path.join(name),
            Err(err) => Err(err),
        };
        let is_full = |base| self.root.dir(&base).and_then(|dir| dir.has_names()).unwrap_or_default();
        self.compares = self.selection.is_everything() && base.is_ok_and(is_full);
        self
    }

    /// Whether it has agreed to that.
    pub fn compares(&self) -> bool {
        self.compares
    }

    /// Only what is selected takes part: the source is told, and what it leaves out is left alone here.
    pub fn selecting(mut self, selection: Arc<Selection>) -> Self {
        self.selection = selection;
        self
    }

    /// What is selected.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Remembers the hashes of files, and does not read those again that it knows.
    pub fn remembering(self, hashes: Arc<HashStore>) -> Self {
        Self { hashes: Memory::of(hashes), ..self }
    }

    /// Keeps `guard` as long as anything of the sync runs.
    pub fn guarded(mut self, guard: Guard) -> Self {
        self._guard = Some(guard);
        self
    }

    /// Keeps at most so much of what interrupted syncs leave unfinished where this one stages; nothing with 0.
    pub fn keeping_partials(mut self, bytes_max: u64) -> Self {
        self.partial_bytes_max = bytes_max;
        self
    }

    /// Keeps what is replaced or removed in `dir` below the place that was typed.
    pub fn backing_up(mut self, dir: RelPath) -> Self {
        self.backup = Some(dir);
        self
    }

    /// Where old versions are kept.
    pub fn backup(&self) -> Option<&RelPath> {
        self.backup.as_ref()
    }

    /// Takes only what is at `path` of the peer, as it was asked for: its own name, or none where the contents of a directory are
    /// meant. Without this the peer says what lands, and may name anything in the directory where it lands.
    pub fn asking_for(mut self, path: &RelPath, trailing_slash: bool) -> Self {
        let file = path.split_last().map(|(_, name)| name.as_bytes().to_vec()).unwrap_or_default();
        let directory = if trailing_slash { Vec::new() } else { file.clone() };
        self.asked = Some(Asked { file, directory });
        self
    }

    /// Whether a top of this name and type is what was asked for.
    pub(super) fn accepts(&self, name: &[u8], kind: &Kind) -> bool {
        self.asked.as_ref().is_none_or(|asked| match kind {
            Kind::File { .. } => name == asked.file,
            Kind::Directory => name == asked.directory,
            Kind::Symlink { .. } => false,
        })
    }

    /// The directory in which a file called `name` lands, and the name it gets there; see DESIGN §8.
    pub(super) fn exists_as_directory(&self) -> bool {
        matches!(self.root.stat(&self.path), Ok(Stat { entry_type: EntryType::Directory, .. }))
    }

    pub(super) fn staging_parent(&self, base: &Dir) -> io::Result<Dir> {
        let top = self.root.top();
        if self.stage_at_top && top.stat_self()?.device == base.stat_self()?.device {
            return top.try_clone();
        }
        base.try_clone()
    }
}

fn prepared(root: Arc<Root>, Preserve { special_bits, sparse, .. }: Preserve) -> io::Result<Arc<Root>> {
    if special_bits || sparse { Ok(Arc::new(root.keeping(special_bits, sparse)?)) } else { Ok(root) }
}

fn check_way(path: &RelPath, stat: Stat, is_last: bool, is_directory: bool) -> Result<(), PlaceError> {
    match stat.entry_type {
        EntryType::Directory => Ok(()),
        EntryType::Symlink if !is_last || is_directory => {
            Err(PlaceError::new(Status::Denied, path, "is a symbolic link, which is not followed"))
        }
        _ if !is_last || is_directory => Err(PlaceError::new(Status::Conflict, path, "is not a directory")),
        _ => Ok(()),
    }
}

/// Why a sync cannot begin at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {reason}")]
pub struct PlaceError {
    /// What the peer is told.
    pub status: Status,
    /// Below the root.
    pub path: RelPath,
    /// Continues the path: "is not a directory".
    pub reason: String,
}

impl PlaceError {
    fn new(status: Status, path: &RelPath, reason: &str) -> Self {
        Self { status, path: path.clone(), reason: reason.to_owned() }
    }

    /// Puts a failed call into words.
    pub fn from_io(path: &RelPath, err: &io::Error) -> Self {
        use rustix::io::Errno;
        let (status, reason) = match Errno::from_io_error(err) {
            Some(Errno::NOENT) => (Status::NotFound, "does not exist".to_owned()),
            Some(Errno::LOOP) => {
                (Status::Denied, "leads through a symbolic link, which is not followed".to_owned())
            }
            Some(Errno::NOTDIR) => {
                (Status::Conflict, "leads through something that is not a directory".to_owned())
            }
            _ => (Status::Unavailable, format!("cannot be opened: {}", root::describe(err))),
        };
        Self { status, path: path.clone(), reason }
    }

    /// Puts into words why a directory could not be made that was missing.
    pub fn not_made(path: &RelPath, err: &io::Error) -> Self {
        let told = Self::from_io(path, err);
        match told.status {
            Status::NotFound | Status::Unavailable => {
                let reason = format!("cannot be made: {}", root::describe(err));
                Self::new(Status::Unavailable, path, &reason)
            }
            _ => told,
        }
    }

    /// A path that is none.
    pub fn from_path(err: PathError) -> Self {
        Self {
            status: Status::Invalid,
            path: RelPath::root(),
            reason: format!("is not what was asked for: {err}"),
        }
    }
}
