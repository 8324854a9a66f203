//! How a relative path becomes a directory handle without leaving the tree.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags},
    io::{Errno, retry_on_intr},
};

use crate::path::{Name, RelPath};

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
    // `NO_SYMLINKS` covers the last component too and says `ELOOP` there; `NOFOLLOW` would make it `ENOTDIR`.
    rustix::fs::openat2(top, path, DIR_FLAGS.difference(OFlags::NOFOLLOW), Mode::empty(), resolve)
}

fn stepwise(top: BorrowedFd<'_>, path: &RelPath) -> io::Result<OwnedFd> {
    let mut dir: Option<OwnedFd> = None;
    for name in path.components() {
        dir = Some(open_child(dir.as_ref().map_or(top, |fd| fd.as_fd()), name)?);
    }
    dir.map_or_else(|| top.try_clone_to_owned(), Ok)
}

/// The subdirectory `name`. A link there is `ELOOP`, as with `openat2`; the call itself says `ENOTDIR`, as for a file.
pub(super) fn open_child(parent: BorrowedFd<'_>, name: Name<'_>) -> io::Result<OwnedFd> {
    match retry_on_intr(|| rustix::fs::openat(parent, name.as_os_str(), DIR_FLAGS, Mode::empty())) {
        Err(Errno::NOTDIR) if is_link(parent, name) => Err(Errno::LOOP.into()),
        other => Ok(other?),
    }
}

/// As [`open_child`], but `EXDEV` where another file system, or another part of the same, is mounted.
pub(super) fn open_child_here(parent: BorrowedFd<'_>, name: Name<'_>) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = DIR_FLAGS.difference(OFlags::NOFOLLOW);
    match retry_on_intr(|| rustix::fs::openat2(parent, name.as_os_str(), flags, Mode::empty(), resolve)) {
        Err(Errno::NOSYS | Errno::PERM) => open_child_same_device(parent, name),
        other => Ok(other?),
    }
}

/// The same where the kernel lacks `openat2`; a part of the same file system that is mounted again is not noticed.
pub(super) fn open_child_same_device(parent: BorrowedFd<'_>, name: Name<'_>) -> io::Result<OwnedFd> {
    let child = open_child(parent, name)?;
    if rustix::fs::fstat(&child)?.st_dev == rustix::fs::fstat(parent)?.st_dev {
        return Ok(child);
    }
    Err(Errno::XDEV.into())
}

fn is_link(parent: BorrowedFd<'_>, name: Name<'_>) -> bool {
    rustix::fs::statat(parent, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
