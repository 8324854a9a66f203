//! Messages to bytes and back: a block of a listing, which every file passes through, and the headers before content.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use serde::{Serialize, de::DeserializeOwned};
use swarmwire_common::{
    codec::{decode, encode},
    entry::{Kind, Metadata, Timestamp},
    limits::{CHUNK_BYTES, CONTROL_FRAME_BYTES_MAX, UNIT_HEADER_BYTES_MAX},
    wire::{
        data::{FileAttempt, PackFile, UnitHeader},
        sync::{ListingEntry, SourceMessage},
    },
};

/// Entries of the block: about as many as fill `LISTING_BLOCK_BYTES_TARGET` with names like these.
const BLOCK_ENTRIES: u32 = 1000;

/// Files of the pack: 5 KB each fill `PACK_BYTES_TARGET`.
const PACK_FILES: u32 = 52;

pub(crate) fn run(criterion: &mut Criterion) {
    let entries = (0..BLOCK_ENTRIES).map(entry).collect();
    let block = SourceMessage::Listing { directory: 7, entries };
    message::<_, CONTROL_FRAME_BYTES_MAX>(criterion, "listing block", BLOCK_ENTRIES, &block);

    let file = |number| PackFile { index: 70_000 + number, size: 5000, metadata: None, patch: None };
    let files = (0..PACK_FILES).map(file);
    let pack = UnitHeader::Pack { hash: [0xa5; 32], files: files.collect() };
    message::<_, UNIT_HEADER_BYTES_MAX>(criterion, "pack header", PACK_FILES, &pack);

    let chunk = UnitHeader::Chunk {
        file: FileAttempt { index: 70_000, attempt: 0, size: 512 << 20 },
        number: 300,
        size: u32::try_from(CHUNK_BYTES).expect("a chunk's size fits its field"),
        chaining_value: [0xa5; 32],
        segments: Vec::new(),
    };
    message::<_, UNIT_HEADER_BYTES_MAX>(criterion, "chunk header", 1, &chunk);
}

fn entry(number: u32) -> ListingEntry {
    ListingEntry {
        name: format!("{number:07}.log").into_bytes(),
        kind: Kind::File { size: 2048 + u64::from(number) * 6 },
        metadata: Metadata {
            mode: 0o644,
            mtime: Timestamp { seconds: 1_795_132_800, nanoseconds: 123_456 * (number + 1) },
        },
        extra: None,
    }
}

/// Both ways; `elements` entries or files are in it.
fn message<T: Serialize + DeserializeOwned, const LIMIT: usize>(
    criterion: &mut Criterion,
    name: &str,
    elements: u32,
    message: &T,
) {
    let bytes = encode(message);
    let mut group = criterion.benchmark_group(format!("codec/{name}"));
    group.throughput(Throughput::Elements(elements.into()));
    group.bench_function("encode", |bencher| bencher.iter(|| encode(black_box(message))));
    group.bench_function("decode", |bencher| bencher.iter(|| decode::<T, LIMIT>(black_box(&bytes))));
    group.finish();
}
