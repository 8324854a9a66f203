//! What a completed sync must make of a destination. Pure: two trees and the options go in, a tree and what is told come out.
//!
//! Written from the README and not from the engine, so that the two can contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    options::{Keep, Options, is_skipped},
    tree::{Kind, Node, Tree, children, parent},
};

#[derive(Debug, Default)]
pub(super) struct Expected {
    /// The destination afterwards.
    pub(super) tree: Tree,
    /// Directories of which something was removed, or was to be, so that their time and mode say nothing.
    pub(super) touched: BTreeSet<String>,
    /// Paths that are named as failed.
    pub(super) failed: BTreeSet<String>,
    /// Changes as `-v` and `-n` name them: the action by the path.
    pub(super) changes: BTreeMap<String, &'static str>,
    /// Files that are told as changed and have the content already.
    pub(super) same_content: BTreeSet<String>,
    /// Entries that the source lists or names as skipped, its top among them.
    pub(super) listed: u64,
    /// Entries that are removed, where no limit ends that.
    pub(super) deleted: u64,
    /// Something in the way of an entry is to be kept. Then what has been told before it was found is not said here.
    pub(super) is_in_the_way: bool,
}

pub(super) fn expect(source: &Tree, destination: &Tree, options: &Options) -> Expected {
    let expected = Expected { tree: destination.clone(), ..Expected::default() };
    let mut model = Model { source, options, listed: BTreeSet::new(), skipped: BTreeSet::new(), expected };
    model.list();
    model.expected.listed = u64::try_from(model.listed.len() + model.skipped.len()).expect("a few");
    let missing = model.missing();
    let in_place = model.put_in_place();
    if !missing.is_empty() && options.delete {
        // What was not deleted is told as a failure of the whole.
        model.expected.failed.insert(".".to_owned());
    }
    if missing.is_empty() && options.delete {
        for directory in &in_place {
            for path in children(&model.expected.tree, directory) {
                if !model.listed.contains(&path) {
                    model.clear(&path);
                }
            }
        }
    }
    model.expected.failed.extend(missing);
    for directory in in_place {
        model.expected.touched.remove(&directory);
        model.expected.tree.insert(directory.clone(), source[&directory].clone());
    }
    model.expected
}

struct Model<'a> {
    source: &'a Tree,
    options: &'a Options,
    listed: BTreeSet<String>,
    skipped: BTreeSet<String>,
    expected: Expected,
}

/// Whether something is gone.
#[derive(PartialEq, Eq)]
enum Cleared {
    Yes,
    No,
}

impl Model<'_> {
    fn list(&mut self) {
        // A tree is in the order of the paths, in which a directory comes before what is in it.
        for (path, node) in self.source {
            let is_taken = parent(path).is_none_or(|parent| {
                self.listed.contains(parent)
                    && self.source[parent].is_directory()
                    && self.options.takes(path, node)
            });
            if is_taken {
                if is_skipped(node) { &mut self.skipped } else { &mut self.listed }.insert(path.clone());
            }
        }
    }

    /// Paths of the list that are not there and that no rule leaves out.
    fn missing(&self) -> BTreeSet<String> {
        let listed = self.options.listed.iter().flatten();
        let is_there = |path: &str| {
            self.source.contains_key(path) && parent(path).is_none_or(|it| self.listed.contains(it))
        };
        listed.filter(|path| !is_there(path) && !self.options.rules_leave_out(path, false)).cloned().collect()
    }

    /// Gives the directories that are in place.
    fn put_in_place(&mut self) -> Vec<String> {
        let mut in_place = Vec::new();
        for path in self.listed.clone() {
            let node = &self.source[&path];
            if parent(&path).is_some_and(|parent| !in_place.iter().any(|it| it == parent)) {
                self.expected.failed.insert(path);
                continue;
            }
            let is_done = match &node.kind {
                Kind::Directory => self.directory(&path, node),
                Kind::File { .. } => self.file(&path, node),
                Kind::Link { .. } => self.link(&path, node),
                Kind::Special => unreachable!("it is not listed"),
            };
            if !is_done {
                self.expected.failed.insert(path);
            } else if node.is_directory() {
                in_place.push(path);
            }
        }
        in_place
    }

    fn directory(&mut self, path: &str, node: &Node) -> bool {
        let there = self.expected.tree.get(path).map(|there| there.kind.clone());
        match there {
            Some(Kind::Directory) => return true,
            None => {}
            Some(Kind::Link { .. }) => drop(self.expected.tree.remove(path)),
            Some(Kind::File { .. } | Kind::Special) => {
                return self.options.delete && self.make_way(path) && self.put(path, node, "mkdir");
            }
        }
        self.put(path, node, "mkdir")
    }

    fn file(&mut self, path: &str, node: &Node) -> bool {
        let there = self.expected.tree.get(path).cloned();
        if self.options.keep == Keep::Existing && there.is_some() {
            return true;
        }
        let Some(there) = there else { return self.put(path, node, "create") };
        let (Kind::File { size, hash }, has) = (&node.kind, &there.kind) else {
            unreachable!("it is a file")
        };
        match has {
            Kind::Directory => self.options.delete && self.make_way(path) && self.put(path, node, "create"),
            Kind::Link { .. } | Kind::Special => self.put(path, node, "create"),
            Kind::File { .. } if self.options.keep == Keep::Newer && there.mtime > node.mtime => true,
            Kind::File { size: has_size, hash: has_hash } => {
                let is_read = self.options.checksum && *size > 0;
                if size == has_size && (there.mtime == node.mtime || *size == 0) && !is_read {
                    // What has size and time is taken for the same, whatever is in it.
                    let node = Node { kind: there.kind.clone(), ..node.clone() };
                    return node == there || self.put(path, &node, "metadata");
                }
                if size == has_size && hash == has_hash {
                    self.expected.same_content.insert(path.to_owned());
                }
                self.put(path, node, "update")
            }
        }
    }

    fn link(&mut self, path: &str, node: &Node) -> bool {
        match self.expected.tree.get(path) {
            Some(_) if self.options.keep == Keep::Existing => true,
            Some(there) if there == node => true,
            Some(there) if there.is_directory() => {
                self.options.delete && self.make_way(path) && self.put(path, node, "symlink")
            }
            _ => self.put(path, node, "symlink"),
        }
    }

    fn put(&mut self, path: &str, node: &Node, action: &'static str) -> bool {
        self.expected.tree.insert(path.to_owned(), node.clone());
        self.expected.changes.insert(path.to_owned(), action);
        true
    }

    fn make_way(&mut self, path: &str) -> bool {
        let is_cleared = self.clear(path) == Cleared::Yes;
        self.expected.is_in_the_way |= !is_cleared;
        is_cleared
    }

    /// Removes what is at `path` and below it, as far as nothing of it is to be kept.
    fn clear(&mut self, path: &str) -> Cleared {
        let Some(node) = self.expected.tree.get(path).cloned() else { return Cleared::Yes };
        if self.skipped.contains(path) || self.options.protects(path, &node) {
            return Cleared::No;
        }
        let inside = children(&self.expected.tree, path);
        let kept = inside.iter().filter(|path| self.clear(path) == Cleared::No).count();
        if kept > 0 {
            self.expected.touched.insert(path.to_owned());
            return Cleared::No;
        }
        self.expected.tree.remove(path);
        self.expected.touched.remove(path);
        self.expected.changes.insert(path.to_owned(), "delete");
        self.expected.deleted += 1;
        Cleared::Yes
    }
}
