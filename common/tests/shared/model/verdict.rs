//! Whether a destination is what it must be.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    expect::Expected,
    options::{Options, is_at_or_below},
    tree::{Kind, Node, Tree, difference, join, parent},
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
    check_kept(options, before, found);
    assert_eq!(difference(&settled(options, before, expected, found), found), [""; 0]);
    check_linked(before, expected, found);
}

/// What is expected, with what is as it comes taken from what was found.
pub(super) fn settled(options: &Options, before: &Tree, expected: &Expected, found: &Tree) -> Tree {
    let mut tree = expected.tree.clone();
    for (path, node) in &mut tree {
        let Some(now) = found.get(path) else { continue };
        if expected.loose.contains(path) && node.kind == now.kind {
            *node = now.clone();
        }
        if expected.touched.contains(path) {
            node.mtime = now.mtime;
        }
        if expected.placed.contains(path) {
            take_as_it_comes(options, (before, expected, path), node, now);
        }
    }
    take_kept(before, expected, &mut tree, found);
    tree
}

/// What is not said of old versions: whether what turned out to be the same is among them, and what their directories are like.
fn take_kept(before: &Tree, expected: &Expected, tree: &mut Tree, found: &Tree) {
    for (place, kept) in &expected.kept {
        let (Some(now), was) = (found.get(place), &before[&kept.of]) else { continue };
        if now.kind != was.kind {
            continue;
        }
        if !kept.is_certain {
            tree.retain(|path, _| !is_at_or_below(path, place));
            tree.insert(place.clone(), was.clone());
        }
        // It had another name, under which it got another mode or time.
        if expected.loose.contains(&kept.of) {
            tree.insert(place.clone(), now.clone());
        }
    }
    for path in &expected.keeping {
        if let Some(now) = found.get(path).filter(|now| now.is_directory()) {
            tree.insert(path.clone(), now.clone());
        }
    }
}

/// Old versions are where they belong, whatever has become of the new ones.
fn check_kept(options: &Options, before: &Tree, found: &Tree) {
    let Some(dir) = options.backup.filter(|_| !options.dry_run) else { return };
    for (path, node) in before.iter().filter(|(path, _)| !options.keeps_in(path)) {
        let is_there = |path: &str| found.get(path).is_some_and(|now| now.kind == node.kind);
        assert!(
            node.is_directory() || is_there(path) || is_there(&join(dir, path)),
            "{path:?} was not kept: {node:?}"
        );
    }
}

/// What must hold of a source after a sync that has come to its end.
pub(super) fn check_source(expected: &Expected, source: &Tree, now: &Tree) {
    let mut left = source.clone();
    left.retain(|path, _| !expected.removed.contains(path));
    assert_eq!(difference(&thinned(left, &expected.removed, now), now), [""; 0], "the source has changed");
}

/// The same of one that was broken off: what is gone from the source is whole at the destination.
pub(super) fn check_source_broken_off(expected: &Expected, source: &Tree, now: &Tree, found: &Tree) {
    let is_gone = |path: &&String| !now.contains_key(*path);
    let gone: BTreeSet<_> = expected.removed.iter().filter(is_gone).cloned().collect();
    for path in &gone {
        let is_whole = found.get(path).is_some_and(|there| there.kind == source[path].kind);
        assert!(is_whole, "{path:?} is gone from the source and not at the destination");
    }
    let mut left = source.clone();
    left.retain(|path, _| !gone.contains(path));
    assert_eq!(difference(&thinned(left, &gone, now), now), [""; 0], "the source has changed");
}

/// A source with the times of the directories from which something was removed as they are now.
fn thinned(mut source: Tree, removed: &BTreeSet<String>, now: &Tree) -> Tree {
    for directory in removed.iter().filter_map(|path| parent(path)) {
        if let (Some(node), Some(now)) = (source.get_mut(directory), now.get(directory)) {
            node.mtime = now.mtime;
        }
    }
    source
}

/// What no option asks for may be left of what was there, and is nothing else.
fn take_as_it_comes(
    options: &Options,
    (before, expected, path): (&Tree, &Expected, &str),
    node: &mut Node,
    now: &Node,
) {
    let names = expected.linked.iter().find(|(first, links)| *first == path || links.contains(path));
    let names = names.into_iter().flat_map(|(first, links)| links.iter().chain([first]).map(String::as_str));
    let was: Vec<_> = names.chain([path]).filter_map(|path| before.get(path)).collect();
    node.inode = now.inode;
    if !options.preserve.owner {
        node.owner = now.owner;
    }
    let is_kept = node.is_directory() && !options.preserve.special_bits;
    if let Some(was) = was.first().filter(|was| was.is_directory() && is_kept) {
        node.mode = node.mode & 0o777 | was.mode & 0o7000;
    } else if !options.preserve.special_bits {
        // Directories get setgid from where they are made.
        let inherited = if node.is_directory() { 0o2000 } else { 0 };
        let left = was.iter().fold(inherited, |bits, node| bits | node.mode & 0o7000);
        node.mode = node.mode & 0o777 | now.mode & left;
    }
    if !options.preserve.xattrs {
        let is_left =
            |name: &str, value: &Vec<u8>| was.iter().any(|node| node.xattrs.get(name) == Some(value));
        node.xattrs = now.xattrs.clone();
        node.xattrs.retain(|name, value| is_left(name, value));
    }
}

/// What must be one file is one, and nothing else is that was not.
fn check_linked(before: &Tree, expected: &Expected, found: &Tree) {
    for (first, links) in &expected.linked {
        let is_one = links.iter().all(|path| found[path].inode == found[first].inode);
        assert!(is_one, "{first:?} and {links:?} are not one file");
    }
    let mut by_inode: BTreeMap<u64, Vec<&String>> = BTreeMap::new();
    for (path, node) in found.iter().filter(|(_, node)| node.size().is_some()) {
        by_inode.entry(node.inode).or_default().push(path);
    }
    // An old version may have come from another path.
    let inodes = |path: &String| {
        let of = expected.kept.get(path).map(|kept| &kept.of);
        let was: Vec<_> =
            [Some(path), of].into_iter().flatten().filter_map(|path| before.get(path)).collect();
        was.into_iter().map(|node| node.inode).collect::<Vec<_>>()
    };
    let is_linked = |path: &String, other: &String| {
        let others = inodes(other);
        inodes(path).iter().any(|inode| others.contains(inode))
            || expected.linked.iter().any(|(first, links)| {
                [path, other].iter().all(|path| *path == first || links.contains(*path))
            })
    };
    for mut names in by_inode.into_values() {
        let mut joined = vec![names.remove(0)];
        while let Some(at) = names.iter().position(|path| joined.iter().any(|it| is_linked(it, path))) {
            joined.push(names.remove(at));
        }
        assert!(names.is_empty(), "{names:?} have become one file with {joined:?}");
    }
}

/// Where only so many may be deleted, anything may be left: but each entry is old or new, and no more is gone.
fn check_limited(options: &Options, before: &Tree, expected: &Expected, found: &Tree) {
    check_kept(options, before, found);
    let tree = settled(options, before, expected, found);
    for (path, node) in found {
        let is_known = |tree: &Tree| {
            tree.get(path).is_some_and(|other| other == node || other.is_directory() && node.is_directory())
        };
        assert!(is_known(before) || is_known(&tree), "{path:?} is neither old nor new: {node:?}");
    }
    // An older version in the place of an old one is not counted.
    let is_counted = |path: &&String| !options.keeps_in(path) && !found.contains_key(*path);
    let gone = before.keys().filter(is_counted).count();
    assert!(u64::try_from(gone).ok() <= options.max_delete, "{gone} are gone");
}

/// What must hold after a sync that was broken off: whatever is visible is old or new, whole, and nothing is lost that was to stay.
pub(super) fn check_broken_off(options: &Options, before: &Tree, expected: &Expected, found: &Tree) {
    check_kept(options, before, found);
    for (path, node) in found {
        let kept = expected.kept.get(path).and_then(|kept| before.get(&kept.of));
        let either = [before.get(path), expected.tree.get(path), kept];
        let is_known = either.iter().flatten().any(|other| match &node.kind {
            Kind::Directory => other.is_directory(),
            kind => kind == &other.kind,
        });
        let is_made = node.is_directory() && expected.keeping.contains(path);
        assert!(is_known || is_made, "{path:?} is neither old nor new: {node:?}; old and new: {either:?}");
    }
    // Older versions make way for old ones.
    let makes_way = |path: &str| {
        expected.kept.keys().any(|kept| is_at_or_below(path, kept) || is_at_or_below(kept, path))
    };
    for (path, node) in before.iter().filter(|(path, _)| !found.contains_key(*path)) {
        if options.keeps_in(path) && makes_way(path) {
            continue;
        }
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
    let is_open = |path: &String| path == "." || expected.loose.contains(path);
    changes.retain(|(path, _)| !is_open(path));
    wanted.retain(|(path, _)| !is_open(path));
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
