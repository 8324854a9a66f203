//! A real tree as a workload: counted, and copied with modes, times and symlinks. It is only read.
//!
//! Devices, FIFOs and sockets are left out, as a sync leaves them out; hard links become files of their own; owners are not kept.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use super::{
    PAGE_BYTES,
    times::{modified, set_modified},
    whole_pages,
};

/// The most bytes that a copy of `tree` takes on a file system.
pub(super) fn bytes_max(tree: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in walk(tree) {
        let entry = entry.with_context(|| unreadable(tree))?;
        bytes += match entry.file_type() {
            kind if kind.is_file() => whole_pages(entry.metadata()?.len()),
            _ => PAGE_BYTES,
        };
    }
    Ok(bytes)
}

/// Copies the contents of `tree` into the empty directory `top`.
pub(super) fn copy(tree: &Path, top: &Path) -> Result<()> {
    if top.canonicalize()?.starts_with(tree.canonicalize().with_context(|| unreadable(tree))?) {
        bail!("{} holds the place that it would be copied to; choose another directory", tree.display());
    }
    let mut directories = Vec::new();
    for entry in walk(tree) {
        let entry = entry.with_context(|| unreadable(tree))?;
        let from = entry.path();
        let to = top.join(from.strip_prefix(tree).expect("a walk stays below its top"));
        copy_entry(&entry, &to).with_context(|| format!("failed to copy {}", from.display()))?;
        if entry.file_type().is_dir() {
            directories.push((from.to_owned(), to));
        }
    }
    // A directory may be closed to writing, and making an entry changes its time: so they are settled last, the deepest first.
    for (from, to) in directories.iter().rev() {
        let metadata = fs::metadata(from).with_context(|| unreadable(from))?;
        fs::set_permissions(to, metadata.permissions())?;
        set_modified(to, modified(&metadata))?;
    }
    Ok(())
}

fn copy_entry(entry: &walkdir::DirEntry, to: &Path) -> Result<()> {
    let (from, kind) = (entry.path(), entry.file_type());
    if kind.is_file() {
        // It takes the mode along.
        fs::copy(from, to)?;
        set_modified(to, modified(&entry.metadata()?))?;
    } else if kind.is_dir() && entry.depth() > 0 {
        fs::create_dir(to)?;
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    }
    Ok(())
}

fn walk(tree: &Path) -> walkdir::IntoIter {
    WalkDir::new(tree).follow_root_links(true).into_iter()
}

fn unreadable(tree: &Path) -> String {
    format!("failed to read {}", tree.display())
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::verify::Snapshot;

    /// A file that is closed to writing in a directory that is too, a link, and an empty directory.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let closed = tree.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::create_dir(tree.path().join("empty")).unwrap();
        fs::write(closed.join("file"), b"content").unwrap();
        symlink("closed/file", tree.path().join("link")).unwrap();
        set_mode(&closed.join("file"), 0o444);
        set_mode(&closed, 0o555);
        tree
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_copy_is_the_same_tree_and_the_original_is_left_as_it_was() {
        let (tree, top) = (tree(), tempfile::tempdir().unwrap());
        let before = Snapshot::take(tree.path()).unwrap();
        copy(tree.path(), top.path()).unwrap();
        assert_eq!(before.differences(&Snapshot::take(top.path()).unwrap()), Vec::<String>::new());
        assert_eq!(before.differences(&Snapshot::take(tree.path()).unwrap()), Vec::<String>::new());
        assert_eq!(bytes_max(tree.path()).unwrap(), 5 * PAGE_BYTES);
        // So that an ordinary user can remove them.
        [tree, top].iter().for_each(|tree| set_mode(&tree.path().join("closed"), 0o755));
    }

    #[test]
    fn a_tree_is_not_copied_into_itself_and_a_missing_one_is_named() {
        let tree = tempfile::tempdir().unwrap();
        let inside = tree.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let error = copy(tree.path(), &inside).unwrap_err();
        assert!(error.to_string().contains("choose another directory"), "{error:#}");
        let missing = tree.path().join("missing");
        for error in [copy(&missing, &inside).unwrap_err(), bytes_max(&missing).unwrap_err()] {
            assert_eq!(error.to_string(), format!("failed to read {}", missing.display()));
        }
    }
}
