//! A tree as it is found before a change, and access to what is closed to writing in it.
//!
//! Trees of other people hold read-only files and directories. They are opened to their owner for as long as it takes and get their mode back.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::Timespec;
use walkdir::WalkDir;

use crate::workload::{modified, set_modified};

/// Bits that an owner needs to change a file, and to change names in a directory.
const FILE_OPEN: u32 = 0o600;
const DIRECTORY_OPEN: u32 = 0o700;

/// A tree's regular files, and the time of whatever is changed in it.
pub(super) struct Tree {
    pub(super) top: PathBuf,
    /// Sorted by path, component by component.
    pub(super) files: Vec<File>,
    /// One second after the youngest file or directory.
    pub(super) time: Timespec,
}

/// A regular file.
pub(super) struct File {
    /// With the top's path before it.
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Tree {
    pub(super) fn read(top: &Path) -> Result<Self> {
        let mut tree =
            Self { top: top.to_owned(), files: Vec::new(), time: Timespec { tv_sec: 0, tv_nsec: 0 } };
        let mut youngest = (i64::MIN, 0);
        for entry in WalkDir::new(top).sort_by_file_name() {
            let entry = entry.with_context(|| format!("failed to list {}", top.display()))?;
            let metadata = entry.metadata()?;
            if metadata.is_symlink() {
                continue;
            }
            let time = modified(&metadata);
            youngest = youngest.max((time.tv_sec, time.tv_nsec));
            if metadata.is_file() {
                tree.files.push(File { path: entry.into_path(), bytes: metadata.len() });
            }
        }
        tree.time = Timespec { tv_sec: youngest.0 + 1, tv_nsec: youngest.1 };
        Ok(tree)
    }

    /// Gives the file or directory at `path` the time of the change.
    pub(super) fn stamp(&self, path: &Path) -> io::Result<()> {
        set_modified(path, self.time)
    }

    /// Lets `change` write to the file or directory at `path`, and stamps it.
    pub(super) fn change<T>(
        &self,
        path: &Path,
        change: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let metadata = fs::metadata(path)?;
        let mode = metadata.permissions().mode();
        let open = mode | if metadata.is_dir() { DIRECTORY_OPEN } else { FILE_OPEN };
        if mode != open {
            fs::set_permissions(path, Permissions::from_mode(open))?;
        }
        let result = change(path);
        if mode != open {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        self.stamp(path)?;
        result
    }
}
