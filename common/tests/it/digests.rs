//! Listing blocks that are here already come as digests: it costs next to nothing to find a tree unchanged, and nothing is missed.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use swarmwire_common::{
    entry::Kind,
    limits::DIGEST_ENTRIES_AHEAD_MAX,
    path::RelPath,
    sync::SyncError,
    wire::sync::{Deletion, Durability, ListingEntry, SourceMessage, SyncOptions, block_digest},
};

use crate::{
    pair::Pair,
    peers::{end, entry, file, lied_to_over, listing, top},
    sync::{assert_contains, destination, options, source},
};

/// 40 directories, one in another, with 50 files and a link each.
fn plant(top: &Path) {
    for number in 0..40 {
        let dir = top.join(format!("{}/{number}", number % 5));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..50 {
            fs::write(dir.join(format!("service-{file}.log")), format!("{number} {file}")).unwrap();
        }
        symlink(format!("service-{number}.log"), dir.join("current")).unwrap();
    }
}

async fn sync(pair: &Pair, from: &Path, to: &Path) -> u64 {
    let options = SyncOptions { delete: Deletion::All, ..options(Durability::None) };
    let [sent, received] = pair.sync(source(from, None), destination(to, ""), options).await;
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    assert_eq!(sent.report.entries_failed, 0, "{:?}", sent.report.failed);
    assert_contains(to, from);
    assert_contains(from, to);
    assert_eq!(sent.report.entries_total, received.report.entries_total);
    received.report.files_unchanged
}

#[tokio::test]
async fn a_tree_that_has_not_changed_is_not_listed() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    let pair = Pair::connect().await;
    sync(&pair, from.path(), to.path()).await;
    let before = pair.controller.stats().udp_tx.bytes;
    assert_eq!(sync(&pair, from.path(), to.path()).await, 40 * 50);
    let bytes = pair.controller.stats().udp_tx.bytes - before;
    // 46 digests of 30 bytes each, and the packets for them; the listing would take 70,000.
    assert!(bytes < 15_000, "{bytes}");
}

/// A change, and where it is made.
type Change = (&'static str, fn(&Path));

#[tokio::test]
async fn every_change_is_seen_on_either_side() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    let pair = Pair::connect().await;
    sync(&pair, from.path(), to.path()).await;
    let changes: [Change; 10] = [
        ("0/5/service-7.log", |path| fs::write(path, "longer than it was").unwrap()),
        ("1/6/a-new-one", |path| fs::write(path, "x").unwrap()),
        ("1/6/zz-new-one", |path| fs::write(path, "x").unwrap()),
        ("2", |path| fs::remove_dir_all(path).unwrap()),
        ("3/8/service-11.log", |path| fs::remove_file(path).unwrap()),
        ("3/8/current", |path| {
            fs::remove_file(path).unwrap();
            symlink("elsewhere", path).unwrap();
        }),
        ("3/13", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap()),
        ("3/13/service-0.log", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap()),
        ("4/9/service-1.log", |path| {
            // The other side's turn finds the directory.
            fs::remove_file(path).or_else(|_| fs::remove_dir_all(path)).unwrap();
            fs::create_dir_all(path.join("below")).unwrap();
        }),
        ("deep/er/and/deeper", |path| fs::create_dir_all(path).unwrap()),
    ];
    for side in [from.path(), to.path()] {
        for (name, change) in changes {
            let path: PathBuf = side.join(name);
            if !path.exists() && !name.contains("new") && !name.contains("deep") {
                continue;
            }
            change(&path);
            sync(&pair, from.path(), to.path()).await;
        }
    }
    // All at once, so that many blocks differ and others wait behind them.
    for number in 5..40 {
        let dir = from.path().join(format!("{}/{number}", number % 5));
        if dir.exists() && number % 3 > 0 {
            fs::write(dir.join("service-30.log"), "all at once").unwrap();
        }
    }
    sync(&pair, from.path(), to.path()).await;
}

#[tokio::test]
async fn a_digest_that_breaks_the_rules_ends_the_sync() {
    let here = |name: &[u8]| ListingEntry { name: name.to_vec(), ..file(name, 5) };
    let hash = block_digest([&here(b"a")]);
    let digest = |directory, last: &[u8], count| SourceMessage::ListingDigest {
        directory,
        last: last.to_vec(),
        count,
        hash,
    };
    let most = u32::try_from(DIGEST_ENTRIES_AHEAD_MAX).unwrap();
    let many = (0..most / 4096 + 4).map(|_| digest(0, b"z", 4096));
    for (what, messages) in [
        ("of nothing", vec![digest(0, b"b", 0)]),
        ("of more than a block has", vec![digest(0, b"b", 4097)]),
        ("too many at once", many.collect()),
        ("of another block", vec![digest(0, b"b", 2), listing(0, vec![here(b"a")])]),
        ("of another directory", vec![digest(0, b"b", 1), listing(1, vec![here(b"a")])]),
        ("of no directory", vec![digest(7, b"b", 1), listing(7, vec![here(b"a")])]),
        (
            "out of order",
            vec![
                digest(0, b"b", 1),
                digest(0, b"a", 1),
                listing(0, vec![here(b"b")]),
                listing(0, vec![here(b"a")]),
            ],
        ),
        ("another top behind a missing block", vec![digest(0, b"b", 1), top()]),
        ("a digest behind the end", vec![digest(0, b"b", 1), end(2), digest(0, b"c", 1)]),
        ("two ends behind a missing block", vec![digest(0, b"b", 1), end(2), end(2)]),
        ("incomplete", vec![digest(0, b"b", 1), listing(0, vec![here(b"b")]), end(3)]),
    ] {
        let messages = [vec![top()], messages].concat();
        let (outcome, names) = lied_to_over(b"hello", (messages, vec![])).await;
        assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{what}: {:?}", outcome.error);
        assert_eq!(names, ["a"], "{what}");
    }
    // Where there is nothing to compare with, nobody has agreed to it.
    let (outcome, _) = lied_to_over(b"", (vec![top(), digest(0, b"a", 1)], vec![])).await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);

    // A link that was gone when it was to be listed after all has no target.
    let link = entry(b"l", Kind::Symlink { target: Vec::new() });
    let messages = vec![top(), digest(0, b"l", 1), listing(0, vec![link]), end(2)];
    let (outcome, _) = lied_to_over(b"hello", (messages, vec![])).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let [failure] = outcome.report.failed.as_slice() else { panic!("{:?}", outcome.report) };
    assert!(failure.reason.contains("the link cannot be made"), "{}", failure.reason);
}

/// Story: old versions at the destination, which are not listed, made the block of their directory come each time.
#[tokio::test]
async fn old_versions_do_not_make_a_difference() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..500 {
        fs::write(from.path().join(format!("service-{number}.log")), format!("{number}")).unwrap();
    }
    fs::create_dir(to.path().join("old")).unwrap();
    let pair = Pair::connect().await;
    let old = || RelPath::parse(b"old").unwrap();
    let mut bytes = 0;
    for unchanged in [0, 500] {
        let before = pair.controller.stats().udp_tx.bytes;
        let (source, place) = (source(from.path(), None), destination(to.path(), ""));
        let options = options(Durability::None);
        let [_, received] = pair.sync(source.backing_up(old()), place.backing_up(old()), options).await;
        assert_eq!((received.error.is_none(), received.report.files_unchanged), (true, unchanged));
        bytes = pair.controller.stats().udp_tx.bytes - before;
    }
    // The listing would take 15,000.
    assert!(bytes < 5_000, "{bytes}");
}
