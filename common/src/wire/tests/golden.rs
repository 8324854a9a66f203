//! The bytes of every message and every variant, field by field.
//!
//! They are written by hand from WIRE.md. A difference is a break with every peer in the field: undo it, or change `ALPN`.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

use super::{from_hex, to_hex};
use crate::{
    codec::{decode, encode},
    entry::{Attributes, Kind, Metadata, Owner, SpecialKind, Timestamp, Xattr},
    limits::CONTROL_FRAME_BYTES_MAX,
    value::{Arguments, Value},
    wire::{
        call::{CallKind, CallMessage, CallReply, CallRequest, Codec, ServiceInfo, ServicesPage},
        change::{Aspects, Change, Difference, Item, Subject},
        data::{Encoding, FileAttempt, PackFile, Patch, Preamble, Segment, Unit, UnitHeader},
        extra::{Extra, Preserve},
        list::{ListEntry, ListKind, ListMessage, ListRequest},
        offload::{HoldAs, OffloadAsk, OffloadMessage, OffloadRequest, Space},
        open::{JoinReply, JoinRequest, Open, Reply},
        status::Status,
        sync::{
            Beginning, Compress, Counts, Deletion, DestinationMessage, Digest, Direction, Durability, Keep,
            Listed, ListingEntry, Mark, Rule, Run, Selection, SourceMessage, SyncOptions, SyncReply,
            SyncRequest, WantWith,
        },
        watch::{WatchMessage, WatchRequest},
    },
};

/// 0o644 and half a second past 2020-09-13T12:26:40Z.
const METADATA: Metadata =
    Metadata { mode: 0o644, mtime: Timestamp { seconds: 1_600_000_000, nanoseconds: 500_000_000 } };

/// [`METADATA`]: mode, seconds (zigzag, so doubled), nanoseconds.
const METADATA_HEX: &str = "fb a401  fc 0020bcbe  fc 0065cd1d";

/// A hash of 32 equal bytes, so that it stands out.
fn hash_hex(byte: u8) -> String {
    to_hex(&[byte; 32])
}

/// `message` is exactly the bytes in `hex`, both ways. `$M` stands for [`METADATA_HEX`], `$H` for 32 bytes `aa`.
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T, hex: &str) {
    let hex = hex.replace("$M", METADATA_HEX).replace("$H", &hash_hex(0xaa));
    let expected = from_hex(&hex);
    let encoded = encode(message);
    assert_eq!(to_hex(&encoded), to_hex(&expected), "encoding of {message:?}");
    assert_eq!(decode::<T, CONTROL_FRAME_BYTES_MAX>(&expected).as_ref(), Ok(message));
}

#[test]
fn integers_take_as_many_bytes_as_they_need() {
    for (number, hex) in [
        (0u64, "00"),
        (250, "fa"),
        (251, "fb fb00"),
        (0xffff, "fb ffff"),
        (0x1_0000, "fc 00000100"),
        (0xffff_ffff, "fc ffffffff"),
        (0x1_0000_0000, "fd 0000000001000000"),
        (u64::MAX, "fd ffffffffffffffff"),
    ] {
        golden(&number, hex);
    }
    for (number, hex) in [
        (0i64, "00"),
        (-1, "01"),
        (1, "02"),
        (125, "fa"),
        (-126, "fb fb00"),
        (i64::MAX, "fd feffffffffffffff"),
        (i64::MIN, "fd ffffffffffffffff"),
    ] {
        golden(&number, hex);
    }
}

#[test]
fn opening() {
    golden(
        &Open { version: 1, service: "ping".into(), request: vec![] },
        "01               # version
         04 70696e67      # service
         00               # request",
    );
    golden(
        &Reply {
            status: Status::Busy.into(),
            detail: "64 of 64".into(),
            retry_after_ms: 250,
            body: vec![1, 2],
        },
        "01                      # status
         08 3634206f66203634     # detail
         fa                      # retry_after_ms
         02 0102                 # body",
    );
    golden(
        &JoinRequest { token: "s3cret".into(), name: "web1".into() },
        "06 733363726574  # token
         04 77656231      # name",
    );
    golden(
        &JoinReply { allow: "list,pull".into(), path: b"logs".to_vec() },
        "09 6c6973742c70756c6c  # allow
         04 6c6f6773            # path",
    );
}

#[test]
fn listing_a_directory() {
    golden(
        &ListRequest { path: b"a/b".to_vec(), recursive: true, hash: false },
        "03 612f62  # path
         01         # recursive
         00         # hash",
    );
    let entry = |path: &[u8], kind, hash| ListEntry { path: path.to_vec(), kind, metadata: METADATA, hash };
    golden(
        &ListMessage::Page(vec![
            entry(b"f", ListKind::Plain(Kind::File { size: 300 }), Some([0xaa; 32])),
            entry(b"d", ListKind::Plain(Kind::Directory), None),
            entry(b"l", ListKind::Plain(Kind::Symlink { target: b"f".to_vec() }), None),
            entry(b"p", ListKind::Special(SpecialKind::Fifo), None),
        ]),
        "00 04                           # Page, 4 entries
         01 66  00 00 fb 2c01  $M 01 $H  # path, Plain File size, metadata, hash
         01 64  00 01          $M 00     # path, Plain Directory, metadata, no hash
         01 6c  00 02 01 66    $M 00     # path, Plain Symlink target, metadata, no hash
         01 70  01 01          $M 00     # path, Special Fifo, metadata, no hash",
    );
    golden(
        &ListMessage::Failed { path: vec![0xff], reason: "no".into() },
        "01         # Failed
         01 ff      # path
         02 6e6f    # reason",
    );
    golden(&ListMessage::End, "02");
}

#[test]
fn calling_a_subroutine() {
    golden(
        &CallRequest {
            name: "sum".into(),
            kind: CallKind::Send,
            codec: Codec::Json,
            deadline_ms: 5000,
            input: b"[]".to_vec(),
            continues: true,
        },
        "03 73756d  # name
         02 01      # kind, codec
         fb 8813    # deadline_ms
         02 5b5d    # input
         01         # continues",
    );
    golden(&(CallKind::Batch, CallKind::Stream, CallKind::Send), "00 01 02");
    golden(&(Codec::Bincode, Codec::Json, Codec::Raw), "00 01 02");
    golden(&CallReply::Running { id: 1 }, "00 01");
    golden(&CallReply::Done { id: 2, bytes: vec![0xff] }, "01 02 01ff");
    golden(&CallReply::Returned { value: -1 }, "02 01");
    golden(&CallMessage::Part { bytes: 5 }, "00 05");
    golden(&CallMessage::Items { count: 2, bytes: 24 }, "01 02 18");
    golden(&CallMessage::Returned { value: 1 }, "02 02");
    golden(&CallMessage::End, "03");
    golden(&CallMessage::Failed { status: Status::Failed.into(), reason: "no".into() }, "04 10 02 6e6f");
    golden(&CallMessage::Alive, "05");
    golden(
        &ServicesPage {
            services: vec![ServiceInfo {
                name: "x".into(),
                kind: CallKind::Stream,
                codecs: vec![Codec::Raw],
                arguments: "a".into(),
                calls: 3,
                running: 1,
                concurrency: 0,
                workers: Some(2),
            }],
        },
        "01       # services
         01 78    # name
         01       # kind
         01 02    # codecs
         01 61    # arguments
         03 01 00 # calls, running, concurrency
         01 02    # workers",
    );
}

#[test]
fn arguments_of_a_call() {
    golden(
        &Arguments::new()
            .with(Value::Null)
            .with(true)
            .with(-1_i64)
            .with(1_u64)
            .with(0.5)
            .with("t")
            .with(vec![0xff_u8])
            .with(Value::List(vec![Value::Null]))
            .with_named("k", Value::Map(vec![("m".into(), Value::Null)])),
        "08                    # positional
         00                    # Null
         01 01                 # Bool
         02 01                 # I64
         03 01                 # U64
         04 000000000000e03f   # F64
         05 01 74              # Text
         06 01 ff              # Bytes
         07 01 00              # List
         01                    # named
         01 6b                 # name
         08 01 01 6d 00        # Map",
    );
}

#[test]
fn watching_a_directory() {
    golden(
        &WatchRequest { path: b"a/b".to_vec(), selection: Selection::default() },
        "03 612f62     # path
         00            # selection: no rules
         00 00         # no expression, all paths
         00 00 00 00   # no bounds
         00 00 00      # one_file_system, follow_links, missing_ok",
    );
    golden(&WatchMessage::Ready, "00");
    golden(
        &WatchMessage::Changed(vec![b"a/b".to_vec(), vec![0xff], vec![]]),
        "01           # Changed
         03           # paths
         03 612f62
         01 ff
         00",
    );
    golden(&WatchMessage::Alive, "02");
    golden(&WatchMessage::Gone, "03");
    golden(
        &WatchMessage::Refused { reason: "full".into() },
        "04           # Refused
         04 66756c6c  # reason",
    );
}

#[test]
fn offloading_a_directory() {
    golden(
        &OffloadRequest { path: b"a/b".to_vec(), holds: HoldAs::Source },
        "03 612f62     # path
         01            # holds: Source",
    );
    golden(&[HoldAs::Nothing, HoldAs::Source, HoldAs::Destination], "00 01 02");
    let space = Space { total: 1000, used: 7, available: 250, block: 4096 };
    golden(
        &space,
        "fb e803       # total
         07            # used
         fa            # available
         fb 0010       # block",
    );
    golden(&OffloadAsk::Measure, "00");
    golden(
        &OffloadMessage::Measured(space),
        "00                    # Measured
         fb e803 07 fa fb 0010",
    );
    golden(&OffloadMessage::Alive, "01");
}

#[test]
fn types_that_are_not_synced() {
    for (kind, hex) in [
        (SpecialKind::Device, "00"),
        (SpecialKind::Fifo, "01"),
        (SpecialKind::Socket, "02"),
        (SpecialKind::Unknown, "03"),
    ] {
        golden(&kind, hex);
    }
}

#[test]
fn opening_a_sync() {
    for (direction, number) in [(Direction::Push, "00"), (Direction::Pull, "01")] {
        for (durability, level) in
            [(Durability::None, "00"), (Durability::Batch, "01"), (Durability::File, "02")]
        {
            let options = SyncOptions { checksum: true, durability, ..SyncOptions::default() };
            golden(
                &SyncRequest {
                    direction,
                    path: b"logs".to_vec(),
                    trailing_slash: true,
                    options,
                    selection: Selection::default(),
                    top: b"t".to_vec(),
                    compares: true,
                    backup: None,
                },
                &format!(
                    "{number}      # direction
                     04 6c6f6773   # path
                     01            # trailing_slash
                     01            # checksum
                     {level}       # durability
                     01            # compress: Auto
                     00            # rate_bytes
                     02            # jobs
                     00            # delete
                     00 00 00      # itemize, dry_run, keep
                     00 00 00 00 00  # preserve
                     00 00         # remove_source, verify

                     00            # selection: no rules
                     00 00         # no expression, all paths
                     00 00 00 00   # no bounds
                     00 00 00      # one_file_system, follow_links, missing_ok
                     01 74         # top
                     01            # compares
                     00            # backup"
                ),
            );
        }
    }
    golden(&SyncReply { compares: true }, "01");
    for (compress, hex) in [(Compress::Never, "00"), (Compress::Auto, "01"), (Compress::Level(19), "02 13")] {
        let options = SyncOptions { compress, rate_bytes: Some(1 << 20), jobs: 64, ..SyncOptions::default() };
        golden(
            &options,
            &format!(
                "00              # checksum
                 01              # durability: Batch
                 {hex}           # compress
                 01 fc 00001000  # rate_bytes
                 40              # jobs
                 00              # delete
                 00 00 00        # itemize, dry_run, keep
                 00 00 00 00 00  # preserve
                 00 00           # remove_source, verify"
            ),
        );
    }
}

#[test]
fn what_else_of_entries_is_kept() {
    let preserve = Preserve::default();
    for (preserve, hex) in [
        (Preserve { owner: true, ..preserve }, "01 00 00 00 00"),
        (Preserve { xattrs: true, ..preserve }, "00 01 00 00 00"),
        (Preserve { hard_links: true, ..preserve }, "00 00 01 00 00"),
        (Preserve { sparse: true, ..preserve }, "00 00 00 01 00"),
        (Preserve { special_bits: true, ..preserve }, "00 00 00 00 01"),
    ] {
        golden(&preserve, hex);
    }
    let xattr = |name: &[u8], value: &[u8]| Xattr { name: name.to_vec(), value: value.to_vec() };
    let attributes = Attributes {
        owner: Some(Owner { user: 0, group: 1000 }),
        xattrs: Some(vec![xattr(b"user.a", b""), xattr(b"user.b", &[0xff])]),
    };
    golden(
        &Extra { link: None, attributes },
        "00                    # link
         01 00 fb e803         # owner: user, group
         01 02                 # xattrs
         06 757365722e61 00    # name, value
         06 757365722e62 01 ff # name, value",
    );
    golden(
        &Extra { link: Some(300), attributes: Attributes::default() },
        "01 fb 2c01  # link
         00 00       # owner, xattrs",
    );
}

#[test]
fn what_becomes_of_what_the_destination_has() {
    golden(&Deletion::None, "00");
    golden(&Deletion::All, "01");
    golden(&Deletion::AtMost(300), "02 fb 2c01");
    golden(&Keep::None, "00");
    golden(&Keep::Newer, "01");
    golden(&Keep::Existing, "02");
}

#[test]
fn selecting_what_is_synced() {
    let selection = Selection {
        rules: vec![
            Rule { takes: true, pattern: "a.log".into() },
            Rule { takes: false, pattern: "*".into() },
        ],
        matching: Some("^a".into()),
        listed: Listed::Paths(vec![b"a".to_vec(), vec![0xff]]),
        size_min: Some(1),
        size_max: Some(300),
        mtime_min: Some(Timestamp { seconds: -1, nanoseconds: 5 }),
        mtime_max: Some(METADATA.mtime),
        one_file_system: true,
        follow_links: false,
        missing_ok: true,
    };
    golden(
        &selection,
        "02                          # rules
         01 05 612e6c6f67            # takes, pattern
         00 01 2a                    # takes, pattern
         01 02 5e61                  # matching
         01 02 01 61 01 ff           # listed: Paths
         01 01                       # size_min
         01 fb 2c01                  # size_max
         01 01 05                    # mtime_min
         01 fc 0020bcbe fc 0065cd1d  # mtime_max
         01 00 01                    # one_file_system, follow_links, missing_ok",
    );
    golden(&Listed::All, "00");
    golden(&Listed::Apart, "02");
}

#[test]
fn what_a_source_lists() {
    golden(
        &SourceMessage::Top {
            name: b"logs".to_vec(),
            entry: Kind::Directory,
            metadata: METADATA,
            extra: None,
        },
        "00           # Top
         04 6c6f6773  # name
         01           # Directory
         $M           # metadata
         00           # extra",
    );
    let entry =
        |name: &[u8], kind| ListingEntry { name: name.to_vec(), kind, metadata: METADATA, extra: None };
    golden(
        &SourceMessage::Listing {
            directory: 0,
            entries: vec![
                entry(b"a", Kind::File { size: 1 << 40 }),
                entry(b"b", Kind::Directory),
                entry(b"c", Kind::Symlink { target: b"../x".to_vec() }),
                ListingEntry {
                    extra: Some(Extra { link: Some(1), attributes: Attributes::default() }),
                    ..entry(b"d", Kind::File { size: 1 })
                },
            ],
        },
        "01                               # Listing
         00                               # directory
         04                               # entries
         01 61  00 fd 0000000000010000 $M 00 # name, File size, metadata, extra
         01 62  01                     $M 00 # name, Directory, metadata, extra
         01 63  02 04 2e2e2f78         $M 00 # name, Symlink target, metadata, extra
         01 64  00 01 $M  01 01 01 00 00     # name, File size, metadata, extra: link, no owner, no xattrs",
    );
}

#[test]
fn what_a_source_says() {
    golden(
        &SourceMessage::Failed { index: Some(7), path: b"a".to_vec(), reason: "gone".into() },
        "02           # Failed
         01 07        # index
         01 61        # path
         04 676f6e65  # reason",
    );
    golden(
        &SourceMessage::Failed { index: None, path: vec![], reason: String::new() },
        "02           # Failed
         00           # never listed
         00           # path
         00           # reason",
    );
    golden(
        &SourceMessage::Skipped { path: b"tty".to_vec(), kind: SpecialKind::Device },
        "03           # Skipped
         03 747479    # path
         00           # Device",
    );
    golden(
        &SourceMessage::ListingEnd { entries: 1000, bytes: 70_000 },
        "04           # ListingEnd
         fb e803      # entries
         fc 70110100  # bytes",
    );
    golden(
        &SourceMessage::Same { index: 251, hash: [0xaa; 32] },
        "05           # Same
         fb fb00 $H   # index, hash",
    );
    golden(&DestinationMessage::Compared(vec![true, false]), "0c 02 01 00");
    golden(&SourceMessage::Alive, "06");
    golden(
        &SourceMessage::Aborted { status: Status::TooLarge.into(), reason: "full".into() },
        "07           # Aborted
         05           # status
         04 66756c6c  # reason",
    );
}

#[test]
fn what_a_source_says_instead_of_content_and_listings() {
    golden(
        &SourceMessage::Duplicate { index: 251, of: 7, hash: [0xaa; 32] },
        "08              # Duplicate
         fb fb00 07 $H   # index, of, hash",
    );
    golden(&SourceMessage::Differs { index: 251 }, "09 fb fb00");
    golden(
        &SourceMessage::ListingDigest { directory: 3, last: b"z".to_vec(), count: 300, hash: [0xbb; 16] },
        "0a                                # ListingDigest
         03 01 7a fb 2c01                  # directory, last, count
         bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  # hash",
    );
    golden(
        &SourceMessage::Select(vec![b"a/b".to_vec(), vec![0xff]]),
        "0b           # Select
         02           # paths
         03 612f62
         01 ff",
    );
    golden(&SourceMessage::SelectEnd, "0c");
}

#[test]
fn what_a_source_says_of_removal_and_hashes() {
    golden(
        &SourceMessage::NotRemoved { index: 5, reason: "changed".into() },
        "0d                 # message: NotRemoved
         05                 # index
         07 6368616e676564  # reason",
    );
    golden(
        &SourceMessage::Farewell { files_removed: 2, stages: vec![7] },
        "0e 02            # message: Farewell, files_removed
         01 07            # stages",
    );
    golden(
        &SourceMessage::Digests(vec![Digest { index: 3, hash: [0xaa; 32] }]),
        "0f 01            # message: Digests, count
         03 $H            # index, hash",
    );
    golden(
        &SourceMessage::Stages(vec![7, 300]),
        "10 02            # message: Stages, count
         07 fb2c01        # microseconds",
    );
}

#[test]
fn what_a_destination_says() {
    golden(
        &DestinationMessage::Want(vec![Run { first: 1, count: 250 }, Run { first: 300, count: 1 }]),
        "00           # Want
         02           # runs
         01 fa        # first, count
         fb 2c01 01   # first, count",
    );
    golden(
        &DestinationMessage::WantWith(vec![WantWith {
            index: 9,
            average_log2: 13,
            chunks: vec![(8192, [0xbb; 16]), (5, [0xcc; 16])],
        }]),
        "01           # WantWith
         01           # files
         09 0d 02     # index, average_log2, chunks
         fb 0020 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
         05      cccccccccccccccccccccccccccccccc",
    );
    golden(&DestinationMessage::PlanEnd, "02");
    golden(
        &DestinationMessage::Failed { index: 3, reason: "full".into() },
        "03           # Failed
         03           # index
         04 66756c6c  # reason",
    );
    let counts = Counts {
        files_unchanged: 1,
        bytes_received: 2,
        received: 3,
        verified: 4,
        committed: 5,
        durable: 300,
        entries_deleted: 6,
    };
    let fields = "01 02 03 04 05 fb 2c01 06  # files_unchanged … entries_deleted";
    golden(&DestinationMessage::Progress(counts), &format!("04 {fields}"));
    golden(&DestinationMessage::Done(counts), &format!("05 {fields}"));
    golden(
        &DestinationMessage::Aborted { status: Status::Unavailable.into(), reason: String::new() },
        "06           # Aborted
         07           # status
         00           # reason",
    );
}

#[test]
fn what_a_destination_says_of_changes_and_of_a_list() {
    golden(
        &DestinationMessage::NotDeleted { path: b"old".to_vec(), reason: "full".into() },
        "07           # NotDeleted
         03 6f6c64    # path
         04 66756c6c  # reason",
    );
    let difference = Difference { size: true, mtime: false, content: true };
    let listed = [
        Change::Create,
        Change::Update(difference),
        Change::Metadata,
        Change::MakeDirectory,
        Change::MakeSymlink,
    ];
    let mut items: Vec<_> =
        listed.into_iter().map(|change| Item { subject: Subject::Listed(300), change }).collect();
    items.push(Item { subject: Subject::Extraneous(b"old".to_vec()), change: Change::Delete });
    let aspects = Aspects { size: true, mtime: true, ..Aspects::default() };
    golden(
        &Change::Differs(aspects),
        "06 00 01 00 00 01 00   # Differs: kind, size, content, mode, mtime, target",
    );
    golden(
        &DestinationMessage::Items(items),
        "08                       # Items
         06                       # items
         00 fb 2c01 00            # Listed, Create
         00 fb 2c01 01 01 00 01   # Listed, Update: size, mtime, content
         00 fb 2c01 02            # Listed, Metadata
         00 fb 2c01 03            # Listed, MakeDirectory
         00 fb 2c01 04            # Listed, MakeSymlink
         01 03 6f6c64 05          # Extraneous, Delete",
    );
    golden(
        &DestinationMessage::Select(vec![b"a/b".to_vec(), vec![0xff]]),
        "09           # Select
         02           # paths
         03 612f62
         01 ff",
    );
    golden(&DestinationMessage::SelectEnd, "0a");
    golden(
        &DestinationMessage::WantBeyond(vec![
            Beginning { index: 251, size: 300, mark: Mark::Whole([0xaa; 32]) },
            Beginning { index: 1, size: 2, mark: Mark::Sample([0xaa; 32]) },
        ]),
        "0b           # WantBeyond
         02           # files
         fb fb00      # index
         fb 2c01      # size
         00 $H        # mark: Whole
         01 02        # index, size
         01 $H        # mark: Sample",
    );
    golden(
        &DestinationMessage::Safe {
            place: [0xaa; 32],
            files: vec![Run { first: 4, count: 250 }, Run { first: 300, count: 1 }],
        },
        "0d $H            # message: Safe, place
         02               # runs
         04 fa            # first, count
         fb 2c01 01       # first, count",
    );
    golden(
        &DestinationMessage::Stages(vec![0, 1500]),
        "0e               # message: Stages
         02 00 fb dc05    # microseconds",
    );
}

#[test]
fn what_a_data_stream_carries() {
    let plain = |header| Unit { header, encoding: Encoding::Plain };
    golden(&Preamble { channel: 4 }, "04");
    golden(
        &plain(UnitHeader::Pack {
            hash: [0xaa; 32],
            files: vec![
                PackFile { index: 1, size: 0, metadata: None, patch: None },
                PackFile { index: 2, size: 4096, metadata: Some(METADATA), patch: None },
                PackFile {
                    index: 3,
                    size: 7,
                    metadata: None,
                    patch: Some(Patch {
                        hash: [0xaa; 32],
                        segments: vec![
                            Segment::Copy { offset: 300, size: 250 },
                            Segment::Literal { size: 7 },
                        ],
                    }),
                },
            ],
        }),
        "00                # Pack
         $H                # hash
         03                # files
         01 00      00 00     # index, size, metadata as listed, no patch
         02 fb 0010 01 $M 00  # index, size, metadata, no patch
         03 07      00 01 $H  # index, size, metadata as listed, hash
         02                   # segments
         00 fb 2c01 fa        # Copy offset, size
         01 07                # Literal size
         00                   # Plain",
    );
    let file = FileAttempt { index: 5, attempt: 1, size: 1_048_577 };
    golden(
        &Unit {
            header: UnitHeader::Chunk {
                file,
                number: 1,
                size: 1_048_576,
                chaining_value: [0xaa; 32],
                segments: vec![Segment::Literal { size: 576 }, Segment::Zeros { size: 1_048_000 }],
            },
            encoding: Encoding::Zstd { bytes: 300 },
        },
        "01                 # Chunk
         05 01 fc 01001000  # index, attempt, size of the file
         01                 # number
         fc 00001000        # size
         $H                 # chaining_value
         02 01 fb 4002      # segments: Literal size
         02 fc c0fd0f00     # Zeros size
         01 fb 2c01         # Zstd, bytes",
    );
    golden(
        &plain(UnitHeader::FileEnd { file, hash: [0xaa; 32], metadata: METADATA }),
        "02                 # FileEnd
         05 01 fc 01001000  # index, attempt, size of the file
         $H                 # hash
         $M                 # metadata
         00                 # Plain",
    );
}
