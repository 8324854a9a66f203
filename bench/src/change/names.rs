//! Changes of names: rotate, rename, delete. Directories in which a name changes are stamped, as a directory's time is that of its names.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    Changed,
    content::{growth, text},
    tree::{self, Tree},
};
use crate::random::Random;

/// The part of the files that is deleted: one in twenty.
const DELETED_PART: u64 = 20;

/// What the name of a renamed entry gets.
const RENAMED: &str = ".renamed";

/// A log's files: what stands behind its name, the number and the ending, and the file. The live one has the number 0.
type Rotations<'a> = BTreeMap<(u64, &'static str), &'a tree::File>;

/// Moves every log one number up, and begins new ones with what a log grows by.
pub(super) fn rotate(tree: &Tree, seed: u64) -> Result<Changed> {
    let mut random = Random::new(seed);
    let mut changed = Changed::default();
    for (live, rotations) in logs(&tree.files) {
        let random = random.fork();
        let directory = live.parent().unwrap_or(&tree.top);
        let begun = growth(rotations.get(&(0, "")).map_or(0, |file| file.bytes));
        tree.change(directory, |_| {
            move_up(&live, &rotations)?;
            begin(tree, &live, begun, random)
        })
        .with_context(|| format!("failed to rotate {}", live.display()))?;
        changed.files += rotations.len() as u64 + 1;
        changed.bytes += rotations.values().map(|file| file.bytes).sum::<u64>() + begun;
    }
    Ok(changed)
}

/// Renames a log's files, the highest number first, so that each new name is free.
fn move_up(live: &Path, rotations: &Rotations<'_>) -> io::Result<()> {
    rotations.iter().rev().try_for_each(|(&(number, ending), file)| {
        let mut name = live.as_os_str().to_owned();
        name.push(format!(".{}{ending}", number + 1));
        rename_to_free(&file.path, Path::new(&name))
    })
}

/// Begins a new log with `bytes` bytes of text and the mode of the last one.
fn begin(tree: &Tree, live: &Path, bytes: u64, random: Random) -> io::Result<()> {
    let mut last = live.as_os_str().to_owned();
    last.push(".1");
    let mut log = File::create_new(live)?;
    text(tree, random, bytes, |piece| log.write_all(piece))?;
    log.set_permissions(fs::metadata(last)?.permissions())?;
    tree.stamp(live)
}

/// The live logs among `files`, and the files of each.
fn logs(files: &[tree::File]) -> BTreeMap<PathBuf, Rotations<'_>> {
    let mut logs = BTreeMap::<PathBuf, Rotations<'_>>::new();
    for file in files {
        let name = file.path.file_name().and_then(|name| name.to_str());
        if let Some((live, number, ending)) = name.and_then(rotation) {
            logs.entry(file.path.with_file_name(live)).or_default().insert((number, ending), file);
        }
    }
    logs.retain(|_, rotations| rotations.contains_key(&(0, "")));
    logs
}

/// The name of the live log, the number and the ending: `app.log`, 3 and `.gz` of `app.log.3.gz`.
fn rotation(name: &str) -> Option<(&str, u64, &'static str)> {
    let (rest, ending) = name.strip_suffix(".gz").map_or((name, ""), |rest| (rest, ".gz"));
    if rest.ends_with(".log") {
        // `app.log.gz` is no rotation.
        return ending.is_empty().then_some((rest, 0, ""));
    }
    let (live, number) = rest.rsplit_once('.')?;
    let number: u32 =
        number.parse().ok().filter(|&parsed: &u32| parsed > 0 && parsed.to_string() == number)?;
    live.ends_with(".log").then_some((live, u64::from(number), ending))
}

/// Renames the directory at the top that holds the most bytes, the first by name among equals; without directories, the first file.
pub(super) fn rename(tree: &Tree) -> Result<Changed> {
    let mut directories = BTreeMap::<PathBuf, Changed>::new();
    for file in &tree.files {
        let below = file.path.strip_prefix(&tree.top).expect("a walk stays below its top");
        if let (Some(first), Some(_)) = (below.iter().next(), below.iter().nth(1)) {
            let held = directories.entry(tree.top.join(first)).or_default();
            held.files += 1;
            held.bytes += file.bytes;
        }
    }
    // Among equals, `max_by_key` takes the last one.
    let largest = directories.into_iter().rev().max_by_key(|(_, held)| held.bytes);
    let (path, changed) = match (largest, tree.files.first()) {
        (Some(largest), _) => largest,
        (None, Some(file)) => (file.path.clone(), Changed { files: 1, bytes: file.bytes }),
        (None, None) => return Ok(Changed::default()),
    };
    tree.change(&tree.top, |_| rename_beside(&path))
        .with_context(|| format!("failed to rename {}", path.display()))?;
    Ok(changed)
}

/// Adds [`RENAMED`] to the name, as often as it takes to find a free one.
fn rename_beside(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    loop {
        name.push(RENAMED);
        match rename_to_free(path, Path::new(&name)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            done => return done,
        }
    }
}

/// Removes one file in twenty, rounded up; which ones is up to the seed. Directories stay, even empty.
pub(super) fn delete(tree: &Tree, seed: u64) -> Result<Changed> {
    let mut random = Random::new(seed);
    let mut changed = Changed::default();
    for file in sample(&tree.files, &mut random) {
        let directory = file.path.parent().unwrap_or(&tree.top);
        tree.change(directory, |_| fs::remove_file(&file.path))
            .with_context(|| format!("failed to delete {}", file.path.display()))?;
        changed.files += 1;
        changed.bytes += file.bytes;
    }
    Ok(changed)
}

/// As many of `files` as are to be deleted, each as likely as any other (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
fn sample<'a>(files: &'a [tree::File], random: &mut Random) -> Vec<&'a tree::File> {
    let mut wanted = (files.len() as u64).div_ceil(DELETED_PART);
    let left = (1..=files.len() as u64).rev();
    let chosen = files.iter().zip(left).filter(|(_, left)| {
        let taken = random.below(*left) < wanted;
        wanted -= u64::from(taken);
        taken
    });
    chosen.map(|(file, _)| file).collect()
}

/// Renames, and fails if something has the new name already.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_told_by_its_name() {
        for (name, expected) in [
            ("app.log", Some(("app.log", 0, ""))),
            ("app.log.1", Some(("app.log", 1, ""))),
            ("app.log.12.gz", Some(("app.log", 12, ".gz"))),
            ("app.log.gz", None),
            ("app.log.0", None),
            ("app.log.01", None),
            ("app.log.old", None),
            ("app.txt", None),
            ("log", None),
        ] {
            assert_eq!(rotation(name), expected, "{name}");
        }
    }

    #[test]
    fn a_twentieth_rounded_up_is_chosen_and_not_always_the_same() {
        let files: Vec<tree::File> = (0..1010)
            .map(|number| tree::File { path: PathBuf::from(number.to_string()), bytes: 1 })
            .collect();
        let chosen = |seed| -> Vec<_> {
            sample(&files, &mut Random::new(seed)).iter().map(|file| file.path.clone()).collect()
        };
        assert_eq!(chosen(1).len(), 51);
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
        assert_eq!(sample(&files[..1], &mut Random::new(1)).len(), 1);
        assert_eq!(sample(&[], &mut Random::new(1)).len(), 0);
    }
}
