//! Trees that go through the whole engine and come out the same.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::Arc,
};

use swarmwire_common::{
    path::{Name, RelPath},
    root::Root,
    sync::{Destination, Source},
    wire::sync::{Durability, SyncOptions},
};

use crate::pair::Pair;

pub(crate) fn source(path: &Path, name: Option<&str>) -> Source {
    let root = Arc::new(Root::open(path).unwrap());
    Source::open(root, RelPath::root(), name.map(|name| Name::new(name.as_bytes()).unwrap())).unwrap()
}

pub(crate) fn destination(root: &Path, path: &str) -> Destination {
    let root = Arc::new(Root::open(root).unwrap());
    Destination::open(root, RelPath::parse(path.as_bytes()).unwrap(), false, false).unwrap()
}

pub(crate) fn options(durability: Durability) -> SyncOptions {
    SyncOptions { durability, ..SyncOptions::default() }
}

/// Every entry below `top`: path, type, mode, mtime, and content or target.
fn snapshot(top: &Path) -> Vec<(Vec<u8>, u32, i128, Vec<u8>)> {
    use std::os::unix::ffi::OsStrExt;
    let mut entries = Vec::new();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let content = if stat.is_dir() {
                directories.push(path.clone());
                Vec::new()
            } else if stat.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
            let mtime = i128::from(stat.mtime()) * 1_000_000_000 + i128::from(stat.mtime_nsec());
            entries.push((name, stat.mode(), mtime, content));
        }
    }
    entries.sort();
    entries
}

pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (snapshot(left), snapshot(right));
    let names = |tree: &[(Vec<u8>, u32, i128, Vec<u8>)]| {
        tree.iter().map(|entry| String::from_utf8_lossy(&entry.0).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&left), names(&right));
    for (l, r) in left.iter().zip(&right) {
        let name = String::from_utf8_lossy(&l.0);
        assert_eq!((l.1, l.2), (r.1, r.2), "mode and mtime of {name}");
        assert!(l.3 == r.3, "content of {name}");
    }
}

/// A tree with one of everything.
fn plant(top: &Path) {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    fs::create_dir_all(top.join("app/old")).unwrap();
    fs::create_dir_all(top.join("empty")).unwrap();
    fs::write(top.join("empty.log"), b"").unwrap();
    for number in 0..300 {
        fs::write(top.join(format!("app/{number}.log")), vec![b'a' + (number % 26) as u8; number * 17])
            .unwrap();
    }
    let large: Vec<u8> = (0..5 * 1024 * 1024 + 12_345u32).map(|at| (at % 251) as u8).collect();
    fs::write(top.join("app/large.log"), &large).unwrap();
    fs::write(top.join("app/chunk.log"), &large[..1024 * 1024]).unwrap();
    fs::write(top.join("app/chunk1.log"), &large[..1024 * 1024 + 1]).unwrap();
    fs::write(top.join(OsStr::from_bytes(b"app/not\xffutf8\n")), b"bytes").unwrap();
    symlink("300.log", top.join("app/current")).unwrap();
    symlink("/nowhere/at/all", top.join("dangling")).unwrap();
    fs::set_permissions(top.join("app/1.log"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(top.join("app/old"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_tree_with_one_of_everything_arrives_as_it_is_and_a_second_sync_moves_nothing() {
    let pair = Pair::connect().await;
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(from.path());
        let [sent, received] = pair
            .sync(source(from.path(), Some("logs")), destination(to.path(), "a/b"), options(durability))
            .await;
        assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
        assert_eq!(
            (sent.report.entries_failed, received.report.entries_failed),
            (0, 0),
            "{:?}",
            received.report.failed
        );
        assert_same(from.path(), &to.path().join("a/b/logs"));
        let files = sent.report.files_total;
        assert_eq!(
            (sent.report.files_sent, sent.report.received, sent.report.verified),
            (files, files, files)
        );
        assert_eq!(sent.report.durable, if durability == Durability::None { 0 } else { files });
        assert_eq!(sent.report.bytes_sent, sent.report.bytes_total);

        let [sent, received] = pair
            .sync(source(from.path(), None), destination(to.path(), "a/b/logs"), options(durability))
            .await;
        assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
        assert_eq!((sent.report.files_sent, sent.report.bytes_sent), (0, 0));
        assert_eq!(sent.report.files_unchanged, files);
        assert_same(from.path(), &to.path().join("a/b/logs"));
        let names: Vec<_> =
            fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a"], "no staging place is left");
    }
}
