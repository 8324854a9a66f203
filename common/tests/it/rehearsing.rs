//! What a sync tells of its changes, on both sides, and that a dry run tells the same and touches nothing.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use swarmwire_common::{
    sync::{Event, events},
    wire::{
        change::{Aspects, Change, Difference},
        sync::{Deletion, Durability, SyncOptions},
    },
};

use crate::{
    mirroring::{deleting, names, plant},
    pair::Pair,
    sync::{assert_same, destination, options, source},
};

/// A push with `options`; gives what each side was told of changes, as one line each, sorted.
async fn told(pair: &Pair, from: &Path, to: &Path, options: SyncOptions) -> [Vec<String>; 2] {
    let [(at_source, source_queue), (at_destination, destination_queue)] = [events(), events()];
    let place = destination(to, "new/place").telling(at_destination);
    let [sent, received] = pair.sync(source(from, None).telling(at_source), place, options).await;
    assert!(sent.error.is_none() && received.error.is_none(), "{sent:?} {received:?}");
    assert!(names(&sent).is_empty() && names(&received).is_empty(), "{sent:?}");
    [source_queue, destination_queue].map(|queue| {
        let mut lines: Vec<_> = std::iter::from_fn(|| queue.try_next())
            .map(|Event { path, change }| match change {
                Change::Update(Difference { size, mtime, content }) => {
                    format!("{path} Update {size} {mtime} {content}")
                }
                change => format!("{path} {change:?}"),
            })
            .collect();
        lines.sort();
        lines
    })
}

/// Below `top`: every path with its inode and its time of change, which no write leaves as it is.
fn state(top: &Path) -> Vec<(PathBuf, u64, i64, i64)> {
    let (mut found, mut waiting) = (Vec::new(), vec![top.to_owned()]);
    while let Some(path) = waiting.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.push((path, stat.ino(), stat.ctime(), stat.ctime_nsec()));
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_dry_run_tells_what_the_run_then_does_and_touches_nothing() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    fs::write(from.path().join("larger"), b"longer").unwrap();
    fs::create_dir_all(from.path().join("new/inner")).unwrap();
    fs::write(from.path().join("new/inner/file"), b"x").unwrap();
    symlink("a.log", from.path().join("app/current")).unwrap();
    let options = SyncOptions { itemize: true, ..deleting(Deletion::All) };
    let dry = SyncOptions { dry_run: true, ..options };

    // Where nothing is yet.
    let [planned, planned_here] = told(&pair, from.path(), to.path(), dry).await;
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    let [done, done_here] = told(&pair, from.path(), to.path(), options).await;
    assert_eq!((&planned, &done, &planned), (&planned_here, &done_here, &done));
    assert_eq!(planned.len(), 10, "{planned:?}");

    // Where something of everything differs.
    let place = to.path().join("new/place");
    assert_same(from.path(), &place);
    fs::write(place.join("larger"), b"short").unwrap();
    fs::write(place.join("app/a.log"), b"ALPHA").unwrap();
    fs::set_permissions(place.join("top.log"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(place.join("app/current")).unwrap();
    fs::create_dir(place.join("app/current")).unwrap();
    fs::remove_dir(place.join("empty")).unwrap();
    fs::write(place.join("empty"), b"in the way").unwrap();
    fs::create_dir(place.join("app/old")).unwrap();
    fs::write(place.join("app/old/file"), b"x").unwrap();
    let before = state(to.path());
    let [planned, planned_here] = told(&pair, from.path(), to.path(), dry).await;
    assert_eq!(state(to.path()), before);
    assert_eq!(
        planned,
        [
            "app/a.log Update false true false",
            "app/current Delete",
            "app/current MakeSymlink",
            "app/old Delete",
            "app/old/file Delete",
            "empty Delete",
            "empty MakeDirectory",
            "larger Update true true false",
            "top.log Metadata",
        ]
    );
    let [done, done_here] = told(&pair, from.path(), to.path(), options).await;
    assert_eq!((&planned, &done, &planned), (&planned_here, &done_here, &done));
    assert_same(from.path(), &place);
    for options in [dry, options] {
        assert_eq!(told(&pair, from.path(), to.path(), options).await, [vec![], vec![] as Vec<String>]);
    }
}

/// The lines of a dry run, and of what it rehearses.
#[tokio::test]
async fn a_dry_run_by_content_tells_what_the_run_then_does() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    for name in ["same", "moded", "timed", "other", "larger"] {
        fs::write(from.path().join(name), vec![b'x'; 2_000_000]).unwrap();
    }
    let options = SyncOptions { itemize: true, checksum: true, ..deleting(Deletion::All) };
    told(&pair, from.path(), to.path(), options).await;
    let place = to.path().join("new/place");
    let mtime = fs::metadata(place.join("other")).unwrap().modified().unwrap();
    fs::write(place.join("other"), vec![b'y'; 2_000_000]).unwrap();
    fs::File::open(place.join("other")).unwrap().set_modified(mtime).unwrap();
    fs::set_permissions(place.join("moded"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::open(place.join("timed")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::write(place.join("larger"), b"short").unwrap();
    let before = state(to.path());
    let [planned, planned_here] =
        told(&pair, from.path(), to.path(), SyncOptions { dry_run: true, ..options }).await;
    assert_eq!(state(to.path()), before);
    let expected = [
        "larger Update true true false",
        "moded Metadata",
        "other Update false false true",
        "timed Metadata",
    ];
    assert_eq!((&planned, &planned_here), (&expected.map(String::from).to_vec(), &planned));
    let [done, _] = told(&pair, from.path(), to.path(), options).await;
    assert_eq!(planned, done);
}

#[tokio::test]
async fn a_comparison_tells_every_difference_and_touches_nothing() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    for name in ["larger", "content", "moded", "timed", "typed", "missing"] {
        fs::write(from.path().join(name), vec![b'x'; 1_500_000]).unwrap();
    }
    fs::create_dir_all(from.path().join("gone/inner")).unwrap();
    symlink("a", from.path().join("link")).unwrap();
    symlink("a", from.path().join("lost")).unwrap();
    told(&pair, from.path(), to.path(), options(Durability::Batch)).await;
    let verify = SyncOptions { verify: true, dry_run: true, itemize: true, ..deleting(Deletion::All) };
    assert_eq!(told(&pair, from.path(), to.path(), verify).await, [vec![], vec![] as Vec<String>]);

    let place = to.path().join("new/place");
    let mtime = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let (top_time, content_time) = (mtime(&place), mtime(&place.join("content")));
    fs::write(place.join("larger"), b"short").unwrap();
    fs::write(place.join("content"), vec![b'y'; 1_500_000]).unwrap();
    fs::File::open(place.join("content")).unwrap().set_modified(content_time).unwrap();
    fs::set_permissions(place.join("moded"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::open(place.join("timed")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::set_permissions(place.join("empty"), fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["typed", "missing", "link", "lost"] {
        fs::remove_file(place.join(name)).unwrap();
    }
    fs::create_dir(place.join("typed")).unwrap();
    symlink("b", place.join("link")).unwrap();
    fs::remove_dir_all(place.join("gone")).unwrap();
    fs::create_dir(place.join("extra")).unwrap();
    fs::write(place.join("extra/file"), b"x").unwrap();
    fs::File::open(&place).unwrap().set_modified(top_time).unwrap();
    let before = state(to.path());
    let [found, found_here] = told(&pair, from.path(), to.path(), verify).await;
    assert_eq!((state(to.path()), &found), (before, &found_here));
    let differs = |path: &str, aspects: Aspects| format!("{path} {:?}", Change::Differs(aspects));
    let none = Aspects::default();
    let mut expected = vec![
        differs("content", Aspects { content: true, ..none }),
        differs("empty", Aspects { mode: true, ..none }),
        "extra Delete".to_owned(),
        "extra/file Delete".to_owned(),
        "gone MakeDirectory".to_owned(),
        "gone/inner MakeDirectory".to_owned(),
        differs("larger", Aspects { size: true, mtime: true, ..none }),
        differs("link", Aspects { target: true, mtime: true, ..none }),
        "lost MakeSymlink".to_owned(),
        "missing Create".to_owned(),
        differs("moded", Aspects { mode: true, ..none }),
        differs("timed", Aspects { mtime: true, ..none }),
        differs("typed", Aspects { kind: true, ..none }),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn nobody_is_told_of_changes_who_has_not_asked() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    let told = told(&pair, from.path(), to.path(), options(Durability::Batch)).await;
    assert_eq!(told, [vec![], vec![] as Vec<String>]);
}
