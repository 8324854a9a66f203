//! The `watch` service: who may be told what, and how it ends.

use std::{fs, time::Duration};

use swarmwire_common::{
    channel::{Channel, OpenError},
    limits,
    wire::{
        list::ListRequest,
        open::{SERVICE_LIST, SERVICE_WATCH},
        status::Status,
        sync::{Rule, Selection},
        watch::{WatchMessage, WatchRequest},
    },
};
use tokio::time::timeout;

use crate::harness::{Peer, SOON, Served, refusal};

async fn watch(peer: &Peer, path: &str, selection: Selection) -> Result<Channel, OpenError> {
    peer.open(SERVICE_WATCH, &WatchRequest { path: path.into(), selection }).await
}

/// The next message but `Alive`; `None` where the channel has ended.
async fn next(channel: &mut Channel) -> Option<WatchMessage> {
    loop {
        let message = channel.recv.try_recv::<WatchMessage, { limits::CONTROL_FRAME_BYTES_MAX }>();
        match timeout(SOON, message).await.expect("nothing is told") {
            Ok(Some(WatchMessage::Alive)) => {}
            Ok(message) => return message,
            Err(_) => return None,
        }
    }
}

/// Takes what is told until `path` is among it; gives all of it.
async fn told(channel: &mut Channel, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    while !all.iter().any(|told| told == path) {
        match next(channel).await {
            Some(WatchMessage::Changed(paths)) => {
                all.extend(paths.into_iter().map(|path| String::from_utf8(path).unwrap()));
            }
            other => panic!("{other:?} where {path} is expected after {all:?}"),
        }
    }
    all
}

#[tokio::test]
async fn changes_below_the_path_that_are_selected_are_told_and_its_end() {
    let served = Served::start();
    fs::create_dir_all(served.root().join("a/d")).unwrap();
    let peer = served.joined("pull", "a").await;
    let rules = vec![Rule { takes: false, pattern: "*.tmp".into() }];
    let mut channel = watch(&peer, "a", Selection { rules, ..Selection::default() }).await.unwrap();
    assert_eq!(next(&mut channel).await, Some(WatchMessage::Ready));
    fs::write(served.root().join("other"), "").unwrap();
    fs::write(served.root().join("a/x.tmp"), "").unwrap();
    fs::write(served.root().join("a/d/last"), "").unwrap();
    assert_eq!(told(&mut channel, "d/last").await, ["d/last"]);
    fs::remove_dir_all(served.root().join("a")).unwrap();
    while let Some(message) = next(&mut channel).await {
        if message == WatchMessage::Gone {
            break;
        }
        assert!(matches!(message, WatchMessage::Changed(_)), "{message:?}");
    }
    assert_eq!(next(&mut channel).await, None);
}

#[tokio::test]
async fn what_may_not_be_pulled_may_not_be_watched() {
    let served = Served::start();
    fs::create_dir_all(served.root().join("a")).unwrap();
    std::os::unix::fs::symlink("a", served.root().join("link")).unwrap();
    let all = Selection::default;
    let peer = served.joined("list,push", "").await;
    assert_eq!(refusal(watch(&peer, "a", all()).await).0, Status::Denied);
    let peer = served.joined("pull", "b").await;
    assert_eq!(refusal(watch(&peer, "a", all()).await).0, Status::Denied);
    assert_eq!(refusal(watch(&peer, "", all()).await).0, Status::Denied);
    let peer = served.joined("pull", "").await;
    for (path, status) in [
        ("nothing", Status::NotFound),
        ("../a", Status::Invalid),
        ("link/x", Status::Denied),
        ("link", Status::Denied),
    ] {
        let (told, detail) = refusal(watch(&peer, path, all()).await);
        assert_eq!(told, status, "{path}: {detail}");
    }
    let rules = vec![Rule { takes: true, pattern: "[".into() }];
    let invalid = watch(&peer, "a", Selection { rules, ..all() }).await;
    assert_eq!(refusal(invalid).0, Status::Invalid);
}

#[tokio::test]
async fn a_watch_has_a_handler_until_the_controller_ends_it_or_speaks() {
    let served = Served::start_with(|options| options.handlers = 1);
    let peer = served.joined("list,pull", "").await;
    let request = ListRequest { path: Vec::new(), recursive: false, hash: false };
    let list = || peer.open(SERVICE_LIST, &request);
    for end in [
        |channel: &mut Channel| channel.send.finish(),
        |channel: &mut Channel| channel.send.reset(Status::Cancelled),
    ] {
        let mut channel = watch(&peer, "", Selection::default()).await.unwrap();
        assert_eq!(next(&mut channel).await, Some(WatchMessage::Ready));
        assert_eq!(refusal(list().await).0, Status::Busy);
        end(&mut channel);
        assert_eq!(next(&mut channel).await, None);
        timeout(SOON, async { while list().await.is_err() {} }).await.unwrap();
        timeout(SOON, async { while watch(&peer, "", Selection::default()).await.is_err() {} })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_watch_does_not_hold_up_the_end_of_the_gateway() {
    let served = Served::start_with(|options| options.drain = Duration::from_secs(3600));
    let peer = served.joined("pull", "").await;
    let mut channel = watch(&peer, "", Selection::default()).await.unwrap();
    assert_eq!(next(&mut channel).await, Some(WatchMessage::Ready));
    served.stop.shutdown("the test says so");
    assert_eq!(next(&mut channel).await, None);
    timeout(SOON, served.gateway.join()).await.unwrap();
}
