//! The only way to the disk: a directory handle that nothing can escape.
//!
//! A [`Root`] is opened once from a path that the operator chose, which may itself be or contain symbolic links. Everything below
//! it is reached by a validated `RelPath` through `openat2` (beneath, no symbolic links, no magic links), or, where the kernel
//! lacks that call, component by component without following links. What comes out is a [`Dir`], and all work on entries takes a
//! `Dir` and one `Name`, so a path that somebody swaps for a link between two calls leads nowhere.
//!
//! All calls block; they belong on blocking threads. Calls that change the disk pass a [`gate::Gate`] first, through which tests
//! watch their order and make any of them fail. No policy here: who may write is `server::grants`, what to write is `sync`.

pub mod attributes;
pub mod descriptors;
pub mod dir;
pub mod follow;
pub mod gate;
mod holes;
mod identity;
mod manner;
mod resolve;
mod space;
pub mod staging;
mod writers;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags};

pub use dir::{Dir, EntryType, File, Stat};
pub use follow::FollowError;
use gate::Gate;
use manner::Manner;
use resolve::Resolver;
pub use space::Space;

use crate::path::{Name, RelPath};

/// An open directory tree.
#[derive(Debug)]
pub struct Root {
    top: Dir,
    path: PathBuf,
    resolver: Resolver,
}

impl Root {
    /// Opens the directory at `path`, following links in it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_gated(path, None)
    }

    /// As [`Self::open`], with a gate before every call that changes the disk.
    pub fn open_gated(path: &Path, gate: Option<Arc<dyn Gate>>) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolver = Resolver::detect(&fd);
        Ok(Self { top: Dir::new(fd, Manner { gate, ..Manner::default() }), path: path.to_owned(), resolver })
    }

    /// The same directory, where setuid, setgid and sticky bits are seen and set if `special_bits`, and where holes are not
    /// read, and zeros are left out of what is written, if `sparse`.
    pub fn keeping(&self, special_bits: bool, sparse: bool) -> io::Result<Self> {
        let manner = Manner { special_bits, sparse, ..self.top.manner() };
        let fd = self.top.fd().try_clone_to_owned()?;
        Ok(Self { top: Dir::new(fd, manner), path: self.path.clone(), resolver: self.resolver })
    }

    /// The directory at `path`. Fails with `ELOOP` where a component is a link, with `ENOTDIR` where one is something else.
    pub fn dir(&self, path: &RelPath) -> io::Result<Dir> {
        if path.is_root() {
            return self.top.try_clone();
        }
        Ok(Dir::new(self.resolver.open_dir(self.top.fd(), path)?, self.top.manner()))
    }

    /// What is at `path`, without following a link there.
    pub fn stat(&self, path: &RelPath) -> io::Result<Stat> {
        match path.split_last() {
            None => self.top.stat_self(),
            Some((parent, name)) => self.dir(&parent)?.stat(name),
        }
    }

    /// The directory at `path`, made with its parents where they are missing (mode `0o777` less the umask).
    pub fn create_dir_all(&self, path: &RelPath) -> io::Result<Dir> {
        let mut dir = self.top.try_clone()?;
        for name in path.components() {
            dir = match dir.open_dir(name) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {
                    create_or_exists(&dir, name)?;
                    dir.open_dir(name)?
                }
                other => other?,
            };
        }
        Ok(dir)
    }

    /// The top directory itself.
    pub fn top(&self) -> &Dir {
        &self.top
    }

    /// The top directory itself, by a handle that nobody else has.
    pub fn into_top(self) -> Dir {
        self.top
    }

    /// The path that the operator gave, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same tree without `openat2`, as on kernels before 5.6; for tests of that road.
    pub fn without_openat2(mut self) -> Self {
        self.resolver = Resolver::Stepwise;
        self
    }
}

fn create_or_exists(dir: &Dir, name: Name<'_>) -> io::Result<()> {
    match dir.create_dir(name, 0o777) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Says why a call failed, without the number that `io::Error` appends, and adds what to do where that is known.
pub fn describe(err: &io::Error) -> String {
    use rustix::io::Errno;
    match Errno::from_io_error(err) {
        Some(Errno::LOOP) => "a symbolic link is in the way and is not followed".to_owned(),
        Some(Errno::XDEV) => "it lies on another file system than the staging place".to_owned(),
        _ => {
            let text = err.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            let mut chars = text.chars();
            chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests;
