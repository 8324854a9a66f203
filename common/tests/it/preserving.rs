//! What is kept of entries where it is asked for: hard links, holes, extended attributes, owners and special bits; what it costs; and
//! what becomes of it where it cannot be kept.

mod attributes;
mod hard_links;
mod sparse;

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::{Arc, Mutex},
};

use rustix::{fs::XattrFlags, io::Errno};
use swarmwire_common::{
    entry::{Attributes, Kind, Owner, Xattr},
    limits::CHUNK_BYTES,
    path::RelPath,
    root::{
        Root,
        attributes::Namespaces,
        gate::{DiskOp, Gate},
    },
    sync::{Destination, Outcome, SyncError, events},
    wire::{
        change::Change,
        data::{FileAttempt, PackFile, Patch, Segment, UnitHeader},
        extra::{Extra, Preserve},
        sync::{Compress, Durability, Keep, ListingEntry, SourceMessage, SyncOptions},
    },
};

use crate::{
    pair::Pair,
    peers::{Lie, end, file, lied_to_with, listing, plain, top},
    sync::{assert_same, destination, options, source},
};

const HARD_LINKS: Preserve = Preserve { hard_links: true, ..NOTHING };
const SPARSE: Preserve = Preserve { sparse: true, ..NOTHING };
const XATTRS: Preserve = Preserve { xattrs: true, ..NOTHING };
const NOTHING: Preserve =
    Preserve { owner: false, xattrs: false, hard_links: false, sparse: false, special_bits: false };
const EVERYTHING: Preserve =
    Preserve { owner: true, xattrs: true, hard_links: true, sparse: true, special_bits: true };

fn keeping(preserve: Preserve) -> SyncOptions {
    SyncOptions { preserve, ..options(Durability::Batch) }
}

/// Syncs `from` to `to`, where nothing is privileged that this process may not do; gives the destination's outcome.
async fn synced(from: &Path, to: &Path, options: SyncOptions) -> Outcome {
    let pair = Pair::connect().await;
    let source = source(from, None).carrying(Namespaces::permitted());
    let destination = destination(to, "").carrying(Namespaces::permitted());
    let [sent, received] = pair.sync(source, destination, options).await;
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    assert_eq!(sent.report.entries_failed, received.report.entries_failed, "both sides count alike");
    assert_eq!(sent.report.files_total, received.report.files_total);
    assert_eq!(sent.report.bytes_total, received.report.bytes_total);
    received
}

/// As [`synced`], with no failure.
async fn kept(from: &Path, to: &Path, options: SyncOptions) -> Outcome {
    let outcome = synced(from, to, options).await;
    assert_eq!(outcome.report.entries_failed, 0, "{:?}", outcome.report.failed);
    outcome
}

/// A second sync of the same has nothing to do, and does nothing.
async fn assert_settled(from: &Path, to: &Path, options: SyncOptions) {
    let pair = Pair::connect().await;
    let gate = Arc::new(Recorder::default());
    let root = Arc::new(Root::open_gated(to, Some(gate.clone())).unwrap());
    let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
    let source = source(from, None).carrying(Namespaces::permitted());
    let [_, received] = pair.sync(source, destination.carrying(Namespaces::permitted()), options).await;
    assert!(received.error.is_none(), "{:?}", received.error);
    let report = received.report;
    assert_eq!(report.entries_failed, 0, "{:?}", report.failed);
    assert_eq!((report.files_unchanged, report.files_sent), (report.files_total, 0));
    assert_eq!(*gate.seen.lock().unwrap(), [], "nothing is written");
}

/// Sees every change, and refuses those of one kind.
#[derive(Debug, Default)]
struct Recorder {
    seen: Mutex<Vec<DiskOp>>,
    refused: Option<(DiskOp, Errno)>,
}

impl Gate for Recorder {
    fn pass(&self, op: DiskOp, _name: &[u8]) -> io::Result<()> {
        self.seen.lock().unwrap().push(op);
        match self.refused {
            Some((refused, errno)) if refused == op => Err(errno.into()),
            _ => Ok(()),
        }
    }
}

/// Syncs to a disk that refuses one kind of change.
async fn refused(from: &Path, to: &Path, preserve: Preserve, refused: (DiskOp, Errno)) -> Outcome {
    let pair = Pair::connect().await;
    let gate = Recorder { refused: Some(refused), ..Recorder::default() };
    let root = Arc::new(Root::open_gated(to, Some(Arc::new(gate))).unwrap());
    let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
    let [sent, received] = pair.sync(source(from, None), destination, keeping(preserve)).await;
    assert!(received.error.is_none(), "{:?}", received.error);
    assert_eq!(sent.report.entries_failed, received.report.entries_failed);
    received
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

fn set_xattr(path: &Path, name: &str, value: &str) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path, name, value.as_bytes(), XattrFlags::empty())
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 70_000];
    let size = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(size);
    Some(value)
}

/// Whether files here have extended attributes of this kind; says so where they have not.
fn can_set(top: &Path, name: &str) -> bool {
    let probe = top.join("probe");
    fs::write(&probe, b"").unwrap();
    let can = set_xattr(&probe, name, "1").is_ok();
    fs::remove_file(&probe).unwrap();
    if !can {
        skipped(&format!("`{name}` cannot be set here"));
    }
    can
}

#[expect(clippy::print_stderr, reason = "what is not tested should be seen")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped("only root may do this");
    }
    is_root
}

#[tokio::test]
async fn a_listing_that_tells_more_than_it_may_ends_the_sync() {
    let with =
        |name: &[u8], kind: Kind, extra: Extra| ListingEntry { kind, extra: Some(extra), ..file(name, 1) };
    let link = |name: &[u8], first| {
        with(name, Kind::File { size: 1 }, Extra { link: Some(first), ..Extra::default() })
    };
    let attributed = |owner: Option<Owner>, names: &[&str]| {
        let xattr = |name: &&str| Xattr { name: name.as_bytes().to_vec(), value: vec![] };
        let xattrs = (!names.is_empty()).then(|| names.iter().map(xattr).collect());
        let attributes = Attributes { owner, xattrs };
        with(b"b", Kind::File { size: 0 }, Extra { link: None, attributes })
    };
    let owner = Some(Owner { user: 0, group: 0 });
    let a = || file(b"a", 1);
    for (what, preserve, entries) in [
        ("a link unasked", NOTHING, vec![a(), link(b"b", 1)]),
        ("an owner unasked", XATTRS, vec![attributed(owner, &[])]),
        ("attributes unasked", HARD_LINKS, vec![attributed(None, &["user.a"])]),
        ("attributes out of order", XATTRS, vec![attributed(None, &["user.b", "user.a"])]),
        ("an attribute without a name", XATTRS, vec![attributed(None, &[""])]),
        ("a link to itself", HARD_LINKS, vec![link(b"a", 1)]),
        ("a link to the top", HARD_LINKS, vec![link(b"a", 0)]),
        ("a link to what comes later", HARD_LINKS, vec![link(b"a", 2), file(b"b", 1)]),
        ("a link to nothing", HARD_LINKS, vec![link(b"a", 1_000_000)]),
        ("a link to a link", HARD_LINKS, vec![a(), link(b"b", 1), link(b"c", 2)]),
        (
            "a directory that is a link",
            HARD_LINKS,
            vec![a(), with(b"b", Kind::Directory, Extra { link: Some(1), ..Extra::default() })],
        ),
    ] {
        let (outcome, names) =
            lied_to_with(keeping(preserve), (vec![top(), listing(0, entries)], vec![])).await;
        assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{what}: {:?}", outcome.error);
        assert!(names.is_empty(), "{what}: {names:?}");
    }
    let SourceMessage::Top { name, entry, metadata, .. } = top() else { unreachable!() };
    let attributes = Attributes { owner, xattrs: None };
    let extra = Some(Extra { link: None, attributes });
    let top = SourceMessage::Top { name, entry, metadata, extra };
    let (outcome, _) = lied_to_with(keeping(NOTHING), (vec![top], vec![])).await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
}

/// A small tree with some of all that can be kept, for failing every call in turn.
fn plant_some_of_everything(top: &Path) {
    fs::create_dir(top.join("d")).unwrap();
    fs::write(top.join("d/a"), "alpha").unwrap();
    fs::hard_link(top.join("d/a"), top.join("d/b")).unwrap();
    fs::hard_link(top.join("d/a"), top.join("c")).unwrap();
    let image = File::create(top.join("image")).unwrap();
    image.set_len(2 * CHUNK_BYTES + 5).unwrap();
    image.write_all_at(b"data", 1_500_000).unwrap();
    symlink("d", top.join("link")).unwrap();
    set_xattr(&top.join("d/a"), "user.a", "1").unwrap();
    set_xattr(&top.join("d"), "user.d", "2").unwrap();
}

/// Refuses the n-th change, or all from the n-th on.
#[derive(Debug)]
struct RefusesAt {
    failing: std::ops::Range<usize>,
    seen: Mutex<usize>,
}

impl Gate for RefusesAt {
    fn pass(&self, _op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        *seen += 1;
        if self.failing.contains(&(*seen - 1)) { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn any_call_may_fail_and_the_next_sync_puts_it_right() {
    let from = tempfile::tempdir().unwrap();
    if !can_set(from.path(), "user.a") {
        return;
    }
    plant_some_of_everything(from.path());
    let pair = Pair::connect().await;
    let preserve = Preserve { owner: true, ..EVERYTHING };
    let run = async |to: &Path, failing: std::ops::Range<usize>| {
        let gate = Arc::new(RefusesAt { failing, seen: Mutex::new(0) });
        let root = Arc::new(Root::open_gated(to, Some(gate.clone())).unwrap());
        let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
        let [_, received] = pair.sync(source(from.path(), None), destination, keeping(preserve)).await;
        let calls = *gate.seen.lock().unwrap();
        (calls, received)
    };
    let clean = tempfile::tempdir().unwrap();
    let (calls, _) = run(clean.path(), 0..0).await;
    for first in 0..calls {
        for failing in [first..first + 1, first..usize::MAX] {
            let to = tempfile::tempdir().unwrap();
            run(to.path(), failing.clone()).await;
            for name in ["d/a", "d/b", "c", "image"] {
                if let Ok(content) = fs::read(to.path().join(name)) {
                    assert!(content == fs::read(from.path().join(name)).unwrap(), "{name} is wrong");
                }
            }
            let (_, again) = run(to.path(), 0..0).await;
            assert!(again.error.is_none() && again.report.entries_failed == 0, "{failing:?}: {again:?}");
            assert_same(from.path(), to.path());
            assert_eq!(fs::metadata(to.path().join("c")).unwrap().nlink(), 3, "{failing:?}");
            assert_eq!(xattr(&to.path().join("c"), "user.a"), Some(b"1".to_vec()), "{failing:?}");
            assert_eq!(xattr(&to.path().join("d"), "user.d"), Some(b"2".to_vec()), "{failing:?}");
        }
    }
}
