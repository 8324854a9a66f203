//! The `offload` service: who may hold a directory, for how long, and what is answered.

use std::fs;

use swarmwire_common::{
    channel::{self, Channel, OpenError},
    codec, limits,
    wire::{
        offload::{OffloadAsk, OffloadMessage, OffloadRequest, Space},
        open::SERVICE_OFFLOAD,
        status::Status,
    },
};
use tokio::time::timeout;

use crate::harness::{Peer, SOON, Served, refusal};

async fn offload(peer: &Peer, path: &str, holds: bool) -> Result<Channel, OpenError> {
    peer.open(SERVICE_OFFLOAD, &OffloadRequest { path: path.into(), holds }).await
}

/// Asks, and gives the answer; none where the channel has ended.
async fn measure(channel: &mut Channel) -> Option<Space> {
    channel.send.send(&OffloadAsk::Measure).await.ok()?;
    loop {
        let message = channel.recv.try_recv::<OffloadMessage, { limits::OFFLOAD_FRAME_BYTES_MAX }>();
        match timeout(SOON, message).await.expect("nothing is told") {
            Ok(Some(OffloadMessage::Alive)) => {}
            Ok(Some(OffloadMessage::Measured(space))) => return Some(space),
            Ok(None) | Err(_) => return None,
        }
    }
}

#[tokio::test]
async fn what_may_not_be_listed_or_removed_may_not_be_offloaded() {
    let served = Served::start();
    fs::create_dir_all(served.root().join("a")).unwrap();
    fs::write(served.root().join("file"), "").unwrap();
    std::os::unix::fs::symlink("a", served.root().join("link")).unwrap();
    for (allowed, prefix, path, holds, expected) in [
        ("pull,push,delete", "", "a", false, Status::Denied),
        ("list,pull,push", "", "a", true, Status::Denied),
        ("list,delete", "a", "", true, Status::Denied),
        ("list,delete", "", "../a", true, Status::Invalid),
        ("list,delete", "", "nothing", true, Status::NotFound),
        ("list,delete", "", "file", true, Status::Conflict),
        ("list,delete", "", "link", true, Status::Denied),
    ] {
        let peer = served.joined(allowed, prefix).await;
        assert_eq!(refusal(offload(&peer, path, holds).await).0, expected, "{allowed} {path:?}");
    }
    let peer = served.joined("list", "a").await;
    let request = OffloadRequest { path: "a".into(), holds: false };
    let (mut channel, body) = channel::open(&peer.connection, SERVICE_OFFLOAD, &request).await.unwrap();
    let space: Space = codec::decode::<_, { limits::OPEN_FRAME_BYTES_MAX }>(&body).unwrap();
    assert_eq!(measure(&mut channel).await, None, "who only looks keeps no handler");
    assert!(space.total >= space.used && space.total > 0 && space.block > 0, "{space:?}");
}

#[tokio::test]
async fn a_directory_is_held_until_the_channel_ends_however_it_does() {
    let served = Served::start();
    fs::create_dir_all(served.root().join("logs/app")).unwrap();
    fs::create_dir_all(served.root().join("other")).unwrap();
    let (one, two) = (served.joined("list,delete", "").await, served.joined("list,delete", "").await);
    let mut held = offload(&one, "logs", true).await.unwrap();
    for path in ["logs", "logs/app", ""] {
        let (status, detail) = refusal(offload(&two, path, true).await);
        assert_eq!(status, Status::Busy, "{path}");
        assert!(
            detail.contains("`logs` is being offloaded by the identity ") && detail.contains("try again"),
            "{detail}"
        );
    }
    let (status, detail) = refusal(offload(&one, "logs/app", true).await);
    assert!(status == Status::Busy && detail.contains("by this identity"), "{detail}");
    assert!(offload(&two, "other", true).await.is_ok() && offload(&two, "logs", false).await.is_ok());
    assert!(measure(&mut held).await.is_some());
    held.send.finish();
    while offload(&two, "logs/app", true).await.is_err() {
        tokio::task::yield_now().await;
    }
    // What is refused holds nothing.
    assert_eq!(refusal(offload(&two, "logs/nothing", true).await).0, Status::NotFound);
    while offload(&one, "logs", true).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Story: a controller was killed, and its next run was told for eight seconds that somebody else was at it.
#[tokio::test]
async fn the_same_identity_takes_over_what_it_held_before() {
    let served = Served::start();
    fs::create_dir_all(served.root().join("logs")).unwrap();
    let peer = served.joined("list,delete", "").await;
    let mut first = offload(&peer, "logs", true).await.unwrap();
    let mut second = offload(&peer, "logs", true).await.unwrap();
    let ended = first.recv.try_recv::<OffloadMessage, { limits::OFFLOAD_FRAME_BYTES_MAX }>();
    let ended = timeout(SOON, ended).await.unwrap().unwrap_err();
    assert_eq!(ended.peer_status(), Some(Status::Busy));
    assert!(ended.to_string().contains("in use: handlers of the gateway, the subroutine or the directory"));
    assert!(measure(&mut second).await.is_some());
    let other = served.joined("list,delete", "").await;
    assert_eq!(refusal(offload(&other, "logs", true).await).0, Status::Busy);
}

#[tokio::test]
async fn what_is_no_question_ends_the_channel_and_frees_the_directory() {
    let served = Served::start();
    let peer = served.joined("list,delete", "").await;
    for (bytes, expected) in [(vec![9], Status::Invalid), (vec![0; 65], Status::TooLarge)] {
        let mut channel = offload(&peer, "", true).await.unwrap();
        channel.send.send_bytes(&bytes).await.unwrap();
        let ended = channel.recv.try_recv::<OffloadMessage, { limits::OFFLOAD_FRAME_BYTES_MAX }>();
        assert_eq!(timeout(SOON, ended).await.unwrap().unwrap_err().peer_status(), Some(expected));
    }
    let other = served.joined("list,delete", "").await;
    while offload(&other, "", true).await.is_err() {
        tokio::task::yield_now().await;
    }
}
