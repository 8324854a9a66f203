//! The handler pool: full means busy, at once, and every end frees a handler.

use std::net::SocketAddr;

use swarmwire_common::{
    channel::{Channel, OpenError},
    limits,
    wire::{open::SERVICE_PING, status::Status, sync::Direction},
};
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};

use crate::harness::{Key, Peer, SOON, Served, Target, refusal};

/// Does what `busy` asks for until there is a handler.
async fn push_when_free(peer: &Peer) -> Channel {
    loop {
        match peer.sync(Direction::Push, b"new").await {
            Ok(channel) => return channel,
            Err(OpenError::Refused { status: Status::Busy, retry_after_ms, .. }) => {
                assert!(retry_after_ms > 0);
                sleep(Duration::from_millis(retry_after_ms.into()) / 10).await;
            }
            Err(err) => panic!("{err}"),
        }
    }
}

#[tokio::test]
async fn a_full_pool_answers_busy_at_once_and_recovers_when_a_channel_ends() {
    let served = Served::start_with(|options| options.handlers = 2);
    let peer = served.joined("push,list", "").await;
    let first = peer.sync(Direction::Push, b"new").await.unwrap();
    let _second = peer.sync(Direction::Push, b"new").await.unwrap();
    let asked = Instant::now();
    let (status, detail) = refusal(peer.sync(Direction::Push, b"new").await);
    assert_eq!(status, Status::Busy);
    assert!(detail.contains("2 handlers"), "{detail}");
    assert!(asked.elapsed() < Duration::from_secs(1));
    peer.open(SERVICE_PING, &()).await.expect("ping takes no handler");
    drop(first);
    timeout(SOON, push_when_free(&peer)).await.unwrap();
}

#[tokio::test]
async fn a_refused_request_frees_its_handler() {
    let served = Served::start_with(|options| options.handlers = 1);
    let peer = served.joined("push", "").await;
    for _ in 0..3 {
        assert_eq!(refusal(peer.sync(Direction::Pull, b"").await).0, Status::Denied);
    }
    timeout(SOON, push_when_free(&peer)).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_closes_its_connection_frees_its_handlers() {
    let served = Served::start_with(|options| options.handlers = 1);
    let other = served.joined("push", "").await;
    let peer = served.joined("push", "").await;
    let _held = peer.sync(Direction::Push, b"new").await.unwrap();
    assert_eq!(refusal(other.sync(Direction::Push, b"new").await).0, Status::Busy);
    peer.connection.close(0u32.into(), b"");
    timeout(SOON, push_when_free(&other)).await.unwrap();
}

/// Story: a controller is killed, or its network goes away, in mid-transfer. Nothing tells the gateway; only silence does.
#[tokio::test]
async fn a_peer_that_vanishes_without_a_word_frees_its_handlers_within_seconds() {
    let served = Served::start_with(|options| options.handlers = 1);
    let other = served.joined("push", "").await;
    let mut network = JoinSet::new();
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let through = Target { address: relay.local_addr().unwrap(), ..served.target() };
    network.spawn(forward(relay, served.target().address));
    let peer = Peer::dial(&Key::new(), through).await.unwrap();
    peer.join(&served.invite("push", "")).await.unwrap();
    let _held = peer.sync(Direction::Push, b"new").await.unwrap();
    assert_eq!(refusal(other.sync(Direction::Push, b"new").await).0, Status::Busy);
    network.shutdown().await;
    timeout(limits::IDLE_TIMEOUT + SOON, push_when_free(&other)).await.unwrap();
}

/// A network between one peer and the gateway, for as long as it is polled.
async fn forward(relay: UdpSocket, gateway: SocketAddr) {
    let mut peer = None;
    let mut datagram = vec![0; 65_536];
    loop {
        let (size, from) = relay.recv_from(&mut datagram).await.unwrap();
        let to = if from == gateway { peer.unwrap() } else { gateway };
        if from != gateway {
            peer = Some(from);
        }
        relay.send_to(&datagram[..size], to).await.unwrap();
    }
}
