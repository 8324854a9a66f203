//! Peers that speak something else, or nothing that makes sense. Each meets a clear answer, and the gateway serves on.

use std::time::Duration;

use bytes::Bytes;
use swarmwire_common::{
    channel::{FrameReceiver, FrameSender, Opening},
    codec, limits,
    wire::{
        call::{CallKind, CallRequest, Codec},
        open::{Open, Reply, SERVICE_CALL, SERVICE_LIST, SERVICE_PING},
        status::Status,
    },
};
use swarmwire_server::subroutines::{Args, Context, Failure, Subroutine};
use tokio::{net::UdpSocket, time::timeout};

use crate::harness::{Key, Peer, SOON, Served, http_get, refusal};

async fn assert_serves(peer: &Peer) {
    let mut ping = timeout(SOON, peer.open(SERVICE_PING, &())).await.unwrap().unwrap();
    ping.send.send_bytes(b"still there?").await.unwrap();
    let echo = timeout(SOON, ping.recv.try_recv_bytes(64)).await.unwrap().unwrap();
    assert_eq!(echo.as_deref(), Some(&b"still there?"[..]));
}

/// Sends raw bytes as the beginning of a channel; gives the gateway's answer.
async fn opened_with(peer: &Peer, bytes: &[u8]) -> (Status, String) {
    let (mut send, recv) = peer.connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    let mut recv = FrameReceiver::new(recv);
    let reply: Reply =
        timeout(SOON, recv.recv::<_, { limits::OPEN_FRAME_BYTES_MAX }>()).await.unwrap().unwrap();
    (reply.status.into(), reply.detail)
}

#[tokio::test]
async fn an_echo_carries_a_mebibyte_and_not_a_byte_more() {
    let served = Served::start();
    let peer = served.joined("list", "").await;
    let mut ping = peer.open(SERVICE_PING, &()).await.unwrap();
    for size in [0, 1, 64, limits::PING_BYTES_MAX] {
        let sent: Vec<u8> = (0..=250).cycle().take(size).collect();
        ping.send.send_bytes(&sent).await.unwrap();
        let echo = timeout(SOON, ping.recv.try_recv_bytes(limits::PING_BYTES_MAX)).await.unwrap().unwrap();
        assert!(echo.as_ref() == Some(&sent), "{size} bytes");
    }
    ping.send.finish();
    assert!(ping.recv.try_recv_bytes(1).await.unwrap().is_none(), "it ends well when we do");

    let mut ping = peer.open(SERVICE_PING, &()).await.unwrap();
    // It may be broken off while we still send.
    drop(ping.send.send_bytes(&vec![0; limits::PING_BYTES_MAX + 1]).await);
    let err = timeout(SOON, ping.recv.try_recv_bytes(limits::PING_BYTES_MAX)).await.unwrap().unwrap_err();
    assert_eq!(err.peer_status(), Some(Status::TooLarge));
    assert_serves(&peer).await;
}

#[tokio::test]
async fn pings_that_never_end_are_bounded_by_connection() {
    let served = Served::start();
    let peer = served.joined("list", "").await;
    let mut held = Vec::new();
    let (status, _) = loop {
        match peer.open(SERVICE_PING, &()).await {
            Ok(channel) => held.push(channel),
            refused => break refusal(refused),
        }
    };
    assert_eq!((held.len(), status), (16, Status::Busy));
    assert_serves(&served.joined("list", "").await).await;
}

#[tokio::test]
async fn a_service_that_is_none_is_named_as_unknown_with_those_there_are() {
    let served = Served::start();
    let peer = served.joined("list", "").await;
    let (status, detail) = refusal(peer.open("teleport", &()).await);
    assert_eq!(status, Status::UnknownService);
    assert!(detail.contains("ping") && detail.contains("sync") && !detail.contains("teleport"), "{detail}");
    assert_serves(&peer).await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused_with_both_numbers() {
    let served = Served::start();
    let peer = served.joined("list", "").await;
    let (send, recv) = peer.connection.open_bi().await.unwrap();
    let open = Open { version: 77, service: SERVICE_PING.to_owned(), request: Vec::new() };
    FrameSender::new(send).send(&open).await.unwrap();
    let reply: Reply = FrameReceiver::new(recv).recv::<_, 65536>().await.unwrap();
    assert_eq!(Status::from(reply.status), Status::UnsupportedVersion);
    assert!(reply.detail.contains("version 1") && reply.detail.contains("77"), "{}", reply.detail);
}

#[tokio::test]
async fn an_opening_frame_that_makes_no_sense_is_answered() {
    let served = Served::start();
    let peer = served.joined("list", "").await;
    let length = |size: usize| u32::try_from(size).unwrap().to_be_bytes();
    let mut trailing = codec::encode(&Open { version: 1, service: "ping".to_owned(), request: Vec::new() });
    trailing.push(0);
    for (bytes, expected) in [
        ([&length(7)[..], b"\xff\xff\xff\xff\xff\xff\xff"].concat(), Status::Invalid),
        ([&length(0)[..]].concat(), Status::Invalid),
        ([&length(trailing.len())[..], &trailing].concat(), Status::Invalid),
        (length(limits::OPEN_FRAME_BYTES_MAX + 1).to_vec(), Status::TooLarge),
        (b"\xff\xff\xff\xff".to_vec(), Status::TooLarge),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Status::TooLarge),
    ] {
        assert_eq!(opened_with(&peer, &bytes).await.0, expected, "{bytes:?}");
    }
    // A request that is none of the service's.
    assert_eq!(refusal(peer.open(SERVICE_LIST, &"not a list request").await).0, Status::Invalid);
    assert_serves(&peer).await;
}

#[tokio::test]
async fn channels_that_are_opened_and_left_alone_hold_up_nobody() {
    let served = Served::start();
    let peer = served.joined("list", "").await;
    let mut held = Vec::new();
    for _ in 0..40 {
        let (mut send, recv) = peer.connection.open_bi().await.unwrap();
        send.write_all(&[0]).await.unwrap();
        held.push((send, recv));
    }
    assert_serves(&peer).await;
}

#[tokio::test]
async fn another_application_protocol_does_not_get_through_the_handshake() {
    let served = Served::start_with(|options| options.metrics = Some("127.0.0.1:0".parse().unwrap()));
    let peer = Peer::dial_with(&Key::new(), served.target(), b"swarmwire/99").await;
    let err = peer.err().expect("no handshake without a protocol in common").to_string();
    assert!(err.contains("application protocol") || err.contains("120"), "{err}");
    let counted = async {
        loop {
            let (_, text) = http_get(served.gateway.metrics_addr().unwrap(), "/metrics").await;
            if text.contains(r#"swarmwire_handshakes_failed_total{reason="alpn"} 1"#) {
                return;
            }
        }
    };
    timeout(SOON, counted).await.unwrap();
}

#[tokio::test]
async fn garbage_and_a_tls_client_on_the_port_change_nothing() {
    let served = Served::start();
    let peer = served.joined("list", "").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // A TLS record with the head of a ClientHello, as a TLS client would write it to a TCP port.
    let client_hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[0x5a; 501]].concat();
    // The long header of a QUIC Initial (RFC 9000 §17.2.2) with nothing decryptable behind it.
    let initial =
        [&b"\xc3\x00\x00\x00\x01\x08\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x44\xd0"[..], &[7; 1232]]
            .concat();
    // A version that nobody speaks (RFC 9000 §15).
    let version = [&b"\xc3\x1a\x2a\x3a\x4a\x08\x01\x02\x03\x04\x05\x06\x07\x08\x00"[..], &[0; 1235]].concat();
    for datagram in
        [&b""[..], b"\n", b"GET / HTTP/1.1\r\n\r\n", &client_hello, &initial, &version, &[0xff; 1500]]
    {
        for _ in 0..20 {
            socket.send_to(datagram, served.target().address).await.unwrap();
        }
    }
    assert_serves(&peer).await;
    assert_serves(&served.joined("list", "").await).await;
}

#[tokio::test]
async fn a_stranger_that_says_nothing_is_put_out() {
    let served = Served::start();
    let peer = Peer::dial(&Key::new(), served.target()).await.unwrap();
    let closed = timeout(limits::REPLY_TIMEOUT + Duration::from_secs(3), peer.connection.closed()).await;
    assert!(closed.is_ok());
    assert_eq!(peer.closed().await.0, Status::Timeout);
}

#[tokio::test]
async fn strangers_are_bounded_and_do_not_keep_known_ones_out() {
    let served = Served::start();
    let known = Key::new();
    Peer::dial(&known, served.target()).await.unwrap().join(&served.invite("list", "")).await.unwrap();
    let mut strangers = Vec::new();
    let key = Key::new();
    for _ in 0..64 {
        strangers.push(Peer::dial(&key, served.target()).await.unwrap());
    }
    let one_more = Peer::dial(&key, served.target()).await.unwrap();
    assert_eq!(one_more.closed().await.0, Status::Busy);
    assert_serves(&Peer::dial(&known, served.target()).await.unwrap()).await;
}

#[tokio::test]
async fn arguments_in_frames_that_are_none_are_told_as_what_they_are() {
    let served = Served::start_with(|options| {
        let echo = Subroutine::batch(async |_: Context, args: Args| Ok::<_, Failure>(args.bytes().clone()));
        options.subroutines.register("echo", echo).unwrap();
    });
    let peer = served.joined("call", "").await;
    let frame = |length: usize, bytes: usize| {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        frame.resize(4 + bytes, 0);
        Bytes::from(frame)
    };
    let most = limits::CALL_FRAME_BYTES_MAX;
    for (sent, expected) in [(frame(most + 1, 1), Status::TooLarge), (frame(9, 3), Status::Invalid)] {
        let request = CallRequest {
            name: "echo".to_owned(),
            kind: CallKind::Batch,
            codec: Codec::Raw,
            deadline_ms: 0,
            input: Vec::new(),
            continues: true,
        };
        let opening = Opening::begin(&peer.connection, SERVICE_CALL, &request).await.unwrap();
        let mut channel = opening.ask().await.unwrap();
        channel.send.send_raw(sent).await.unwrap();
        channel.send.finish();
        let (status, detail) = refusal(timeout(SOON, channel.recv.reply()).await.unwrap());
        assert_eq!(status, expected, "{detail}");
    }
    assert_serves(&peer).await;
}
