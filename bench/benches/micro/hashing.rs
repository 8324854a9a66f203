//! BLAKE3 at the sizes at which content is hashed, and merging the chunks of a large file.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use swarmwire_common::{
    hash::{TreeHasher, chunk_chaining_value},
    limits::CHUNK_BYTES,
};

/// Bytes hashed at a time: a small file, a piece that is read, a chunk.
const SIZES: [usize; 3] = [4 * 1024, 64 * 1024, 1024 * 1024];

/// Chunks of the file that is merged: 512 MiB.
const CHUNKS: u64 = 512;

pub(crate) fn run(criterion: &mut Criterion) {
    let content: Vec<u8> = (0..=250).cycle().take(SIZES[2]).collect();
    let mut group = criterion.benchmark_group("hash/content");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let bytes = &content[..size];
        group.bench_with_input(BenchmarkId::from_parameter(size), bytes, |bencher, bytes| {
            bencher.iter(|| chunk_chaining_value(black_box(3), black_box(bytes)));
        });
    }
    group.finish();

    let value = chunk_chaining_value(0, &content);
    let mut group = criterion.benchmark_group("hash/merge");
    group.throughput(Throughput::Elements(CHUNKS));
    group.bench_function(format!("{CHUNKS} chunks of {CHUNK_BYTES}"), |bencher| {
        bencher.iter_batched(
            || TreeHasher::new(CHUNKS),
            |mut hasher| {
                for number in 0..CHUNKS {
                    hasher.add(number, black_box(value)).expect("every number comes once, in order");
                }
                hasher.finish()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}
