//! What a copy has otherwise than its original, by how grave it is: wrong, lost on the way, or too much.
//!
//! Programs that move trees promise different things. One that does not carry modes or links has still moved the files, and a measurement
//! of it counts, if what it leaves out is said beside it. Content that differs is never excused.

use std::{collections::BTreeSet, fmt, path::Path};

use super::{Attributes, Entry, Snapshot};

/// The differences of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What is missing or has another type, size, content or link target, a sentence each.
    pub wrong: Vec<String>,
    /// Attributes and kinds of entries that were not carried over.
    pub lost: BTreeSet<Lost>,
    /// Paths that are there and should not be, escaped.
    pub extra: Vec<String>,
}

/// What a program may leave behind without losing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// Permission bits of files or directories.
    Modes,
    /// Modification times of files.
    FileTimes,
    /// Modification times of directories.
    DirectoryTimes,
    /// Parts of a second of times that are right to the second.
    Subseconds,
    /// Symbolic links: missing, or replaced by what they lead to.
    Links,
    /// Directories in which there are no files.
    EmptyDirectories,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modes => "modes",
            Self::FileTimes => "file times",
            Self::DirectoryTimes => "directory times",
            Self::Subseconds => "parts of seconds",
            Self::Links => "links",
            Self::EmptyDirectories => "empty directories",
        })
    }
}

impl Snapshot {
    /// Tells the differences of `copy` apart.
    pub fn compare(&self, copy: &Self) -> Comparison {
        let mut comparison = Comparison::default();
        let mut followed = None;
        for (path, original, found) in self.beside(copy) {
            match (original, found) {
                (Some(Entry::Symlink { .. }), found) if !matches!(found, Some(Entry::Symlink { .. })) => {
                    comparison.lost.insert(Lost::Links);
                    followed = Some(path);
                }
                (Some(original), Some(found)) => comparison.both(path, original, found),
                (Some(Entry::Directory { .. }), None) if !self.has_files_below(path) => {
                    comparison.lost.insert(Lost::EmptyDirectories);
                }
                (Some(_), None) => comparison.wrong.push(format!("{path:?} is missing")),
                // A link to a directory that was followed brings along what is in that directory.
                (None, _) if followed.is_some_and(|link| path.starts_with(link)) => {}
                (None, _) => comparison.extra.push(format!("{path:?}")),
            }
        }
        comparison
    }

    fn has_files_below(&self, directory: &Path) -> bool {
        let first = self.entries.partition_point(|(path, _)| **path <= *directory);
        let mut below = self.entries[first..].iter().take_while(|(path, _)| path.starts_with(directory));
        below.any(|(_, entry)| matches!(entry, Entry::File { .. }))
    }
}

impl Comparison {
    /// Compares what is in both trees.
    fn both(&mut self, path: &Path, original: &Entry, found: &Entry) {
        match (original, found) {
            (
                Entry::File { bytes, hash, attributes },
                Entry::File { bytes: size, hash: digest, attributes: other },
            ) if bytes == size && hash == digest => self.attributes(attributes, other, Lost::FileTimes),
            (Entry::Directory { attributes }, Entry::Directory { attributes: other }) => {
                self.attributes(attributes, other, Lost::DirectoryTimes);
            }
            _ => {
                let difference = original.difference(found);
                self.wrong.extend(difference.map(|what| format!("{path:?} has another {what}")));
            }
        }
    }

    fn attributes(&mut self, original: &Attributes, found: &Attributes, times: Lost) {
        if original.mode != found.mode {
            self.lost.insert(Lost::Modes);
        }
        if original.modified.0 != found.modified.0 {
            self.lost.insert(times);
        } else if original.modified.1 != found.modified.1 {
            self.lost.insert(Lost::Subseconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: (i64, i64) = (100, 5);
    const DIRECTORY: (i64, i64) = (200, 0);

    fn file(content: &str, mode: u32, modified: (i64, i64)) -> Entry {
        let attributes = Attributes { mode, modified };
        Entry::File { bytes: content.len() as u64, hash: blake3::hash(content.as_bytes()), attributes }
    }

    fn directory(mode: u32, modified: (i64, i64)) -> Entry {
        Entry::Directory { attributes: Attributes { mode, modified } }
    }

    fn link(target: &str) -> Entry {
        Entry::Symlink { target: Path::new(target).into() }
    }

    fn snapshot(entries: Vec<(&str, Entry)>) -> Snapshot {
        let mut entries: Vec<(Box<Path>, Entry)> =
            entries.into_iter().map(|(path, entry)| (Path::new(path).into(), entry)).collect();
        entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Snapshot { entries }
    }

    /// The comparison of a small tree with a copy in which the entry at `path` is `found`.
    fn with(path: &str, found: Option<Entry>) -> Comparison {
        let tree = || {
            vec![
                ("", directory(0o755, DIRECTORY)),
                ("a", directory(0o755, DIRECTORY)),
                ("a/file", file("content", 0o644, FILE)),
                ("a-link", link("a/file")),
                ("empty", directory(0o755, DIRECTORY)),
                ("empty/empty", directory(0o755, DIRECTORY)),
            ]
        };
        let mut copy = tree();
        copy.retain(|(name, _)| *name != path);
        copy.extend(found.map(|entry| (path, entry)));
        snapshot(tree()).compare(&snapshot(copy))
    }

    #[test]
    fn what_is_not_carried_over_is_lost_and_not_wrong() {
        for (path, found, lost) in [
            ("a/file", Some(file("content", 0o600, FILE)), Lost::Modes),
            ("a/file", Some(file("content", 0o644, (101, 5))), Lost::FileTimes),
            ("a/file", Some(file("content", 0o644, (100, 0))), Lost::Subseconds),
            ("a", Some(directory(0o755, (300, 0))), Lost::DirectoryTimes),
            ("", Some(directory(0o700, DIRECTORY)), Lost::Modes),
            ("a-link", None, Lost::Links),
            ("a-link", Some(file("content", 0o644, FILE)), Lost::Links),
            ("empty/empty", None, Lost::EmptyDirectories),
        ] {
            let expected = Comparison { lost: BTreeSet::from([lost]), ..Comparison::default() };
            assert_eq!(with(path, found), expected, "{path} {lost}");
        }
    }

    #[test]
    fn content_and_types_and_targets_are_never_excused() {
        for (path, found, sentence) in [
            ("a/file", None, "\"a/file\" is missing"),
            ("a/file", Some(file("CONTENT", 0o644, FILE)), "\"a/file\" has another content"),
            ("a/file", Some(file("", 0o644, FILE)), "\"a/file\" has another size"),
            ("a/file", Some(link("b")), "\"a/file\" has another type"),
            ("a-link", Some(link("b")), "\"a-link\" has another target"),
            ("empty", Some(file("", 0o644, FILE)), "\"empty\" has another type"),
            ("a", None, "\"a\" is missing"),
        ] {
            let expected = Comparison { wrong: vec![sentence.to_owned()], ..Comparison::default() };
            assert_eq!(with(path, found), expected);
        }
    }

    #[test]
    fn what_should_not_be_there_is_extra_unless_it_came_through_a_followed_link() {
        let extra = with("a/more", Some(file("", 0o644, FILE)));
        assert_eq!(extra, Comparison { extra: vec!["\"a/more\"".to_owned()], ..Comparison::default() });

        let original = snapshot(vec![("link", link("elsewhere"))]);
        let followed =
            snapshot(vec![("link", directory(0o755, DIRECTORY)), ("link/file", file("x", 0o644, FILE))]);
        let expected = Comparison { lost: BTreeSet::from([Lost::Links]), ..Comparison::default() };
        assert_eq!(original.compare(&followed), expected);
    }
}
