//! Micro-benchmarks of the product's pure parts: `cargo bench -p swarmwire-bench --bench micro [-- FILTER]`.
//!
//! They show where a change of one part helped; what a user feels is measured with whole processes, by the laboratory's other commands.
//! Every benchmark states what it moves, so that a figure is a rate. Filters have none: the product does not have them yet.

mod codec;
mod hashing;
mod paths;
mod planning;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for benchmark in [codec::run, hashing::run, paths::run, planning::run] {
        benchmark(&mut criterion);
    }
    criterion.final_summary();
}
