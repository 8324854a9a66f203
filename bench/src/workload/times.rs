//! Modification times by path: a file need not be opened, so one that is closed to reading and writing can be given its time too.

use std::{io, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};

/// When what `metadata` tells of was last modified.
pub(crate) fn modified(metadata: &std::fs::Metadata) -> Timespec {
    Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() }
}

/// Sets the modification time of the file or directory at `path`, never through a symlink.
pub(crate) fn set_modified(path: &Path, time: Timespec) -> io::Result<()> {
    let times =
        Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
