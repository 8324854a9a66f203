//! What only changes its name at the source does so at the destination, as long as it stays a file of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use swarmwire_common::wire::sync::{Deletion, Durability, SyncOptions};
use tempfile::TempDir;

use crate::{
    delta::{append, noise, sync},
    mirroring::{Faults, mirror_with},
    pair::Pair,
    selection::{excluding, selection},
    sync::options,
};

/// Three directories of logs, each with one that was rotated before. No two were written at the same time.
fn plant(top: &Path) {
    let mut second = 0;
    for service in ["a", "b", "d"] {
        let dir = top.join(service);
        fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in [("app.log", 50_000), ("app.log.1", 60_000), ("large.log", 3_000_000)] {
            second += 1;
            fs::write(dir.join(name), noise(second, bytes)).unwrap();
            let file = File::options().write(true).open(dir.join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        }
    }
}

/// In two of them a new log is begun.
fn rotate(top: &Path) {
    for service in ["a", "b", "d"] {
        let dir = top.join(service);
        fs::rename(dir.join("app.log.1"), dir.join("app.log.2")).unwrap();
        fs::rename(dir.join("app.log"), dir.join("app.log.1")).unwrap();
        if service != "d" {
            fs::write(dir.join("app.log"), noise(30, 1000)).unwrap();
        }
    }
}

/// Inodes by path.
fn inodes(top: &Path) -> BTreeMap<String, u64> {
    let inode = |path: &String| fs::symlink_metadata(top.join(path)).unwrap().ino();
    paths(top).into_iter().map(|path| (path.clone(), inode(&path))).collect()
}

/// Files but for those of a staging place that was left behind.
fn paths(top: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for dir in fs::read_dir(top).unwrap().map(|entry| entry.unwrap().path()) {
        if dir.file_name().unwrap().to_str().unwrap().starts_with(".swarmwire-") {
            continue;
        }
        for file in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            files.push(file.strip_prefix(top).unwrap().to_str().unwrap().to_owned());
        }
    }
    files
}

fn assert_no_links(top: &Path) {
    let inodes = inodes(top);
    let different: BTreeSet<u64> = inodes.values().copied().collect();
    assert_eq!(different.len(), inodes.len(), "one file has several names: {inodes:?}");
}

#[tokio::test]
async fn a_rotated_log_and_a_renamed_directory_keep_their_files() {
    let pair = Pair::connect().await;
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (from.path(), to.path());
        let options = SyncOptions { delete: Deletion::All, ..options(durability) };
        plant(from);
        sync(&pair, from, to, options).await;
        let before = inodes(to);
        rotate(from);
        fs::rename(from.join("b"), from.join("c")).unwrap();
        assert_eq!(sync(&pair, from, to, options).await, 2000);
        let after = inodes(to);
        for (new, old) in [
            // In `a` it depends on which comes first, the answer that this is the same or the new log.
            ("a/large.log", "a/large.log"),
            ("c/app.log.1", "b/app.log"),
            ("c/app.log.2", "b/app.log.1"),
            ("c/large.log", "b/large.log"),
            ("d/app.log.1", "d/app.log"),
            ("d/app.log.2", "d/app.log.1"),
        ] {
            assert_eq!(after[new], before[old], "{new} is what was {old}");
        }
        assert_no_links(to);
    }
}

/// A source and its destination; since they were the same, `b` has become `c` at the source.
async fn renamed(pair: &Pair) -> [TempDir; 2] {
    let trees = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [from, to] = trees.each_ref().map(TempDir::path);
    plant(from);
    sync(pair, from, to, options(Durability::Batch)).await;
    fs::rename(from.join("b"), from.join("c")).unwrap();
    trees
}

#[tokio::test]
async fn a_file_whose_old_name_stays_is_copied() {
    let pair = Pair::connect().await;
    let [from, to] = &renamed(&pair).await;
    let (from, to) = (from.path(), to.path());
    assert_eq!(sync(&pair, from, to, options(Durability::Batch)).await, 0);
    assert!(to.join("b/large.log").exists());
    assert_no_links(to);
}

/// The deletion that would have taken the old name away does not come to it.
#[tokio::test]
async fn a_file_whose_old_name_is_spared_becomes_two() {
    let pair = Pair::connect().await;
    let [from, to] = &renamed(&pair).await;
    let (from, to) = (from.path(), to.path());
    let spared = || selection(excluding(&["/b"]));
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        for delete in [Deletion::All, Deletion::AtMost(0)] {
            let options = SyncOptions { delete, ..options(durability) };
            let place = crate::sync::destination(to, "").selecting(spared());
            let source = crate::sync::source(from, None).selecting(spared()).unwrap();
            let [sent, received] = pair.sync(source, place, options).await;
            assert!(sent.error.is_none() && received.error.is_none());
            assert_eq!(sent.report.bytes_sent, 0);
            assert!(to.join("b/large.log").exists());
            crate::sync::assert_contains(to, from);
            assert_no_links(to);
            fs::remove_dir_all(to.join("c")).unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_that_is_more_than_its_content_is_copied() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    plant(from);
    let options = SyncOptions { delete: Deletion::All, ..options(Durability::Batch) };
    sync(&pair, from, to, options).await;
    let (special, linked) = (to.join("b/app.log"), to.join("b/app.log.1"));
    let mode = fs::metadata(&special).unwrap().permissions().mode();
    fs::set_permissions(&special, fs::Permissions::from_mode(mode | 0o4000)).unwrap();
    let elsewhere = tempfile::tempdir_in(to.parent().unwrap()).unwrap();
    fs::hard_link(&linked, elsewhere.path().join("other")).unwrap();
    let before = inodes(to);
    fs::rename(from.join("b"), from.join("c")).unwrap();
    assert_eq!(sync(&pair, from, to, options).await, 0);
    let after = inodes(to);
    assert_ne!(after["c/app.log"], before["b/app.log"]);
    assert_ne!(after["c/app.log.1"], before["b/app.log.1"]);
    assert_eq!(after["c/large.log"], before["b/large.log"]);
    assert_eq!(fs::metadata(to.join("c/app.log")).unwrap().permissions().mode() & 0o7000, 0);
    append(&elsewhere.path().join("other"), b"what is written there stays there");
    assert_no_links(to);
}

/// Two logs change places: each waits for the other.
#[tokio::test]
async fn files_that_take_each_others_places_are_told_apart() {
    let pair = Pair::connect().await;
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (from.path(), to.path());
        plant(from);
        sync(&pair, from, to, options(durability)).await;
        let [one, other, aside] = ["a/app.log", "b/large.log", "aside"].map(|name| from.join(name));
        for (name, new) in [(&one, &aside), (&other, &one), (&aside, &other)] {
            fs::rename(name, new).unwrap();
        }
        assert_eq!(sync(&pair, from, to, options(durability)).await, 0);
        assert_no_links(to);
        crate::sync::assert_contains(to, from);
    }
}

/// Whatever call fails, alone or with all that follow: each name has a whole file that it had or should have, no two share one, and
/// the next sync puts all right.
#[tokio::test]
async fn any_call_may_fail_or_be_the_last_and_every_name_has_a_file_of_its_own() {
    let pair = Pair::connect().await;
    let (old, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(old.path());
    plant(from.path());
    rotate(from.path());
    fs::rename(from.path().join("b"), from.path().join("c")).unwrap();
    let mirror = async |to: &Path, failing| {
        let gate = Arc::new(Faults { failing, seen: Mutex::default() });
        let outcome = mirror_with(&pair, from.path(), to, gate.clone()).await;
        (*gate.seen.lock().unwrap(), outcome)
    };
    let clean = tempfile::tempdir().unwrap();
    plant(clean.path());
    let calls = mirror(clean.path(), 0..0).await.0;
    assert!(calls > 20, "{calls} changes");
    for fault in 0..calls {
        for failing in [fault..fault + 1, fault..usize::MAX] {
            let to = tempfile::tempdir().unwrap();
            let to = to.path();
            plant(to);
            mirror(to, failing.clone()).await;
            assert_no_links(to);
            for path in paths(to) {
                let has = fs::read(to.join(&path)).unwrap();
                let versions = [old.path(), from.path()].map(|tree| fs::read(tree.join(&path)).ok());
                assert!(versions.contains(&Some(has)), "{path} after {failing:?}");
            }
            for path in paths(old.path()).into_iter().filter(|path| from.path().join(path).exists()) {
                assert!(to.join(&path).exists(), "{path} is gone after {failing:?}");
            }
            let (_, again) = mirror(to, 0..0).await;
            assert!(again.error.is_none() && again.report.failed.is_empty(), "{failing:?}: {again:?}");
            crate::sync::assert_contains(to, from.path());
            assert_no_links(to);
        }
    }
}
