//! Whether two trees are the same: names, types, bytes (by BLAKE3), modification times, permission bits and link targets.
//!
//! It looks at trees with the standard library alone and shares no code with the engine that it checks. What a sync leaves out by
//! contract (devices, FIFOs and sockets; owners; times of symlinks; setuid, setgid and sticky bits) is left out here too.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use walkdir::WalkDir;

/// Permission bits that a sync keeps.
const MODE_BITS: u32 = 0o777;

/// A tree as it stood at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    File { bytes: u64, hash: blake3::Hash, attributes: Attributes },
    Directory { attributes: Attributes },
    Symlink { target: PathBuf },
}

#[derive(Debug, PartialEq, Eq)]
struct Attributes {
    mode: u32,
    modified: (i64, i64),
}

impl Snapshot {
    /// Reads the whole tree below `top`, which itself is the entry with the empty path.
    pub(crate) fn take(top: &Path) -> Result<Self> {
        let mut entries = BTreeMap::new();
        for found in WalkDir::new(top).follow_links(false) {
            let found = found.with_context(|| format!("failed to list {}", top.display()))?;
            let entry =
                Entry::read(&found).with_context(|| format!("failed to read {}", found.path().display()))?;
            let path = found.path().strip_prefix(top).expect("a walk stays below its top");
            if let Some(entry) = entry {
                entries.insert(path.to_owned(), entry);
            }
        }
        Ok(Self { entries })
    }

    /// Regular files.
    pub(crate) fn files(&self) -> u64 {
        self.entries.values().filter(|entry| matches!(entry, Entry::File { .. })).count() as u64
    }

    /// Directories, the top included.
    pub(crate) fn directories(&self) -> u64 {
        self.entries.values().filter(|entry| matches!(entry, Entry::Directory { .. })).count() as u64
    }

    /// Symbolic links.
    pub(crate) fn symlinks(&self) -> u64 {
        self.entries.values().filter(|entry| matches!(entry, Entry::Symlink { .. })).count() as u64
    }

    /// Bytes of the regular files.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| match entry {
                Entry::File { bytes, .. } => *bytes,
                Entry::Directory { .. } | Entry::Symlink { .. } => 0,
            })
            .sum()
    }

    /// What `copy` has otherwise, a sentence each; empty if it is the same tree.
    pub(crate) fn differences(&self, copy: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for (path, original) in &self.entries {
            // Debug escapes what a name could do to a terminal.
            match copy.entries.get(path) {
                None => differences.push(format!("{path:?} is missing")),
                Some(found) => {
                    differences.extend(
                        original.difference(found).map(|what| format!("{path:?} has another {what}")),
                    );
                }
            }
        }
        let extra = copy.entries.keys().filter(|path| !self.entries.contains_key(*path));
        differences.extend(extra.map(|path| format!("{path:?} is there and should not be")));
        differences
    }
}

impl Entry {
    /// `None` for the types that are not synced.
    fn read(found: &walkdir::DirEntry) -> Result<Option<Self>> {
        let metadata = found.metadata()?;
        let attributes = Attributes {
            mode: metadata.mode() & MODE_BITS,
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        Ok(if metadata.is_file() {
            let mut hasher = blake3::Hasher::new();
            let bytes = std::io::copy(&mut File::open(found.path())?, &mut hasher)?;
            Some(Self::File { bytes, hash: hasher.finalize(), attributes })
        } else if metadata.is_dir() {
            Some(Self::Directory { attributes })
        } else if metadata.is_symlink() {
            Some(Self::Symlink { target: std::fs::read_link(found.path())? })
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
