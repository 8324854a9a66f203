//! Whether two trees are the same: names, types, bytes (by BLAKE3), modification times, permission bits and link targets.
//!
//! It looks at trees with the standard library alone and shares no code with the engine that it checks. What a sync leaves out by
//! contract (devices, FIFOs and sockets; owners; times of symlinks; setuid, setgid and sticky bits) is left out here too. Two threads
//! read, so that checking a large tree takes less than the run that made it. Memory: a path and about 80 bytes for each entry.

mod comparison;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use rustix::fs::Timespec;

use crate::workload::set_modified;

pub use comparison::{Comparison, Lost};

/// Permission bits that a sync keeps.
const MODE_BITS: u32 = 0o777;

/// A tree as it stood at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Sorted by path, component by component, so that what is in a directory follows it.
    entries: Vec<(Box<Path>, Entry)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    File { bytes: u64, hash: blake3::Hash, attributes: Attributes },
    Directory { attributes: Attributes },
    Symlink { target: Box<Path> },
}

#[derive(Debug, PartialEq, Eq)]
struct Attributes {
    mode: u32,
    /// Seconds since 1970, and nanoseconds.
    modified: (i64, i64),
}

impl Snapshot {
    /// Reads the whole tree below `top`, which itself is the entry with the empty path.
    pub fn take(top: &Path) -> Result<Self> {
        let paths = list(top)?;
        let next = AtomicUsize::new(0);
        let read = || read_some(top, &paths, &next);
        let (some, others) = thread::scope(|scope| {
            let other = scope.spawn(read);
            (read(), other.join().expect("the other half does not panic"))
        });
        let mut read = some?;
        read.extend(others?);
        read.sort_unstable_by_key(|&(index, _)| index);

        let mut read = read.into_iter().peekable();
        let with_entry = |(index, path)| read.next_if(|&(of, _)| of == index).map(|(_, entry)| (path, entry));
        Ok(Self { entries: paths.into_iter().enumerate().filter_map(with_entry).collect() })
    }

    /// Regular files.
    pub fn files(&self) -> u64 {
        self.entries().filter(|entry| matches!(entry, Entry::File { .. })).count() as u64
    }

    /// Directories, the top included.
    pub fn directories(&self) -> u64 {
        self.entries().filter(|entry| matches!(entry, Entry::Directory { .. })).count() as u64
    }

    /// Symbolic links.
    pub fn symlinks(&self) -> u64 {
        self.entries().filter(|entry| matches!(entry, Entry::Symlink { .. })).count() as u64
    }

    /// Bytes of the regular files.
    pub fn bytes(&self) -> u64 {
        let sizes = self.entries().map(|entry| match entry {
            Entry::File { bytes, .. } => *bytes,
            Entry::Directory { .. } | Entry::Symlink { .. } => 0,
        });
        sizes.sum()
    }

    /// BLAKE3 over all that is compared, entry by entry in the order of their paths: two trees have the same one if they are the same.
    pub fn manifest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (path, entry) in &self.entries {
            write_manifest(&mut hasher, path, entry).expect("a hasher takes every write");
        }
        hasher.finalize()
    }

    /// Removes from the tree in `top` every name that was not there, and gives the directories their times back. Contents are not looked at.
    pub fn remove_strangers(&self, top: &Path) -> Result<()> {
        for path in list(top)?.iter().rev() {
            let place = top.join(path);
            match self.entries.binary_search_by(|(own, _)| own.cmp(path)) {
                Ok(found) => {
                    if let Entry::Directory { attributes } = &self.entries[found].1 {
                        let (tv_sec, tv_nsec) = attributes.modified;
                        set_modified(&place, Timespec { tv_sec, tv_nsec })?;
                    }
                }
                Err(_) if place.symlink_metadata()?.is_dir() => fs::remove_dir(&place)?,
                Err(_) => fs::remove_file(&place)?,
            }
        }
        Ok(())
    }

    /// What `copy` has otherwise, a sentence each; empty if it is the same tree.
    pub fn differences(&self, copy: &Self) -> Vec<String> {
        let difference = |(path, original, found): (&Path, Option<&Entry>, Option<&Entry>)| {
            // Debug escapes what a name could do to a terminal.
            Some(match (original, found) {
                (Some(original), Some(found)) => {
                    format!("{path:?} has another {}", original.difference(found)?)
                }
                (Some(_), None) => format!("{path:?} is missing"),
                (None, _) => format!("{path:?} is there and should not be"),
            })
        };
        self.beside(copy).filter_map(difference).collect()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Every path of the two trees once, in order, with what stands there in this one and in `other`.
    fn beside<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a Path, Option<&'a Entry>, Option<&'a Entry>)> {
        let (mut left, mut right) = (self.entries.iter().peekable(), other.entries.iter().peekable());
        std::iter::from_fn(move || {
            let path = match (left.peek(), right.peek()) {
                (Some((left, _)), Some((right, _))) => left.min(right),
                (Some((path, _)), None) | (None, Some((path, _))) => path,
                (None, None) => return None,
            };
            let mine = left.next_if(|(found, _)| found == path).map(|(_, entry)| entry);
            let theirs = right.next_if(|(found, _)| found == path).map(|(_, entry)| entry);
            Some((&**path, mine, theirs))
        })
    }
}

/// The paths below `top` in the order of [`Snapshot::entries`], the empty one first.
fn list(top: &Path) -> Result<Vec<Box<Path>>> {
    let found = WalkDir::new(top).follow_links(false).sort_by_file_name().into_iter();
    found
        .map(|found| {
            let found = found.with_context(|| format!("failed to list {}", top.display()))?;
            let path = found.path().strip_prefix(top).expect("a walk stays below its top");
            Ok(path.into())
        })
        .collect()
}

/// Reads entries, each time the `next` one that nobody has read, with its index; without those of types that are not synced.
fn read_some(top: &Path, paths: &[Box<Path>], next: &AtomicUsize) -> Result<Vec<(usize, Entry)>> {
    let mut read = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(path) = paths.get(index) else { return Ok(read) };
        // Joining the empty path would append a slash, and follow a top that is a link.
        let path = if path.as_os_str().is_empty() { top.to_owned() } else { top.join(path) };
        let entry = Entry::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        read.extend(entry.map(|entry| (index, entry)));
    }
}

/// One entry of a manifest. No path and no target has a NUL, so no two trees are written alike.
fn write_manifest(out: &mut impl Write, path: &Path, entry: &Entry) -> io::Result<()> {
    out.write_all(path.as_os_str().as_bytes())?;
    match entry {
        Entry::File { bytes, hash, attributes } => {
            write!(out, "\0file {bytes} {hash} ")?;
            attributes.write(out)
        }
        Entry::Directory { attributes } => {
            write!(out, "\0directory ")?;
            attributes.write(out)
        }
        Entry::Symlink { target } => {
            write!(out, "\0symlink ")?;
            out.write_all(target.as_os_str().as_bytes())?;
            out.write_all(b"\0")
        }
    }
}

impl Entry {
    /// `None` for the types that are not synced.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let metadata = path.symlink_metadata()?;
        let attributes = Attributes {
            mode: metadata.mode() & MODE_BITS,
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        Ok(if metadata.is_file() {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(File::open(path)?)?;
            Some(Self::File { bytes: hasher.count(), hash: hasher.finalize(), attributes })
        } else if metadata.is_dir() {
            Some(Self::Directory { attributes })
        } else if metadata.is_symlink() {
            Some(Self::Symlink { target: path.read_link()?.into() })
        } else {
            None
        })
    }

    /// The first thing in which `other` differs.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        match (self, other) {
            (
                Self::File { bytes, hash, attributes },
                Self::File { bytes: size, hash: digest, attributes: other },
            ) => {
                if bytes != size {
                    return Some("size");
                }
                if hash != digest {
                    return Some("content");
                }
                attributes.difference(other)
            }
            (Self::Directory { attributes }, Self::Directory { attributes: other }) => {
                attributes.difference(other)
            }
            (Self::Symlink { target }, Self::Symlink { target: other }) => {
                (target != other).then_some("target")
            }
            _ => Some("type"),
        }
    }
}

impl Attributes {
    fn difference(&self, other: &Self) -> Option<&'static str> {
        if self.mode != other.mode {
            return Some("mode");
        }
        (self.modified != other.modified).then_some("modification time")
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (seconds, nanoseconds) = self.modified;
        write!(out, "{:o} {seconds}.{nanoseconds:09}\0", self.mode)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
        time::{Duration, SystemTime},
    };

    use super::*;

    fn tree() -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("d")).unwrap();
        fs::write(top.path().join("d/file"), b"content").unwrap();
        symlink("d/file", top.path().join("link")).unwrap();
        for path in ["d/file", "d", "."] {
            settle(&top.path().join(path), 5);
        }
        top
    }

    fn settle(path: &Path, nanoseconds: u64) {
        File::open(path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))
            .unwrap();
    }

    /// The tree is made twice, `change` is done to the second one, and its directories get their times back.
    fn differences_after(change: impl Fn(&Path)) -> Vec<String> {
        let (original, copy) = (tree(), tree());
        change(copy.path());
        settle(copy.path(), 5);
        Snapshot::take(original.path()).unwrap().differences(&Snapshot::take(copy.path()).unwrap())
    }

    #[test]
    fn equal_trees_have_no_differences() {
        assert_eq!(differences_after(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 8] = [
            ("\"d/file\" has another content", |top| {
                fs::write(top.join("d/file"), b"CONTENT").unwrap();
                settle(&top.join("d/file"), 5);
            }),
            ("\"d/file\" has another size", |top| fs::write(top.join("d/file"), b"longer content").unwrap()),
            ("\"d/file\" has another modification time", |top| settle(&top.join("d/file"), 6)),
            ("\"d/file\" has another mode", |top| {
                fs::set_permissions(top.join("d/file"), Permissions::from_mode(0o700)).unwrap();
            }),
            ("\"d\" has another modification time", |top| settle(&top.join("d"), 6)),
            ("\"link\" has another target", |top| {
                fs::remove_file(top.join("link")).unwrap();
                symlink("elsewhere", top.join("link")).unwrap();
            }),
            ("\"link\" has another type", |top| {
                fs::remove_file(top.join("link")).unwrap();
                fs::write(top.join("link"), b"content").unwrap();
            }),
            ("\"extra\" is there and should not be", |top| fs::write(top.join("extra"), b"").unwrap()),
        ];
        for (expected, change) in changes {
            assert_eq!(differences_after(change), [expected]);
        }
        let missing = differences_after(|top| {
            fs::remove_file(top.join("d/file")).unwrap();
            settle(&top.join("d"), 5);
        });
        assert_eq!(missing, ["\"d/file\" is missing"]);
    }
}
