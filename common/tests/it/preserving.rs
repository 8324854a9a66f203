//! What is kept of entries where it is asked for: hard links, holes, extended attributes, owners and special bits; what it costs; and
//! what becomes of it where it cannot be kept.

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
    sync::{Destination, Outcome, SyncError},
    wire::{
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
async fn a_file_with_a_hundred_names_is_sent_once_and_has_them_all() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let content: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 251) as u8).collect();
    fs::create_dir_all(from.join("m/sub")).unwrap();
    fs::write(from.join("m/first"), &content).unwrap();
    for number in 0..99 {
        let name = if number % 2 == 0 { format!("{number}") } else { format!("m/sub/{number}") };
        fs::hard_link(from.join("m/first"), from.join(name)).unwrap();
    }
    fs::write(from.join("alone"), "x").unwrap();
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let to = to.join(format!("{durability:?}"));
        fs::create_dir(&to).unwrap();
        let options = SyncOptions { durability, ..keeping(HARD_LINKS) };
        let report = kept(from, &to, options).await.report;
        assert_eq!((report.files_total, report.files_sent), (101, 101));
        assert_eq!((report.bytes_total, report.bytes_sent), (10_000_001, 10_000_001));
        let durable = if durability == Durability::None { 0 } else { 101 };
        assert_eq!((report.received, report.verified, report.durable), (101, 101, durable));
        assert_same(from, &to);
        assert_eq!(fs::metadata(to.join("m/sub/1")).unwrap().nlink(), 100);
        assert_eq!(inode(&to.join("0")), inode(&to.join("m/first")));
        assert_settled(from, &to, options).await;
    }
    let apart = tempfile::tempdir().unwrap();
    kept(from, apart.path(), keeping(NOTHING)).await;
    assert_eq!(fs::metadata(apart.path().join("0")).unwrap().nlink(), 1, "nobody asked");
}

#[tokio::test]
async fn links_are_put_right_at_the_destination_without_content() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    fs::write(from.join("a"), vec![7; 300_000]).unwrap();
    for name in ["b", "c", "d", "e"] {
        fs::hard_link(from.join("a"), from.join(name)).unwrap();
    }
    kept(from, to, keeping(NOTHING)).await;
    // One that is right, one that is another file, one that is gone, one that is a symlink, and those that are files of their own.
    fs::remove_file(to.join("b")).unwrap();
    fs::hard_link(to.join("a"), to.join("b")).unwrap();
    fs::write(to.join("c"), "something else").unwrap();
    fs::remove_file(to.join("d")).unwrap();
    fs::remove_file(to.join("e")).unwrap();
    symlink("a", to.join("e")).unwrap();
    let report = kept(from, to, keeping(HARD_LINKS)).await.report;
    assert_eq!((report.bytes_sent, report.files_unchanged, report.files_sent), (0, 2, 3));
    assert_same(from, to);
    assert_eq!(fs::metadata(to.join("a")).unwrap().nlink(), 5);

    // The file itself becomes another, and with it all its names.
    fs::write(from.join("c"), "new").unwrap();
    let report = kept(from, to, keeping(HARD_LINKS)).await.report;
    assert_eq!((report.bytes_sent, report.files_sent), (3, 5));
    assert_eq!(fs::metadata(to.join("e")).unwrap().nlink(), 5);
    assert_settled(from, to, keeping(HARD_LINKS)).await;
}

#[tokio::test]
async fn what_is_to_be_left_alone_is_no_file_to_link_to() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    fs::write(from.join("a"), "new").unwrap();
    fs::hard_link(from.join("a"), from.join("b")).unwrap();
    fs::hard_link(from.join("a"), from.join("c")).unwrap();
    fs::write(to.join("a"), "kept").unwrap();
    fs::write(to.join("b"), "kept too").unwrap();
    let options = SyncOptions { keep: Keep::Existing, ..keeping(HARD_LINKS) };
    let report = synced(from, to, options).await.report;
    assert_eq!(fs::read(to.join("a")).unwrap(), b"kept");
    assert_eq!(fs::read(to.join("b")).unwrap(), b"kept too");
    assert!(!to.join("c").exists(), "it would have another content than at the source");
    let failed: Vec<_> = report.failed.iter().map(|failure| failure.path.to_string()).collect();
    assert_eq!(failed, ["b", "c"]);
}

#[tokio::test]
async fn links_fail_by_name_with_their_file_or_where_none_can_be_made() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    fs::write(from.join("a"), "x").unwrap();
    fs::hard_link(from.join("a"), from.join("b")).unwrap();
    let report = refused(from, to, HARD_LINKS, (DiskOp::Rename, Errno::NOSPC)).await.report;
    assert_eq!(report.entries_failed, 2, "{:?}", report.failed);
    assert!(report.failed[1].reason.contains("of which it is another name"), "{:?}", report.failed);
    assert!(!to.join("a").exists() && !to.join("b").exists());

    let report = refused(from, to, HARD_LINKS, (DiskOp::HardLink, Errno::MLINK)).await.report;
    assert_eq!(report.entries_failed, 1, "{:?}", report.failed);
    assert!(report.failed[0].reason.contains("too many links"), "{:?}", report.failed);
    assert_eq!(fs::read(to.join("a")).unwrap(), b"x");
    // A directory in the way stays without `--delete`.
    fs::create_dir(to.join("b")).unwrap();
    let report = synced(from, to, keeping(HARD_LINKS)).await.report;
    assert!(report.failed[0].reason.contains("a directory is in the way"), "{:?}", report.failed);
}

#[tokio::test]
async fn a_gigabyte_of_holes_costs_what_its_data_cost() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let data: Vec<u8> = (0..CHUNK_BYTES).map(|at| (at % 251) as u8 + 1).collect();
    let image = File::create(from.join("image")).unwrap();
    image.set_len(1 << 30).unwrap();
    image.write_all_at(&data, 700_000_001).unwrap();
    File::create(from.join("hole")).unwrap().set_len(5 * CHUNK_BYTES + 3).unwrap();
    File::create(from.join("small hole")).unwrap().set_len(500_000).unwrap();
    fs::write(from.join("zeros"), vec![0; 3_000_000]).unwrap();
    fs::write(from.join("plain"), &data[..10_000]).unwrap();
    for compress in [Compress::Never, Compress::Level(3)] {
        let to = to.join(format!("{compress:?}"));
        fs::create_dir(&to).unwrap();
        let options = SyncOptions { compress, ..keeping(SPARSE) };
        let report = kept(from, &to, options).await.report;
        // The data, and the first 128 KiB of each large file.
        assert!(report.bytes_sent < CHUNK_BYTES + 10_000 + 3 * 131_072 + 20_000, "{}", report.bytes_sent);
        for (name, blocks_max) in [("image", 2 * 2048 + 64), ("hole", 16), ("small hole", 16), ("zeros", 16)]
        {
            let (here, there) = (from.join(name), to.join(name));
            let stat = fs::metadata(&there).unwrap();
            assert_eq!(stat.len(), fs::metadata(&here).unwrap().len());
            assert!(stat.blocks() <= blocks_max, "{name} has {} blocks", stat.blocks());
            let [here, there] = [&here, &there].map(|path| File::open(path).unwrap());
            let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
            for chunk in 0..stat.len().div_ceil(CHUNK_BYTES) {
                let read = here.read_at(&mut left, chunk * CHUNK_BYTES).unwrap();
                assert_eq!(there.read_at(&mut right, chunk * CHUNK_BYTES).unwrap(), read);
                assert!(left[..read] == right[..read], "{name} differs in chunk {chunk}");
            }
        }
        assert_settled(from, &to, options).await;
    }
}

/// Each of many large files is nearly nothing on the wire, which more than any window of bytes holds.
#[tokio::test]
async fn thousands_of_large_holes_do_not_come_to_more_than_may_be_open() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..600 {
        let file = File::create(from.path().join(format!("{number}"))).unwrap();
        file.set_len(2 * CHUNK_BYTES + number).unwrap();
    }
    let report = kept(from.path(), to.path(), SyncOptions { jobs: 8, ..keeping(SPARSE) }).await.report;
    assert_eq!(report.files_sent, 600);
    // Of each the beginning, and what is left at the end of it, which is less than a block.
    assert_eq!(report.bytes_sent, 600 * 131_072 + (0..600).sum::<u64>());
}

#[tokio::test]
async fn a_sparse_file_that_was_changed_stays_sparse() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let data: Vec<u8> = (0..200_000_u32).map(|at| (at % 253) as u8 + 1).collect();
    let image = File::create(from.join("image")).unwrap();
    image.set_len(32 << 20).unwrap();
    image.write_all_at(&data, 9 << 20).unwrap();
    let small = File::create(from.join("small")).unwrap();
    small.set_len(900_000).unwrap();
    small.write_all_at(&data[..5000], 40_960).unwrap();
    kept(from, to, keeping(SPARSE)).await;
    image.write_all_at(&data, 20 << 20).unwrap();
    small.write_all_at(b"another", 600_000).unwrap();
    let report = kept(from, to, keeping(SPARSE)).await.report;
    assert!(report.bytes_sent < 450_000, "{}", report.bytes_sent);
    assert_same(from, to);
    assert!(fs::metadata(to.join("image")).unwrap().blocks() < 1000);
    assert!(fs::metadata(to.join("small")).unwrap().blocks() < 100);
}

#[tokio::test]
async fn zeros_that_nobody_asked_for_or_that_do_not_match_end_the_sync() {
    let wants = |size| vec![top(), listing(0, vec![file(b"a", size)]), end(2)];
    let whole = CHUNK_BYTES as u32;
    let zeros = |size| vec![Segment::Zeros { size }];
    let packed = |segments: Vec<Segment>| {
        let patch = Some(Patch { hash: [1; 32], segments });
        let files = vec![PackFile { index: 1, size: 0, metadata: None, patch }];
        (plain(UnitHeader::Pack { hash: blake3::hash(b"").into(), files }), vec![])
    };
    let chunked = |size: u32, segments: Vec<Segment>| {
        let file = FileAttempt { index: 1, attempt: 0, size: 2 * CHUNK_BYTES };
        (plain(UnitHeader::Chunk { file, number: 0, size, chaining_value: [1; 32], segments }), vec![])
    };
    for (what, lie) in [
        ("another hash, packed", (wants(5000), vec![packed(zeros(5000))])),
        ("another hash, in a chunk", (wants(2 * CHUNK_BYTES), vec![chunked(whole, zeros(whole))])),
        ("more than a small file", (wants(5000), vec![packed(zeros(whole + 1))])),
        ("sizes that overflow", (wants(5000), vec![packed(vec![Segment::Zeros { size: u32::MAX }; 3])])),
        ("a chunk larger than chunks are", (wants(5000), vec![chunked(u32::MAX, zeros(u32::MAX))])),
        ("a copy of nothing", (wants(5000), vec![packed(vec![Segment::Copy { offset: 0, size: 1 }])])),
    ] {
        for preserve in [NOTHING, SPARSE] {
            let lie: Lie = (lie.0.clone(), lie.1.clone());
            let (outcome, names) = lied_to_with(keeping(preserve), lie).await;
            assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{what}: {:?}", outcome.error);
            assert!(names.is_empty(), "{what}: {names:?}");
        }
    }
    // What would be right, had it been asked for.
    let hash = blake3::hash(&[0; 5000]).into();
    let patch = Some(Patch { hash, segments: zeros(5000) });
    let files = vec![PackFile { index: 1, size: 0, metadata: None, patch }];
    let unit = || (plain(UnitHeader::Pack { hash: blake3::hash(b"").into(), files: files.clone() }), vec![]);
    let (outcome, _) = lied_to_with(keeping(NOTHING), (wants(5000), vec![unit()])).await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
    let (outcome, names) = lied_to_with(keeping(SPARSE), (wants(5000), vec![unit()])).await;
    assert!(outcome.error.is_none() && names == ["a"], "{:?} {names:?}", outcome.error);
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

fn plant_attributed(top: &Path) {
    fs::create_dir(top.join("dir")).unwrap();
    fs::write(top.join("dir/a"), "alpha").unwrap();
    fs::write(top.join("large"), vec![7; 2_000_000]).unwrap();
    fs::write(top.join("read-only"), "x").unwrap();
    for name in ["", "dir", "dir/a", "large", "read-only"] {
        set_xattr(&top.join(name), "user.name", name).unwrap();
    }
    set_xattr(&top.join("large"), "user.empty", "").unwrap();
    fs::set_permissions(top.join("read-only"), Permissions::from_mode(0o444)).unwrap();
}

#[tokio::test]
async fn attributes_are_kept_and_one_that_changes_costs_no_content() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    if !can_set(from, "user.a") {
        return;
    }
    plant_attributed(from);
    kept(from, to, keeping(XATTRS)).await;
    assert_same(from, to);
    for name in ["", "dir", "dir/a", "large", "read-only"] {
        assert_eq!(xattr(&to.join(name), "user.name").as_deref(), Some(name.as_bytes()));
    }
    assert_eq!(xattr(&to.join("large"), "user.empty"), Some(vec![]));
    assert_settled(from, to, keeping(XATTRS)).await;

    fs::set_permissions(from.join("read-only"), Permissions::from_mode(0o644)).unwrap();
    for name in ["dir/a", "dir", "read-only"] {
        set_xattr(&from.join(name), "user.name", "another").unwrap();
    }
    fs::set_permissions(from.join("read-only"), Permissions::from_mode(0o444)).unwrap();
    rustix::fs::removexattr(from.join("large"), "user.empty").unwrap();
    set_xattr(&to.join("dir/a"), "user.surplus", "x").unwrap();
    let report = kept(from, to, keeping(XATTRS)).await.report;
    assert_eq!((report.bytes_sent, report.files_sent, report.files_unchanged), (0, 0, 3));
    assert_same(from, to);
    for name in ["dir/a", "dir", "read-only"] {
        assert_eq!(xattr(&to.join(name), "user.name").as_deref(), Some(&b"another"[..]), "{name}");
    }
    assert_eq!(xattr(&to.join("large"), "user.empty"), None);
    assert_eq!(xattr(&to.join("dir/a"), "user.surplus"), None);
    assert_settled(from, to, keeping(XATTRS)).await;

    // Without the option nothing is touched.
    set_xattr(&to.join("dir/a"), "user.own", "x").unwrap();
    fs::write(from.join("dir/a"), "new content").unwrap();
    kept(from, to, keeping(NOTHING)).await;
    assert_eq!(xattr(&to.join("dir/a"), "user.name"), None, "a new file has none");
}

#[tokio::test]
async fn a_disk_without_attributes_has_the_content_and_names_the_entries() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    if !can_set(from, "user.a") {
        return;
    }
    plant_attributed(from);
    fs::write(from.join("without"), "x").unwrap();
    for errno in [Errno::OPNOTSUPP, Errno::NOSPC] {
        let report = refused(from, to, XATTRS, (DiskOp::SetXattr, errno)).await.report;
        let mut failed: Vec<_> = report.failed.iter().map(|failure| failure.path.to_string()).collect();
        failed.sort();
        assert_eq!(failed, [".", "dir", "dir/a", "large", "read-only"]);
        assert!(report.failed[0].reason.starts_with("its extended attributes cannot be set: "));
        assert_same(from, to);
    }
}

#[tokio::test]
async fn attributes_that_are_too_many_are_named_and_left_as_they_are() {
    let to = tempfile::tempdir().unwrap();
    let to = to.path();
    // A file system in memory takes as many as one likes.
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return skipped("there is no /dev/shm") };
    let crowded = memory.path();
    if !can_set(crowded, "user.a") || !can_set(to, "user.a") {
        return;
    }
    fs::write(crowded.join("many"), "x").unwrap();
    fs::write(crowded.join("few"), "x").unwrap();
    for number in 0..257 {
        if set_xattr(&crowded.join("many"), &format!("user.{number}"), "").is_err() {
            return skipped("so many attributes cannot be set here");
        }
    }
    set_xattr(&crowded.join("few"), "user.a", "1").unwrap();
    fs::write(to.join("many"), "x").unwrap();
    set_xattr(&to.join("many"), "user.here", "1").unwrap();
    let time = fs::metadata(crowded.join("many")).unwrap().modified().unwrap();
    File::open(to.join("many")).unwrap().set_modified(time).unwrap();
    let report = synced(crowded, to, keeping(XATTRS)).await.report;
    let [failure] = report.failed.as_slice() else { panic!("{:?}", report.failed) };
    assert!(failure.path.to_string() == "many" && failure.reason.contains("more than 256"), "{failure:?}");
    assert_eq!(xattr(&to.join("many"), "user.here"), Some(b"1".to_vec()));
    assert_eq!(xattr(&to.join("few"), "user.a"), Some(b"1".to_vec()));
}

#[tokio::test]
async fn everything_that_root_may_keep_is_kept_and_put_right() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    if !is_root() || !can_set(from, "trusted.a") {
        return;
    }
    // A version-2 capability set (capability.h): cap_net_raw, permitted and effective.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let grant = |path: &Path| {
        rustix::fs::setxattr(path, "security.capability", &capability, XattrFlags::empty()).unwrap();
    };
    fs::create_dir(from.join("dir")).unwrap();
    fs::write(from.join("dir/program"), "x").unwrap();
    fs::write(from.join("large"), vec![7; 1_500_000]).unwrap();
    symlink("large", from.join("link")).unwrap();
    for (number, name) in ["dir", "dir/program", "large", "link"].into_iter().enumerate() {
        let id = Some(number as u32 + 4000);
        std::os::unix::fs::lchown(from.join(name), id, id).unwrap();
        set_xattr(&from.join(name), "trusted.name", name).unwrap();
    }
    fs::set_permissions(from.join("dir"), Permissions::from_mode(0o3775)).unwrap();
    for name in ["dir/program", "large"] {
        fs::set_permissions(from.join(name), Permissions::from_mode(0o6755)).unwrap();
        grant(&from.join(name));
    }
    let assert_kept = || {
        assert_same(from, to);
        for name in ["dir", "dir/program", "large", "link"] {
            let [here, there] = [from, to].map(|top| fs::symlink_metadata(top.join(name)).unwrap());
            assert_eq!((there.uid(), there.gid()), (here.uid(), here.gid()), "{name}");
            assert_eq!(xattr(&to.join(name), "trusted.name").as_deref(), Some(name.as_bytes()), "{name}");
        }
        for name in ["dir/program", "large"] {
            assert_eq!(xattr(&to.join(name), "security.capability").as_deref(), Some(&capability[..]));
        }
    };
    kept(from, to, keeping(EVERYTHING)).await;
    assert_kept();
    assert_settled(from, to, keeping(EVERYTHING)).await;

    // A change of owner takes setuid and capabilities away, and both come back.
    for name in ["dir", "dir/program", "large", "link"] {
        std::os::unix::fs::lchown(to.join(name), Some(1), Some(1)).unwrap();
    }
    assert_eq!(xattr(&to.join("large"), "security.capability"), None);
    let report = kept(from, to, keeping(EVERYTHING)).await.report;
    assert_eq!((report.bytes_sent, report.files_unchanged), (0, 2));
    assert_kept();
    assert_settled(from, to, keeping(EVERYTHING)).await;

    // Nothing of it is taken unasked, and privileged attributes not by a destination that may not.
    let plain = tempfile::tempdir().unwrap();
    kept(from, plain.path(), keeping(NOTHING)).await;
    let stat = fs::metadata(plain.path().join("large")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o755, 0));
    let modest = tempfile::tempdir().unwrap();
    let pair = Pair::connect().await;
    let source = source(from, None).carrying(Namespaces::All);
    let [_, received] = pair.sync(source, destination(modest.path(), ""), keeping(XATTRS)).await;
    assert_eq!(received.report.entries_failed, 0, "{:?}", received.report.failed);
    assert_eq!(xattr(&modest.path().join("large"), "security.capability"), None);
    assert_eq!(xattr(&modest.path().join("large"), "trusted.name"), None);
}

#[tokio::test]
async fn an_owner_that_cannot_be_set_leaves_content_without_setuid_and_is_named() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    if !is_root() {
        return;
    }
    fs::write(from.join("program"), "x").unwrap();
    std::os::unix::fs::chown(from.join("program"), Some(1), Some(1)).unwrap();
    fs::set_permissions(from.join("program"), Permissions::from_mode(0o4755)).unwrap();
    let preserve = Preserve { owner: true, special_bits: true, ..NOTHING };
    // The owner comes first, and the mode after it.
    let gate = Arc::new(RefusesFirst { op: DiskOp::SetMetadata, is_done: Mutex::new(false) });
    let root = Arc::new(Root::open_gated(to, Some(gate)).unwrap());
    let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
    let pair = Pair::connect().await;
    let [_, received] = pair.sync(source(from, None), destination, keeping(preserve)).await;
    let [failure] = received.report.failed.as_slice() else { panic!("{:?}", received.report.failed) };
    assert_eq!(failure.reason, "its owner cannot be set: operation not permitted");
    let stat = fs::metadata(to.join("program")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o755, 0));
    assert_eq!(received.report.files_sent, 1);
    kept(from, to, keeping(preserve)).await;
    assert_eq!(fs::metadata(to.join("program")).unwrap().mode() & 0o7777, 0o4755);
}

/// Refuses the first change of a kind.
#[derive(Debug)]
struct RefusesFirst {
    op: DiskOp,
    is_done: Mutex<bool>,
}

impl Gate for RefusesFirst {
    fn pass(&self, op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let is_first = op == self.op && !std::mem::replace(&mut *self.is_done.lock().unwrap(), op == self.op);
        if is_first { Err(Errno::PERM.into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn special_bits_are_kept_only_where_they_are_asked_for() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let special = Preserve { special_bits: true, ..NOTHING };
    fs::create_dir(from.join("dir")).unwrap();
    fs::write(from.join("dir/file"), "x").unwrap();
    let set = |top: &Path, dir: u32, file: u32| {
        fs::set_permissions(top.join("dir"), Permissions::from_mode(dir)).unwrap();
        fs::set_permissions(top.join("dir/file"), Permissions::from_mode(file)).unwrap();
    };
    let modes = || ["dir", "dir/file"].map(|name| fs::metadata(to.join(name)).unwrap().mode() & 0o7777);
    set(from, 0o1777, 0o4755);
    kept(from, to, keeping(NOTHING)).await;
    assert_eq!(modes(), [0o777, 0o755]);
    assert_settled(from, to, keeping(NOTHING)).await;
    let report = kept(from, to, keeping(special)).await.report;
    assert_eq!((report.bytes_sent, report.files_unchanged), (0, 1));
    assert_eq!(modes(), [0o1777, 0o4755]);
    assert_settled(from, to, keeping(special)).await;
    set(from, 0o755, 0o755);
    kept(from, to, keeping(special)).await;
    assert_eq!(modes(), [0o755, 0o755]);
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
