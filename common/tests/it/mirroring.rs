//! `--delete`: what only the destination has goes, and nothing else, whatever the source, the disk and other programs do.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rustix::io::Errno;
use swarmwire_common::{
    entry::{Kind, Metadata, SpecialKind, Timestamp},
    limits::{CONTROL_FRAME_BYTES_MAX, DELETED_DEPTH_MAX},
    path::RelPath,
    root::{
        Root,
        gate::{DiskOp, Gate},
    },
    sync::{Destination, Outcome, Router, Tally, receive},
    wire::{
        status::Status,
        sync::{Deletion, Durability, ListingEntry, SourceMessage, SyncOptions},
    },
};

use crate::{
    pair::Pair,
    sync::{assert_same, destination, options, source},
};

pub(crate) fn deleting(delete: Deletion) -> SyncOptions {
    SyncOptions { delete, ..options(Durability::Batch) }
}

/// A source's tree: two files, one of them in a directory, and an empty directory.
pub(crate) fn plant(top: &Path) {
    fs::create_dir_all(top.join("app")).unwrap();
    fs::create_dir_all(top.join("empty")).unwrap();
    fs::write(top.join("app/a.log"), b"alpha").unwrap();
    fs::write(top.join("top.log"), b"top").unwrap();
}

/// Puts beside it what the source does not have. Gives how many entries that is.
fn clutter(top: &Path) -> u64 {
    fs::create_dir_all(top.join("app/old/deep/er")).unwrap();
    fs::create_dir_all(top.join("empty")).unwrap();
    fs::write(top.join("app/old/deep/er/file"), b"x").unwrap();
    fs::write(top.join("app/a.log.1"), b"x").unwrap();
    fs::write(top.join("empty/not"), b"x").unwrap();
    symlink("/etc", top.join("app/link")).unwrap();
    fs::write(top.join("0"), b"x").unwrap();
    8
}

pub(crate) fn names(outcome: &Outcome) -> Vec<(String, &str)> {
    outcome.report.failed.iter().map(|failure| (failure.path.to_string(), failure.reason.as_str())).collect()
}

#[tokio::test]
async fn what_only_the_destination_has_is_removed_and_both_sides_count_it() {
    let pair = Pair::connect().await;
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(from.path());
        let below = to.path().join("logs");
        let extraneous = clutter(&below);
        fs::write(to.path().join("beside"), b"not below what is synced").unwrap();
        let options = SyncOptions { delete: Deletion::All, ..options(durability) };
        for expected in [extraneous, 0] {
            let outcomes =
                pair.sync(source(from.path(), Some("logs")), destination(to.path(), ""), options).await;
            for outcome in &outcomes {
                assert!(outcome.error.is_none() && names(outcome).is_empty(), "{outcome:?}");
                assert_eq!(outcome.report.entries_deleted, expected);
            }
            assert_same(from.path(), &below);
            assert!(to.path().join("beside").exists());
        }
    }
}

#[tokio::test]
async fn without_being_asked_nothing_is_removed() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    clutter(to.path());
    pair.sync(source(from.path(), None), destination(to.path(), ""), options(Durability::Batch)).await;
    assert!(to.path().join("app/old/deep/er/file").exists() && to.path().join("app/link").is_symlink());
}

#[tokio::test]
async fn what_the_source_has_and_does_not_sync_and_what_is_reserved_stays() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    rustix::fs::mkfifoat(rustix::fs::CWD, from.path().join("app/pipe"), 0o600.into()).unwrap();
    for kept in ["app/pipe", "app/.swarmwire-notes"] {
        fs::create_dir_all(to.path().join("app")).unwrap();
        fs::write(to.path().join(kept), b"x").unwrap();
    }
    let [sent, received] =
        pair.sync(source(from.path(), None), destination(to.path(), ""), deleting(Deletion::All)).await;
    assert_eq!((sent.report.entries_deleted, received.report.entries_deleted), (0, 0));
    assert!(to.path().join("app/pipe").exists() && to.path().join("app/.swarmwire-notes").exists());
}

#[tokio::test]
async fn no_more_is_removed_than_the_limit_and_the_rest_is_told() {
    let pair = Pair::connect().await;
    for limit in [0, 1, 3, 7, 8] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(from.path());
        let extraneous = clutter(to.path());
        let options = deleting(Deletion::AtMost(limit));
        let outcomes = pair.sync(source(from.path(), None), destination(to.path(), ""), options).await;
        for outcome in &outcomes {
            assert!(outcome.error.is_none(), "{outcome:?}");
            assert_eq!(outcome.report.entries_deleted, limit);
            let left = extraneous - limit;
            let told = format!(
                "{left} entries that the source does not have were left, because no more may be deleted"
            );
            let expected = if left == 0 { vec![] } else { vec![(".".to_owned(), told.as_str())] };
            assert_eq!(names(outcome), expected);
        }
        for kept in ["app/a.log", "top.log", "empty"] {
            assert!(to.path().join(kept).exists(), "{kept} with {limit}");
        }
    }
}

#[tokio::test]
async fn what_is_in_the_way_of_another_type_is_replaced_but_not_the_top() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    symlink("a.log", from.path().join("app/current")).unwrap();
    fs::create_dir_all(to.path().join("app/a.log/full")).unwrap();
    fs::create_dir_all(to.path().join("app/current")).unwrap();
    fs::write(to.path().join("empty"), b"a file").unwrap();
    for durability in [Durability::Batch, Durability::None] {
        let options = SyncOptions { delete: Deletion::All, ..options(durability) };
        let [sent, _] = pair.sync(source(from.path(), None), destination(to.path(), ""), options).await;
        assert!(sent.error.is_none() && names(&sent).is_empty(), "{sent:?}");
        assert_same(from.path(), to.path());
        fs::remove_file(to.path().join("top.log")).unwrap();
        fs::create_dir_all(to.path().join("top.log/full")).unwrap();
    }

    // Neither a file nor a directory takes the place of what somebody has typed as the destination.
    let file = Source::open_file(&from);
    let [sent, _] = pair.sync(file, destination(to.path(), ""), deleting(Deletion::All)).await;
    assert_eq!(names(&sent), [(".".to_owned(), "a directory is in the way of the file")]);
    assert!(to.path().join("top.log/full").exists() && to.path().join("app/current").is_symlink());
}

/// `top.log` of a planted tree, by itself.
struct Source;

impl Source {
    fn open_file(from: &tempfile::TempDir) -> swarmwire_common::sync::Source {
        let root = Arc::new(Root::open(from.path()).unwrap());
        let path = RelPath::parse(b"top.log").unwrap();
        swarmwire_common::sync::Source::open(root, path, None).unwrap()
    }
}

#[tokio::test]
async fn a_single_file_removes_nothing() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    clutter(to.path());
    let [sent, _] =
        pair.sync(Source::open_file(&from), destination(to.path(), ""), deleting(Deletion::All)).await;
    assert_eq!((sent.report.entries_deleted, sent.report.files_sent), (0, 1));
    assert!(to.path().join("0").exists());
}

#[tokio::test]
async fn what_is_nested_too_deeply_is_left_and_named() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    for (top, levels) in [("just", DELETED_DEPTH_MAX), ("over", DELETED_DEPTH_MAX + 1)] {
        fs::create_dir_all(to.path().join(top).join(vec!["d"; levels - 1].join("/"))).unwrap();
    }
    let [sent, _] =
        pair.sync(source(from.path(), None), destination(to.path(), ""), deleting(Deletion::All)).await;
    let [(_, reason)] = names(&sent)[..] else { panic!("{sent:?}") };
    assert_eq!(reason, "cannot be deleted: it is nested too deeply");
    assert!(!to.path().join("just").exists() && to.path().join("over").exists());
}

fn metadata() -> Metadata {
    Metadata { mode: 0o755, mtime: Timestamp { seconds: 1, nanoseconds: 2 } }
}

fn top() -> SourceMessage {
    SourceMessage::Top { name: vec![], entry: Kind::Directory, metadata: metadata(), extra: None }
}

fn directories(parent: u32, names: &[&str]) -> SourceMessage {
    let entry = |name: &&str| ListingEntry {
        name: name.as_bytes().to_vec(),
        kind: Kind::Directory,
        metadata: metadata(),
        extra: None,
    };
    SourceMessage::Listing { directory: parent, entries: names.iter().map(entry).collect() }
}

fn end(entries: u32) -> SourceMessage {
    SourceMessage::ListingEnd { entries, bytes: 0 }
}

/// The engine as destination at `to`, told to delete, against a source that says `messages` and then waits.
async fn told_by(to: &Path, messages: &[SourceMessage]) -> Outcome {
    let pair = Pair::connect().await;
    let [mut theirs, ours] = pair.channel().await;
    let router = Router::new();
    let link = pair.gateway_link(&router, ours);
    let telling = async {
        for message in messages {
            theirs.send.send(message).await.unwrap();
        }
        if !messages.iter().any(|message| matches!(message, SourceMessage::ListingEnd { .. })) {
            theirs.send.finish();
        }
        while let Ok(Some(_)) = theirs.recv.try_recv_bytes(CONTROL_FRAME_BYTES_MAX).await {}
        theirs.send.finish();
    };
    let receiving = receive(link, destination(to, ""), deleting(Deletion::All), Arc::new(Tally::default()));
    let both = async { tokio::join!(receiving, telling).0 };
    tokio::select! {
        outcome = both => outcome,
        () = router.run(pair.gateway.clone()) => panic!("the connection ended"),
    }
}

#[tokio::test]
async fn nothing_is_removed_after_a_listing_that_is_not_complete() {
    let failed = |path: &str| SourceMessage::Failed {
        index: None,
        path: path.as_bytes().to_vec(),
        reason: "no permission".to_owned(),
    };
    let aborted = SourceMessage::Aborted { status: Status::Unavailable.into(), reason: String::new() };
    for messages in [
        vec![top(), directories(0, &["app", "empty"]), failed("app"), end(3)],
        vec![top(), directories(0, &["app", "empty"]), failed("gone/missing"), end(3)],
        vec![top(), failed(""), end(1)],
        vec![top()],
        vec![top(), directories(0, &["app", "empty"])],
        vec![top(), directories(0, &["app"]), aborted],
        vec![top(), directories(0, &["app"]), end(3)],
        vec![top(), directories(0, &["app"]), end(1)],
        vec![top(), directories(0, &["app"]), directories(0, &["app"]), end(3)],
    ] {
        let to = tempfile::tempdir().unwrap();
        clutter(to.path());
        let outcome = told_by(to.path(), &messages).await;
        let told =
            outcome.report.failed.iter().any(|failure| failure.reason.starts_with("nothing was deleted"));
        assert!(told || outcome.error.is_some(), "{messages:?}: {outcome:?}");
        assert_eq!(outcome.report.entries_deleted, 0, "{messages:?}");
        for kept in ["app/old/deep/er/file", "app/a.log.1", "empty/not", "0"] {
            assert!(to.path().join(kept).exists(), "{kept} after {messages:?}");
        }
    }
}

#[tokio::test]
async fn a_listing_removes_nothing_beyond_the_directories_that_it_names() {
    let base = tempfile::tempdir().unwrap();
    let (to, outside) = (base.path().join("to"), base.path().join("outside"));
    fs::create_dir_all(to.join("app/inner")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("kept"), b"x").unwrap();
    symlink(&outside, to.join("way out")).unwrap();
    symlink(&outside, to.join("app/way out")).unwrap();
    // It lists the link as a directory, and says that there is nothing in it.
    let messages = [top(), directories(0, &["app", "way out"]), end(3)];
    let outcome = told_by(&to, &messages).await;
    assert!(outcome.error.is_none(), "{outcome:?}");
    assert!(outside.join("kept").exists());
    assert!(to.join("way out").is_dir() && !to.join("way out").is_symlink());
    assert_eq!(fs::read_dir(to.join("app")).unwrap().count(), 0, "a link is removed as a link");

    // More devices than can be remembered cannot be spared one by one.
    fs::write(to.join("app/tty"), b"x").unwrap();
    let mut messages = vec![top(), directories(0, &["app", "way out"])];
    for number in 0..=swarmwire_common::limits::NAMED_OUTCOMES_MAX {
        let path = format!("app/{number}").into_bytes();
        messages.push(SourceMessage::Skipped { path, kind: SpecialKind::Device });
    }
    messages.push(end(3));
    let outcome = told_by(&to, &messages).await;
    assert_eq!(names(&outcome).len(), 1, "{:?}", outcome.error);
    assert!(to.join("app/tty").exists());
}

/// Counts the changes and fails those in `failing`.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) failing: std::ops::Range<usize>,
    pub(crate) seen: Mutex<usize>,
}

impl Gate for Faults {
    fn pass(&self, _op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        *seen += 1;
        if self.failing.contains(&(*seen - 1)) { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

pub(crate) async fn mirror_with(pair: &Pair, from: &Path, to: &Path, gate: Arc<dyn Gate>) -> Outcome {
    let root = Arc::new(Root::open_gated(to, Some(gate)).unwrap());
    let place = Destination::open(root, RelPath::root(), true, true).unwrap();
    let [_, received] = pair.sync(source(from, None), place, deleting(Deletion::All)).await;
    received
}

#[tokio::test]
async fn any_call_may_fail_or_be_the_last_and_nothing_wrong_is_removed() {
    let pair = Pair::connect().await;
    let from = tempfile::tempdir().unwrap();
    plant(from.path());
    let fill = |to: &Path| {
        plant(to);
        clutter(to);
        fs::write(to.join("top.log"), b"older").unwrap();
        fs::create_dir(to.join("app/old/locked")).unwrap();
    };
    let mirror = async |to: &Path, failing| {
        let gate = Arc::new(Faults { failing, seen: Mutex::default() });
        let outcome = mirror_with(&pair, from.path(), to, gate.clone()).await;
        let seen = *gate.seen.lock().unwrap();
        (seen, outcome)
    };
    let clean = tempfile::tempdir().unwrap();
    fill(clean.path());
    let calls = mirror(clean.path(), 0..0).await.0;
    assert_same(from.path(), clean.path());
    for fault in 0..calls {
        for failing in [fault..fault + 1, fault..usize::MAX] {
            let to = tempfile::tempdir().unwrap();
            fill(to.path());
            mirror(to.path(), failing.clone()).await;
            for kept in ["app", "empty", "app/a.log", "top.log"] {
                assert!(to.path().join(kept).exists(), "{kept} is gone after {failing:?}");
            }
            assert_eq!(fs::read(to.path().join("app/a.log")).unwrap(), b"alpha");

            let (_, again) = mirror(to.path(), 0..0).await;
            assert!(again.error.is_none() && names(&again).is_empty(), "{failing:?}: {again:?}");
            assert_same(from.path(), to.path());
        }
    }
}

/// Something that happens right before the first removal of this name.
#[derive(Debug)]
struct Swap {
    at: &'static [u8],
    directories: Mutex<Vec<PathBuf>>,
    aside: PathBuf,
    target: PathBuf,
}

impl Gate for Swap {
    fn pass(&self, op: DiskOp, name: &[u8]) -> io::Result<()> {
        if op == DiskOp::Remove && name == self.at {
            for (number, path) in self.directories.lock().unwrap().drain(..).enumerate() {
                fs::rename(&path, self.aside.join(number.to_string())).unwrap();
                symlink(&self.target, &path).unwrap();
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_directory_that_is_swapped_for_a_link_while_entries_are_removed_leads_nowhere() {
    let pair = Pair::connect().await;
    let base = tempfile::tempdir().unwrap();
    let path = |name: &str| base.path().join(name);
    for name in ["from/listed", "to/listed", "to/z extraneous", "aside", "victim"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    for name in ["to/0 first", "to/listed/kept", "to/z extraneous/kept", "victim/kept", "victim/other"] {
        fs::write(path(name), b"x").unwrap();
    }
    let gate = Swap {
        at: b"0 first",
        directories: Mutex::new(vec![path("to/listed"), path("to/z extraneous")]),
        aside: path("aside"),
        target: path("victim"),
    };
    let outcome = mirror_with(&pair, &path("from"), &path("to"), Arc::new(gate)).await;
    assert!(outcome.error.is_none(), "{outcome:?}");
    assert!(path("victim/kept").exists() && path("victim/other").exists());
    assert!(path("aside/0/kept").exists() && path("aside/1/kept").exists());
    assert!(!path("to/0 first").exists() && !path("to/z extraneous").is_symlink());
    assert!(names(&outcome).iter().any(|(name, _)| name == "listed"), "{outcome:?}");
}
