//! Any value of every message: the whole range of each field, not only what an honest peer says.
//!
//! One function per message or part, named after it. They use nothing of the tests around them, so a fuzz target can take
//! this file as it is.

use proptest::{array::uniform32, collection::vec, option, prelude::*};

use crate::{
    entry::{Attributes, Kind, Metadata, Owner, SpecialKind, Timestamp, Xattr},
    wire::{
        call::{CallKind, CallMessage, CallReply, CallRequest, Codec, ServiceInfo, ServicesPage},
        change::{Aspects, Change, Difference, Item, Subject},
        data::{Encoding, FileAttempt, PackFile, Patch, Preamble, Segment, Unit, UnitHeader},
        extra::{Extra, Preserve},
        list::{ListEntry, ListKind, ListMessage, ListRequest},
        offload::{HoldAs, OffloadAsk, OffloadMessage, OffloadRequest, Space},
        open::{JoinReply, JoinRequest, Open, Reply},
        status::StatusCode,
        sync::{
            Beginning, Compress, Counts, Deletion, DestinationMessage, Digest, Direction, Durability, Keep,
            Listed, ListingEntry, Mark, Rule, Run, Selection, SourceMessage, SyncOptions, SyncRequest,
            WantWith,
        },
        watch::{WatchMessage, WatchRequest},
    },
};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..80)
}

fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

fn hash() -> impl Strategy<Value = [u8; 32]> {
    uniform32(any::<u8>())
}

fn metadata() -> impl Strategy<Value = Metadata> {
    (any::<u16>(), any::<i64>(), any::<u32>())
        .prop_map(|(mode, seconds, nanoseconds)| Metadata { mode, mtime: Timestamp { seconds, nanoseconds } })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        any::<u64>().prop_map(|size| Kind::File { size }),
        Just(Kind::Directory),
        bytes().prop_map(|target| Kind::Symlink { target }),
    ]
}

fn special_kind() -> impl Strategy<Value = SpecialKind> {
    prop_oneof![
        Just(SpecialKind::Device),
        Just(SpecialKind::Fifo),
        Just(SpecialKind::Socket),
        Just(SpecialKind::Unknown),
    ]
}

pub(super) fn open() -> impl Strategy<Value = Open> {
    (any::<u16>(), text(), bytes()).prop_map(|(version, service, request)| Open { version, service, request })
}

pub(super) fn reply() -> impl Strategy<Value = Reply> {
    (any::<u16>(), text(), any::<u32>(), bytes()).prop_map(|(status, detail, retry_after_ms, body)| Reply {
        status: StatusCode(status),
        detail,
        retry_after_ms,
        body,
    })
}

pub(super) fn join_request() -> impl Strategy<Value = JoinRequest> {
    (text(), text()).prop_map(|(token, name)| JoinRequest { token, name })
}

pub(super) fn join_reply() -> impl Strategy<Value = JoinReply> {
    (text(), bytes()).prop_map(|(allow, path)| JoinReply { allow, path })
}

pub(super) fn list_request() -> impl Strategy<Value = ListRequest> {
    (bytes(), any::<bool>(), any::<bool>()).prop_map(|(path, recursive, hash)| ListRequest {
        path,
        recursive,
        hash,
    })
}

fn list_entry() -> impl Strategy<Value = ListEntry> {
    let kind = prop_oneof![kind().prop_map(ListKind::Plain), special_kind().prop_map(ListKind::Special)];
    (bytes(), kind, metadata(), option::of(hash())).prop_map(|(path, kind, metadata, hash)| ListEntry {
        path,
        kind,
        metadata,
        hash,
    })
}

pub(super) fn list_message() -> impl Strategy<Value = ListMessage> {
    prop_oneof![
        vec(list_entry(), 0..8).prop_map(ListMessage::Page),
        (bytes(), text()).prop_map(|(path, reason)| ListMessage::Failed { path, reason }),
        Just(ListMessage::End),
    ]
}

fn sync_options() -> impl Strategy<Value = SyncOptions> {
    let durability = prop_oneof![Just(Durability::None), Just(Durability::Batch), Just(Durability::File)];
    let compress =
        prop_oneof![Just(Compress::Never), Just(Compress::Auto), any::<u8>().prop_map(Compress::Level)];
    let keep = prop_oneof![Just(Keep::None), Just(Keep::Newer), Just(Keep::Existing)];
    let rate = option::of(any::<u64>());
    (any::<[bool; 10]>(), durability, compress, rate, any::<u8>(), deletion(), keep).prop_map(
        |(flags, durability, compress, rate_bytes, jobs, delete, keep)| {
            let [checksum, itemize, dry_run, remove_source, verify, rest @ ..] = flags;
            let [owner, xattrs, hard_links, sparse, special_bits] = rest;
            SyncOptions {
                checksum,
                durability,
                compress,
                rate_bytes,
                jobs,
                delete,
                itemize,
                dry_run,
                keep,
                preserve: Preserve { owner, xattrs, hard_links, sparse, special_bits },
                remove_source,
                verify,
            }
        },
    )
}

fn deletion() -> impl Strategy<Value = Deletion> {
    prop_oneof![Just(Deletion::None), Just(Deletion::All), any::<u64>().prop_map(Deletion::AtMost)]
}

pub(super) fn sync_request() -> impl Strategy<Value = SyncRequest> {
    let direction = prop_oneof![Just(Direction::Push), Just(Direction::Pull)];
    let place = (bytes(), any::<bool>(), bytes(), any::<bool>(), option::of(bytes()));
    (direction, sync_options(), selection(), place).prop_map(
        |(direction, options, selection, (path, trailing_slash, top, compares, backup))| SyncRequest {
            direction,
            path,
            trailing_slash,
            options,
            selection,
            top,
            compares,
            backup,
        },
    )
}

/// Patterns and expressions that mean something now and then.
fn syntax() -> impl Strategy<Value = String> {
    prop_oneof![text(), r"[ab/*?\[\]{}()\!^+,|.-]{0,12}"]
}

pub(crate) fn selection() -> impl Strategy<Value = Selection> {
    let rule = (any::<bool>(), syntax()).prop_map(|(takes, pattern)| Rule { takes, pattern });
    let listed = prop_oneof![
        Just(Listed::All),
        vec(prop_oneof![bytes(), "[ab/]{1,5}".prop_map(String::into_bytes)], 0..6).prop_map(Listed::Paths),
        Just(Listed::Apart),
    ];
    let time = || option::of(metadata().prop_map(|metadata| metadata.mtime));
    let sizes = (option::of(any::<u64>()), option::of(any::<u64>()));
    (vec(rule, 0..5), option::of(syntax()), listed, sizes, time(), time(), any::<[bool; 3]>()).prop_map(
        |(rules, matching, listed, (size_min, size_max), mtime_min, mtime_max, flags)| {
            let [one_file_system, follow_links, missing_ok] = flags;
            Selection {
                rules,
                matching,
                listed,
                size_min,
                size_max,
                mtime_min,
                mtime_max,
                one_file_system,
                follow_links,
                missing_ok,
            }
        },
    )
}

fn listing_entry() -> impl Strategy<Value = ListingEntry> {
    (bytes(), kind(), metadata(), option::of(extra()))
        .prop_map(|(name, kind, metadata, extra)| ListingEntry { name, kind, metadata, extra })
}

fn extra() -> impl Strategy<Value = Extra> {
    let owner = any::<(u32, u32)>().prop_map(|(user, group)| Owner { user, group });
    let xattr = (bytes(), bytes()).prop_map(|(name, value)| Xattr { name, value });
    (option::of(any::<u32>()), option::of(owner), option::of(vec(xattr, 0..4)))
        .prop_map(|(link, owner, xattrs)| Extra { link, attributes: Attributes { owner, xattrs } })
}

pub(super) fn source_message() -> impl Strategy<Value = SourceMessage> {
    prop_oneof![
        (bytes(), kind(), metadata(), option::of(extra()))
            .prop_map(|(name, entry, metadata, extra)| SourceMessage::Top { name, entry, metadata, extra }),
        (any::<u32>(), vec(listing_entry(), 0..8))
            .prop_map(|(directory, entries)| SourceMessage::Listing { directory, entries }),
        (option::of(any::<u32>()), bytes(), text()).prop_map(|(index, path, reason)| SourceMessage::Failed {
            index,
            path,
            reason
        }),
        (bytes(), special_kind()).prop_map(|(path, kind)| SourceMessage::Skipped { path, kind }),
        (any::<u32>(), any::<u64>())
            .prop_map(|(entries, bytes)| SourceMessage::ListingEnd { entries, bytes }),
        (any::<u32>(), hash()).prop_map(|(index, hash)| SourceMessage::Same { index, hash }),
        any::<u32>().prop_map(|index| SourceMessage::Differs { index }),
        (any::<u32>(), bytes(), any::<u32>(), any::<[u8; 16]>()).prop_map(
            |(directory, last, count, hash)| SourceMessage::ListingDigest { directory, last, count, hash }
        ),
        (any::<u32>(), any::<u32>(), hash()).prop_map(|(index, of, hash)| SourceMessage::Duplicate {
            index,
            of,
            hash
        }),
        Just(SourceMessage::Alive),
        (any::<u16>(), text())
            .prop_map(|(status, reason)| SourceMessage::Aborted { status: StatusCode(status), reason }),
        vec(bytes(), 0..8).prop_map(SourceMessage::Select),
        Just(SourceMessage::SelectEnd),
        (any::<u32>(), text()).prop_map(|(index, reason)| SourceMessage::NotRemoved { index, reason }),
        (any::<u64>(), vec(any::<u64>(), 0..12))
            .prop_map(|(files_removed, stages)| SourceMessage::Farewell { files_removed, stages }),
        vec((any::<u32>(), hash()).prop_map(|(index, hash)| Digest { index, hash }), 0..8)
            .prop_map(SourceMessage::Digests),
        vec(any::<u64>(), 0..12).prop_map(SourceMessage::Stages),
    ]
}

fn counts() -> impl Strategy<Value = Counts> {
    any::<[u64; 7]>().prop_map(
        |[files_unchanged, bytes_received, received, verified, committed, durable, entries_deleted]| Counts {
            files_unchanged,
            bytes_received,
            received,
            verified,
            committed,
            durable,
            entries_deleted,
        },
    )
}

fn item() -> impl Strategy<Value = Item> {
    let subject = prop_oneof![any::<u32>().prop_map(Subject::Listed), bytes().prop_map(Subject::Extraneous)];
    let update = any::<[bool; 3]>()
        .prop_map(|[size, mtime, content]| Change::Update(Difference { size, mtime, content }));
    let change = prop_oneof![
        Just(Change::Create),
        update,
        Just(Change::Metadata),
        Just(Change::MakeDirectory),
        Just(Change::MakeSymlink),
        Just(Change::Delete),
        any::<[bool; 6]>().prop_map(|[kind, size, content, mode, mtime, target]| {
            Change::Differs(Aspects { kind, size, content, mode, mtime, target })
        }),
    ];
    (subject, change).prop_map(|(subject, change)| Item { subject, change })
}

pub(super) fn destination_message() -> impl Strategy<Value = DestinationMessage> {
    let with = (any::<u32>(), any::<u8>(), vec(any::<(u32, [u8; 16])>(), 0..8))
        .prop_map(|(index, average_log2, chunks)| WantWith { index, average_log2, chunks });
    let run = any::<(u32, u32)>().prop_map(|(first, count)| Run { first, count });
    let mark = prop_oneof![hash().prop_map(Mark::Whole), hash().prop_map(Mark::Sample)];
    let beginning =
        (any::<u32>(), any::<u64>(), mark).prop_map(|(index, size, mark)| Beginning { index, size, mark });
    prop_oneof![
        vec(run, 0..40).prop_map(DestinationMessage::Want),
        vec(with, 0..8).prop_map(DestinationMessage::WantWith),
        vec(beginning, 0..8).prop_map(DestinationMessage::WantBeyond),
        vec(any::<bool>(), 0..80).prop_map(DestinationMessage::Compared),
        Just(DestinationMessage::PlanEnd),
        (any::<u32>(), text()).prop_map(|(index, reason)| DestinationMessage::Failed { index, reason }),
        counts().prop_map(DestinationMessage::Progress),
        counts().prop_map(DestinationMessage::Done),
        (any::<u16>(), text())
            .prop_map(|(status, reason)| DestinationMessage::Aborted { status: StatusCode(status), reason }),
        (bytes(), text()).prop_map(|(path, reason)| DestinationMessage::NotDeleted { path, reason }),
        vec(item(), 0..8).prop_map(DestinationMessage::Items),
        vec(bytes(), 0..8).prop_map(DestinationMessage::Select),
        Just(DestinationMessage::SelectEnd),
        (hash(), vec(any::<(u32, u32)>().prop_map(|(first, count)| Run { first, count }), 0..40))
            .prop_map(|(place, files)| DestinationMessage::Safe { place, files }),
        vec(any::<u64>(), 0..12).prop_map(DestinationMessage::Stages),
    ]
}

pub(super) fn watch_request() -> impl Strategy<Value = WatchRequest> {
    (bytes(), selection()).prop_map(|(path, selection)| WatchRequest { path, selection })
}

pub(super) fn watch_message() -> impl Strategy<Value = WatchMessage> {
    prop_oneof![
        Just(WatchMessage::Ready),
        vec(bytes(), 0..8).prop_map(WatchMessage::Changed),
        Just(WatchMessage::Alive),
        Just(WatchMessage::Gone),
        text().prop_map(|reason| WatchMessage::Refused { reason }),
    ]
}

pub(super) fn offload_request() -> impl Strategy<Value = OffloadRequest> {
    let holds = prop_oneof![Just(HoldAs::Nothing), Just(HoldAs::Source), Just(HoldAs::Destination)];
    (bytes(), holds).prop_map(|(path, holds)| OffloadRequest { path, holds })
}

pub(super) fn space() -> impl Strategy<Value = Space> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>())
        .prop_map(|(total, used, available, block)| Space { total, used, available, block })
}

pub(super) fn offload_ask() -> impl Strategy<Value = OffloadAsk> {
    Just(OffloadAsk::Measure)
}

pub(super) fn offload_message() -> impl Strategy<Value = OffloadMessage> {
    prop_oneof![space().prop_map(OffloadMessage::Measured), Just(OffloadMessage::Alive)]
}

fn call_kind() -> impl Strategy<Value = CallKind> {
    prop_oneof![Just(CallKind::Batch), Just(CallKind::Stream), Just(CallKind::Send)]
}

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::Bincode), Just(Codec::Json), Just(Codec::Raw)]
}

pub(super) fn call_request() -> impl Strategy<Value = CallRequest> {
    (text(), call_kind(), codec(), any::<u64>(), bytes(), any::<bool>()).prop_map(
        |(name, kind, codec, deadline_ms, input, continues)| CallRequest {
            name,
            kind,
            codec,
            deadline_ms,
            input,
            continues,
        },
    )
}

pub(super) fn call_reply() -> impl Strategy<Value = CallReply> {
    prop_oneof![
        any::<u64>().prop_map(|id| CallReply::Running { id }),
        (any::<u64>(), bytes()).prop_map(|(id, bytes)| CallReply::Done { id, bytes }),
        any::<i64>().prop_map(|value| CallReply::Returned { value }),
    ]
}

pub(super) fn call_message() -> impl Strategy<Value = CallMessage> {
    prop_oneof![
        any::<u32>().prop_map(|bytes| CallMessage::Part { bytes }),
        (any::<u32>(), any::<u32>()).prop_map(|(count, bytes)| CallMessage::Items { count, bytes }),
        any::<i64>().prop_map(|value| CallMessage::Returned { value }),
        Just(CallMessage::End),
        (any::<u16>(), text())
            .prop_map(|(status, reason)| CallMessage::Failed { status: StatusCode(status), reason }),
        Just(CallMessage::Alive),
    ]
}

pub(super) fn services_page() -> impl Strategy<Value = ServicesPage> {
    let info = (
        (text(), call_kind(), vec(codec(), 0..4), text()),
        (any::<u64>(), any::<u32>(), any::<u32>(), option::of(any::<u32>())),
    );
    let info = info.prop_map(|((name, kind, codecs, arguments), (calls, running, concurrency, workers))| {
        ServiceInfo { name, kind, codecs, arguments, calls, running, concurrency, workers }
    });
    vec(info, 0..5).prop_map(|services| ServicesPage { services })
}

pub(super) fn preamble() -> impl Strategy<Value = Preamble> {
    any::<u64>().prop_map(|channel| Preamble { channel })
}

fn file_attempt() -> impl Strategy<Value = FileAttempt> {
    any::<(u32, u32, u64)>().prop_map(|(index, attempt, size)| FileAttempt { index, attempt, size })
}

fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        any::<(u64, u32)>().prop_map(|(offset, size)| Segment::Copy { offset, size }),
        any::<u32>().prop_map(|size| Segment::Literal { size }),
        any::<u32>().prop_map(|size| Segment::Zeros { size }),
    ]
}

fn unit_header() -> impl Strategy<Value = UnitHeader> {
    let patch = (hash(), vec(segment(), 0..8)).prop_map(|(hash, segments)| Patch { hash, segments });
    let pack_file = (any::<u32>(), any::<u32>(), option::of(metadata()), option::of(patch))
        .prop_map(|(index, size, metadata, patch)| PackFile { index, size, metadata, patch });
    prop_oneof![
        (hash(), vec(pack_file, 0..16)).prop_map(|(hash, files)| UnitHeader::Pack { hash, files }),
        (file_attempt(), any::<u64>(), any::<u32>(), hash(), vec(segment(), 0..8)).prop_map(
            |(file, number, size, chaining_value, segments)| UnitHeader::Chunk {
                file,
                number,
                size,
                chaining_value,
                segments
            }
        ),
        (file_attempt(), hash(), metadata()).prop_map(|(file, hash, metadata)| UnitHeader::FileEnd {
            file,
            hash,
            metadata
        }),
    ]
}

pub(super) fn unit() -> impl Strategy<Value = Unit> {
    let encoding =
        prop_oneof![Just(Encoding::Plain), any::<u32>().prop_map(|bytes| Encoding::Zstd { bytes })];
    (unit_header(), encoding).prop_map(|(header, encoding)| Unit { header, encoding })
}
