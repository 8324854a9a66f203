//! Frames and the opening handshake against a peer that writes raw bytes and ends streams as it likes.

use quinn::{RecvStream, SendStream, VarInt};
use swarmwire_common::{
    channel::{self, Channel, FrameError, FrameReceiver, FrameSender, OpenError, Opening},
    codec::{self, DecodeError},
    limits::OPEN_FRAME_BYTES_MAX,
    wire::{
        open::{Open, Reply, SERVICE_LIST, SERVICE_PING},
        status::{Status, StatusCode},
    },
};

use crate::pair::Pair;

/// Limit of the frames in these tests.
const LIMIT: usize = 8;

/// A stream on which the controller writes raw bytes, and where they arrive as frames.
async fn raw_to_frames(pair: &Pair) -> (SendStream, FrameReceiver) {
    let mut raw = pair.controller.open_uni().await.unwrap();
    // A stream exists for the peer only once something of it has arrived.
    raw.write_all(&frame(b"first")).await.unwrap();
    let mut frames = FrameReceiver::new(pair.gateway.accept_uni().await.unwrap());
    assert_eq!(frames.try_recv_bytes(LIMIT).await.unwrap().unwrap(), b"first");
    (raw, frames)
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

#[tokio::test]
async fn a_frame_of_the_limit_passes_and_a_longer_one_is_refused_before_it_comes() {
    let pair = Pair::connect().await;
    for (announced, passes) in [(LIMIT, true), (LIMIT + 1, false), (u32::MAX as usize, false)] {
        let (mut raw, mut frames) = raw_to_frames(&pair).await;
        raw.write_all(&u32::try_from(announced).unwrap().to_be_bytes()).await.unwrap();
        if passes {
            raw.write_all(&[7; LIMIT]).await.unwrap();
            assert_eq!(frames.try_recv_bytes(LIMIT).await.unwrap().unwrap(), [7; LIMIT]);
            continue;
        }
        // Nothing of the body is ever sent, so a receiver that waited for it would hang.
        let refused = frames.try_recv_bytes(LIMIT).await;
        let Err(FrameError::Malformed(err)) = refused else { panic!("{refused:?}") };
        assert_eq!(err, DecodeError::TooLarge { size: announced, limit: LIMIT });
    }
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_one_frame() {
    let pair = Pair::connect().await;
    let (mut raw, mut frames) = raw_to_frames(&pair).await;
    let dribble = async {
        for byte in [frame(b"slow"), frame(b"")].concat() {
            raw.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let receive = async {
        assert_eq!(frames.try_recv_bytes(LIMIT).await.unwrap().unwrap(), b"slow");
        assert_eq!(frames.try_recv_bytes(LIMIT).await.unwrap().unwrap(), b"");
    };
    tokio::join!(dribble, receive);
}

#[tokio::test]
async fn a_stream_may_end_between_frames_and_nowhere_else() {
    let pair = Pair::connect().await;
    for (rest, is_between) in
        [(&b""[..], true), (&b"\0"[..], false), (&b"\0\0\0\x02"[..], false), (&b"\0\0\0\x02x"[..], false)]
    {
        let (mut raw, mut frames) = raw_to_frames(&pair).await;
        raw.write_all(rest).await.unwrap();
        raw.finish().unwrap();
        let end = frames.try_recv_bytes(LIMIT).await;
        if is_between {
            assert!(matches!(end, Ok(None)), "{end:?}");
            let due = frames.recv::<u8, LIMIT>().await;
            assert!(matches!(due, Err(FrameError::Ended)), "{due:?}");
        } else {
            assert!(matches!(end, Err(FrameError::Ended)), "{rest:?}: {end:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_the_message_due_is_malformed() {
    let pair = Pair::connect().await;
    for body in [&b""[..], b"\x02", b"\x01\x00"] {
        let (mut raw, mut frames) = raw_to_frames(&pair).await;
        raw.write_all(&frame(body)).await.unwrap();
        let result = frames.recv::<bool, LIMIT>().await;
        assert!(matches!(result, Err(FrameError::Malformed(_))), "{body:?}: {result:?}");
    }
}

#[tokio::test]
async fn raw_bytes_follow_a_frame_exactly() {
    let pair = Pair::connect().await;
    let (raw, mut frames) = raw_to_frames(&pair).await;
    let mut sender = FrameSender::new(raw);
    sender.send(&5u8).await.unwrap();
    sender.send_raw(bytes::Bytes::from_static(b"bytes")).await.unwrap();
    sender.send(&true).await.unwrap();
    sender.send_raw(bytes::Bytes::from_static(b"cut")).await.unwrap();
    sender.finish();

    let size = frames.recv::<u8, LIMIT>().await.unwrap();
    let mut buffer = b"before ".to_vec();
    frames.recv_raw(size.into(), &mut buffer).await.unwrap();
    assert_eq!(buffer, b"before bytes");
    assert!(frames.recv::<bool, LIMIT>().await.unwrap());
    let cut = frames.recv_raw(4, &mut buffer).await;
    assert!(matches!(cut, Err(FrameError::Ended)), "{cut:?}");
}

/// Codes of resets and stops, and how they are read.
fn codes() -> impl Iterator<Item = (VarInt, Status)> {
    let known = Status::ALL.iter().skip(1).map(|&status| (VarInt::from(status), status));
    known.chain([
        (VarInt::from_u32(0), Status::Cancelled),
        (VarInt::from_u32(9999), Status::Internal),
        (VarInt::from_u32(65_536), Status::Internal),
        (VarInt::MAX, Status::Internal),
    ])
}

#[tokio::test]
async fn a_reset_says_its_status() {
    let pair = Pair::connect().await;
    for (code, status) in codes() {
        let (mut raw, mut frames) = raw_to_frames(&pair).await;
        raw.reset(code).unwrap();
        let err = frames.try_recv_bytes(LIMIT).await.unwrap_err();
        assert_eq!(err.peer_status(), Some(status), "{code}: {err}");
    }
}

#[tokio::test]
async fn a_stop_says_its_status() {
    let pair = Pair::connect().await;
    for (code, status) in codes() {
        let mut sender = FrameSender::new(pair.controller.open_uni().await.unwrap());
        sender.send(&1u8).await.unwrap();
        let mut raw: RecvStream = pair.gateway.accept_uni().await.unwrap();
        raw.stop(code).unwrap();
        sender.acknowledged().await;
        let err = sender.send(&2u8).await.unwrap_err();
        assert_eq!(err.peer_status(), Some(status), "{code}: {err}");
    }
}

#[tokio::test]
async fn a_channel_that_is_dropped_ends_early_and_says_that_the_peer_gave_up() {
    let pair = Pair::connect().await;
    let [controller, mut gateway] = pair.channel().await;
    drop(controller);
    let due = gateway.recv.recv::<u8, LIMIT>().await;
    assert!(matches!(due, Err(FrameError::Ended)), "{due:?}");
    gateway.send.acknowledged().await;
    let err = gateway.send.send(&1u8).await.unwrap_err();
    assert_eq!(err.peer_status(), Some(Status::Cancelled), "{err}");
}

#[tokio::test]
async fn a_closed_connection_says_its_status() {
    let pair = Pair::connect().await;
    let [mut controller, _gateway] = pair.channel().await;
    pair.gateway.close(Status::ShuttingDown.into(), b"");
    let err = controller.recv.recv::<u8, LIMIT>().await.unwrap_err();
    assert_eq!(err.peer_status(), Some(Status::ShuttingDown));
    let again = channel::open(&pair.controller, SERVICE_PING, &()).await.unwrap_err();
    assert!(matches!(&again, OpenError::Lost(err) if err.peer_status() == Some(Status::ShuttingDown)));
}

/// Opens a channel while the gateway does `answer` with its raw stream.
async fn opened<F: Future<Output = (SendStream, RecvStream)>>(
    pair: &Pair,
    answer: impl FnOnce(SendStream, RecvStream) -> F,
) -> Result<(Channel, Vec<u8>), OpenError> {
    let answer = async {
        let (send, recv) = pair.gateway.accept_bi().await.unwrap();
        answer(send, recv).await
    };
    // The gateway's halves live until the controller has its result.
    let (opened, _halves) = tokio::join!(channel::open(&pair.controller, SERVICE_PING, &()), answer);
    opened
}

#[tokio::test]
async fn an_opening_says_who_asks_for_what() {
    let pair = Pair::connect().await;
    let opening = Opening::begin(&pair.controller, SERVICE_LIST, &(7u8, "x")).await.unwrap();
    let id = opening.id();
    let gateway = async {
        let (send, recv) = pair.gateway.accept_bi().await.unwrap();
        let mut channel = Channel::new(send, recv);
        let open = channel.recv.recv::<Open, OPEN_FRAME_BYTES_MAX>().await.unwrap();
        channel.reply_ok(&9u8).await.unwrap();
        (channel, open)
    };
    let (opened, (answered, open)) = tokio::join!(opening.reply(), gateway);
    let (channel, body) = opened.unwrap();
    assert_eq!(open, Open { version: 1, service: "list".into(), request: codec::encode(&(7u8, "x")) });
    assert_eq!(body, [9]);
    assert_eq!((channel.id(), answered.id()), (id, id));
}

#[tokio::test]
async fn a_refusal_carries_its_reason_escaped() {
    let pair = Pair::connect().await;
    let refused = opened(&pair, async |mut send, recv| {
        let reply = Reply {
            status: StatusCode::from(Status::Busy),
            detail: "64 of 64\x1b[2J".into(),
            retry_after_ms: 250,
            body: vec![],
        };
        send.write_all(&frame(&codec::encode(&reply))).await.unwrap();
        (send, recv)
    })
    .await
    .unwrap_err();
    assert_eq!(refused.to_string(), "busy: 64 of 64\\x1b[2J");
    assert!(matches!(refused, OpenError::Refused { status: Status::Busy, retry_after_ms: 250, .. }));
}

#[tokio::test]
async fn a_status_of_the_future_is_a_refusal() {
    let pair = Pair::connect().await;
    let refused = opened(&pair, async |mut send, recv| {
        let reply = Reply { status: StatusCode(999), detail: String::new(), retry_after_ms: 0, body: vec![] };
        send.write_all(&frame(&codec::encode(&reply))).await.unwrap();
        (send, recv)
    })
    .await;
    assert!(matches!(refused, Err(OpenError::Refused { status: Status::Internal, .. })), "{refused:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_reply_opens_nothing() {
    let pair = Pair::connect().await;
    let garbage = opened(&pair, async |mut send, recv| {
        send.write_all(&frame(&[0xff; 20])).await.unwrap();
        (send, recv)
    });
    let garbage = garbage.await;
    assert!(matches!(garbage, Err(OpenError::Lost(FrameError::Malformed(_)))), "{garbage:?}");

    let long = opened(&pair, async |mut send, recv| {
        let length = u32::try_from(OPEN_FRAME_BYTES_MAX + 1).unwrap();
        send.write_all(&length.to_be_bytes()).await.unwrap();
        (send, recv)
    });
    let long = long.await;
    assert!(matches!(long, Err(OpenError::Lost(FrameError::Malformed(_)))), "{long:?}");

    let nothing = opened(&pair, async |mut send, recv| {
        send.finish().unwrap();
        (send, recv)
    });
    let nothing = nothing.await;
    assert!(matches!(nothing, Err(OpenError::Lost(FrameError::Ended))), "{nothing:?}");

    let reset = opened(&pair, async |mut send, recv| {
        send.reset(Status::TooLarge.into()).unwrap();
        (send, recv)
    });
    let reset = reset.await;
    assert!(matches!(reset, Err(OpenError::Lost(FrameError::Reset(Status::TooLarge)))), "{reset:?}");
}
