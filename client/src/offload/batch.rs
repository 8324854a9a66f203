//! How many of the oldest files go at a time. Pure.

use swarmwire_common::{limits, root::Space};

use super::terms::{Candidate, Terms};

/// What fits where the files go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    bytes: u64,
    block: u64,
}

impl Room {
    /// What a file system has left.
    pub(super) fn of(space: &Space) -> Self {
        Self { bytes: space.available, block: space.block.max(1) }
    }

    /// What a file takes of it, and a block for its name.
    fn taken_by(self, size: u64) -> u64 {
        size.div_ceil(self.block).saturating_add(1).saturating_mul(self.block)
    }
}

/// How many of `files`, which may go and are sorted, are the next batch: no more than it takes to win `excess` bytes, no more than go at a time, and no more
/// than there is room for, so that none takes the place of an older one. At least one, if there is any: it may be there already.
pub(super) fn next(terms: &Terms, files: &[Candidate], (excess, block): (u64, u64), room: Room) -> usize {
    let (mut won, mut bytes, mut taken) = (0_u64, 0_u64, 0_u64);
    for (count, file) in files.iter().enumerate() {
        bytes = bytes.saturating_add(file.size);
        taken = taken.saturating_add(room.taken_by(file.size));
        let is_full = count == limits::OFFLOAD_BATCH_FILES_MAX
            || count > 0 && (bytes > limits::OFFLOAD_BATCH_BYTES_MAX || taken > room.bytes);
        if won >= excess || is_full {
            return count;
        }
        won = won.saturating_add(terms.worth(file.size, block));
    }
    files.len()
}

#[cfg(test)]
mod tests {
    use swarmwire_common::{entry::Timestamp, path::RelPath};

    use super::*;

    const ROOMY: Room = Room { bytes: u64::MAX, block: 1 };

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
            assert_eq!(next(&quota, &files(sizes), (excess, 4096), ROOMY), expected, "{sizes:?} {excess}");
        }
        assert_eq!(next(&quota, &files(&[1; 2000]), (2000, 1), ROOMY), limits::OFFLOAD_BATCH_FILES_MAX);
        assert_eq!(next(&terms, &files(&[1; 20]), (8193, 4096), ROOMY), 3, "whole blocks");
    }

    #[test]
    fn a_batch_has_no_more_than_fits_but_one() {
        let quota = Terms::new("75%".parse().unwrap(), "25%".parse().unwrap()).unwrap();
        let quota = quota.with_capacity(1).unwrap();
        for (sizes, blocks, expected) in [
            (&[1, 1, 1][..], 6, 3),
            (&[1, 1, 1], 5, 2),
            (&[5000, 1], 4, 1),
            (&[5000, 1], 0, 1),
            (&[0, 9000, 1], 4, 1),
        ] {
            let space = Space { available: blocks * 4096, block: 4096, ..Space::default() };
            let count = next(&quota, &files(sizes), (u64::MAX, 1), Room::of(&space));
            assert_eq!(count, expected, "{sizes:?} in {blocks} blocks");
        }
    }
}
