//! Whether a destination is what it must be.

use super::{
    expect::Expected,
    options::Options,
    tree::{Kind, Tree, difference},
};

/// More is to be removed than may be.
pub(super) fn is_limited(options: &Options, expected: &Expected) -> bool {
    options.max_delete.is_some_and(|limit| expected.deleted > limit)
}

/// What must hold after a sync that has come to its end.
pub(super) fn check_done(options: &Options, before: &Tree, expected: &Expected, found: &Tree) {
    if options.dry_run {
        return assert_eq!(difference(before, found), [""; 0], "a dry run has changed something");
    }
    if is_limited(options, expected) {
        return check_limited(options, before, expected, found);
    }
    let mut tree = expected.tree.clone();
    for path in &expected.touched {
        let node = tree.get_mut(path).expect("what was touched is there");
        node.mtime = found.get(path).map_or(0, |node| node.mtime);
    }
    assert_eq!(difference(&tree, found), [""; 0]);
}

/// Where only so many may be deleted, anything may be left: but each entry is old or new, and no more is gone.
fn check_limited(options: &Options, before: &Tree, expected: &Expected, found: &Tree) {
    for (path, node) in found {
        let is_known = |tree: &Tree| {
            tree.get(path).is_some_and(|other| other == node || other.is_directory() && node.is_directory())
        };
        assert!(is_known(before) || is_known(&expected.tree), "{path:?} is neither old nor new: {node:?}");
    }
    let gone = before.keys().filter(|path| !found.contains_key(*path)).count();
    assert!(u64::try_from(gone).ok() <= options.max_delete, "{gone} are gone");
}

/// What must hold after a sync that was broken off: whatever is visible is old or new, whole, and nothing is lost that was to stay.
pub(super) fn check_broken_off(before: &Tree, expected: &Expected, found: &Tree) {
    for (path, node) in found {
        let either = [before.get(path), expected.tree.get(path)];
        let is_known = either.iter().flatten().any(|other| match &node.kind {
            Kind::Directory => other.is_directory(),
            kind => kind == &other.kind,
        });
        assert!(is_known, "{path:?} is neither old nor new: {node:?}; old and new: {either:?}");
    }
    for (path, node) in before.iter().filter(|(path, _)| !found.contains_key(*path)) {
        // What is in the way of another type goes before the new one comes.
        let may_be_missing =
            expected.tree.get(path).is_none_or(|new| new.is_directory() != node.is_directory());
        assert!(may_be_missing, "{path:?} is lost: it was {node:?}");
    }
}

/// What must be told of a sync that nobody disturbed: its changes by path and action, in any order, and its counts.
pub(super) fn check_told(
    options: &Options,
    expected: &Expected,
    mut changes: Vec<(String, String)>,
    (total, deleted): (u64, u64),
) {
    assert_eq!(total, expected.listed, "entries in all");
    if is_limited(options, expected) {
        return;
    }
    assert_eq!(deleted, expected.deleted, "entries deleted");
    if expected.is_in_the_way {
        return;
    }
    let wanted = expected.changes.iter().map(|(path, action)| (path.clone(), (*action).to_owned()));
    let mut wanted: Vec<_> = wanted.collect();
    if !options.dry_run {
        // Whether a file that is the same already is found out or sent is the engine's business.
        changes.retain(|(path, _)| !expected.same_content.contains(path));
        wanted.retain(|(path, _)| !expected.same_content.contains(path));
    }
    // A directory in the way is told twice, as what goes and as what comes; the model has the latter.
    changes.retain(|(path, action)| {
        action != "delete" || expected.changes.get(path).is_none_or(|change| *change == "delete")
    });
    changes.sort();
    assert_eq!(changes, wanted);
}
