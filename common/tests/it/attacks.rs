//! Peers that mean harm, beyond lies about single messages: they hold, flood, and say what others will read.

use std::{fs, path::Path, sync::Arc, time::Duration};

use swarmwire_common::{
    channel::{self, Channel, FrameSender, OpenError},
    entry::{Kind, Metadata},
    filter::{List, Selection},
    path::RelPath,
    sync::{Destination, Outcome, Router, SyncError, Tally, receive, send},
    wire::{
        data::Preamble,
        open::SERVICE_PING,
        status::Status,
        sync::{
            Counts, DestinationMessage, Durability, ListingEntry, Run, Selection as WireSelection,
            SourceMessage,
        },
    },
};
use tokio::time::timeout;

use crate::{
    pair::Pair,
    sync::{destination, options, source},
};

/// How long anything here may take at most: the engine's own patience with its peer, and some more.
const PATIENCE: Duration = Duration::from_secs(25);

/// The engine as destination at `to`, against a source that `script` plays. `asked` is what it has asked for, if it has.
async fn with_destination(
    to: &Path,
    asked: Option<(&str, bool)>,
    script: impl AsyncFnOnce(&mut Channel, &quinn::Connection),
) -> Outcome {
    let mut place = destination(to, "");
    if let Some((path, trailing_slash)) = asked {
        place = place.asking_for(&RelPath::parse(path.as_bytes()).unwrap(), trailing_slash);
    }
    with_place(place, script).await
}

async fn with_place(
    place: Destination,
    script: impl AsyncFnOnce(&mut Channel, &quinn::Connection),
) -> Outcome {
    let pair = Pair::connect().await;
    let [mut theirs, ours] = pair.channel().await;
    let router = Router::new();
    let link = pair.gateway_link(&router, ours);
    let receiving = receive(link, place, options(Durability::Batch), Arc::new(Tally::default()));
    let playing = async {
        script(&mut theirs, &pair.controller).await;
        // What it had to say is said; it stays connected.
        std::future::pending::<()>().await;
    };
    let ended = async {
        tokio::select! {
            outcome = receiving => outcome,
            () = router.run(pair.gateway.clone()) => panic!("the connection ended"),
            () = playing => unreachable!(),
        }
    };
    timeout(PATIENCE, ended).await.expect("the destination is held")
}

/// The engine as source of `from`, against a destination that `script` plays.
async fn with_source(
    from: &Path,
    script: impl AsyncFnOnce(&mut Channel, &quinn::Connection),
) -> (Outcome, Arc<Tally>) {
    let pair = Pair::connect().await;
    let [ours, mut theirs] = pair.channel().await;
    let router = Router::new();
    let link = pair.controller_link(&router, ours);
    let tally = Arc::new(Tally::default());
    let sending = send(link, source(from, None), options(Durability::Batch), Arc::clone(&tally));
    let playing = async {
        script(&mut theirs, &pair.controller).await;
        std::future::pending::<()>().await;
    };
    let outcome = async {
        tokio::select! {
            outcome = sending => outcome,
            () = playing => unreachable!(),
        }
    };
    (timeout(PATIENCE, outcome).await.expect("the source is held"), tally)
}

fn top(name: &str, entry: Kind) -> SourceMessage {
    SourceMessage::Top { name: name.as_bytes().to_vec(), entry, metadata: Metadata::default(), extra: None }
}

fn entry(name: &[u8], kind: Kind) -> ListingEntry {
    ListingEntry { name: name.to_vec(), kind, metadata: Metadata::default(), extra: None }
}

fn files(directory: u32, numbers: std::ops::Range<u32>) -> SourceMessage {
    let entries = numbers.map(|n| entry(format!("{n:08}").as_bytes(), Kind::File { size: 1 })).collect();
    SourceMessage::Listing { directory, entries }
}

/// A source that took nothing of what it was told left the planner waiting for room to say more. When the sync then ended, its end
/// waited for the planner: the handler was taken for as long as the peer kept the connection.
#[tokio::test]
async fn a_source_that_does_not_listen_cannot_hold_a_sync_that_has_ended() {
    let to = tempfile::tempdir().unwrap();
    fs::write(
        to.path().join("d"),
        "a file in the way of the directory, so that every entry in it is told as failed",
    )
    .unwrap();
    let outcome = with_destination(to.path(), None, async |channel, connection| {
        channel.send.send(&top("", Kind::Directory)).await.unwrap();
        let entries = vec![entry(b"d", Kind::Directory)];
        channel.send.send(&SourceMessage::Listing { directory: 0, entries }).await.unwrap();
        for block in 0..25 {
            channel.send.send(&files(1, block * 4000..(block + 1) * 4000)).await.unwrap();
        }
        let mut stream = FrameSender::new(connection.open_uni().await.unwrap());
        stream.send(&Preamble { channel: channel.id() }).await.unwrap();
        stream.send_bytes(b"no header").await.unwrap();
    })
    .await;
    assert!(outcome.error.is_some());
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1, "no staging place stays");
}

/// As scp had it in CVE-2019-6111: whoever asks for `logs` into the home directory does not want a `.ssh`.
#[tokio::test]
async fn a_source_cannot_land_what_was_not_asked_for() {
    let file = Kind::File { size: 0 };
    let link = Kind::Symlink { target: b"/etc".to_vec() };
    for (asked, name, kind, is_accepted) in [
        (("web/logs", false), "logs", Kind::Directory, true),
        (("web/logs", false), ".ssh", Kind::Directory, false),
        (("web/logs", false), "", Kind::Directory, false),
        (("web/logs", false), "logs", file.clone(), true),
        (("web/logs", false), ".bashrc", file.clone(), false),
        (("web/logs", true), "", Kind::Directory, true),
        (("web/logs", true), "logs", Kind::Directory, false),
        (("web/logs", true), "logs", file.clone(), true),
        (("", false), "", Kind::Directory, true),
        (("", false), "logs", Kind::Directory, false),
        (("", false), "logs", file, false),
        (("web/logs", false), "logs", link, false),
    ] {
        let to = tempfile::tempdir().unwrap();
        let outcome = with_destination(to.path(), Some(asked), async |channel, _| {
            channel.send.send(&top(name, kind.clone())).await.unwrap();
            // From here on it may have been refused already.
            let _refused = channel.send.send(&SourceMessage::ListingEnd { entries: 1, bytes: 0 }).await;
            while let Ok(DestinationMessage::Progress(_)) = channel.recv.recv::<_, 1_048_576>().await {}
            let end = SourceMessage::Aborted { status: Status::Cancelled.into(), reason: String::new() };
            let _refused = channel.send.send(&end).await;
        })
        .await;
        let shown = format!("{asked:?}, {name:?}, {kind:?}: {:?}", outcome.error);
        match outcome.error {
            None | Some(SyncError::Aborted { .. }) => assert!(is_accepted, "{shown}"),
            Some(SyncError::Protocol(_)) => {
                assert!(!is_accepted, "{shown}");
                assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0, "{shown}");
            }
            _ => panic!("{shown}"),
        }
    }
}

/// Whoever asks for a few files, or for some of a pattern, does not want a source to put others beside them.
#[tokio::test]
async fn a_source_cannot_list_what_was_not_asked_for() {
    let listed = {
        let mut list = List::default();
        list.push(RelPath::parse(b"a/b").unwrap()).unwrap();
        Selection::default().listing(list)
    };
    let small =
        Selection::from_wire(WireSelection { size_max: Some(5), ..WireSelection::default() }).unwrap();
    let file = |size| Kind::File { size };
    for (selection, name, kind, is_accepted) in [
        (&listed, "a", Kind::Directory, true),
        (&listed, "a", file(1), false),
        (&listed, ".bashrc", file(1), false),
        (&listed, ".ssh", Kind::Directory, false),
        (&small, "b", file(5), true),
        (&small, "b", file(6), false),
    ] {
        let to = tempfile::tempdir().unwrap();
        let place = destination(to.path(), "").selecting(Arc::new(selection.clone()));
        let outcome = with_place(place, async |channel, _| {
            channel.send.send(&top("", Kind::Directory)).await.unwrap();
            let entries = vec![entry(name.as_bytes(), kind.clone())];
            channel.send.send(&SourceMessage::Listing { directory: 0, entries }).await.unwrap();
            if is_accepted {
                let end = SourceMessage::Aborted { status: Status::Cancelled.into(), reason: String::new() };
                channel.send.send(&end).await.unwrap();
            }
        })
        .await;
        let is_refused = matches!(outcome.error, Some(SyncError::Protocol(_)));
        assert!(is_accepted || !to.path().join(name).exists(), "{name}");
        assert_eq!(is_refused, !is_accepted, "{name} {kind:?}: {:?}", outcome.error);
    }
}

#[tokio::test]
async fn a_listing_block_that_would_take_twenty_times_its_bytes_is_refused() {
    let to = tempfile::tempdir().unwrap();
    let outcome = with_destination(to.path(), None, async |channel, _| {
        channel.send.send(&top("", Kind::Directory)).await.unwrap();
        channel.send.send(&files(0, 0..5000)).await.unwrap();
    })
    .await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
}

/// The counts go into the gateway's metrics, where one peer's numbers would have been everybody's.
#[tokio::test]
async fn a_destination_cannot_count_more_files_than_there_are() {
    let from = tempfile::tempdir().unwrap();
    fs::write(from.path().join("a"), "a").unwrap();
    let lie = |change: fn(&mut Counts)| {
        let mut counts = Counts::default();
        change(&mut counts);
        counts
    };
    for counts in [
        lie(|counts| counts.durable = u64::MAX),
        lie(|counts| counts.committed = 3),
        lie(|counts| counts.files_unchanged = 1 << 40),
    ] {
        let (outcome, tally) = with_source(from.path(), async |channel, _| {
            while !matches!(
                channel.recv.recv::<_, 1_048_576>().await.unwrap(),
                SourceMessage::ListingEnd { .. }
            ) {}
            channel.send.send(&DestinationMessage::Done(counts)).await.unwrap();
        })
        .await;
        assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{counts:?}: {:?}", outcome.error);
        let told = tally.counts();
        assert_eq!((told.committed, told.durable, told.files_unchanged), (0, 0, 0));
    }
}

/// The source hears a destination out that has stopped listening; what it then heard used to make it speak on the stream that
/// had ended, which killed the task.
#[tokio::test]
async fn a_destination_that_stops_listening_and_then_lies_ends_the_sync_and_no_more() {
    let from = tempfile::tempdir().unwrap();
    for number in 0..3000 {
        fs::write(from.path().join(format!("{number:0200}")), "").unwrap();
    }
    let (outcome, _) = with_source(from.path(), async |channel, connection| {
        channel.recv.stop(Status::Cancelled);
        while connection.stats().frame_rx.stop_sending == 0 {
            tokio::task::yield_now().await;
        }
        let unlisted = vec![Run { first: 1_000_000, count: 1 }];
        channel.send.send(&DestinationMessage::Want(unlisted)).await.unwrap();
    })
    .await;
    assert!(outcome.error.is_some());
}

/// More syncs at once than a router reads preambles: the streams of some used to be turned away.
#[tokio::test]
async fn the_streams_of_many_syncs_may_arrive_at_the_same_moment() {
    const SYNCS: u64 = 12;
    const STREAMS: usize = 4;
    let pair = Pair::connect().await;
    let router = Router::new();
    let mut registered: Vec<_> = (0..SYNCS).map(|id| router.register(id)).collect();
    let mut streams = Vec::new();
    for number in 0..STREAMS * usize::try_from(SYNCS).unwrap() {
        let stream = FrameSender::new(pair.controller.open_uni().await.unwrap());
        streams.push((number as u64 % SYNCS, stream));
    }
    // The last stream's first packet makes all the others known at once.
    for (channel, stream) in streams.iter_mut().rev() {
        stream.send(&Preamble { channel: *channel }).await.unwrap();
    }
    let all = async {
        for data in &mut registered {
            for _ in 0..STREAMS {
                data.next().await.unwrap();
            }
        }
    };
    tokio::select! {
        done = timeout(PATIENCE, all) => done.expect("a stream was turned away"),
        () = router.run(pair.gateway.clone()) => panic!("the connection ended"),
    }
}

#[tokio::test]
async fn a_peers_reasons_can_neither_forge_a_line_nor_move_a_cursor() {
    const REASON: &str = "bye\n2026-11-21T00:00:00Z ERROR all is lost\x1b]0;owned\x07\u{9b}2J";
    let is_harmless = |shown: &str| {
        assert!(shown.contains("all is lost"), "{shown}");
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    };
    let reason = REASON.to_owned();
    is_harmless(&SyncError::Aborted { status: Status::Internal, reason }.to_string());

    let pair = Pair::connect().await;
    pair.gateway.close(0u32.into(), REASON.as_bytes());
    let err = channel::open(&pair.controller, SERVICE_PING, &()).await.unwrap_err();
    is_harmless(&err.to_string());
}

/// A gateway that keeps the connection alive and takes nothing used to be waited for without end.
#[tokio::test]
async fn a_gateway_that_gives_no_room_for_a_request_is_given_up() {
    let give_up = async |config: quinn::TransportConfig| {
        let pair = Pair::connect_with(Some(config)).await;
        let request = vec![7u8; 60_000];
        let answer = channel::open(&pair.controller, SERVICE_PING, &request);
        let err = timeout(PATIENCE, answer).await.expect("it waits for ever").unwrap_err();
        assert!(matches!(err, OpenError::NoReply), "{err:?}");
    };
    let config = || {
        let mut config = quinn::TransportConfig::default();
        config.keep_alive_interval(Some(Duration::from_secs(1)));
        config
    };
    let (mut without_streams, mut without_window) = (config(), config());
    without_streams.max_concurrent_bidi_streams(0u32.into());
    without_window.stream_receive_window(16u32.into());
    tokio::join!(give_up(without_streams), give_up(without_window));
}
