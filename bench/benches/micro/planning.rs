//! Deciding about the entries of a listing: a tree that did not change, and one in which every file did.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use swarmwire_common::{
    entry::{Kind, Metadata, Timestamp},
    sync::plan::{Existing, decide},
    wire::sync::SyncOptions,
};

/// Entries decided about in a round, few enough to stay in the cache, as the entries of a listing block do.
const ENTRIES: u32 = 1000;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(ENTRIES.into()));
    for (name, seconds_later) in [("unchanged", 0), ("changed", 1)] {
        let entries: Vec<_> = (0..ENTRIES).map(|number| entry(number, seconds_later)).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for (kind, metadata, existing) in &entries {
                    black_box(decide(
                        black_box(kind),
                        *metadata,
                        black_box(existing),
                        SyncOptions::default(),
                    ));
                }
            });
        });
    }
    group.finish();
}

/// A file, and what is in its place: the same, written so much earlier.
fn entry(number: u32, seconds_later: i64) -> (Kind, Metadata, Existing) {
    let size = u64::from(number) * 7;
    let metadata = |seconds| Metadata { mode: 0o644, mtime: Timestamp { seconds, nanoseconds: number } };
    let existing = Existing::File { size, metadata: metadata(1_795_132_800) };
    (Kind::File { size }, metadata(1_795_132_800 + seconds_later), existing)
}
