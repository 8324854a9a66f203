//! Which entries of a sync that goes on have failed and not been put in place since. Pure.
//!
//! What fails in a busy tree has often just been removed or is being written, so it is tried once more before it is named; after that,
//! whenever it changes and whenever all is looked at.

use std::collections::{BTreeMap, BTreeSet};

use swarmwire_common::{
    filter::List,
    path::RelPath,
    sync::{Failure, Report},
};

/// Failures that stand.
#[derive(Debug, Default)]
pub(super) struct Standing {
    failed: BTreeMap<RelPath, Failed>,
    /// Of the last look at everything, those that had no name.
    unnamed: u64,
}

#[derive(Debug)]
struct Failed {
    reason: String,
    is_named: bool,
}

/// What is to be done about the failures of a round.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) to_retry: Vec<RelPath>,
    pub(super) to_name: Vec<Failure>,
}

impl Standing {
    /// Takes what a round has told, of the listed paths or of everything.
    pub(super) fn take(&mut self, report: &Report, list: Option<&List>) -> Due {
        let failed_now: BTreeSet<_> = report.failed.iter().map(|failure| &failure.path).collect();
        self.failed.retain(|path, _| {
            failed_now.contains(path) || list.is_some_and(|list| !path.is_root() && !list.covers(path))
        });
        if list.is_none() {
            let named = u64::try_from(report.failed.len()).unwrap_or(u64::MAX);
            self.unnamed = report.entries_failed.saturating_sub(named);
        }
        let mut due = Due::default();
        for failure in &report.failed {
            match self.failed.get_mut(&failure.path) {
                None => {
                    let failed = Failed { reason: failure.reason.clone(), is_named: false };
                    self.failed.insert(failure.path.clone(), failed);
                    due.to_retry.push(failure.path.clone());
                }
                Some(failed) => {
                    if !failed.is_named || failed.reason != failure.reason {
                        due.to_name.push(failure.clone());
                    }
                    *failed = Failed { reason: failure.reason.clone(), is_named: true };
                }
            }
        }
        due
    }

    /// How many there are, and those that have names.
    pub(super) fn all(&self) -> (u64, Vec<Failure>) {
        let named = |(path, failed): (&RelPath, &Failed)| Failure {
            path: path.clone(),
            reason: failed.reason.clone(),
        };
        let failed: Vec<_> = self.failed.iter().map(named).collect();
        (u64::try_from(failed.len()).unwrap_or(u64::MAX).saturating_add(self.unnamed), failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    fn report(failed: &[(&str, &str)]) -> Report {
        let failed: Vec<_> = failed
            .iter()
            .map(|(at, reason)| Failure { path: path(at), reason: (*reason).to_owned() })
            .collect();
        Report { entries_failed: u64::try_from(failed.len()).unwrap(), failed, ..Report::default() }
    }

    fn list(paths: &[&str]) -> List {
        let mut list = List::default();
        paths.iter().for_each(|at| list.push(path(at)).unwrap());
        list
    }

    #[test]
    fn a_failure_is_tried_again_before_it_is_named_and_stands_until_it_succeeds() {
        let mut standing = Standing::default();
        let due = standing.take(&report(&[("a", "no"), ("b", "no")]), None);
        assert_eq!((due.to_retry, due.to_name), (vec![path("a"), path("b")], vec![]));
        let again = report(&[("a", "no")]);
        let due = standing.take(&again, Some(&list(&["a", "b"])));
        assert_eq!((due.to_retry, due.to_name), (vec![], again.failed.clone()));
        assert_eq!(standing.all(), (1, again.failed.clone()));
        // Nobody looked at it, or it is as it was.
        assert_eq!(standing.take(&report(&[]), Some(&list(&["c"]))), Due::default());
        assert_eq!(standing.take(&again, None), Due::default());
        let other = report(&[("a", "full")]);
        assert_eq!(standing.take(&other, Some(&list(&["a"]))).to_name, other.failed);
        assert_eq!(standing.take(&report(&[]), Some(&list(&["a"]))), Due::default());
        assert_eq!(standing.all(), (0, vec![]));
    }

    #[test]
    fn failures_without_a_name_count_until_the_next_look_at_everything() {
        let mut standing = Standing::default();
        standing.take(&Report { entries_failed: 3, ..report(&[("a", "no")]) }, None);
        assert_eq!(standing.all().0, 3);
        standing.take(&report(&[]), None);
        assert_eq!(standing.all().0, 0);
    }
}
