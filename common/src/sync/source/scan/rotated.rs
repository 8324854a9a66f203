//! Where the content of a log that has just been rotated is now.
//!
//! Of a few paths that are synced again and again one may be a log that was rotated a moment ago, when nobody had told of its new name.
//! Synced alone, the destination would lose the old content and be sent it again under that name.

use std::collections::{BTreeSet, HashSet};

use crate::{
    entry::Timestamp,
    path::Name,
    root::{Dir, Stat},
    sync::rotation::name_after,
};

/// How much longer ago than the change of a log its rotation may be, in seconds, to be of the same moment.
const MOMENT_SECONDS: i64 = 10;

/// The names that the listed ones have just been rotated to, and those after them.
pub(super) fn just_rotated(dir: &Dir, listed: &[Vec<u8>]) -> HashSet<Vec<u8>> {
    let known: BTreeSet<&[u8]> = listed.iter().map(Vec::as_slice).collect();
    let mut rotated = HashSet::new();
    for name in listed {
        let mut changed = stat(dir, name).map(|stat| stat.ctime);
        let mut after = name_after(name);
        while !known.contains(after.as_slice())
            && let Some(stat) = stat(dir, &after)
            && changed.is_none_or(|changed| is_of_the_moment(stat.ctime, changed))
            && rotated.insert(after.clone())
        {
            changed = Some(stat.ctime);
            after = name_after(&after);
        }
    }
    rotated
}

fn stat(dir: &Dir, name: &[u8]) -> Option<Stat> {
    dir.stat(Name::new(name).ok()?).ok()
}

fn is_of_the_moment(rotated: Timestamp, changed: Timestamp) -> bool {
    rotated.seconds >= changed.seconds.saturating_sub(MOMENT_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::root::Root;

    #[test]
    fn what_was_rotated_a_moment_ago_is_found_and_what_is_listed_is_known() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["a", "a.1", "a.2", "b.1", "c", "c.1", "c.2", "d"] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        let root = Root::open(temp.path()).unwrap();
        let listed = ["a", "b", "c", "c.1", "d"].map(|name| name.as_bytes().to_vec());
        let mut found: Vec<_> = just_rotated(root.top(), &listed).into_iter().collect();
        found.sort();
        assert_eq!(found, ["a.1", "a.2", "b.1", "c.2"].map(|name| name.as_bytes().to_vec()));
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        assert!(is_of_the_moment(at(100), at(110)) && is_of_the_moment(at(120), at(110)));
        assert!(!is_of_the_moment(at(99), at(110)));
    }
}
