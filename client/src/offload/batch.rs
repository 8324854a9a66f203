//! How many of the oldest files go at a time. Pure.

use swarmwire_common::limits;

use super::terms::{Candidate, Terms};

/// How many of `files`, which may go and are sorted, are the next batch: no more than it takes to win `excess` bytes, and no more than go at a
/// time. At least one, if there is any.
pub(super) fn next(terms: &Terms, files: &[Candidate], excess: u64, block: u64) -> usize {
    let (mut won, mut bytes) = (0_u64, 0_u64);
    for (count, file) in files.iter().enumerate() {
        let is_full = count == limits::OFFLOAD_BATCH_FILES_MAX
            || bytes.saturating_add(file.size) > limits::OFFLOAD_BATCH_BYTES_MAX && count > 0;
        if won >= excess || is_full {
            return count;
        }
        won = won.saturating_add(terms.worth(file.size, block));
        bytes = bytes.saturating_add(file.size);
    }
    files.len()
}

#[cfg(test)]
mod tests {
    use swarmwire_common::{entry::Timestamp, path::RelPath};

    use super::*;

    const LARGE: u64 = limits::OFFLOAD_BATCH_BYTES_MAX;

    fn files(sizes: &[u64]) -> Vec<Candidate> {
        let mtime = Timestamp { seconds: 0, nanoseconds: 0 };
        sizes.iter().map(|&size| Candidate { path: RelPath::root(), size, mtime }).collect()
    }

    #[test]
    fn a_batch_is_what_it_takes_and_no_more_than_goes_at_a_time() {
        let terms = Terms::new("75%".parse().unwrap(), "25%".parse().unwrap()).unwrap();
        let quota = terms.clone().with_capacity(1).unwrap();
        for (sizes, excess, expected) in [
            (&[10, 10, 10][..], 20, 2),
            (&[10, 10, 10], 21, 3),
            (&[10, 10, 10], 100, 3),
            (&[10, 10, 10], 1, 1),
            (&[0, 0, 10, 0], 1, 3),
            (&[LARGE + 1, 1], LARGE + 2, 1),
            (&[1, LARGE, 1], LARGE + 2, 1),
            (&[1, LARGE - 1, 1], LARGE + 2, 2),
            (&[], 5, 0),
        ] {
            assert_eq!(next(&quota, &files(sizes), excess, 4096), expected, "{sizes:?} {excess}");
        }
        assert_eq!(next(&quota, &files(&[1; 2000]), 2000, 1), limits::OFFLOAD_BATCH_FILES_MAX);
        assert_eq!(next(&terms, &files(&[1; 20]), 8193, 4096), 3, "whole blocks");
    }
}
