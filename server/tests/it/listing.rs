//! The `list` service: what is there, in order, without following anything.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags};
use swarmwire_common::{
    entry::{Kind, SpecialKind},
    limits,
    wire::{
        list::{ListEntry, ListKind, ListMessage, ListRequest},
        open::SERVICE_LIST,
    },
};
use tokio::time::timeout;

use crate::harness::{Peer, SOON, Served};

/// Everything at `path`, and the names of what failed.
async fn list(peer: &Peer, path: &str, recursive: bool, hash: bool) -> (Vec<ListEntry>, Vec<Vec<u8>>) {
    let request = ListRequest { path: path.into(), recursive, hash };
    let mut channel = peer.open(SERVICE_LIST, &request).await.unwrap();
    let (mut entries, mut failed) = (Vec::new(), Vec::new());
    loop {
        let message = channel.recv.recv::<ListMessage, { limits::CONTROL_FRAME_BYTES_MAX }>();
        match timeout(SOON, message).await.unwrap().unwrap() {
            ListMessage::Page(page) => entries.extend(page),
            ListMessage::Failed { path, .. } => failed.push(path),
            ListMessage::End => return (entries, failed),
        }
    }
}

fn paths(entries: &[ListEntry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

#[tokio::test]
async fn a_tree_is_listed_in_order_with_types_and_without_what_is_ours() {
    let served = Served::start();
    let root = served.root();
    std::fs::create_dir_all(root.join("b/inner")).unwrap();
    std::fs::create_dir(root.join(".swarmwire-0000000000000001")).unwrap();
    std::fs::write(root.join("b/inner/leaf"), "leaf").unwrap();
    std::fs::write(root.join("c"), "").unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"a\xff")), "x").unwrap();
    symlink("/etc", root.join("d")).unwrap();
    rustix::fs::mkfifoat(CWD, root.join("e"), Mode::RWXU).unwrap();
    let peer = served.joined("list", "").await;

    let (entries, failed) = list(&peer, "", true, false).await;
    assert_eq!(paths(&entries), ["a\u{fffd}", "b", "b/inner", "b/inner/leaf", "c", "d", "e"]);
    assert_eq!(entries[0].path, b"a\xff");
    assert!(failed.is_empty());
    assert_eq!(entries[3].kind, ListKind::Plain(Kind::File { size: 4 }));
    assert_eq!(entries[5].kind, ListKind::Plain(Kind::Symlink { target: b"/etc".to_vec() }));
    assert_eq!(entries[6].kind, ListKind::Special(SpecialKind::Fifo));
    assert!(entries.iter().all(|entry| entry.hash.is_none()));

    let (entries, _) = list(&peer, "b", false, false).await;
    assert_eq!(paths(&entries), ["inner"]);
    let (entries, _) = list(&peer, "b/inner/leaf", false, false).await;
    assert_eq!(paths(&entries), ["leaf"]);
    let (entries, _) = list(&peer, "d", true, false).await;
    assert_eq!(paths(&entries), ["d"], "a link is listed as itself");
}

#[tokio::test]
async fn hashes_are_those_of_b3sum() {
    let served = Served::start();
    let sizes = [0, 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 7];
    for size in sizes {
        let content: Vec<u8> = (0..=252).cycle().take(size).collect();
        std::fs::write(served.root().join(format!("{size:08}")), content).unwrap();
    }
    let peer = served.joined("list", "").await;
    let (entries, failed) = list(&peer, "", false, true).await;
    assert_eq!((entries.len(), failed.len()), (sizes.len(), 0));
    for entry in entries {
        let content = std::fs::read(served.root().join(OsStr::from_bytes(&entry.path))).unwrap();
        assert_eq!(entry.hash, Some(*blake3::hash(&content).as_bytes()), "{:?}", entry.path);
    }
}

#[tokio::test]
async fn many_entries_come_in_pages() {
    let served = Served::start();
    for number in 0..1_700 {
        std::fs::write(served.root().join(format!("{number:05}")), "").unwrap();
    }
    let peer = served.joined("list", "").await;
    let (entries, _) = list(&peer, "", true, false).await;
    assert_eq!(entries.len(), 1_700);
    assert!(entries.is_sorted_by(|a, b| a.path < b.path));
}

/// Story: a tree deeper than any path can say. What cannot be named is told, and the rest still comes.
#[tokio::test]
async fn a_tree_deeper_than_a_path_is_listed_as_far_as_paths_go() {
    let served = Served::start();
    let name = "n".repeat(250);
    deepen(&served.root(), &name, 20);
    std::fs::write(served.root().join("z"), "").unwrap();
    let peer = served.joined("list", "").await;
    let (entries, failed) = list(&peer, "", true, false).await;
    assert_eq!(entries.len(), 16 + 1);
    assert_eq!(entries[16].path, b"z");
    assert_eq!(failed.len(), 1);
}

fn deepen(root: &Path, name: &str, levels: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut dir = rustix::fs::open(root, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&dir, name, Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, name, flags, Mode::empty()).unwrap();
    }
}
