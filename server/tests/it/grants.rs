//! What a grant does not allow, and what no grant can allow.

use std::os::unix::fs::symlink;

use swarmwire_common::wire::{
    list::ListRequest,
    open::{SERVICE_LIST, SERVICE_STOP},
    status::Status,
    sync::Direction::{Pull, Push},
};

use crate::harness::{Peer, SOON, Served, refusal};

async fn list(peer: &Peer, path: &[u8]) -> (Status, String) {
    let request = ListRequest { path: path.to_vec(), recursive: true, hash: true };
    refusal(peer.open(SERVICE_LIST, &request).await)
}

#[tokio::test]
async fn an_operation_that_is_not_granted_is_denied_by_name() {
    let served = Served::start();
    let nothing = served.joined("call:none", "").await;
    for ((status, detail), operation) in [
        (list(&nothing, b"").await, "`list`"),
        (refusal(nothing.sync(Pull, b"").await), "`pull`"),
        (refusal(nothing.sync(Push, b"new").await), "`push`"),
        (refusal(nothing.open(SERVICE_STOP, &()).await), "`admin`"),
    ] {
        assert_eq!(status, Status::Denied);
        assert!(detail.contains(operation), "{detail}");
    }
}

#[tokio::test]
async fn a_path_outside_the_grant_is_denied_whether_it_exists_or_not() {
    let served = Served::start();
    std::fs::create_dir_all(served.root().join("other/deep")).unwrap();
    std::fs::create_dir(served.root().join("logs")).unwrap();
    let peer = served.joined("list,pull,push", "logs").await;
    for path in [&b""[..], b"other", b"other/deep", b"logs2", b"log", b"nothing/here"] {
        for (status, detail) in [
            list(&peer, path).await,
            refusal(peer.sync(Pull, path).await),
            refusal(peer.sync(Push, path).await),
        ] {
            assert_eq!(status, Status::Denied);
            assert!(detail.contains("outside `logs`"), "{detail}");
        }
    }
    peer.sync(Pull, b"logs").await.unwrap();
}

#[tokio::test]
async fn a_path_that_is_none_is_invalid_before_anything_is_opened() {
    let served = Served::start();
    let peer = served.joined("list,pull,push", "").await;
    for path in
        [&b".."[..], b"a/../..", b"/etc", b"a//b", b"a/", b"./a", b"a\0b", &[b'a'; 256], &b"a/".repeat(3000)]
    {
        for (status, _) in [
            list(&peer, path).await,
            refusal(peer.sync(Pull, path).await),
            refusal(peer.sync(Push, path).await),
        ] {
            assert_eq!(status, Status::Invalid, "{path:?}");
        }
    }
}

#[tokio::test]
async fn a_symbolic_link_leads_nowhere() {
    let served = Served::start();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    std::fs::create_dir(served.root().join("inside")).unwrap();
    symlink(outside.path(), served.root().join("out")).unwrap();
    symlink("inside", served.root().join("in")).unwrap();
    let peer = served.joined("list,pull,push", "").await;
    for path in [&b"out/secret"[..], b"out/new", b"in/new"] {
        for (status, _) in [list(&peer, path).await, refusal(peer.sync(Pull, path).await)] {
            assert!(matches!(status, Status::Denied | Status::Conflict), "{status:?}");
        }
        assert!(matches!(refusal(peer.sync(Push, path).await).0, Status::Denied | Status::Conflict));
    }
    let (status, detail) = refusal(peer.sync(Pull, b"out").await);
    assert_eq!(status, Status::Denied);
    assert!(detail.contains("symbolic link"), "{detail}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_unfinished_cannot_be_reached_by_name() {
    let served = Served::start();
    let place = served.root().join(".swarmwire-0123456789abcdef");
    std::fs::create_dir(&place).unwrap();
    let peer = served.joined("list,pull,push", "").await;
    for path in [&b".swarmwire-0123456789abcdef"[..], b"a/.swarmwire-x/b"] {
        for (status, _) in [
            list(&peer, path).await,
            refusal(peer.sync(Pull, path).await),
            refusal(peer.sync(Push, path).await),
        ] {
            assert_eq!(status, Status::Denied, "{path:?}");
        }
    }
}

#[tokio::test]
async fn a_place_that_does_not_fit_is_refused_with_its_name() {
    let served = Served::start();
    std::fs::write(served.root().join("file"), "x").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, served.root().join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    let peer = served.joined("list,pull,push", "").await;
    for ((status, detail), expected, said) in [
        (refusal(peer.sync(Pull, b"none").await), Status::NotFound, "`none`"),
        (list(&peer, b"none").await, Status::NotFound, "`none`"),
        (refusal(peer.sync(Push, b"file/below").await), Status::Conflict, "`file/below`"),
        (refusal(peer.sync(Pull, b"file/below").await), Status::Conflict, "`file/below`"),
        (refusal(peer.sync(Pull, b"fifo").await), Status::Invalid, "`fifo`"),
    ] {
        assert_eq!(status, expected, "{detail}");
        assert!(detail.contains(said), "{detail}");
    }
}

#[tokio::test]
async fn who_may_stop_the_gateway_stops_it_and_hears_so_first() {
    let served = Served::start();
    let admin = served.joined("admin", "").await;
    let mut channel = admin.open(SERVICE_STOP, &()).await.unwrap();
    assert!(channel.recv.try_recv_bytes(1).await.unwrap().is_none());
    tokio::time::timeout(SOON, served.gateway.join()).await.unwrap();
    assert_eq!(admin.closed().await.0, Status::ShuttingDown);
}
