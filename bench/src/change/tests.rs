//! Each change does what it says and nothing else: the tree before it and the tree after it are compared name by name.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    verify::{Comparison, Snapshot},
    workload::Workload,
};

/// A tree before and after a change.
struct Trial {
    top: tempfile::TempDir,
    before: BTreeMap<PathBuf, Found>,
    after: BTreeMap<PathBuf, Found>,
    /// How the tree after the change compares as a copy of the one before.
    comparison: Comparison,
    changed: Changed,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    content: Vec<u8>,
    mode: u32,
    modified: (i64, i64),
    inode: u64,
}

/// The regular files and directories below `top`.
fn look(top: &Path) -> BTreeMap<PathBuf, Found> {
    let entries = walkdir::WalkDir::new(top).into_iter().map(Result::unwrap);
    let entries = entries.filter(|entry| !entry.file_type().is_symlink());
    let found = entries.map(|entry| {
        let metadata = entry.metadata().unwrap();
        let found = Found {
            content: if metadata.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() },
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        };
        (entry.path().strip_prefix(top).unwrap().to_owned(), found)
    });
    found.collect()
}

/// The tree of `workload`, changed.
fn trial(workload: &str, change: Change) -> Trial {
    let top = tempfile::tempdir().unwrap();
    workload.parse::<Workload>().unwrap().generate(top.path(), 5).unwrap();
    let (before, snapshot) = (look(top.path()), Snapshot::take(top.path()).unwrap());
    let changed = change.apply(top.path(), 9).unwrap();
    let (after, copy) = (look(top.path()), Snapshot::take(top.path()).unwrap());
    Trial { comparison: snapshot.compare(&copy), top, before, after, changed }
}

impl Trial {
    fn is_file(found: &Found) -> bool {
        found.mode & 0o170_000 == 0o100_000
    }

    fn files(&self) -> u64 {
        self.before.values().filter(|found| Self::is_file(found)).count() as u64
    }

    /// Each file with what is under the same name afterwards.
    fn files_beside(&self) -> impl Iterator<Item = (&Found, &Found)> {
        let files = self.before.iter().filter(|(_, found)| Self::is_file(found));
        files.map(|(path, found)| (found, &self.after[path]))
    }

    /// Directories whose time is another one.
    fn directories_stamped(&self) -> Vec<&Path> {
        let stamped = self.before.iter().filter(|(path, found)| {
            !Self::is_file(found) && self.after.get(*path).is_some_and(|now| now.modified != found.modified)
        });
        stamped.map(|(path, _)| path.as_path()).collect()
    }

    fn assert_same_names(&self) {
        assert!(self.before.keys().eq(self.after.keys()));
        assert_eq!(self.directories_stamped(), [] as [&Path; 0]);
    }
}

#[test]
fn names_are_known_and_unknown_ones_are_answered_with_them() {
    for change in Change::ALL {
        assert_eq!(change.to_string().parse::<Change>().unwrap(), change);
    }
    assert_eq!(
        "shred".parse::<Change>().unwrap_err().to_string(),
        "unknown change \"shred\"; known are fresh, none, append, rotate, touch, rename, edit, delete"
    );
}

#[test]
fn none_and_fresh_leave_the_tree_alone() {
    for change in [Change::None, Change::Fresh] {
        let trial = trial("mini", change);
        assert_eq!((&trial.before, trial.changed), (&trial.after, Changed::default()));
    }
}

#[test]
fn append_lets_every_file_grow_by_a_hundredth_and_keeps_what_was_there() {
    let trial = trial("mini", Change::Append);
    trial.assert_same_names();
    let mut bytes = 0;
    for (before, after) in trial.files_beside() {
        let (old, new) = (before.content.len(), after.content.len());
        assert_eq!(new - old, (old / 100).max(160));
        assert!(after.content.starts_with(&before.content) && after.content.ends_with(b"\n"));
        assert_eq!((before.inode, before.mode), (after.inode, after.mode));
        assert!(after.modified > before.modified);
        bytes += (new - old) as u64;
    }
    assert_eq!(trial.changed, Changed { files: trial.files(), bytes });
}

#[test]
fn edit_changes_every_byte_of_a_hundredth_in_the_middle_and_nothing_around_it() {
    let trial = trial("mini", Change::Edit);
    trial.assert_same_names();
    for (before, after) in trial.files_beside().filter(|(before, _)| !before.content.is_empty()) {
        let size = before.content.len();
        let edited = (size / 100).max(1);
        let start = (size - edited) / 2;
        let differs = before.content.iter().zip(&after.content).enumerate().filter(|(_, (a, b))| a != b);
        assert!(differs.map(|(index, _)| index).eq(start..start + edited));
        assert_eq!((size, before.inode), (after.content.len(), after.inode));
        assert!(after.modified > before.modified);
    }
    assert_eq!(trial.changed.files, trial.files() - 1, "an empty file has no middle");
}

#[test]
fn touch_changes_the_times_of_files_and_nothing_else() {
    let trial = trial("mini", Change::Touch);
    trial.assert_same_names();
    for (before, after) in trial.files_beside() {
        assert!(after.modified > before.modified);
        assert_eq!(Found { modified: before.modified, ..after.clone() }, *before);
    }
    assert_eq!(trial.changed, Changed { files: trial.files(), bytes: 0 });
}

#[test]
fn rotate_moves_every_log_one_number_up_and_begins_a_new_one() {
    let trial = rotated_trial();
    let (before, after) = (&trial.before, &trial.after);
    for (old, new) in [("app.log", "app.log.1"), ("app.log.1", "app.log.2"), ("app.log.7.gz", "app.log.8.gz")]
    {
        let (old, new) = (Path::new("service").join(old), Path::new("service").join(new));
        assert_eq!(before[&old], after[&new], "renamed, with its time: {old:?}");
    }
    let live = &after[Path::new("service/app.log")];
    assert_eq!((live.content.len(), live.mode & 0o777), (160, 0o640));
    assert!(live.modified > before[Path::new("service")].modified);
    assert_eq!(before[Path::new("service/notes.txt")], after[Path::new("service/notes.txt")]);
    assert_eq!(before[Path::new("service/lone.log.3")], after[Path::new("service/lone.log.3")]);
    assert_eq!(trial.directories_stamped(), [Path::new("service")]);
    assert_eq!(trial.changed, Changed { files: 4, bytes: 300 + 200 + 100 + 160 });
}

/// A service's directory with rotations, and with files that are none.
fn rotated_trial() -> Trial {
    let top = tempfile::tempdir().unwrap();
    let service = top.path().join("service");
    fs::create_dir(&service).unwrap();
    for (name, bytes) in
        [("app.log", 300), ("app.log.1", 200), ("app.log.7.gz", 100), ("notes.txt", 50), ("lone.log.3", 40)]
    {
        fs::write(service.join(name), vec![b'x'; bytes]).unwrap();
    }
    fs::set_permissions(service.join("app.log"), Permissions::from_mode(0o640)).unwrap();
    let (before, snapshot) = (look(top.path()), Snapshot::take(top.path()).unwrap());
    let changed = Change::Rotate.apply(top.path(), 9).unwrap();
    let (after, copy) = (look(top.path()), Snapshot::take(top.path()).unwrap());
    Trial { comparison: snapshot.compare(&copy), top, before, after, changed }
}

#[test]
fn rotate_takes_every_log_where_there_are_no_rotations() {
    let trial = trial("files:120", Change::Rotate);
    assert_eq!(trial.changed.files, 240);
    assert_eq!(trial.comparison.extra.len(), 120);
    assert_eq!(trial.comparison.wrong.len(), 120, "the new logs");
}

#[test]
fn rename_gives_the_fullest_directory_another_name_and_leaves_its_files_the_same() {
    let trial = trial("mini", Change::Rename);
    let moved = trial.before.iter().filter(|(path, _)| path.starts_with("large"));
    for (path, found) in moved.clone() {
        let renamed = Path::new("large.renamed").join(path.strip_prefix("large").unwrap());
        let now = trial.after.iter().find(|(path, _)| path.components().eq(renamed.components()));
        assert_eq!(now.map(|(_, found)| found), Some(found));
        assert!(!trial.after.contains_key(path));
    }
    assert_eq!((moved.count(), trial.before.len()), (3, trial.after.len()));
    assert_eq!(trial.directories_stamped(), [Path::new("")]);
    assert_eq!(trial.changed, Changed { files: 2, bytes: 6 << 20 });
}

#[test]
fn rename_takes_the_first_file_where_there_is_no_directory_and_finds_a_free_name() {
    let top = tempfile::tempdir().unwrap();
    for name in ["a", "a.renamed", "b"] {
        fs::write(top.path().join(name), name).unwrap();
    }
    assert_eq!(Change::Rename.apply(top.path(), 1).unwrap(), Changed { files: 1, bytes: 1 });
    assert_eq!(fs::read(top.path().join("a.renamed.renamed")).unwrap(), b"a");
    assert_eq!(fs::read(top.path().join("a.renamed")).unwrap(), b"a.renamed");
}

#[test]
fn delete_removes_a_twentieth_of_the_files_and_nothing_else() {
    let trial = trial("mini", Change::Delete);
    let gone = trial.before.iter().filter(|(path, _)| !trial.after.contains_key(*path));
    assert!(gone.clone().all(|(_, found)| Trial::is_file(found)));
    let bytes = gone.clone().map(|(_, found)| found.content.len() as u64).sum();
    assert_eq!((gone.count(), trial.changed), (11, Changed { files: 11, bytes }));
    assert_eq!((trial.comparison.wrong.len(), trial.comparison.extra.len()), (11, 0));
}

#[test]
fn the_same_change_of_the_same_tree_gives_the_same_tree() {
    for change in Change::ALL {
        let manifest = || Snapshot::take(trial("mini", change).top.path()).unwrap().manifest();
        assert_eq!(manifest(), manifest(), "{change}");
    }
}

#[test]
fn a_second_change_makes_the_tree_differ_again() {
    for change in
        [Change::Append, Change::Edit, Change::Touch, Change::Rotate, Change::Rename, Change::Delete]
    {
        let trial = trial("mini", change);
        let once = Snapshot::take(trial.top.path()).unwrap();
        change.apply(trial.top.path(), 9).unwrap();
        let twice = Snapshot::take(trial.top.path()).unwrap();
        assert_ne!(once.manifest(), twice.manifest(), "{change}");
    }
}

#[test]
fn what_is_closed_to_writing_is_changed_and_stays_closed() {
    let changes = [Change::Append, Change::Edit, Change::Touch, Change::Rotate, Change::Delete];
    for change in changes {
        let top = tempfile::tempdir().unwrap();
        let closed = top.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("a.log"), b"content\n").unwrap();
        let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        set_mode(&closed.join("a.log"), 0o444);
        set_mode(&closed, 0o555);
        assert_ne!(change.apply(top.path(), 1).unwrap().files, 0, "{change}");
        assert_eq!(fs::metadata(&closed).unwrap().mode() & 0o777, 0o555);
        for entry in fs::read_dir(&closed).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o444, "{change}");
        }
        set_mode(&closed, 0o755);
    }
}
