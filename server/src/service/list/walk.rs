//! A walk through a tree by directory handles: sorted, each directory before what is in it, links never followed.
//!
//! It holds one open directory and the names of those above it, however deep the tree is, and reads files in pieces. What
//! cannot be looked at is told and passed over. All of it blocks.

use std::{io, sync::Arc, vec};

use swarmwire_common::{
    entry::Kind,
    limits,
    path::{Name, RelPath},
    root::{self, Dir, EntryType, Root, Stat},
    wire::list::{ListEntry, ListKind, ListMessage},
};
use tokio::sync::mpsc::Sender;

use crate::hashing::hashed;

/// Entries of one page. With ordinary names the bytes of a page run out first.
const PAGE_ENTRIES_MAX: usize = 500;

/// Bytes of an entry beside its path and target: kind, metadata and hash at their longest.
const ENTRY_BYTES: usize = 80;

/// What is to be walked, looked at once.
#[derive(Debug)]
pub(super) struct Walk {
    root: Arc<Root>,
    base: RelPath,
    top: Stat,
    recursive: bool,
    hash: bool,
}

/// A directory of which some names are still to come.
struct Level {
    /// Relative to the base.
    path: RelPath,
    names: vec::IntoIter<Vec<u8>>,
    /// Open while its own names are looked at; closed while one of its subdirectories is.
    dir: Option<Dir>,
}

/// Nobody listens any more.
struct Abandoned;

impl Walk {
    pub(super) fn open(root: Arc<Root>, base: RelPath, recursive: bool, hash: bool) -> io::Result<Self> {
        let top = root.stat(&base)?;
        if top.entry_type == EntryType::Directory {
            root.dir(&base)?.names()?;
        }
        Ok(Self { root, base, top, recursive, hash })
    }

    /// Sends what is there as pages and failures, until the end or until nobody listens.
    pub(super) fn run(&self, sender: &Sender<ListMessage>) {
        let mut pages = Pages { sender, page: Vec::new(), page_bytes: 0 };
        let walked = match (self.top.entry_type, self.base.split_last()) {
            (EntryType::Directory, _) | (_, None) => self.walk(&mut pages),
            (_, Some((parent, name))) => self.only(&parent, name, &mut pages),
        };
        if walked.and_then(|()| pages.flush()).is_err() {
            tracing::debug!("a listing was not read to its end");
        }
    }

    /// A path that is no directory is one entry under its own name.
    fn only(&self, parent: &RelPath, name: Name<'_>, pages: &mut Pages<'_>) -> Result<(), Abandoned> {
        let own = RelPath::root().join(name).expect("one name is no longer than a path may be");
        match self.root.dir(parent).and_then(|dir| self.entry(&dir, name, &own, pages)) {
            Ok(entry) => pages.push(entry),
            Err(err) => pages.fail(&own, &err),
        }
    }

    fn walk(&self, pages: &mut Pages<'_>) -> Result<(), Abandoned> {
        let mut levels = Vec::new();
        self.enter(RelPath::root(), &mut levels, pages)?;
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let name = Name::new(&name).expect("listed as a name");
            let path = match level.path.join(name) {
                Ok(path) => path,
                Err(err) => {
                    pages.fail(&level.path.clone(), &io::Error::other(err))?;
                    continue;
                }
            };
            match self.look(level, name, &path, pages) {
                Ok(entry) => {
                    let is_directory = entry.kind == ListKind::Plain(Kind::Directory);
                    pages.push(entry)?;
                    if is_directory && self.recursive {
                        level.dir = None;
                        self.enter(path, &mut levels, pages)?;
                    }
                }
                // Removed since its name was read.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => pages.fail(&path, &err)?,
            }
        }
        Ok(())
    }

    fn enter(&self, path: RelPath, levels: &mut Vec<Level>, pages: &mut Pages<'_>) -> Result<(), Abandoned> {
        let opened = self.dir(&path).and_then(|dir| Ok((dir.names()?, dir)));
        match opened {
            Ok((names, dir)) => levels.push(Level { path, names: names.into_iter(), dir: Some(dir) }),
            Err(err) => pages.fail(&path, &err)?,
        }
        Ok(())
    }

    fn look(
        &self,
        level: &mut Level,
        name: Name<'_>,
        path: &RelPath,
        pages: &Pages<'_>,
    ) -> io::Result<ListEntry> {
        if level.dir.is_none() {
            level.dir = Some(self.dir(&level.path)?);
        }
        let dir = level.dir.as_ref().expect("it was opened just now");
        self.entry(dir, name, path, pages)
    }

    fn dir(&self, path: &RelPath) -> io::Result<Dir> {
        let full = path.components().try_fold(self.base.clone(), |full, name| full.join(name));
        self.root.dir(&full.map_err(io::Error::other)?)
    }

    fn entry(&self, dir: &Dir, name: Name<'_>, path: &RelPath, pages: &Pages<'_>) -> io::Result<ListEntry> {
        let mut stat = dir.stat(name)?;
        let mut hash = None;
        if self.hash && stat.entry_type == EntryType::File {
            (stat, hash) = hashed(dir, name, || pages.sender.is_closed())?;
        }
        let kind = match stat.entry_type {
            EntryType::File => ListKind::Plain(Kind::File { size: stat.size }),
            EntryType::Directory => ListKind::Plain(Kind::Directory),
            EntryType::Symlink => ListKind::Plain(Kind::Symlink { target: dir.read_link(name)? }),
            EntryType::Special(kind) => ListKind::Special(kind),
        };
        Ok(ListEntry { path: path.as_bytes().to_vec(), kind, metadata: stat.metadata, hash })
    }
}

/// Entries on their way to the peer.
struct Pages<'a> {
    sender: &'a Sender<ListMessage>,
    page: Vec<ListEntry>,
    page_bytes: usize,
}

impl Pages<'_> {
    fn push(&mut self, entry: ListEntry) -> Result<(), Abandoned> {
        let target = match &entry.kind {
            ListKind::Plain(Kind::Symlink { target }) => target.len(),
            _ => 0,
        };
        self.page_bytes += ENTRY_BYTES + entry.path.len() + target;
        self.page.push(entry);
        if self.page.len() >= PAGE_ENTRIES_MAX || self.page_bytes >= limits::LISTING_BLOCK_BYTES_TARGET {
            self.flush()?;
        }
        Ok(())
    }

    fn fail(&mut self, path: &RelPath, err: &io::Error) -> Result<(), Abandoned> {
        self.flush()?;
        self.send(ListMessage::Failed { path: path.as_bytes().to_vec(), reason: root::describe(err) })
    }

    fn flush(&mut self) -> Result<(), Abandoned> {
        self.page_bytes = 0;
        match std::mem::take(&mut self.page) {
            page if page.is_empty() => Ok(()),
            page => self.send(ListMessage::Page(page)),
        }
    }

    fn send(&self, message: ListMessage) -> Result<(), Abandoned> {
        self.sender.blocking_send(message).map_err(|_| Abandoned)
    }
}
