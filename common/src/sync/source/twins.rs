//! Which files have gone out, by their size: one of the same size may be the same file once more.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use crate::limits;

/// The latest files of each size.
#[derive(Debug, Default)]
pub(super) struct Twins(Mutex<HashMap<u64, VecDeque<u32>>>);

impl Twins {
    /// Notes a file that is about to be read; gives those of its size that were noted before it, the latest first.
    pub(super) fn meet(&self, index: u32, size: u64) -> Vec<u32> {
        if size < limits::TWIN_BYTES_MIN {
            return Vec::new();
        }
        let mut sizes = self.0.lock().expect("no holder panics");
        let same = sizes.entry(size).or_default();
        let before = same.iter().copied().collect();
        same.truncate(limits::TWINS_COMPARED_MAX - 1);
        same.push_front(index);
        before
    }

    /// Forgets a file that was not sent itself.
    pub(super) fn forget(&self, index: u32, size: u64) {
        let mut sizes = self.0.lock().expect("no holder panics");
        if let Some(same) = sizes.get_mut(&size) {
            same.retain(|&other| other != index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Twins;
    use crate::limits::{TWIN_BYTES_MIN, TWINS_COMPARED_MAX};

    #[test]
    fn a_file_meets_the_latest_of_its_size_that_were_sent() {
        let twins = Twins::default();
        assert!(twins.meet(1, TWIN_BYTES_MIN - 1).is_empty());
        assert!(twins.meet(2, TWIN_BYTES_MIN - 1).is_empty(), "small ones are not kept");
        assert!(twins.meet(3, TWIN_BYTES_MIN).is_empty());
        assert!(twins.meet(4, TWIN_BYTES_MIN + 1).is_empty());
        assert_eq!(twins.meet(5, TWIN_BYTES_MIN), [3]);
        twins.forget(5, TWIN_BYTES_MIN);
        assert_eq!(twins.meet(6, TWIN_BYTES_MIN), [3]);
        for index in 7..100 {
            twins.meet(index, TWIN_BYTES_MIN);
        }
        assert_eq!(twins.meet(100, TWIN_BYTES_MIN), [99, 98, 97, 96]);
        assert_eq!(twins.meet(101, TWIN_BYTES_MIN).len(), TWINS_COMPARED_MAX);
    }
}
