//! One side is the engine, the other is written out frame by frame: files that change at a chosen moment, and peers that lie.

use std::{
    fs::{self, File, FileTimes},
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use swarmwire_common::{
    channel::{Channel, FrameSender},
    codec,
    entry::{Kind, Metadata, SpecialKind, Timestamp},
    hash::chunk_chaining_value,
    limits::{CHUNK_BYTES, CONTROL_FRAME_BYTES_MAX, UNIT_HEADER_BYTES_MAX},
    sync::{Outcome, Router, SyncError, Tally, receive, send},
    wire::{
        data::{Encoding, FileAttempt, PackFile, Patch, Preamble, Segment, Unit, UnitHeader},
        extra::Preserve,
        status::Status,
        sync::{Counts, DestinationMessage, Durability, ListingEntry, Run, SourceMessage, SyncOptions},
    },
};

use crate::{
    pair::Pair,
    sync::{destination, options, source},
};

/// The engine as the source of `from`; `script` plays the destination from the end of the listing on.
async fn with_source<T>(
    from: &Path,
    options: SyncOptions,
    script: impl AsyncFnOnce(&mut Channel, &quinn::Connection) -> T,
) -> (Outcome, T) {
    let pair = Pair::connect().await;
    let [ours, mut theirs] = pair.channel().await;
    let router = Router::new();
    let link = pair.controller_link(&router, ours);
    let playing = async {
        loop {
            let message = theirs.recv.recv::<_, CONTROL_FRAME_BYTES_MAX>().await.unwrap();
            if let SourceMessage::ListingEnd { .. } = message {
                break;
            }
        }
        script(&mut theirs, &pair.gateway).await
    };
    let sending = send(link, source(from, None), options, Arc::new(Tally::default()));
    tokio::join!(sending, playing)
}

/// Wants the only file, gives what comes of it: headers, and bytes of the chunks or the pack in the order of arrival.
async fn fetch(channel: &mut Channel, connection: &quinn::Connection) -> Vec<(UnitHeader, Vec<u8>)> {
    channel.send.send(&DestinationMessage::Want(vec![Run { first: 1, count: 1 }])).await.unwrap();
    channel.send.send(&DestinationMessage::PlanEnd).await.unwrap();
    let mut units = Vec::new();
    // One file at a time is read by one thread, so the first streams carry everything; each ends when all is sent.
    let failed = async {
        loop {
            match channel.recv.recv::<_, CONTROL_FRAME_BYTES_MAX>().await.unwrap() {
                SourceMessage::Failed { index: Some(1), reason, .. } => break reason,
                SourceMessage::Alive | SourceMessage::Stages(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let arrived = async {
        'streams: loop {
            let mut stream =
                swarmwire_common::channel::FrameReceiver::new(connection.accept_uni().await.unwrap());
            stream.recv::<Preamble, 16>().await.unwrap();
            while let Some(unit) = stream.try_recv::<Unit, UNIT_HEADER_BYTES_MAX>().await.unwrap() {
                let Unit { header, encoding: Encoding::Plain } = unit else { panic!("{unit:?}") };
                let mut bytes = Vec::new();
                let size = match &header {
                    UnitHeader::Pack { files, .. } => files.iter().map(|file| file.size as usize).sum(),
                    UnitHeader::Chunk { size, segments, .. } if segments.is_empty() => *size as usize,
                    UnitHeader::Chunk { .. } | UnitHeader::FileEnd { .. } => 0,
                };
                stream.recv_raw(size, &mut bytes).await.unwrap();
                let is_last = matches!(header, UnitHeader::Pack { .. });
                units.push((header, bytes));
                if is_last {
                    break 'streams;
                }
            }
        }
    };
    let reason = tokio::select! {
        () = arrived => None,
        reason = failed => Some(reason),
    };
    if let Some(reason) = reason {
        units.push((UnitHeader::Pack { hash: [0; 32], files: vec![] }, reason.into_bytes()));
    }
    channel.send.send(&DestinationMessage::Done(Counts::default())).await.unwrap();
    units
}

/// Lists one file of `before`, lets `change` happen to it, and then fetches it; gives the bytes, or the reason as bytes without a file.
async fn fetch_changed(before: &[u8], change: impl FnOnce(&Path)) -> (Vec<PackFile>, Vec<u8>) {
    let from = tempfile::tempdir().unwrap();
    let path = from.path().join("a.log");
    fs::write(&path, before).unwrap();
    let (_, units) = with_source(from.path(), options(Durability::Batch), async |channel, connection| {
        change(&path);
        fetch(channel, connection).await
    })
    .await;
    let [(UnitHeader::Pack { files, .. }, bytes)] = units.as_slice() else { panic!("{units:?}") };
    (files.clone(), bytes.clone())
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_listed_arrives_as_it_is_with_its_own_time() {
    let (files, bytes) =
        fetch_changed(b"short", |path| fs::write(path, b"longer than before").unwrap()).await;
    assert_eq!(bytes, b"longer than before");
    assert_eq!(files[0].size, 18);
    assert!(files[0].metadata.is_some(), "the listing's time is not this content's");

    let (files, bytes) = fetch_changed(b"long enough", |path| fs::write(path, b"").unwrap()).await;
    assert_eq!((files[0].size, bytes.len()), (0, 0));
}

#[tokio::test]
async fn a_file_that_is_gone_or_no_file_any_more_is_named_and_nothing_hangs() {
    let replace = |path: &Path, with: fn(&Path)| {
        fs::remove_file(path).unwrap();
        with(path);
    };
    let fifo = |path: &Path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    };
    type Replacement = fn(&Path);
    let cases: [(Replacement, &str); 4] = [
        (|_| {}, "vanished before it was read"),
        (|path| fs::create_dir(path).unwrap(), "is no regular file any more"),
        (|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap(), "a symbolic link is in the way"),
        (fifo, "is no regular file any more"),
    ];
    for (with, expected) in cases {
        let (files, reason) = fetch_changed(b"content", |path| replace(path, with)).await;
        let reason = String::from_utf8(reason).unwrap();
        assert!(files.is_empty() && reason.contains(expected), "{reason}");
    }
}

/// Its other names would come to be links to what never was the same.
#[tokio::test]
async fn a_file_with_other_names_that_is_replaced_after_its_listing_is_not_sent() {
    let preserve = Preserve { hard_links: true, ..Preserve::default() };
    for (preserve, is_sent) in [(preserve, false), (Preserve::default(), true)] {
        let from = tempfile::tempdir().unwrap();
        let path = from.path().join("a");
        fs::write(&path, b"shared").unwrap();
        fs::hard_link(&path, from.path().join("b")).unwrap();
        let options = SyncOptions { preserve, ..options(Durability::Batch) };
        let (_, units) = with_source(from.path(), options, async |channel, connection| {
            fs::remove_file(&path).unwrap();
            fs::write(&path, b"another").unwrap();
            fetch(channel, connection).await
        })
        .await;
        let [(UnitHeader::Pack { files, .. }, bytes)] = units.as_slice() else { panic!("{units:?}") };
        assert_eq!(files.len(), usize::from(is_sent));
        let told = String::from_utf8_lossy(bytes);
        assert!(told.contains(if is_sent { "another" } else { "was replaced under this one" }), "{told}");
    }
}

/// What a lying source sends, beside its listing.
pub(crate) type Lie = (Vec<SourceMessage>, Vec<(Unit, Vec<u8>)>);

pub(crate) fn top() -> SourceMessage {
    SourceMessage::Top { name: vec![], entry: Kind::Directory, metadata: metadata(), extra: None }
}

fn metadata() -> Metadata {
    Metadata { mode: 0o755, mtime: Timestamp { seconds: 1, nanoseconds: 2 } }
}

pub(crate) fn entry(name: &[u8], kind: Kind) -> ListingEntry {
    ListingEntry { name: name.to_vec(), kind, metadata: metadata(), extra: None }
}

pub(crate) fn file(name: &[u8], size: u64) -> ListingEntry {
    entry(name, Kind::File { size })
}

pub(crate) fn listing(directory: u32, entries: Vec<ListingEntry>) -> SourceMessage {
    SourceMessage::Listing { directory, entries }
}

pub(crate) fn end(entries: u32) -> SourceMessage {
    SourceMessage::ListingEnd { entries, bytes: 0 }
}

pub(crate) fn plain(header: UnitHeader) -> Unit {
    Unit { header, encoding: Encoding::Plain }
}

pub(crate) fn pack(index: u32, content: &[u8]) -> (Unit, Vec<u8>) {
    let size = content.len() as u32;
    let files = vec![PackFile { index, size, metadata: None, patch: None }];
    (plain(UnitHeader::Pack { hash: blake3::hash(content).into(), files }), content.to_vec())
}

pub(crate) fn chunk(size: u64, number: u64, content: &[u8]) -> (Unit, Vec<u8>) {
    let is_possible = !content.is_empty() && number.checked_mul(CHUNK_BYTES).is_some();
    let chaining_value = if is_possible { chunk_chaining_value(number, content) } else { [0; 32] };
    let file = FileAttempt { index: 1, attempt: 0, size };
    let header =
        UnitHeader::Chunk { file, number, size: content.len() as u32, chaining_value, segments: vec![] };
    (plain(header), content.to_vec())
}

/// The engine as destination against a source that says `lie`; gives how it ended and what is in the destination.
pub(crate) async fn lied_to(lie: Lie) -> (Outcome, Vec<String>) {
    lied_to_with(options(Durability::None), lie).await
}

/// As [`lied_to`], with these options.
pub(crate) async fn lied_to_with(options: SyncOptions, lie: Lie) -> (Outcome, Vec<String>) {
    lied_to_about(&[], options, lie).await
}

/// As [`lied_to`], where `a` has this content, if any.
pub(crate) async fn lied_to_over(before: &[u8], lie: Lie) -> (Outcome, Vec<String>) {
    lied_to_about(before, options(Durability::None), lie).await
}

async fn lied_to_about(before: &[u8], options: SyncOptions, lie: Lie) -> (Outcome, Vec<String>) {
    let to = tempfile::tempdir().unwrap();
    if !before.is_empty() {
        fs::write(to.path().join("a"), before).unwrap();
    }
    let outcome = lied_to_in(to.path(), options, lie).await;
    let mut names: Vec<_> = fs::read_dir(to.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if !before.is_empty() {
        assert!(fs::read(to.path().join("a")).unwrap() == before, "what was here stays");
    }
    (outcome, names)
}

async fn lied_to_in(to: &Path, options: SyncOptions, (messages, units): Lie) -> Outcome {
    let pair = Pair::connect().await;
    let [mut theirs, ours] = pair.channel().await;
    let router = Router::new();
    let link = pair.gateway_link(&router, ours);
    let lying = async {
        for (at, message) in messages.iter().enumerate() {
            let is_after_listing = at
                .checked_sub(1)
                .is_some_and(|before| matches!(messages[before], SourceMessage::ListingEnd { .. }));
            if is_after_listing {
                // What is said of files comes after they are wanted.
                let _wants: Result<DestinationMessage, _> =
                    theirs.recv.recv::<_, CONTROL_FRAME_BYTES_MAX>().await;
            }
            // The destination may have seen enough.
            if theirs.send.send(message).await.is_err() {
                break;
            }
        }
        if !units.is_empty() {
            // Units come after they are wanted; a lie about what is wanted comes as early.
            let _wants: Result<DestinationMessage, _> =
                theirs.recv.recv::<_, CONTROL_FRAME_BYTES_MAX>().await;
            let mut stream = FrameSender::new(pair.controller.open_uni().await.unwrap());
            stream.send(&Preamble { channel: theirs.id() }).await.unwrap();
            for (unit, bytes) in &units {
                let sent = async {
                    stream.send_bytes(&codec::encode(unit)).await?;
                    stream.send_raw(bytes.clone().into()).await
                };
                // The destination may break the stream off as soon as it has seen enough.
                if sent.await.is_err() {
                    break;
                }
            }
            stream.finish();
        }
        // Until the destination has had enough.
        while let Ok(Some(_)) = theirs.recv.try_recv_bytes(CONTROL_FRAME_BYTES_MAX).await {}
        theirs.send.finish();
    };
    let place = destination(to, "").comparing(b"");
    let receiving = receive(link, place, options, Arc::new(Tally::default()));
    let both = async { tokio::join!(receiving, lying).0 };
    tokio::select! {
        outcome = both => outcome,
        () = router.run(pair.gateway.clone()) => panic!("the connection ended"),
    }
}

/// A controller does not wait for the answer to its `Done`, and over a path that loses packets that may be all that is lost.
#[tokio::test]
async fn a_destination_that_goes_in_peace_is_done_once_it_wants_nothing_more() {
    let from = tempfile::tempdir().unwrap();
    fs::write(from.path().join("a"), b"content").unwrap();
    for (wants_more, code, is_done) in [(false, 0u8, true), (true, 0, false), (false, 13, false)] {
        let options = options(Durability::None);
        let (outcome, ()) = with_source(from.path(), options, async |channel, connection| {
            if !wants_more {
                channel.send.send(&DestinationMessage::PlanEnd).await.unwrap();
                // Two threads that read, and what was told with the listing's end: it has heard of the plan's end.
                for _ in 0..=options.jobs {
                    let told = channel.recv.recv::<_, CONTROL_FRAME_BYTES_MAX>().await.unwrap();
                    assert!(matches!(told, SourceMessage::Stages(_)), "{told:?}");
                }
            }
            connection.close(u32::from(code).into(), b"");
        })
        .await;
        assert_eq!(outcome.error.is_none(), is_done, "{wants_more}, {code}: {:?}", outcome.error);
    }
}

#[tokio::test]
async fn a_patch_that_does_not_fit_ends_the_sync_and_one_that_does_not_match_fails_the_file() {
    let copy = |offset, size| Segment::Copy { offset, size };
    let literal = |size| Segment::Literal { size };
    let before = vec![7; 10_000];
    let wants = |size| vec![top(), listing(0, vec![file(b"a", size)]), end(2)];
    let patched = |segments: Vec<Segment>, bytes: &[u8]| {
        let patch = Some(Patch { hash: [1; 32], segments });
        let files = vec![PackFile { index: 1, size: bytes.len() as u32, metadata: None, patch }];
        (plain(UnitHeader::Pack { hash: blake3::hash(bytes).into(), files }), bytes.to_vec())
    };
    let chunked = |size: u32, segments: Vec<Segment>, bytes: &[u8]| {
        let reading = FileAttempt { index: 1, attempt: 0, size: 2 * CHUNK_BYTES };
        let chaining_value = [1; 32];
        (
            plain(UnitHeader::Chunk { file: reading, number: 0, size, chaining_value, segments }),
            bytes.to_vec(),
        )
    };
    let whole = CHUNK_BYTES as u32;
    for (what, unit) in [
        ("beyond the end", patched(vec![copy(1, 10_000)], b"")),
        ("far beyond the end", patched(vec![copy(u64::MAX, 1)], b"")),
        ("more than a small file", patched(vec![copy(0, 10_000); 110], b"")),
        ("sizes that overflow", patched(vec![copy(0, u32::MAX); 3], b"")),
        ("literals that do not come", patched(vec![literal(5)], b"")),
        ("literals that nobody takes", patched(vec![copy(0, 5)], b"x")),
        ("a chunk beyond the end", chunked(whole, vec![copy(0, whole)], b"")),
        ("a chunk of another size", chunked(7, vec![copy(0, 6)], b"")),
        ("a chunk larger than chunks are", chunked(u32::MAX, vec![copy(0, u32::MAX)], b"")),
    ] {
        let (outcome, names) = lied_to_over(&before, (wants(9_000), vec![unit])).await;
        assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{what}: {:?}", outcome.error);
        assert_eq!(names, ["a"], "{what}");
    }

    let wrong = patched(vec![copy(0, 9_000)], b"");
    let (outcome, names) = lied_to_over(&before, (wants(9_000), vec![wrong])).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let [failure] = outcome.report.failed.as_slice() else { panic!("{:?}", outcome.report) };
    assert!(failure.reason.contains("was changed meanwhile"), "{}", failure.reason);
    assert_eq!(names, ["a"]);

    // For a file for which nothing was told.
    let (outcome, _) = lied_to((wants(9_000), vec![patched(vec![literal(1)], b"x")])).await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
    let mut same = wants(10_000);
    same.push(SourceMessage::Same { index: 1, hash: [0; 32] });
    let (outcome, _) = lied_to_over(&before, (same, vec![])).await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
}

/// A source that breaks off while a comparison is open: nobody waits for its answer.
#[tokio::test]
async fn a_comparison_that_is_not_answered_does_not_hold_the_end() {
    let by_content = SyncOptions { checksum: true, ..options(Durability::None) };
    let stamp = FileTimes::new().set_modified(UNIX_EPOCH + Duration::new(1, 2));
    for last in
        [SourceMessage::Duplicate { index: 99, of: 1, hash: [0; 32] }, SourceMessage::Differs { index: 99 }]
    {
        let to = tempfile::tempdir().unwrap();
        for number in 0..50 {
            let path = to.path().join(format!("{number:02}"));
            fs::write(&path, b"hello").unwrap();
            File::options().write(true).open(path).unwrap().set_times(stamp).unwrap();
        }
        let names: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
        let files = names.iter().map(|name| file(name.as_bytes(), 5)).collect();
        let lie = vec![top(), listing(0, files), last];
        let outcome = lied_to_in(to.path(), by_content, (lie, vec![])).await;
        assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
    }
}

/// A source calls files copies of others: only what is one in the end gets its name.
#[tokio::test]
async fn a_copy_is_believed_only_where_it_is_one() {
    let listed = |sizes: [u64; 2]| {
        let files = vec![file(b"a", sizes[0]), file(b"b", sizes[1]), entry(b"d", Kind::Directory)];
        vec![top(), listing(0, files), end(4)]
    };
    let duplicate =
        |index, of, hash: &[u8]| SourceMessage::Duplicate { index, of, hash: blake3::hash(hash).into() };
    let content = vec![pack(1, b"hello")];

    let mut honest = listed([5, 5]);
    honest.push(duplicate(2, 1, b"hello"));
    let (outcome, names) = lied_to((honest, content.clone())).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!((outcome.report.entries_failed, names), (0, vec!["a".to_owned(), "b".into(), "d".into()]));

    for (hash, what) in [(&b"hallo"[..], "another hash"), (b"", "that of nothing")] {
        let mut lie = listed([5, 5]);
        lie.push(duplicate(2, 1, hash));
        let (outcome, names) = lied_to((lie, content.clone())).await;
        assert!(outcome.error.is_none(), "{what}: {:?}", outcome.error);
        let [failure] = outcome.report.failed.as_slice() else { panic!("{what}: {:?}", outcome.report) };
        assert!(failure.reason.contains("copied from `a`"), "{what}: {}", failure.reason);
        assert_eq!(names, ["a", "d"], "{what}");
    }

    // Where nothing is to be touched.
    let dry = SyncOptions { dry_run: true, checksum: true, ..options(Durability::None) };
    let mut lie = listed([5, 5]);
    lie.push(duplicate(1, 2, b"hello"));
    let (outcome, names) = lied_to_about(b"hallo", dry, (lie, vec![])).await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
    assert_eq!(names, ["a"]);

    // Of each other, so that nothing comes of either.
    let mut ring = listed([5, 5]);
    ring.extend([duplicate(1, 2, b"hello"), duplicate(2, 1, b"hello")]);
    let (outcome, names) = lied_to((ring, vec![])).await;
    assert_eq!((outcome.report.entries_failed, names), (2, vec!["d".to_owned()]), "{:?}", outcome.error);

    for (sizes, index, of) in [([5, 6], 2, 1), ([5, 5], 2, 3), ([5, 5], 3, 1), ([5, 5], 2, 9), ([5, 5], 9, 1)]
    {
        let mut lie = listed(sizes);
        lie.push(duplicate(index, of, b"hello"));
        let (outcome, _) = lied_to((lie, vec![])).await;
        assert!(
            matches!(outcome.error, Some(SyncError::Protocol(_))),
            "{index} of {of}: {:?}",
            outcome.error
        );
    }
    let mut twice = listed([5, 5]);
    twice.extend([duplicate(2, 1, b"hello"), duplicate(2, 1, b"hello")]);
    let (outcome, _) = lied_to((twice, vec![])).await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
}

#[tokio::test]
async fn a_listing_that_breaks_the_rules_ends_the_sync() {
    let two = vec![entry(b"d", Kind::Directory), entry(b"l", Kind::Symlink { target: b"/etc".to_vec() })];
    for messages in [
        vec![end(0)],
        vec![top(), end(2)],
        vec![top(), listing(0, vec![file(b"..", 1)])],
        vec![top(), listing(0, vec![file(b".", 1)])],
        vec![top(), listing(0, vec![file(b"", 1)])],
        vec![top(), listing(0, vec![file(b"/etc/cron.d/x", 1)])],
        vec![top(), listing(0, vec![file(b"../../x", 1)])],
        vec![top(), listing(0, vec![file(b"a\0b", 1)])],
        vec![top(), listing(0, vec![file(&[b'a'; 256], 1)])],
        vec![top(), listing(0, vec![file(b".swarmwire-0123456789abcdef", 1)])],
        vec![top(), listing(0, vec![file(b"b", 1), file(b"a", 1)])],
        vec![top(), listing(0, vec![file(b"a", 1), file(b"a", 1)])],
        vec![top(), listing(7, vec![file(b"a", 1)])],
        vec![top(), listing(0, two.clone()), listing(2, vec![file(b"passwd", 1)])],
        vec![
            top(),
            listing(0, two.clone()),
            listing(1, vec![file(b"x", 1)]),
            listing(0, vec![file(b"y", 1)]),
        ],
        vec![top(), top()],
        vec![listing(0, vec![file(b"a", 1)])],
        vec![SourceMessage::Top {
            name: b"../up".to_vec(),
            entry: Kind::Directory,
            metadata: metadata(),
            extra: None,
        }],
        vec![SourceMessage::Skipped { path: b"../x".to_vec(), kind: SpecialKind::Fifo }],
        vec![top(), SourceMessage::Failed { index: Some(3), path: b"a".to_vec(), reason: String::new() }],
        vec![top(), end(1), SourceMessage::Same { index: 0, hash: [0; 32] }],
    ] {
        let shown = format!("{messages:?}");
        let (outcome, names) = lied_to((messages, vec![])).await;
        assert!(
            matches!(outcome.error, Some(SyncError::Protocol(_)))
                || outcome.error.is_none() && shown.contains("Same"),
            "{shown}: {:?}",
            outcome.error
        );
        assert!(names.iter().all(|name| ["d", "l"].contains(&name.as_str())), "{shown}: {names:?}");
    }
}

#[tokio::test]
async fn content_that_was_not_asked_for_or_is_not_what_it_says_ends_the_sync() {
    let small = vec![top(), listing(0, vec![file(b"a", 5)]), end(2)];
    let large = |size| vec![top(), listing(0, vec![file(b"a", size)]), end(2)];
    let mib = CHUNK_BYTES as usize;
    let (mut damaged, mut bad_value) = (pack(1, b"hello"), chunk(CHUNK_BYTES + 5, 1, b"hello"));
    damaged.1[0] ^= 1;
    bad_value.1[0] ^= 1;
    let file_end = |size, hash| {
        let file = FileAttempt { index: 1, attempt: 0, size };
        (plain(UnitHeader::FileEnd { file, hash, metadata: metadata() }), vec![])
    };
    let whole = |size: u64| chunk(size, 0, &vec![1; mib]);
    for (messages, units) in [
        (small.clone(), vec![damaged]),
        (small.clone(), vec![pack(0, b"hello")]),
        (small.clone(), vec![pack(2, b"hello")]),
        (small.clone(), vec![pack(1_000_000, b"hello")]),
        (small.clone(), vec![chunk(5, 0, b"hello")]),
        (small, vec![file_end(5, [0; 32])]),
        (large(CHUNK_BYTES + 5), vec![bad_value]),
        (large(CHUNK_BYTES + 5), vec![chunk(CHUNK_BYTES + 5, 1, b"hell")]),
        (large(CHUNK_BYTES + 5), vec![chunk(CHUNK_BYTES + 5, 1, b"")]),
        (large(CHUNK_BYTES + 5), vec![chunk(CHUNK_BYTES + 5, 2, b"hello")]),
        (large(CHUNK_BYTES + 5), vec![chunk(CHUNK_BYTES + 5, u64::MAX, b"hello")]),
        (large(u64::MAX), vec![chunk(u64::MAX, u64::MAX / CHUNK_BYTES + 1, b"hello")]),
        (large(CHUNK_BYTES + 5), vec![whole(CHUNK_BYTES + 5), whole(CHUNK_BYTES + 5)]),
        (large(CHUNK_BYTES + 5), vec![whole(CHUNK_BYTES + 5), whole(CHUNK_BYTES + 6)]),
        (
            large(CHUNK_BYTES + 5),
            vec![
                whole(CHUNK_BYTES + 5),
                chunk(CHUNK_BYTES + 5, 1, b"hello"),
                file_end(CHUNK_BYTES + 5, [9; 32]),
            ],
        ),
    ] {
        let shown = format!("{:?}", units.iter().map(|(unit, _)| unit).collect::<Vec<_>>());
        let (outcome, names) = lied_to((messages, units)).await;
        assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{shown}: {:?}", outcome.error);
        assert!(names.is_empty(), "{shown}: {names:?}");
    }
}

/// Story: a file was given up where the disk was full while its chunks were on their way. The destination had all it wanted, broke its
/// streams off, and the source called the whole sync lost.
#[tokio::test]
async fn a_destination_that_has_enough_may_break_streams_off_before_it_says_so() {
    let from = tempfile::tempdir().unwrap();
    File::create(from.path().join("large.log")).unwrap().set_len(256 * CHUNK_BYTES).unwrap();
    let (outcome, ()) = with_source(from.path(), options(Durability::Batch), async |channel, connection| {
        channel.send.send(&DestinationMessage::Want(vec![Run { first: 1, count: 1 }])).await.unwrap();
        channel.send.send(&DestinationMessage::PlanEnd).await.unwrap();
        let mut stream = connection.accept_uni().await.unwrap();
        stream.read_chunk(1024, true).await.unwrap().unwrap();
        stream.stop(Status::Cancelled.into()).unwrap();
        let failed = DestinationMessage::Failed { index: 1, reason: "it does not fit".to_owned() };
        channel.send.send(&failed).await.unwrap();
        // While the last batch and the directories are finished, the source hears of its stream, and lets go of it.
        while connection.stats().frame_rx.reset_stream == 0 {
            tokio::task::yield_now().await;
        }
        channel.send.send(&DestinationMessage::Done(Counts::default())).await.unwrap();
        // As the engine does, until the source has closed its side.
        while let Ok(Some(_)) = channel.recv.try_recv_bytes(CONTROL_FRAME_BYTES_MAX).await {}
    })
    .await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!((outcome.report.entries_failed, &*outcome.report.failed[0].reason), (1, "it does not fit"));
}
