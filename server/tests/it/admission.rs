//! Who is let in, by what, and how one is put out again.

use std::time::Duration;

use swarmwire_certs::Token;
use swarmwire_common::{
    channel::OpenError,
    wire::{
        open::{SERVICE_LIST, SERVICE_PING, SERVICE_STOP, SERVICE_SYNC},
        status::Status,
        sync::Direction,
    },
};
use swarmwire_server::{clients, invitations};

use crate::harness::{Key, Peer, SOON, Served, grant, now, refusal};

#[tokio::test]
async fn an_unknown_identity_can_only_join() {
    let served = Served::start();
    for service in [SERVICE_PING, SERVICE_LIST, SERVICE_SYNC, SERVICE_STOP, "no such service"] {
        let peer = Peer::dial(&Key::new(), served.target()).await.unwrap();
        let (status, detail) = refusal(peer.open(service, &()).await);
        assert_eq!(status, Status::Unknown, "{service}");
        assert!(detail.contains("`swarmd invite`") && detail.contains("`swarm join`"), "{detail}");
        assert_eq!(peer.closed().await.0, Status::Unknown);
    }
    let stranger = Peer::dial(&Key::new(), served.target()).await.unwrap();
    stranger.join(&served.invite("list", "")).await.unwrap();
    stranger.open(SERVICE_PING, &()).await.unwrap();
}

#[tokio::test]
async fn an_invitation_gives_its_grant_once() {
    let served = Served::start();
    let token = served.invite("pull,list", "logs");
    let key = Key::new();
    let first = Peer::dial(&key, served.target()).await.unwrap();
    let reply = first.join_as(&token.reveal(), "web\u{1b}[2J1").await.unwrap();
    assert_eq!((reply.allow.as_str(), reply.path.as_slice()), ("list,pull", &b"logs"[..]));

    let second = Peer::dial(&Key::new(), served.target()).await.unwrap();
    let (status, detail) = refusal(second.join(&token).await);
    assert_eq!(status, Status::Expired);
    assert!(detail.contains("used, expired or was never issued"), "{detail}");
    assert_eq!(second.closed().await.0, Status::Expired);

    let known = clients::load(&served.state).unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].fingerprint, key.identity.fingerprint());
    assert_eq!(known[0].grant, grant("pull,list", "logs"));
    assert_eq!(known[0].name, "web\u{1b}[2J1");
}

#[tokio::test]
async fn two_that_present_one_invitation_at_once_do_not_both_get_in() {
    let served = Served::start();
    let token = served.invite("list", "");
    let (one, other) = (Key::new(), Key::new());
    let one = Peer::dial(&one, served.target()).await.unwrap();
    let other = Peer::dial(&other, served.target()).await.unwrap();
    let (one, other) = tokio::join!(one.join(&token), other.join(&token));
    assert!(one.is_ok() != other.is_ok());
    assert_eq!(refusal(if one.is_ok() { other } else { one }).0, Status::Expired);
    assert_eq!(clients::load(&served.state).unwrap().len(), 1);
}

#[tokio::test]
async fn an_invitation_that_has_expired_or_was_never_made_is_refused() {
    let served = Served::start();
    let expired = Token::random().unwrap();
    let moment = now() - Duration::from_secs(1);
    invitations::create(&served.state, &expired, &grant("list", ""), moment, moment).unwrap();
    for token in [expired.reveal(), Token::random().unwrap().reveal(), "no token at all".to_owned()] {
        let peer = Peer::dial(&Key::new(), served.target()).await.unwrap();
        assert_eq!(refusal(peer.join_as(&token, "test").await).0, Status::Expired);
    }
    assert!(clients::load(&served.state).unwrap().is_empty());
}

#[tokio::test]
async fn who_keeps_guessing_is_told_to_wait_even_with_a_good_token() {
    let served = Served::start();
    for _ in 0..5 {
        let peer = Peer::dial(&Key::new(), served.target()).await.unwrap();
        assert_eq!(refusal(peer.join(&Token::random().unwrap()).await).0, Status::Expired);
    }
    let token = served.invite("list", "");
    let peer = Peer::dial(&Key::new(), served.target()).await.unwrap();
    match peer.join(&token).await {
        Err(OpenError::Refused { status: Status::Busy, retry_after_ms, .. }) => assert!(retry_after_ms > 0),
        other => panic!("not told to wait: {other:?}"),
    }
    // The invitation was not looked at, and is still good.
    assert_eq!(invitations::redeem(&served.state, &token, now()).unwrap(), Some(grant("list", "")));
}

#[tokio::test]
async fn joining_again_replaces_the_grant_of_the_same_key() {
    let served = Served::start();
    let peer = served.joined("list", "").await;
    assert_eq!(refusal(peer.sync(Direction::Push, b"new").await).0, Status::Denied);
    peer.join(&served.invite("push", "")).await.unwrap();
    peer.sync(Direction::Push, b"new").await.unwrap();
    assert_eq!(clients::load(&served.state).unwrap().len(), 1);
}

#[tokio::test]
async fn revoking_ends_an_open_connection_and_its_transfers() {
    let served = Served::start();
    let key = Key::new();
    let peer = Peer::dial(&key, served.target()).await.unwrap();
    peer.join(&served.invite("list,push", "")).await.unwrap();
    let mut running = peer.sync(Direction::Push, b"new").await.unwrap();
    clients::revoke(&served.state, &key.identity.fingerprint().to_string()[..8]).unwrap();
    assert_eq!(peer.closed().await, (Status::Unknown, "revoked".to_owned()));
    let end = loop {
        match running.recv.try_recv_bytes(1 << 20).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the transfer seems to have ended well"),
            Err(err) => break err,
        }
    };
    assert_eq!(end.peer_status(), Some(Status::Unknown));
    let again = Peer::dial(&key, served.target()).await.unwrap();
    assert_eq!(refusal(again.open(SERVICE_PING, &()).await).0, Status::Unknown);
}

#[tokio::test]
async fn a_list_of_clients_that_cannot_be_read_lets_nobody_in() {
    let served = Served::start();
    let key = Key::new();
    let peer = Peer::dial(&key, served.target()).await.unwrap();
    peer.join(&served.invite("list", "")).await.unwrap();
    let path = served.state.path().join("clients.toml");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&good[..], b"\n[[client]]\nfingerprint = 7\n"].concat()).unwrap();
    assert_eq!(peer.closed().await.0, Status::Unknown);
    let again = Peer::dial(&key, served.target()).await.unwrap();
    assert_eq!(refusal(again.open(SERVICE_PING, &()).await).0, Status::Unknown);
    std::fs::write(&path, &good).unwrap();
    let back_in = async {
        loop {
            let peer = Peer::dial(&key, served.target()).await.unwrap();
            if peer.open(SERVICE_PING, &()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, back_in).await.unwrap();
}

#[tokio::test]
async fn a_name_that_is_too_long_does_not_use_the_invitation_up() {
    let served = Served::start();
    let token = served.invite("list", "");
    let peer = Peer::dial(&Key::new(), served.target()).await.unwrap();
    assert_eq!(refusal(peer.join_as(&token.reveal(), &"x".repeat(256)).await).0, Status::Invalid);
    let peer = Peer::dial(&Key::new(), served.target()).await.unwrap();
    peer.join_as(&token.reveal(), &"x".repeat(255)).await.unwrap();
}
