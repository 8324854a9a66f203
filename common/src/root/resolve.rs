//! How a relative path becomes a directory handle without leaving the tree.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::path::RelPath;

/// Flags of every directory handle: readable, so that it can be listed, synced and worked relative to.
pub(super) const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The way this kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// One `openat2` call (Linux 5.6) that the kernel keeps beneath the root.
    Kernel,
    /// One `openat` per component, none of which may be a link. `RelPath` has no `..`, so this cannot climb either.
    Stepwise,
}

impl Resolver {
    /// Finds out whether `openat2` works here: old kernels lack it and some sandboxes forbid it.
    pub(super) fn detect(top: &impl AsFd) -> Self {
        match openat2(top.as_fd(), ".".as_ref()) {
            Err(Errno::NOSYS | Errno::PERM) => Self::Stepwise,
            _ => Self::Kernel,
        }
    }

    pub(super) fn open_dir(self, top: BorrowedFd<'_>, path: &RelPath) -> io::Result<OwnedFd> {
        match self {
            Self::Kernel => kernel(top, path),
            Self::Stepwise => stepwise(top, path),
        }
    }
}

/// Resolves again when a rename elsewhere made the kernel give up with `EAGAIN` (openat2(2)).
fn kernel(top: BorrowedFd<'_>, path: &RelPath) -> io::Result<OwnedFd> {
    // Chosen: a rename storm that hits sixteen resolutions in a row is an attack, and ends as an error.
    for _ in 0..16 {
        match openat2(top, path.as_os_str()) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::AGAIN.into())
}

fn openat2(top: BorrowedFd<'_>, path: &std::ffi::OsStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(top, path, DIR_FLAGS, Mode::empty(), resolve)
}

fn stepwise(top: BorrowedFd<'_>, path: &RelPath) -> io::Result<OwnedFd> {
    let mut dir: Option<OwnedFd> = None;
    for name in path.components() {
        let parent = dir.as_ref().map_or(top, |fd| fd.as_fd());
        dir = Some(rustix::fs::openat(parent, name.as_os_str(), DIR_FLAGS, Mode::empty())?);
    }
    dir.map_or_else(|| Ok(top.try_clone_to_owned()?), Ok)
}
