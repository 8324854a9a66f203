//! `--remove-source-files`: a file goes from the source when it is safe at the destination and still what was sent, and never otherwise.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rustix::io::Errno;
use swarmwire_common::{
    entry::Timestamp,
    path::RelPath,
    root::{
        Root,
        gate::{DiskOp, Gate},
    },
    sync::{Destination, Outcome, Source},
    wire::sync::{Durability, Keep, SyncOptions},
};

use crate::{
    mirroring::names,
    pair::Pair,
    sync::{options, source},
};

const LARGE: usize = 2 * 1024 * 1024 + 3;

/// The files that [`plant`] makes.
const FILES: [&str; 4] = ["app/a.log", "app/b.log", "empty", "large.log"];

fn plant(top: &Path) {
    fs::create_dir(top.join("app")).unwrap();
    fs::write(top.join("app/a.log"), b"alpha").unwrap();
    fs::write(top.join("app/b.log"), b"beta").unwrap();
    fs::write(top.join("empty"), b"").unwrap();
    fs::write(top.join("large.log"), vec![7; LARGE]).unwrap();
    symlink("app", top.join("link")).unwrap();
}

fn moving(durability: Durability) -> SyncOptions {
    SyncOptions { remove_source: true, ..options(durability) }
}

fn gated(path: &Path, gate: Option<Arc<dyn Gate>>) -> Arc<Root> {
    Arc::new(Root::open_gated(path, gate).unwrap())
}

fn place(path: &Path, gate: Option<Arc<dyn Gate>>) -> Destination {
    Destination::open(gated(path, gate), RelPath::root(), true, true).unwrap()
}

/// The content of each file that is there.
fn files(top: &Path) -> Vec<(&'static str, Vec<u8>)> {
    FILES.iter().filter_map(|name| Some((*name, fs::read(top.join(name)).ok()?))).collect()
}

/// Whether the whole tree was moved, as both sides say and as it is.
fn assert_moved(outcomes: &[Outcome; 2], from: &Path, to: &Path, planted: &Path) {
    for outcome in outcomes {
        assert!(outcome.error.is_none() && names(outcome).is_empty(), "{outcome:?}");
        assert_eq!(outcome.report.files_removed, 4);
    }
    assert_eq!((files(from), files(to)), (vec![], files(planted)));
    assert!(from.join("app").is_dir() && from.join("link").is_symlink() && to.join("link").is_symlink());
}

#[tokio::test]
async fn files_move_and_directories_and_links_stay() {
    let pair = Pair::connect().await;
    let planted = tempfile::tempdir().unwrap();
    plant(planted.path());
    for (durability, opened_at) in [
        (Durability::Batch, None),
        (Durability::File, None),
        // So late that no file was changed about then.
        (Durability::Batch, Some(Timestamp { seconds: i64::MAX, nanoseconds: 0 })),
    ] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(from.path());
        let mut source = source(from.path(), None);
        if let Some(now) = opened_at {
            source = source.opened_at(now);
        }
        let outcomes = pair.sync(source, place(to.path(), None), moving(durability)).await;
        assert_moved(&outcomes, from.path(), to.path(), planted.path());
    }
}

#[tokio::test]
async fn what_is_there_already_is_compared_by_content_before_it_goes() {
    let pair = Pair::connect().await;
    for durability in [Durability::Batch, Durability::File] {
        let planted = tempfile::tempdir().unwrap();
        plant(planted.path());
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(from.path());
        let plain = SyncOptions { remove_source: false, ..moving(durability) };
        pair.sync(source(from.path(), None), place(to.path(), None), plain).await;
        // Of the same size and time, by which it would count as unchanged.
        let mtime = fs::metadata(to.path().join("app/b.log")).unwrap().modified().unwrap();
        fs::write(to.path().join("app/b.log"), b"atbe").unwrap();
        fs::File::open(to.path().join("app/b.log")).unwrap().set_modified(mtime).unwrap();
        let outcomes = pair.sync(source(from.path(), None), place(to.path(), None), moving(durability)).await;
        assert_moved(&outcomes, from.path(), to.path(), planted.path());
        assert_eq!(outcomes[1].report.files_unchanged, 2);
    }
}

#[tokio::test]
async fn what_the_destination_keeps_as_it_is_stays_at_the_source() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    fs::create_dir(to.path().join("app")).unwrap();
    fs::write(to.path().join("app/a.log"), b"other").unwrap();
    let options = SyncOptions { keep: Keep::Existing, ..moving(Durability::Batch) };
    let [sent, _] = pair.sync(source(from.path(), None), place(to.path(), None), options).await;
    assert_eq!((sent.report.files_removed, files(from.path())), (3, vec![("app/a.log", b"alpha".to_vec())]));
    let dry = SyncOptions { dry_run: true, ..moving(Durability::Batch) };
    let [sent, _] = pair.sync(source(from.path(), None), place(to.path(), None), dry).await;
    assert_eq!((sent.report.files_removed, files(from.path()).len()), (0, 1));
}

#[tokio::test]
async fn what_a_program_has_open_for_writing_stays() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    let writing = fs::File::options().append(true).open(from.path().join("app/a.log")).unwrap();
    let _reading = fs::File::open(from.path().join("app/b.log")).unwrap();
    let moved = async || {
        pair.sync(source(from.path(), None), place(to.path(), None), moving(Durability::Batch)).await
    };
    for outcome in moved().await {
        const REASON: &str =
            "it is safe at the destination and was not removed: a program has it open for writing";
        assert_eq!(names(&outcome), [("app/a.log".to_owned(), REASON)]);
        assert_eq!(outcome.report.files_removed, 3);
    }
    assert_eq!(files(from.path()), [("app/a.log", b"alpha".to_vec())]);
    drop(writing);
    assert_eq!(moved().await[0].report.files_removed, 1);
    assert_eq!((files(from.path()), files(to.path()).len()), (vec![], 4));
}

#[tokio::test]
async fn a_file_of_two_names_goes_with_both() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    for name in ["second", "app/third"] {
        fs::hard_link(from.path().join("app/a.log"), from.path().join(name)).unwrap();
    }
    let late = Timestamp { seconds: i64::MAX, nanoseconds: 0 };
    let source = source(from.path(), None).opened_at(late);
    let [sent, received] = pair.sync(source, place(to.path(), None), moving(Durability::Batch)).await;
    assert!(names(&sent).is_empty() && names(&received).is_empty(), "{sent:?}");
    assert_eq!((sent.report.files_removed, files(from.path())), (6, vec![]));
}

/// Does something right before the destination's first barrier: everything small was read and sent by then, and nothing is safe.
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Gate for Meanwhile {
    fn pass(&self, op: DiskOp, _name: &[u8]) -> io::Result<()> {
        if op == DiskOp::SyncFileSystem
            && let Some(act) = self.0.lock().unwrap().take()
        {
            act();
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_file_that_is_changed_between_sending_and_receipt_stays_and_is_named() {
    let pair = Pair::connect().await;
    let write = |path: PathBuf| {
        // The same size and the old time: nothing but the content tells, and the time of the change.
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, b"ALPHA").unwrap();
        fs::File::open(&path).unwrap().set_modified(mtime).unwrap();
    };
    let append = |path: PathBuf| fs::write(path, b"alpha and more").unwrap();
    let replace = |path: PathBuf| {
        fs::write(path.with_extension("new"), b"alpha").unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    let mode = |path: PathBuf| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let link = |path: PathBuf| {
        fs::remove_file(&path).unwrap();
        symlink("../large.log", path).unwrap();
    };
    let acts: [fn(PathBuf); 5] = [write, append, replace, mode, link];
    for (number, act) in acts.into_iter().enumerate() {
        for opened_at in [None, Some(Timestamp { seconds: i64::MAX, nanoseconds: 0 })] {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            plant(from.path());
            let path = from.path().join("app/a.log");
            let gate = Arc::new(Meanwhile(Mutex::new(Some(Box::new({
                let path = path.clone();
                move || act(path)
            })))));
            let mut source = source(from.path(), None);
            if let Some(now) = opened_at {
                source = source.opened_at(now);
            }
            let outcomes = pair.sync(source, place(to.path(), Some(gate)), moving(Durability::Batch)).await;
            for outcome in &outcomes {
                assert!(outcome.error.is_none(), "{outcome:?}");
                let told = names(outcome);
                let [(name, reason)] = told.as_slice() else { panic!("{number}: {told:?}") };
                assert!(name == "app/a.log" && reason.contains("has changed since"), "{number}: {told:?}");
                assert_eq!(outcome.report.files_removed, 3);
            }
            assert!(path.symlink_metadata().is_ok(), "{number}");
            assert_eq!(fs::read(to.path().join("app/a.log")).unwrap(), b"alpha");
        }
    }
}

/// Fails the changes from `first` to `last`, counted from 0.
#[derive(Debug)]
struct Faults {
    failing: std::ops::Range<usize>,
    seen: Mutex<usize>,
}

impl Faults {
    fn new(failing: std::ops::Range<usize>) -> Arc<Self> {
        Arc::new(Self { failing, seen: Mutex::default() })
    }
}

impl Gate for Faults {
    fn pass(&self, _op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        *seen += 1;
        if self.failing.contains(&(*seen - 1)) { Err(Errno::IO.into()) } else { Ok(()) }
    }
}

/// Every file is whole at one of the sides at least.
fn assert_nothing_is_lost(from: &Path, to: &Path, planted: &Path, context: &str) {
    let (left, arrived) = (files(from), files(to));
    for file in files(planted) {
        assert!(left.contains(&file) || arrived.contains(&file), "{} is lost: {context}", file.0);
    }
}

#[tokio::test]
async fn whatever_fails_or_dies_at_either_side_no_file_is_lost() {
    let pair = Pair::connect().await;
    let planted = tempfile::tempdir().unwrap();
    plant(planted.path());
    for durability in [Durability::Batch, Durability::File] {
        let count = {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            plant(from.path());
            let gate = Faults::new(0..0);
            pair.sync(source(from.path(), None), place(to.path(), Some(gate.clone())), moving(durability))
                .await;
            *gate.seen.lock().unwrap()
        };
        for fault in 0..count {
            for failing in [fault..fault + 1, fault..usize::MAX] {
                let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
                plant(from.path());
                let gate = Faults::new(failing.clone());
                let place_ = place(to.path(), Some(gate));
                pair.sync(source(from.path(), None), place_, moving(durability)).await;
                assert_nothing_is_lost(from.path(), to.path(), planted.path(), &format!("{failing:?}"));
                let [again, _] =
                    pair.sync(source(from.path(), None), place(to.path(), None), moving(durability)).await;
                assert!(again.error.is_none() && names(&again).is_empty(), "{failing:?} {again:?}");
                assert_eq!((files(from.path()), files(to.path())), (vec![], files(planted.path())));
            }
        }
    }
    for fault in 0..FILES.len() {
        for failing in [fault..fault + 1, fault..usize::MAX] {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            plant(from.path());
            let gate = Faults::new(failing.clone());
            let source_ = Source::open(gated(from.path(), Some(gate)), RelPath::root(), None).unwrap();
            let [sent, received] =
                pair.sync(source_, place(to.path(), None), moving(Durability::Batch)).await;
            assert_nothing_is_lost(from.path(), to.path(), planted.path(), &format!("{failing:?}"));
            let left = files(from.path()).len();
            assert_eq!((names(&sent).len(), names(&received).len()), (left, left), "{sent:?}");
            assert!(names(&sent)[0].1.contains("cannot be removed"), "{sent:?}");
        }
    }
}

#[tokio::test]
async fn a_single_file_moves() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    let path = RelPath::parse(b"app/a.log").unwrap();
    let source = Source::open(gated(from.path(), None), path, None).unwrap();
    let [sent, _] = pair.sync(source, place(to.path(), None), moving(Durability::Batch)).await;
    assert_eq!((sent.report.files_removed, files(from.path()).len()), (1, 3));
    assert_eq!(fs::read(to.path().join("a.log")).unwrap(), b"alpha");
}
