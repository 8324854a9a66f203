//! The disk fails or the process dies at any call: nothing wrong ever has a final name, and the next sync completes.
//!
//! A gate in front of the destination's disk records every change, and lets the n-th, or all from the n-th on, fail.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
};

use rustix::io::Errno;
use swarmwire_common::{
    path::RelPath,
    root::{
        Root,
        gate::{DiskOp, Gate},
    },
    sync::{Destination, Outcome},
    wire::sync::{Durability, SyncOptions},
};

use crate::{
    pair::Pair,
    sync::{assert_same, options, source},
};

/// Counts the changes; fails those in `failing`.
#[derive(Debug)]
struct Faults {
    failing: std::ops::Range<usize>,
    seen: Mutex<Vec<DiskOp>>,
}

impl Gate for Faults {
    fn pass(&self, op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.push(op);
        if self.failing.contains(&(seen.len() - 1)) { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

/// Syncs `from` to `to` with some changes failing; gives the changes that were tried and the destination's outcome.
async fn sync_with(
    pair: &Pair,
    from: &Path,
    to: &Path,
    failing: std::ops::Range<usize>,
) -> (Vec<DiskOp>, Outcome) {
    let gate = Arc::new(Faults { failing, seen: Mutex::default() });
    let root = Arc::new(Root::open_gated(to, Some(gate.clone())).unwrap());
    let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
    let [_, received] = pair.sync(source(from, None), destination, options(Durability::Batch)).await;
    let seen = gate.seen.lock().unwrap().clone();
    (seen, received)
}

/// A small tree, so that every call of its sync can be failed in turn.
fn plant_small(top: &Path) {
    fs::create_dir(top.join("app")).unwrap();
    fs::write(top.join("app/a.log"), b"alpha").unwrap();
    fs::write(top.join("app/b.log"), b"beta").unwrap();
    fs::write(top.join("large.log"), vec![7; 2 * 1024 * 1024 + 3]).unwrap();
    std::os::unix::fs::symlink("app", top.join("link")).unwrap();
}

/// No file under a final name differs from the source's, whatever happened.
fn assert_nothing_wrong_is_visible(from: &Path, to: &Path) {
    for name in ["app/a.log", "app/b.log", "large.log"] {
        if let Ok(content) = fs::read(to.join(name)) {
            assert!(content == fs::read(from.join(name)).unwrap(), "{name} is wrong");
        }
    }
}

#[tokio::test]
async fn content_is_durable_before_its_name_and_both_before_the_receipt() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("a.log"), b"alpha").unwrap();
    let (seen, received) = sync_with(&pair, from.path(), to.path(), 0..0).await;
    assert_eq!(received.report.durable, 1);
    assert_eq!(
        seen,
        [
            DiskOp::CreateDir, // the staging place
            DiskOp::CreateFile,
            DiskOp::Write,
            DiskOp::SetMetadata,
            DiskOp::SyncFileSystem, // the barrier
            DiskOp::Rename,
            DiskOp::SyncDir,
            DiskOp::Remove,      // the staging place
            DiskOp::SetMetadata, // of the top
            DiskOp::SyncFileSystem,
        ]
    );

    for (fault, visible) in [(4, false), (5, false), (6, true)] {
        let to = tempfile::tempdir().unwrap();
        let (_, received) = sync_with(&pair, from.path(), to.path(), fault..fault + 1).await;
        assert_eq!(received.report.durable, 0, "nothing is durable when call {fault} fails");
        assert_eq!(to.path().join("a.log").exists(), visible, "after call {fault}");
        assert!(received.report.entries_failed == 1, "{:?}", received.report);
    }
}

#[tokio::test]
async fn any_single_call_may_fail_and_the_rest_is_done_or_named() {
    let pair = Pair::connect().await;
    let from = tempfile::tempdir().unwrap();
    plant_small(from.path());
    let clean = tempfile::tempdir().unwrap();
    let calls = sync_with(&pair, from.path(), clean.path(), 0..0).await.0.len();
    assert_same(from.path(), clean.path());
    for fault in 0..calls {
        let to = tempfile::tempdir().unwrap();
        let (seen, received) = sync_with(&pair, from.path(), to.path(), fault..fault + 1).await;
        let told = received.error.is_some() || received.report.entries_failed > 0;
        // What is left in the staging place is the next sync's business, and changes nothing that anybody sees.
        assert!(
            told || seen.get(fault) == Some(&DiskOp::Remove),
            "a failed {:?} went unnoticed",
            seen.get(fault)
        );
        assert_nothing_wrong_is_visible(from.path(), to.path());

        let (_, again) = sync_with(&pair, from.path(), to.path(), 0..0).await;
        assert!(again.error.is_none() && again.report.entries_failed == 0, "{fault}: {again:?}");
        assert_same(from.path(), to.path());
    }
}

#[tokio::test]
async fn a_destination_that_dies_at_any_call_is_completed_by_the_next_sync() {
    let pair = Pair::connect().await;
    let from = tempfile::tempdir().unwrap();
    plant_small(from.path());
    let clean = tempfile::tempdir().unwrap();
    let calls = sync_with(&pair, from.path(), clean.path(), 0..0).await.0.len();
    for death in 0..calls {
        let to = tempfile::tempdir().unwrap();
        // Every change from the n-th on fails, the clean-up too: what stays is what a killed process leaves.
        sync_with(&pair, from.path(), to.path(), death..usize::MAX).await;
        assert_nothing_wrong_is_visible(from.path(), to.path());
        let (_, again) = sync_with(&pair, from.path(), to.path(), 0..0).await;
        assert!(again.error.is_none() && again.report.entries_failed == 0, "{death}: {again:?}");
        assert_same(from.path(), to.path());
        let staged = fs::read_dir(to.path())
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(".swarmwire-"));
        assert!(!staged, "a staging place is left after death at call {death}");
    }
}

/// Story: a large file that did not fit kept the disk full to the end of the sync, and all that came after it failed too.
#[tokio::test]
async fn a_large_file_that_does_not_fit_makes_room_at_once() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("large.log"), vec![7; 8 * 1024 * 1024]).unwrap();
    // After the staging place, the file and two of its chunks.
    let (seen, received) = sync_with(&pair, from.path(), to.path(), 4..5).await;
    assert!(received.error.is_none() && received.report.entries_failed == 1, "{received:?}");
    // The file is removed, and then the staging place, which is empty by then.
    assert_eq!(seen.iter().filter(|op| **op == DiskOp::Remove).count(), 2, "{seen:?}");
    let removed = seen.iter().position(|op| *op == DiskOp::Remove).unwrap();
    let writes_after = seen[removed..].iter().filter(|op| **op == DiskOp::Write).count();
    assert!(writes_after <= 1, "only the other thread may have been at it: {seen:?}");
}

/// Something that happens right before the first rename: somebody else writes there.
#[derive(Debug)]
struct Meddler {
    act: Mutex<Option<Act>>,
}

#[derive(Debug)]
struct Act {
    path: std::path::PathBuf,
    content: &'static [u8],
}

impl Gate for Meddler {
    fn pass(&self, op: DiskOp, _name: &[u8]) -> io::Result<()> {
        if op == DiskOp::SyncFileSystem
            && let Some(act) = self.act.lock().unwrap().take()
        {
            fs::write(act.path, act.content).unwrap();
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_somebody_else_put_in_place_since_the_plan_is_not_overwritten() {
    let pair = Pair::connect().await;
    let from = tempfile::tempdir().unwrap();
    fs::write(from.path().join("a.log"), b"from the source").unwrap();
    for before in [None, Some(b"older".as_slice())] {
        let to = tempfile::tempdir().unwrap();
        let path = to.path().join("a.log");
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        let act = Act { path: path.clone(), content: b"from somebody else" };
        let gate = Arc::new(Meddler { act: Mutex::new(Some(act)) });
        let root = Arc::new(Root::open_gated(to.path(), Some(gate)).unwrap());
        let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
        let [_, received] =
            pair.sync(source(from.path(), None), destination, options(Durability::Batch)).await;
        assert!(received.error.is_none(), "{:?}", received.error);
        let [failure] = received.report.failed.as_slice() else { panic!("{:?}", received.report) };
        assert!(failure.reason.contains("something else was put in its place"), "{}", failure.reason);
        assert_eq!(fs::read(&path).unwrap(), b"from somebody else");

        let (_, again) = sync_with(&pair, from.path(), to.path(), 0..0).await;
        assert_eq!((again.report.entries_failed, fs::read(&path).unwrap()), (0, b"from the source".to_vec()));
    }
}

/// A file system whose names are shorter than the source's.
#[derive(Debug)]
struct ShortNames;

impl Gate for ShortNames {
    fn pass(&self, _op: DiskOp, name: &[u8]) -> io::Result<()> {
        if name.len() > 143 { Err(Errno::NAMETOOLONG.into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn names_that_the_file_system_does_not_take_are_told_and_the_rest_arrives() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant_small(from.path());
    let long = |first: &str| format!("{first}{}", "n".repeat(150));
    fs::write(from.path().join(long("a")), b"alpha").unwrap();
    fs::write(from.path().join(long("large")), vec![7; 2 * 1024 * 1024]).unwrap();
    fs::create_dir_all(from.path().join(long("d")).join("inner")).unwrap();
    fs::write(from.path().join(long("d")).join("inner/file"), b"x").unwrap();
    std::os::unix::fs::symlink("app", from.path().join(long("l"))).unwrap();
    for durability in [Durability::Batch, Durability::File, Durability::None] {
        let root = Arc::new(Root::open_gated(to.path(), Some(Arc::new(ShortNames))).unwrap());
        let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
        let [sent, received] = pair.sync(source(from.path(), None), destination, options(durability)).await;
        assert!(sent.error.is_none() && received.error.is_none(), "{sent:?} {received:?}");
        for report in [sent.report, received.report] {
            assert_eq!(report.entries_failed, 6, "{report:?}");
            for (name, reason) in [
                ("a", "cannot be given its name: file name too long"),
                ("large", "cannot be given its name: file name too long"),
                ("d", "the directory cannot be made: file name too long"),
                ("l", "the link cannot be made: file name too long"),
            ] {
                let failure = report.failed.iter().find(|it| it.path.as_bytes() == long(name).as_bytes());
                assert_eq!(failure.unwrap().reason, reason);
            }
            let inside = report.failed.iter().filter(|it| it.reason == "its directory is not in place");
            assert_eq!(inside.count(), 2, "{report:?}");
        }
        assert_nothing_wrong_is_visible(from.path(), to.path());
        assert!(to.path().join("app/b.log").exists() && to.path().join("link").is_symlink());
    }
    let (_, again) = sync_with(&pair, from.path(), to.path(), 0..0).await;
    assert!(again.error.is_none() && again.report.entries_failed == 0, "{again:?}");
    assert_same(from.path(), to.path());
}

/// Does not let files have the name `a`.
#[derive(Debug)]
struct NoSuchName;

impl Gate for NoSuchName {
    fn pass(&self, op: DiskOp, name: &[u8]) -> io::Result<()> {
        if op == DiskOp::Rename && name == b"a" { Err(Errno::NAMETOOLONG.into()) } else { Ok(()) }
    }
}

/// Story: copies of a file that could not have its name here failed with it, in each sync anew.
#[tokio::test]
async fn copies_of_a_file_that_cannot_have_its_name_arrive() {
    let pair = Pair::connect().await;
    for (durability, bytes) in [(Durability::Batch, 20_000), (Durability::File, 3_000_000)] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["a", "b", "c"] {
            fs::write(from.path().join(name), vec![7; bytes]).unwrap();
        }
        let root = Arc::new(Root::open_gated(to.path(), Some(Arc::new(NoSuchName))).unwrap());
        let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
        let options = SyncOptions { jobs: 1, ..options(durability) };
        let [sent, received] = pair.sync(source(from.path(), None), destination, options).await;
        assert!(received.error.is_none(), "{received:?}");
        assert_eq!((received.report.entries_failed, &received.report.failed), (1, &sent.report.failed));
        assert_eq!(received.report.failed[0].path.as_bytes(), b"a");
        for name in ["b", "c"] {
            assert_eq!(fs::read(to.path().join(name)).unwrap(), vec![7; bytes], "{name}");
        }
        let names = fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.count(), 2, "nothing is left of what has no name");
    }
}
