//! The `offload` service: who may hold a directory, for how long, and what is answered.

use std::{
    fs,
    sync::{Mutex, mpsc},
};

use bytes::Bytes;
use swarmwire_common::{
    channel::{self, Channel, OpenError},
    codec, limits,
    wire::{
        call::{CallKind, CallRequest, Codec},
        offload::{
            HoldAs::{self, Destination, Nothing, Source},
            OffloadAsk, OffloadMessage, OffloadRequest, Space,
        },
        open::{SERVICE_CALL, SERVICE_OFFLOAD},
        status::Status,
        sync::Direction,
    },
};
use swarmwire_server::subroutines::{Context, Failure, Subroutine};
use tokio::time::timeout;

use crate::harness::{Key, Peer, SOON, Served, refusal};

async fn offload(peer: &Peer, path: &str, holds: HoldAs) -> Result<Channel, OpenError> {
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
        ("pull,push,delete", "", "a", Nothing, Status::Denied),
        ("list,pull,push", "", "a", Source, Status::Denied),
        ("list,delete", "a", "", Source, Status::Denied),
        ("list,delete", "", "../a", Source, Status::Invalid),
        ("list,delete", "", "nothing", Source, Status::NotFound),
        ("list,delete", "", "file", Source, Status::Conflict),
        ("list,delete", "", "link", Source, Status::Denied),
        ("list,pull,delete", "", "a", Destination, Status::Denied),
        ("push", "a", "", Destination, Status::Denied),
        ("push", "", "../a", Destination, Status::Invalid),
        ("push", "", "file", Destination, Status::Conflict),
        ("push", "", "file/new", Destination, Status::Conflict),
        ("push", "", "link/new", Destination, Status::Denied),
    ] {
        let peer = served.joined(allowed, prefix).await;
        assert_eq!(refusal(offload(&peer, path, holds).await).0, expected, "{allowed} {path:?}");
    }
    let peer = served.joined("list", "a").await;
    let request = OffloadRequest { path: "a".into(), holds: Nothing };
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
    let mut held = offload(&one, "logs", Source).await.unwrap();
    for path in ["logs", "logs/app", ""] {
        let (status, detail) = refusal(offload(&two, path, Source).await);
        assert_eq!(status, Status::Busy, "{path}");
        assert!(
            detail.contains("`logs` is being offloaded by the identity ") && detail.contains("try again"),
            "{detail}"
        );
    }
    let (status, detail) = refusal(offload(&one, "logs/app", Source).await);
    assert!(status == Status::Busy && detail.contains("by this identity"), "{detail}");
    assert!(offload(&two, "other", Source).await.is_ok() && offload(&two, "logs", Nothing).await.is_ok());
    assert!(measure(&mut held).await.is_some());
    held.send.finish();
    while offload(&two, "logs/app", Source).await.is_err() {
        tokio::task::yield_now().await;
    }
    // What is refused holds nothing.
    assert_eq!(refusal(offload(&two, "logs/nothing", Source).await).0, Status::NotFound);
    while offload(&one, "logs", Source).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_destination_may_be_still_to_be_made_and_files_may_be_moved_on_from_it() {
    let served = Served::start();
    fs::create_dir_all(served.root().join("in")).unwrap();
    let (one, two) = (served.joined("push", "in").await, served.joined("list,push,delete", "").await);
    let mut held = offload(&one, "in/web/1", Destination).await.unwrap();
    assert!(measure(&mut held).await.is_some_and(|space| space.total > 0));
    assert!(!served.root().join("in/web").exists(), "nothing is made for it");
    for path in ["in/web/1", "in", "in/web/1/sub"] {
        let (status, detail) = refusal(offload(&two, path, Destination).await);
        let told = "files are being offloaded to `in/web/1` by the identity ";
        assert!(status == Status::Busy && detail.starts_with(told), "{detail}");
    }
    assert!(
        offload(&two, "in/web/2", Destination).await.is_ok() && offload(&two, "in", Source).await.is_ok()
    );
}

/// Story: a controller was killed, and its next run was told for eight seconds that somebody else was at it.
#[tokio::test]
async fn the_same_identity_takes_over_what_it_held_before_on_another_connection() {
    let served = Served::start();
    fs::create_dir_all(served.root().join("logs")).unwrap();
    let key = Key::new();
    let first = Peer::dial(&key, served.target()).await.unwrap();
    first.join(&served.invite("list,push,delete", "")).await.unwrap();
    for role in [Source, Destination] {
        let peer = Peer::dial(&key, served.target()).await.unwrap();
        let _held = offload(&peer, "logs", role).await.unwrap();
        // It knows best that it is alive.
        let (status, detail) = refusal(offload(&peer, "logs", role).await);
        assert!(status == Status::Busy && detail.contains("by this identity"), "{detail}");
        let next = Peer::dial(&key, served.target()).await.unwrap();
        let mut taken = offload(&next, "logs", role).await.unwrap();
        let told = "another process with this identity offloads the same directory";
        assert_eq!(peer.closed().await, (Status::Busy, told.to_owned()));
        assert!(measure(&mut taken).await.is_some());
        let other = served.joined("list,push,delete", "").await;
        assert_eq!(refusal(offload(&other, "logs", role).await).0, Status::Busy);
    }
}

/// What a lost connection has under way may still put files in place.
#[tokio::test]
async fn a_directory_is_not_free_before_all_is_over_that_ran_on_the_connection() {
    let served = Served::start_with(|options| options.handlers = 3);
    let (key, other) = (Key::new(), served.joined("push", "").await);
    let peer = Peer::dial(&key, served.target()).await.unwrap();
    peer.join(&served.invite("push", "")).await.unwrap();
    let _held = offload(&peer, "in", Destination).await.unwrap();
    let _sync = peer.sync(Direction::Push, b"in").await.unwrap();
    let next = Peer::dial(&key, served.target()).await.unwrap();
    let _taken = offload(&next, "in", Destination).await.unwrap();
    // That of the sync is free as well.
    let beside = [offload(&other, "a", Destination).await, offload(&other, "b", Destination).await];
    assert!(beside.iter().all(Result::is_ok), "{beside:?}");
    drop(beside);
    next.connection.close(0_u32.into(), b"");
    while offload(&other, "in", Destination).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Story: who gave up in the midst of an offload and began it again, on the same connection or another one, met its own sync.
#[tokio::test]
async fn a_directory_is_not_free_before_the_syncs_are_over_that_were_begun_meanwhile() {
    let served = Served::start();
    let (peer, other) = (served.joined("push", "").await, served.joined("push", "").await);
    let before = peer.sync(Direction::Push, b"in").await.unwrap();
    let held = offload(&peer, "in", Destination).await.unwrap();
    let sync = peer.sync(Direction::Push, b"in").await.unwrap();
    drop(held);
    for _ in 0..50 {
        let (status, detail) = refusal(offload(&other, "in", Destination).await);
        assert!(status == Status::Busy && detail.contains("by the identity"), "{detail}");
    }
    drop(sync);
    while offload(&other, "in", Destination).await.is_err() {
        tokio::task::yield_now().await;
    }
    drop(before);
}

/// Story: a function that nothing had told of the end of its connection kept a directory held for as long as it ran.
#[tokio::test]
async fn a_function_that_blocks_keeps_no_directory() {
    let served = Served::start();
    let (release, wait) = mpsc::sync_channel::<()>(0);
    let wait = Mutex::new(wait);
    let block = Subroutine::blocking_batch(move |_: Context, (): ()| -> Result<Bytes, Failure> {
        // Until the test is over.
        let _over = wait.lock().unwrap().recv();
        Ok(Bytes::new())
    });
    served.gateway.subroutines().register("block", block).unwrap();
    let (peer, other) = (served.joined("push,call", "").await, served.joined("push", "").await);
    let _held = offload(&peer, "in", Destination).await.unwrap();
    let call = CallRequest {
        name: "block".into(),
        kind: CallKind::Batch,
        codec: Codec::Json,
        deadline_ms: 0,
        input: b"[]".to_vec(),
        continues: false,
    };
    let _call = peer.open(SERVICE_CALL, &call).await.unwrap();
    peer.connection.close(0_u32.into(), b"");
    let free = async {
        while offload(&other, "in", Destination).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, free).await.expect("nobody holds it");
    drop(release);
}

#[tokio::test]
async fn what_is_no_question_ends_the_channel_and_frees_the_directory() {
    let served = Served::start();
    let peer = served.joined("list,delete", "").await;
    for (bytes, expected) in [(vec![9], Status::Invalid), (vec![0; 65], Status::TooLarge)] {
        let mut channel = offload(&peer, "", Source).await.unwrap();
        channel.send.send_bytes(&bytes).await.unwrap();
        let ended = channel.recv.try_recv::<OffloadMessage, { limits::OFFLOAD_FRAME_BYTES_MAX }>();
        assert_eq!(timeout(SOON, ended).await.unwrap().unwrap_err().peer_status(), Some(expected));
    }
    let other = served.joined("list,delete", "").await;
    while offload(&other, "", Source).await.is_err() {
        tokio::task::yield_now().await;
    }
}
