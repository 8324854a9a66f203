//! Checking names and paths that a peer sends: once for every entry of a listing, and for every request.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use swarmwire_common::path::{Name, RelPath};

const NAME: &[u8] = b"access-2026-11-20.log.7.gz";

/// Six components, as deep as log directories go.
const PATH: &[u8] = b"eu-west/eu-west-07/checkout/archive/2026-11/access-2026-11-20.log.7.gz";

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    group.throughput(Throughput::Elements(1));
    group
        .bench_function("name", |bencher| bencher.iter(|| Name::new(black_box(NAME)).map(Name::is_reserved)));
    group.bench_function("from the wire", |bencher| {
        bencher.iter_batched(|| PATH.to_vec(), RelPath::from_wire, BatchSize::SmallInput);
    });
    group.bench_function("as typed", |bencher| bencher.iter(|| RelPath::parse(black_box(PATH))));
    group.finish();
}
