//! What holds for every message, whatever its values and whatever the bytes.
//!
//! The seed is fixed, so that a run can be repeated; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` explore further.

use proptest::{collection::vec, prelude::*, sample::Index, test_runner::RngSeed};

use super::strategies;
use crate::{
    codec::{DecodeError, decode, encode},
    entry::{Attributes, Kind, Metadata, Owner, Timestamp, Xattr},
    limits::{
        self, CONTROL_FRAME_BYTES_MAX, OFFLOAD_FRAME_BYTES_MAX, OPEN_FRAME_BYTES_MAX, UNIT_HEADER_BYTES_MAX,
    },
    wire::{
        call::{CallMessage, CallReply, CallRequest, ServicesPage},
        data::{Encoding, PackFile, Patch, Preamble, Segment, Unit, UnitHeader},
        extra::Extra,
        list::{ListEntry, ListKind, ListMessage, ListRequest},
        offload::{OffloadAsk, OffloadMessage, OffloadRequest, Space},
        open::{JoinReply, JoinRequest, Open, Reply},
        sync::{DestinationMessage, ListingEntry, SourceMessage, SyncRequest, WantWith},
        watch::{WatchMessage, WatchRequest},
    },
};

/// Limit of a preamble frame: one `u64`, of at most nine bytes.
const PREAMBLE_BYTES_MAX: usize = 16;

fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

macro_rules! properties {
    ($($name:ident: $message:ty, $limit:expr;)*) => { $(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(config())]

                #[test]
                fn comes_back_as_itself(message in strategies::$name()) {
                    prop_assert_eq!(decode::<$message, { $limit }>(&encode(&message)), Ok(message));
                }

                #[test]
                fn is_refused_when_it_is_cut_short(message in strategies::$name(), cut: Index) {
                    let bytes = encode(&message);
                    let cut = &bytes[..cut.index(bytes.len())];
                    let refused = matches!(decode::<$message, { $limit }>(cut), Err(DecodeError::Malformed(_)));
                    prop_assert!(refused);
                }

                #[test]
                fn is_refused_when_something_follows(message in strategies::$name(), more in vec(any::<u8>(), 1..9)) {
                    let mut bytes = encode(&message);
                    bytes.extend_from_slice(&more);
                    prop_assert_eq!(
                        decode::<$message, { $limit }>(&bytes),
                        if bytes.len() > $limit {
                            Err(DecodeError::TooLarge { size: bytes.len(), limit: $limit })
                        } else {
                            Err(DecodeError::TrailingBytes { count: more.len() })
                        }
                    );
                }

                #[test]
                fn decodes_without_panic_with_flipped_bits(
                    message in strategies::$name(),
                    flips in vec((any::<Index>(), 0..8u8), 1..6),
                ) {
                    let mut bytes = encode(&message);
                    for (at, bit) in flips {
                        let at = at.index(bytes.len());
                        bytes[at] ^= 1 << bit;
                    }
                    if let Ok(other) = decode::<$message, { $limit }>(&bytes) {
                        prop_assert_eq!(decode::<$message, { $limit }>(&encode(&other)), Ok(other));
                    }
                }

                #[test]
                fn decodes_without_panic_from_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
                    if let Ok(message) = decode::<$message, { $limit }>(&bytes) {
                        prop_assert_eq!(decode::<$message, { $limit }>(&encode(&message)), Ok(message));
                    }
                }
            }

            #[test]
            fn is_refused_unread_beyond_its_limit() {
                let size = $limit + 1;
                assert_eq!(
                    decode::<$message, { $limit }>(&vec![0; size]),
                    Err(DecodeError::TooLarge { size, limit: $limit })
                );
            }
        }
    )* };
}

properties! {
    open: Open, OPEN_FRAME_BYTES_MAX;
    reply: Reply, OPEN_FRAME_BYTES_MAX;
    join_request: JoinRequest, OPEN_FRAME_BYTES_MAX;
    join_reply: JoinReply, OPEN_FRAME_BYTES_MAX;
    list_request: ListRequest, OPEN_FRAME_BYTES_MAX;
    list_message: ListMessage, CONTROL_FRAME_BYTES_MAX;
    watch_request: WatchRequest, OPEN_FRAME_BYTES_MAX;
    watch_message: WatchMessage, CONTROL_FRAME_BYTES_MAX;
    offload_request: OffloadRequest, OPEN_FRAME_BYTES_MAX;
    space: Space, OPEN_FRAME_BYTES_MAX;
    offload_ask: OffloadAsk, OFFLOAD_FRAME_BYTES_MAX;
    offload_message: OffloadMessage, OFFLOAD_FRAME_BYTES_MAX;
    call_request: CallRequest, OPEN_FRAME_BYTES_MAX;
    call_reply: CallReply, OPEN_FRAME_BYTES_MAX;
    call_message: CallMessage, OPEN_FRAME_BYTES_MAX;
    services_page: ServicesPage, CONTROL_FRAME_BYTES_MAX;
    sync_request: SyncRequest, OPEN_FRAME_BYTES_MAX;
    source_message: SourceMessage, CONTROL_FRAME_BYTES_MAX;
    destination_message: DestinationMessage, CONTROL_FRAME_BYTES_MAX;
    preamble: Preamble, PREAMBLE_BYTES_MAX;
    unit: Unit, UNIT_HEADER_BYTES_MAX;
}

/// The metadata with the longest encoding that means anything.
const LONGEST: Metadata =
    Metadata { mode: 0o777, mtime: Timestamp { seconds: i64::MIN, nanoseconds: 999_999_999 } };

#[test]
fn the_largest_messages_of_an_honest_peer_fit_their_frames() {
    let patch = Patch { hash: [255; 32], segments: vec![] };
    let file =
        PackFile { index: u32::MAX, size: u32::MAX, metadata: Some(LONGEST), patch: Some(patch.clone()) };
    let mut files = vec![file; limits::PACK_FILES_MAX];
    let longest = Segment::Copy { offset: u64::MAX, size: u32::MAX };
    files[0].patch = Some(Patch { segments: vec![longest; 2 * limits::PACK_SEGMENTS_MAX], ..patch });
    let header = UnitHeader::Pack { hash: [255; 32], files };
    let pack = Unit { header, encoding: Encoding::Zstd { bytes: u32::MAX } };
    assert!(encode(&pack).len() <= UNIT_HEADER_BYTES_MAX);

    let chunks = vec![(u32::MAX, [255; 16]); limits::SIGNATURE_CHUNKS_MAX];
    let with = vec![WantWith { index: u32::MAX, average_log2: 20, chunks }];
    let want = encode(&DestinationMessage::WantWith(with)).len();
    assert!(want + 2 * limits::SIGNATURES_BYTES_TARGET <= CONTROL_FRAME_BYTES_MAX);

    let preamble = Preamble { channel: u64::MAX };
    assert!(encode(&preamble).len() <= PREAMBLE_BYTES_MAX);

    // A writer closes a block once it has reached the target, so one entry may stand across it.
    let link = Kind::Symlink { target: vec![b'x'; limits::LINK_TARGET_BYTES_MAX] };
    let xattr = |value| Xattr { name: vec![b'x'; limits::NAME_BYTES_MAX], value: vec![b'x'; value] };
    let left = limits::XATTR_BYTES_MAX - limits::XATTRS_MAX * limits::NAME_BYTES_MAX;
    let mut xattrs = vec![xattr(0); limits::XATTRS_MAX - 1];
    xattrs.push(xattr(left));
    let owner = Some(Owner { user: u32::MAX, group: u32::MAX });
    let extra = Some(Extra { link: Some(u32::MAX), attributes: Attributes { owner, xattrs: Some(xattrs) } });
    let entry = ListingEntry {
        name: vec![b'x'; limits::NAME_BYTES_MAX],
        kind: link.clone(),
        metadata: LONGEST,
        extra,
    };
    assert!(limits::LISTING_BLOCK_BYTES_TARGET + encode(&entry).len() + 16 <= CONTROL_FRAME_BYTES_MAX);
    let path = vec![b'x'; limits::PATH_BYTES_MAX];
    let entry = ListEntry {
        path: path.clone(),
        kind: ListKind::Plain(link),
        metadata: LONGEST,
        hash: Some([255; 32]),
    };
    assert!(limits::LISTING_BLOCK_BYTES_TARGET + encode(&entry).len() + 16 <= CONTROL_FRAME_BYTES_MAX);

    let failed =
        SourceMessage::Failed { index: Some(u32::MAX), path, reason: "x".repeat(limits::REASON_BYTES_MAX) };
    assert!(encode(&failed).len() <= CONTROL_FRAME_BYTES_MAX);
}

#[test]
fn a_want_list_that_fills_its_frame_decodes() {
    // Two bytes a run on the wire, eight in memory: the limit is on the bytes that came.
    let mut bytes = vec![0, 252];
    let runs = (CONTROL_FRAME_BYTES_MAX - 6) / 2;
    bytes.extend_from_slice(&u32::try_from(runs).unwrap().to_le_bytes());
    bytes.resize(CONTROL_FRAME_BYTES_MAX, 1);
    let decoded = decode::<DestinationMessage, CONTROL_FRAME_BYTES_MAX>(&bytes);
    assert!(matches!(decoded, Ok(DestinationMessage::Want(list)) if list.len() == runs));
}
