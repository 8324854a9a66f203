//! What an offload came to, over all its attempts. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use swarmwire_common::{
    limits,
    path::RelPath,
    sync::{Failure, LISTED_NOT_FOUND, Moved},
};

use super::{
    side::Files,
    terms::{Candidate, Usage},
};

/// How far an offload has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It did not get to its end.
    #[default]
    Unfinished,
    /// It was not fuller than *above*: nothing was to be done.
    NotDue,
    /// It is not fuller than *until*.
    Reached,
    /// It still is, and nothing is left that may go and can.
    Unreached,
}

/// What became of an offload. Attempts at the same one add up in it.
#[derive(Debug, Default)]
pub struct Account {
    /// How far it has got.
    pub state: State,
    /// Files that are here and not there any more.
    pub files_moved: u64,
    /// Bytes of them.
    pub bytes_moved: u64,
    /// How full it was in the beginning.
    pub before: Option<Usage>,
    /// How full it was when that was found out last.
    pub after: Option<Usage>,
    /// What stays although it should go, or could not be looked at, and why.
    pub failed: BTreeMap<RelPath, String>,
    /// How many more there were than `limits::NAMED_OUTCOMES_MAX`, which are not kept by name.
    pub failed_unnamed: u64,
    /// Why it ended although files were left that may go.
    pub stopped: Option<&'static str>,
    /// Safe here; whether it was removed there was not heard before the connection was lost.
    unsure: Vec<Moved>,
    /// Those of a batch of which neither side has said anything, as they were listed.
    not_taken: Vec<Candidate>,
    /// Files that lie on other file systems than the directory, and are none of ours.
    pub(super) elsewhere: BTreeSet<RelPath>,
}

impl Account {
    /// Whether nothing was moved, nothing has failed, and nothing is unsure.
    pub fn has_done_nothing(&self) -> bool {
        self.files_moved == 0 && self.failed.is_empty() && self.unsure.is_empty()
    }

    /// Whether it needs to be seen what is there to know what became of earlier attempts.
    pub(super) fn is_settled(&self) -> bool {
        self.unsure.is_empty() && self.failed.is_empty()
    }

    /// Takes what is there by now: what was to be removed and is not there any more has been, and what failed and is gone is nobody's concern. Nor is, where
    /// only one file system is offloaded, what is there as it was and was not taken.
    pub(super) fn settle(&mut self, files: &Files, is_one_file_system: bool) {
        if !self.unsure.is_empty() || !self.failed.is_empty() {
            let there: BTreeMap<_, _> = files.there.iter().map(|file| (file.path.as_bytes(), file)).collect();
            let stays = |moved: &Moved| {
                there
                    .get(moved.path.as_bytes())
                    .is_some_and(|file| (file.size, file.mtime) == (moved.size, moved.mtime))
            };
            let unsure = std::mem::take(&mut self.unsure);
            unsure.iter().filter(|moved| !stays(moved)).for_each(|moved| self.moved(moved));
            for file in std::mem::take(&mut self.not_taken) {
                if is_one_file_system && there.get(file.path.as_bytes()).is_some_and(|there| **there == file)
                {
                    if self.failed.remove(&file.path).is_none() {
                        self.failed_unnamed = self.failed_unnamed.saturating_sub(1);
                    }
                    self.elsewhere.insert(file.path);
                }
            }
            self.failed.retain(|path, _| {
                let below = [path.as_bytes(), b"/"].concat();
                let is_above = |(next, _): (&&[u8], _)| next.starts_with(&below);
                there.contains_key(path.as_bytes()) || there.range(&below[..]..).next().is_some_and(is_above)
            });
        }
        files.failed.iter().for_each(|Failure { path, reason }| self.fails(path, reason));
    }

    fn fails(&mut self, path: &RelPath, reason: &str) {
        if self.failed.len() < limits::NAMED_OUTCOMES_MAX || self.failed.contains_key(path) {
            self.failed.insert(path.clone(), reason.to_owned());
        } else {
            self.failed_unnamed += 1;
        }
    }

    fn moved(&mut self, moved: &Moved) {
        self.files_moved += 1;
        self.bytes_moved = self.bytes_moved.saturating_add(moved.size);
    }

    /// Takes what became of a batch that got to its end: what was safe, and what failed of it, or above or below it. Gives the bytes that were moved, and
    /// what stays.
    pub(super) fn add(
        &mut self,
        batch: &[Candidate],
        safe: &[Moved],
        failed: &[Failure],
    ) -> (u64, Vec<(RelPath, String)>) {
        let is_of_batch = |failure: &&Failure| {
            let meets = |path: &RelPath| path.starts_with(&failure.path) || failure.path.starts_with(path);
            batch.iter().any(|file| meets(&file.path))
        };
        // Why it was not found is seen when all is listed again.
        let is_said = |failure: &&Failure| failure.reason != LISTED_NOT_FOUND;
        let failed: Vec<_> = failed.iter().filter(is_of_batch).filter(is_said).collect();
        let mut stays: BTreeMap<RelPath, String> =
            failed.iter().map(|failure| (failure.path.clone(), failure.reason.clone())).collect();
        let mut bytes = 0_u64;
        let safe: HashMap<_, _> = safe.iter().map(|moved| (&moved.path, moved)).collect();
        for file in batch.iter().filter(|file| !safe.contains_key(&file.path)) {
            let above = failed.iter().find(|failure| file.path.starts_with(&failure.path));
            if above.is_none() && !stays.contains_key(&file.path) {
                self.not_taken.push(file.clone());
            }
            let reason = above.map_or(NOT_TAKEN, |failure| &failure.reason);
            stays.entry(file.path.clone()).or_insert_with(|| reason.to_owned());
        }
        for moved in safe.values().filter(|moved| !stays.contains_key(&moved.path)) {
            self.moved(moved);
            bytes = bytes.saturating_add(moved.size);
        }
        stays.iter().for_each(|(path, reason)| self.fails(path, reason));
        (bytes, stays.into_iter().collect())
    }

    /// Adds what a later one came to. What there is, is told by that.
    pub fn add_later(&mut self, later: Self) {
        let before = self.before.or(later.before);
        let after = later.after.or(self.after);
        let (files_moved, bytes_moved) =
            (self.files_moved + later.files_moved, self.bytes_moved.saturating_add(later.bytes_moved));
        *self = Self { files_moved, bytes_moved, before, after, ..later };
    }

    /// Takes what was safe of a batch that broke off.
    pub(super) fn add_broken(&mut self, safe: Vec<Moved>) {
        self.unsure.extend(safe);
    }
}

/// Why a file was not moved that neither side says anything of.
const NOT_TAKEN: &str = "it was left: it has changed since it was listed, or lies on another file system";

#[cfg(test)]
mod tests {
    use swarmwire_common::entry::Timestamp;

    use super::*;

    const MTIME: Timestamp = Timestamp { seconds: 1, nanoseconds: 0 };

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    fn moved(at: &str) -> Moved {
        Moved { path: path(at), size: 10, mtime: MTIME, hash: [0; 32] }
    }

    fn files(there: &[(&str, u64)]) -> Files {
        let file = |&(at, size): &(&str, u64)| Candidate { path: path(at), size, mtime: MTIME };
        Files { there: there.iter().map(file).collect(), ..Files::default() }
    }

    #[test]
    fn what_is_safe_was_moved_unless_it_stays() {
        let mut account = Account::default();
        let batch = files(&[("a", 10), ("b", 10), ("c", 10), ("d", 10)]).there;
        let failed = [Failure { path: path("b"), reason: "changed".to_owned() }];
        let (bytes, stays) = account.add(&batch, &[moved("a"), moved("b"), moved("d")], &failed);
        assert_eq!((bytes, account.files_moved, account.bytes_moved), (20, 2, 20));
        let expected = [(path("b"), "changed".to_owned()), (path("c"), NOT_TAKEN.to_owned())];
        assert_eq!(stays, expected);
        account.settle(&files(&[("c", 12)]), true);
        assert_eq!(account.failed.keys().collect::<Vec<_>>(), [&path("c")], "b went by itself");
    }

    #[test]
    fn what_lies_on_another_file_system_is_no_failure_of_one() {
        for (is_one, expected) in [(true, &["c"][..]), (false, &["a", "c"])] {
            let mut account = Account::default();
            let not_found = |at: &str| Failure { path: path(at), reason: LISTED_NOT_FOUND.to_owned() };
            let batch = files(&[("a", 10), ("b", 10), ("c", 10)]).there;
            let (bytes, stays) = account.add(&batch, &[], &["a", "b", "c"].map(not_found));
            assert_eq!((bytes, stays.len()), (0, 3));
            // As it was, gone, changed.
            account.settle(&files(&[("a", 10), ("c", 11)]), is_one);
            let failed: Vec<_> = account.failed.keys().map(ToString::to_string).collect();
            assert_eq!(
                (&failed[..], account.elsewhere.contains(&path("a"))),
                (&expected.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..], is_one)
            );
        }
    }

    /// Story: of more than are named, those that are none of ours were told as failures in the end.
    #[test]
    fn however_many_lie_on_another_file_system_none_is_counted() {
        let names: Vec<_> = (0..limits::NAMED_OUTCOMES_MAX + 3).map(|number| number.to_string()).collect();
        let all = files(&names.iter().map(|name| (&name[..], 10)).collect::<Vec<_>>());
        let mut account = Account::default();
        account.add(&all.there, &[], &[]);
        assert_eq!((account.failed.len(), account.failed_unnamed), (limits::NAMED_OUTCOMES_MAX, 3));
        account.settle(&all, true);
        assert_eq!((account.failed.len(), account.failed_unnamed), (0, 0));
    }

    #[test]
    fn what_is_below_a_failure_stays_for_the_same_reason() {
        let mut account = Account::default();
        let there = [("d-e", 10), ("d/f", 10), ("g", 10)];
        let failed = [Failure { path: path("d"), reason: "a file is in the way".to_owned() }];
        account.add(&files(&there).there, &[moved("g")], &failed);
        account.settle(&files(&there[..2]), false);
        let named: Vec<_> =
            account.failed.iter().map(|(path, reason)| (path.to_string(), &reason[..])).collect();
        let reason = "a file is in the way";
        assert_eq!(
            named,
            [("d".to_owned(), reason), ("d-e".to_owned(), NOT_TAKEN), ("d/f".to_owned(), reason)]
        );
        account.settle(&files(&there[..1]), false);
        assert_eq!(account.failed.len(), 1);
    }

    #[test]
    fn of_what_a_peer_says_only_what_was_asked_for_is_kept_and_no_more_than_is_bounded() {
        let mut account = Account::default();
        let failure = |at: &str| Failure { path: path(at), reason: "why".to_owned() };
        let failed = [failure("a"), failure("b/c"), failure("x"), failure("a/y")];
        let (_, stays) = account.add(&files(&[("a", 1), ("b/c/d", 1)]).there, &[], &failed);
        assert_eq!(stays.len(), 4, "{stays:?}");
        assert!(!account.failed.contains_key(&path("x")) && account.failed.contains_key(&path("b/c/d")));
        let many = (0..limits::NAMED_OUTCOMES_MAX).map(|number| failure(&number.to_string())).collect();
        account.settle(&Files { failed: many, ..files(&[("a", 1), ("b/c/d", 1)]) }, false);
        assert_eq!(account.failed.len(), limits::NAMED_OUTCOMES_MAX);
        assert_eq!(account.failed_unnamed, 3);
    }

    #[test]
    fn what_was_not_heard_of_is_seen_by_what_is_there() {
        let mut account = Account::default();
        account.add_broken(vec![moved("gone"), moved("there"), moved("new")]);
        account.settle(&files(&[("there", 10), ("new", 11)]), false);
        assert_eq!((account.files_moved, account.bytes_moved), (2, 20));
        account.settle(&files(&[]), false);
        assert_eq!(account.files_moved, 2, "once");
    }
}
