//! Which paths have changed, and when it is time to act on them. Pure: the time is an argument.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::{filter::List, limits, path::RelPath};

/// Changes that nobody has acted on. Beyond its bound it only knows that there are many.
#[derive(Debug)]
pub struct Changed {
    paths: HashSet<RelPath>,
    bytes: usize,
    is_everything: bool,
    times: Option<Times>,
    paths_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    first: Instant,
    last: Instant,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Something, anywhere.
    Everything,
    /// These paths below the top, and what is below them.
    Paths(Vec<RelPath>),
}

/// How long changes are collected.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Silence after which they have settled.
    pub quiet: Duration,
    /// The longest that the first of them waits, whether they have settled or not.
    pub patience: Duration,
    /// Not before.
    pub not_before: Option<Instant>,
}

impl Default for Changed {
    fn default() -> Self {
        Self::bounded(limits::WATCHED_CHANGES_MAX)
    }
}

impl Changed {
    /// None yet, and never more than `paths_max`.
    pub fn bounded(paths_max: usize) -> Self {
        Self { paths: HashSet::new(), bytes: 0, is_everything: false, times: None, paths_max }
    }

    /// Takes note of a path. The top stands for everything.
    pub fn add(&mut self, path: RelPath, now: Instant) {
        self.note_time(now);
        if path.is_root() {
            return self.add_everything(now);
        }
        if self.is_everything {
            return;
        }
        let bytes = path.as_bytes().len();
        if self.paths.insert(path) {
            self.bytes += bytes;
        }
        if self.paths.len() > self.paths_max || self.bytes > limits::LISTED_BYTES_MAX {
            self.add_everything(now);
        }
    }

    /// Some changes were missed.
    pub fn add_everything(&mut self, now: Instant) {
        self.note_time(now);
        self.is_everything = true;
        self.paths = HashSet::new();
        self.bytes = 0;
    }

    /// When it will be time to take what there is; `None` where there is nothing.
    pub fn due(&self, pace: &Pace) -> Option<Instant> {
        let Times { first, last } = self.times?;
        let settled = (last + pace.quiet).min(first + pace.patience);
        Some(pace.not_before.map_or(settled, |earliest| settled.max(earliest)))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.times.is_none()
    }

    /// Takes all of it.
    pub fn take(&mut self) -> Seen {
        let taken = std::mem::replace(self, Self::bounded(self.paths_max));
        if taken.is_everything {
            return Seen::Everything;
        }
        let mut paths: Vec<_> = taken.paths.into_iter().collect();
        paths.sort_unstable();
        Seen::Paths(paths)
    }

    fn note_time(&mut self, now: Instant) {
        let first = self.times.map_or(now, |times| times.first);
        self.times = Some(Times { first, last: now });
    }
}

impl Seen {
    /// What of it a sync of `list` alone is about: of a directory on the way to something listed, that.
    pub fn within(self, list: &List) -> Self {
        let Self::Paths(paths) = self else { return self };
        let mut within = Vec::new();
        for path in paths {
            if list.covers(&path) {
                within.push(path);
            } else {
                within.extend(list.below(&path).cloned());
            }
        }
        // A directory and what is in it may both have changed.
        within.sort_unstable();
        within.dedup();
        Self::Paths(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn changes_are_due_when_they_have_settled_or_when_patience_ends() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let mut pace = Pace { quiet: ms(100), patience: ms(500), not_before: None };
        let mut changed = Changed::default();
        assert_eq!(changed.due(&pace), None);
        changed.add(path("a"), start);
        assert_eq!(changed.due(&pace), Some(start + ms(100)));
        changed.add(path("a"), start + ms(90));
        assert_eq!(changed.due(&pace), Some(start + ms(190)));
        changed.add(path("b"), start + ms(450));
        assert_eq!(changed.due(&pace), Some(start + ms(500)));
        pace.not_before = Some(start + ms(700));
        assert_eq!(changed.due(&pace), Some(start + ms(700)));
        assert_eq!(changed.take(), Seen::Paths(vec![path("a"), path("b")]));
        assert!(changed.is_empty());
        assert_eq!(changed.due(&pace), None);
    }

    #[test]
    fn more_changes_than_are_remembered_become_one_that_stands_for_all() {
        let now = Instant::now();
        let mut changed = Changed::bounded(2);
        for name in ["a", "b", "b"] {
            changed.add(path(name), now);
        }
        assert_eq!(changed.take(), Seen::Paths(vec![path("a"), path("b")]));
        for name in ["a", "b", "c", "d"] {
            changed.add(path(name), now);
        }
        assert!(changed.paths.is_empty());
        assert_eq!(changed.take(), Seen::Everything);
        changed.add(path("a"), now);
        changed.add(RelPath::root(), now);
        assert_eq!(changed.take(), Seen::Everything);
    }

    #[test]
    fn a_list_narrows_what_has_changed() {
        let mut list = List::default();
        for listed in ["a", "d/e/f", "d/e/g"] {
            list.push(path(listed)).unwrap();
        }
        let seen = Seen::Paths(["a/b", "d/e", "d/e/f", "d/x", "z"].map(path).to_vec());
        assert_eq!(seen.within(&list), Seen::Paths(["a/b", "d/e/f", "d/e/g"].map(path).to_vec()));
        assert_eq!(Seen::Everything.within(&list), Seen::Everything);
    }
}
