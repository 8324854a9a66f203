//! `swarmd` killed without a word in the middle of a push, and `swarmd` on a disk that takes no more: what stands under a final name is
//! whole at every moment, and the next run completes the tree.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::process::Signal;
use swarmwire_client::{ConnectOptions, Controller, Target, controller::RemotePath};
use swarmwire_common::{
    path::{Name, RelPath},
    root::Root,
    sync::{Outcome, Source, Tally},
    wire::{
        status::Status,
        sync::{Durability, SyncOptions},
    },
};
use tokio::task::spawn_blocking;

use crate::{
    disks::{Disk, with_small_files},
    harness::Key,
    process::{Running, invite, swarmd, without_settings},
    trees::{
        PLANTED_FILES, assert_no_leftovers, assert_same, content, plant, set_mtime, visible_files,
        whole_files,
    },
};

/// What a test waits for at most before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

async fn dial(key: &Key, running: &Running) -> Controller {
    let address = running.target().address;
    let gateway = running.target().fingerprint;
    let target = Target { host: address.ip().to_string(), port: address.port(), gateway };
    Controller::connect(&target, &key.identity, ConnectOptions::default()).await.unwrap()
}

/// Lets `key` in, for the homes in which it starts.
async fn join(key: &Key, running: &Running) {
    let controller = dial(key, running).await;
    controller.join(&invite(&running.state(), &[]).token, "test").await.unwrap();
    controller.close().await;
}

/// Pushes `from` as `tree`.
async fn push(controller: &Controller, from: &Path, durability: Durability) -> Outcome {
    let root = Arc::new(Root::open(from).unwrap());
    let source = Source::open(root, RelPath::root(), Some(Name::new(b"tree").unwrap())).unwrap();
    let to = RemotePath { path: RelPath::root(), trailing_slash: false };
    let options = SyncOptions { durability, ..SyncOptions::default() };
    controller.push(source, &to, options, Arc::new(Tally::default())).await.unwrap()
}

/// Waits until so many files are visible, or where that is none, until anything has been made.
fn wait_for_files(root: &Path, files: usize) {
    let start = std::time::Instant::now();
    let has_begun = || files > 0 || fs::read_dir(root).unwrap().next().is_some();
    while visible_files(root).len() < files || !has_begun() {
        assert!(start.elapsed() < PATIENCE, "{files} files do not come");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_gateway_that_is_killed_shows_whole_files_only_and_is_completed() {
    let (home, from, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new());
    plant(from.path());
    let root = home.path().join("root");
    fs::create_dir(&root).unwrap();
    join(&key, &Running::start_as(swarmd(), home.path())).await;

    let mut was_partial = false;
    // Without barriers files take their names one by one, so that there are moments to choose from. A batch is killed before its
    // barrier, where there is none to see.
    for (files, durability) in [
        (0, Durability::Batch),
        (1, Durability::None),
        (40, Durability::None),
        (150, Durability::File),
        (299, Durability::None),
    ] {
        let running = Running::start_as(swarmd(), home.path());
        let controller = dial(&key, &running).await;
        let watched = root.clone();
        let watching = spawn_blocking(move || {
            wait_for_files(&watched, files);
            running.end(Signal::KILL)
        });
        tokio::select! {
            killed = watching => assert!(!killed.unwrap().0.success()),
            outcome = push(&controller, from.path(), durability) => {
                // The last file came before the look.
                assert!(outcome.error.is_none(), "{:?}", outcome.error);
            }
        }
        controller.break_off(Status::Cancelled);
        let visible = whole_files(&root.join("tree"), from.path());
        was_partial |= visible > 0 && visible < PLANTED_FILES;
    }
    assert!(was_partial, "no moment was in the middle");

    let running = Running::start_as(swarmd(), home.path());
    assert_no_places(&root);
    let controller = dial(&key, &running).await;
    let outcome = push(&controller, from.path(), Durability::Batch).await;
    assert!(outcome.error.is_none() && outcome.report.entries_failed == 0, "{outcome:?}");
    assert_same(from.path(), &root.join("tree"));
    assert_no_leftovers(&root);
    let again = push(&controller, from.path(), Durability::Batch).await;
    assert_eq!((again.report.files_sent, again.report.bytes_sent), (0, 0));
    controller.close().await;
    assert_eq!(running.end(Signal::TERM).0.code(), Some(0));
}

/// A tree of which only a file does not fit on a small disk, and a home whose root has an older one in its place.
fn plant_large(from: &Path, root: &Path) -> PathBuf {
    for number in 0..20 {
        fs::write(from.join(format!("{number:02}")), content(number, 1000)).unwrap();
    }
    fs::write(from.join("10-large"), content(3, 3 << 20)).unwrap();
    let place = root.join("tree");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("10-large"), OLD).unwrap();
    set_mtime(&place.join("10-large"), 1);
    place
}

const OLD: &str = "what was there";

/// What must hold after each push to a place where the large file does not fit.
fn assert_named_and_nothing_lost(outcome: &Outcome, (from, place): (&Path, &Path), why: &str) {
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let failed = &outcome.report.failed;
    assert!(failed.iter().any(|failure| failure.path.as_bytes() == b"10-large"), "{failed:?}");
    assert!(failed.iter().all(|failure| failure.reason.contains(why)), "{failed:?}");
    for file in visible_files(place) {
        let expected = match file.ends_with("10-large") {
            true => OLD.into(),
            false => fs::read(from.join(file.file_name().unwrap())).unwrap(),
        };
        assert!(fs::read(&file).unwrap() == expected, "{} is neither old nor new", file.display());
    }
    assert!(visible_files(place).len() + failed.len() > 21, "what is not there is named: {failed:?}");
    assert_no_leftovers(place.parent().unwrap());
}

#[tokio::test]
async fn a_gateway_that_may_make_no_large_file_names_it_and_serves_on() {
    assert_large_files_fail_where_they_are_limited().await;
}

async fn assert_large_files_fail_where_they_are_limited() {
    let (home, from, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new());
    let place = plant_large(from.path(), &home.path().join("root"));
    let limited = without_settings(with_small_files(env!("CARGO_BIN_EXE_swarmd"), 1024));
    let running = Running::start_as(limited, home.path());
    join(&key, &running).await;
    let controller = dial(&key, &running).await;
    for _ in 0..2 {
        let outcome = push(&controller, from.path(), Durability::Batch).await;
        assert_named_and_nothing_lost(&outcome, (from.path(), &place), "file too large");
        assert_eq!(outcome.report.entries_failed, 1, "{:?}", outcome.report);
    }
    controller.close().await;
    assert_eq!(running.end(Signal::TERM).0.code(), Some(0));

    let running = Running::start_as(swarmd(), home.path());
    let controller = dial(&key, &running).await;
    let outcome = push(&controller, from.path(), Durability::Batch).await;
    assert_eq!((outcome.report.files_sent, outcome.report.entries_failed), (1, 0));
    assert_same(from.path(), &place);
}

#[tokio::test]
async fn a_gateway_whose_disk_is_full_names_what_does_not_fit_and_serves_on() {
    let Some(mut disk) = Disk::mount("size=1m") else {
        // Nobody may mount here: what can be had is a system that takes no large file.
        return assert_large_files_fail_where_they_are_limited().await;
    };
    let (home, from, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new());
    let place = plant_large(from.path(), disk.path());
    // The root may be a link.
    std::os::unix::fs::symlink(disk.path(), home.path().join("root")).unwrap();
    let running = Running::start_as(swarmd(), home.path());
    join(&key, &running).await;
    let controller = dial(&key, &running).await;
    for durability in [Durability::Batch, Durability::None, Durability::File] {
        let outcome = push(&controller, from.path(), durability).await;
        assert_named_and_nothing_lost(&outcome, (from.path(), &place), "no space left on device");
    }
    disk.remount("size=16m");
    let outcome = push(&controller, from.path(), Durability::Batch).await;
    assert!(outcome.error.is_none() && outcome.report.entries_failed == 0, "{outcome:?}");
    assert_same(from.path(), &place);
    controller.close().await;
    assert_eq!(running.end(Signal::TERM).0.code(), Some(0));
}

/// Asserts that no staging place is left, though unfinished files may be, with which the next sync goes on.
fn assert_no_places(root: &Path) {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names
        .filter(|name| name.starts_with(".swarmwire-") && !name.starts_with(".swarmwire-part-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
