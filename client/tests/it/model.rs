//! Sequences of changes, syncs and crashes at random, each held against a model after every step.
//!
//! Two trees, one of them at a gateway; files are made, edited, rotated, renamed, replaced by directories and removed in both, synced in both
//! directions with options at random, and either process is killed at any moment. A completed sync must leave exactly what `expect` says, which
//! is written from the README, end as that says, and have nothing to send when it is done again. After a crash each visible file must be the old
//! or the new one, whole.
//!
//! A few sequences run with the other tests. `SWARMWIRE_MODEL_SEQUENCES=1000` runs so many more, from `SWARMWIRE_MODEL_SEED` on. A failure
//! prints the seed, the steps that led to it and the command that does them again; only the moments of the kills are the machine's.

mod arguments;
#[path = "../../../common/tests/shared/model/edits.rs"]
mod edits;
#[path = "../../../common/tests/shared/model/expect.rs"]
mod expect;
pub(crate) mod gateway;
#[path = "../../../common/tests/shared/model/options.rs"]
mod options;
mod sequence;
#[path = "../../../common/tests/shared/model/tree.rs"]
mod tree;
#[path = "../../../common/tests/shared/model/verdict.rs"]
mod verdict;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Sequences of an ordinary run, which take some seconds.
const SEQUENCES: u64 = 8;

/// Sequences at a time. They mostly wait: each gateway that is killed costs the idle timeout until its controller notices.
const AT_A_TIME: usize = 8;

#[test]
fn after_each_of_many_random_steps_the_destination_is_what_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("it is a number"));
    let first: u64 = number("SWARMWIRE_MODEL_SEED").unwrap_or(1);
    let sequences = number("SWARMWIRE_MODEL_SEQUENCES").unwrap_or(SEQUENCES);
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + sequences {
                        return;
                    }
                    if let Err(told) = run(seed) {
                        failed.lock().unwrap().push(told);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {sequences} sequences failed\n\n{}", failed.len(), failed.join("\n\n"));
}

/// Runs one sequence; tells of a failure with all that is needed to see it again.
fn run(seed: u64) -> Result<(), String> {
    let steps = Mutex::new(Vec::new());
    catch_unwind(AssertUnwindSafe(|| sequence::run(seed, &steps))).map_err(|cause| {
        let cause = cause.downcast_ref::<String>().cloned();
        let cause = cause.unwrap_or_else(|| "see above".to_owned());
        let steps = steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner).join("\n  ");
        format!(
            "seed {seed}: {cause}\nsteps:\n  {steps}\nagain: SWARMWIRE_MODEL_SEED={seed} SWARMWIRE_MODEL_SEQUENCES=1 \
             cargo test -p swarmwire-client --test it model::after_each"
        )
    })
}
