//! What a completed sync must make of a destination. Pure: two trees and the options go in, a tree and what is told come out.
//!
//! Written from the README and not from the engine, so that the two can contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    options::{Keep, Options, Preserve, is_at_or_below, is_skipped},
    tree::{Kind, Node, Tree, children, join, parent},
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
    /// Entries that are put in place or changed there: what no option asks for is as it comes.
    pub(super) placed: BTreeSet<String>,
    /// Files that must be one, by the name that is listed first.
    pub(super) linked: BTreeMap<String, BTreeSet<String>>,
    /// Names of one file here that are several at the source, of which one is changed in place: what they have in common may be either's.
    pub(super) loose: BTreeSet<String>,
    /// Something in the way of an entry is to be kept. Then what has been told before it was found is not said here.
    pub(super) is_in_the_way: bool,
    /// Where old versions are kept, with the paths that they had.
    pub(super) kept: BTreeMap<String, Kept>,
    /// Directories of which only that they are there is said: those in which old versions are, and those that were made above them.
    pub(super) keeping: BTreeSet<String>,
    /// Files that go from the source.
    pub(super) removed: BTreeSet<String>,
}

/// An old version.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) of: String,
    /// It is none if the file turns out to be the same as the new one, and is left where it is.
    pub(super) is_certain: bool,
}

pub(super) fn expect(source: &Tree, destination: &Tree, options: &Options) -> Expected {
    let expected = Expected { tree: destination.clone(), ..Expected::default() };
    let mut model = Model {
        source,
        before: destination,
        options,
        listed: BTreeSet::new(),
        skipped: BTreeSet::new(),
        firsts: BTreeMap::new(),
        changed_in_place: BTreeSet::new(),
        left: BTreeSet::new(),
        expected,
    };
    model.list();
    if options.preserve.hard_links {
        model.find_links();
    }
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
        model.expected.placed.insert(directory.clone());
        model.expected.tree.insert(directory.clone(), source[&directory].clone());
    }
    model.find_loose();
    model.expected
}

struct Model<'a> {
    source: &'a Tree,
    before: &'a Tree,
    options: &'a Options,
    listed: BTreeSet<String>,
    skipped: BTreeSet<String>,
    /// The file of which a listed one is another name.
    firsts: BTreeMap<String, String>,
    /// Files that keep their inode and get another mode, time, owner or attribute.
    changed_in_place: BTreeSet<String>,
    /// Files that are left alone though they differ.
    left: BTreeSet<String>,
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
        listed.filter(|path| !is_there(path) && !self.options.leaves_out(path, false)).cloned().collect()
    }

    /// Gives the directories that are in place.
    fn put_in_place(&mut self) -> Vec<String> {
        let mut in_place = Vec::new();
        // Further names of files come last.
        let (links, others): (Vec<_>, Vec<_>) =
            self.listed.iter().cloned().partition(|path| self.firsts.contains_key(path));
        for path in others.into_iter().chain(links) {
            let node = &self.source[&path];
            if parent(&path).is_some_and(|parent| !in_place.iter().any(|it| it == parent)) {
                self.expected.failed.insert(path);
                continue;
            }
            let is_done = match &node.kind {
                Kind::Directory => self.directory(&path, node),
                Kind::File { .. } if self.firsts.contains_key(&path) => self.further_name(&path, node),
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
            Some(Kind::Directory) => {
                if !path.is_empty() && self.has_other_extras(&self.before[path], node) {
                    self.expected.changes.insert(path.to_owned(), "metadata");
                }
                return true;
            }
            None => {}
            Some(Kind::Link { .. }) => {
                self.keep(path);
                self.expected.tree.remove(path);
            }
            Some(Kind::File { .. } | Kind::Special) => {
                return self.options.delete && self.make_way(path) && self.put(path, node, "mkdir");
            }
        }
        self.put(path, node, "mkdir")
    }

    fn file(&mut self, path: &str, node: &Node) -> bool {
        let there = self.expected.tree.get(path).cloned();
        let Some(there) = there else { return self.send(path, node, "create") };
        if self.is_kept(&there, node) {
            if there.size() != node.size() || there.mtime != node.mtime {
                self.left.insert(path.to_owned());
            }
            return true;
        }
        let (Kind::File { size, hash }, has) = (&node.kind, &there.kind) else {
            unreachable!("it is a file")
        };
        match has {
            Kind::Directory => self.options.delete && self.make_way(path) && self.send(path, node, "create"),
            Kind::Link { .. } | Kind::Special => self.send(path, node, "create"),
            Kind::File { size: has_size, hash: has_hash } => {
                let is_read = self.is_read(*size);
                if size == has_size && (there.mtime == node.mtime || *size == 0) && !is_read {
                    // What has size and time is taken for the same, whatever is in it.
                    if self.is_whole(&there, node) {
                        return true;
                    }
                    self.changed_in_place.insert(path.to_owned());
                    return self.put(path, &Node { kind: there.kind, ..node.clone() }, "metadata");
                }
                if size == has_size && hash == has_hash {
                    if is_read && self.options.dry_run {
                        return self.is_whole(&there, node) || self.put(path, node, "metadata");
                    }
                    self.changed_in_place.insert(path.to_owned());
                    self.expected.same_content.insert(path.to_owned());
                }
                self.send(path, node, "update")
            }
        }
    }

    fn link(&mut self, path: &str, node: &Node) -> bool {
        match self.expected.tree.get(path) {
            Some(_) if self.options.keep == Keep::Existing => true,
            Some(there) if there.kind == node.kind && there.mtime == node.mtime => {
                !self.has_other_extras(there, node) || self.put(path, node, "metadata")
            }
            Some(there) if there.is_directory() => {
                self.options.delete && self.make_way(path) && self.put(path, node, "symlink")
            }
            _ => self.put(path, node, "symlink"),
        }
    }

    /// Whether a file is taken for the same by its content alone. An empty one that is to be removed is sent, since that costs nothing.
    fn is_read(&self, size: u64) -> bool {
        if size == 0 {
            return self.options.remove_source && !self.options.dry_run;
        }
        self.options.checksum || self.options.remove_source
    }

    /// The file is at the destination then, so that it may go.
    fn send(&mut self, path: &str, node: &Node, action: &'static str) -> bool {
        if self.options.remove_source && !self.options.dry_run {
            self.expected.removed.insert(path.to_owned());
        }
        self.put(path, node, action)
    }

    fn put(&mut self, path: &str, node: &Node, action: &'static str) -> bool {
        if action != "metadata" {
            self.keep(path);
        }
        self.expected.tree.insert(path.to_owned(), node.clone());
        self.expected.changes.insert(path.to_owned(), action);
        self.expected.placed.insert(path.to_owned());
        true
    }

    fn is_kept(&self, there: &Node, node: &Node) -> bool {
        match self.options.keep {
            Keep::Nothing => false,
            Keep::Newer => there.size().is_some() && there.mtime > node.mtime,
            Keep::Existing => true,
        }
    }

    /// Whether nothing of a file is different but, perhaps, its content.
    fn is_whole(&self, there: &Node, node: &Node) -> bool {
        (there.mode ^ node.mode) & 0o777 == 0
            && there.mtime == node.mtime
            && !self.has_other_extras(there, node)
    }

    /// Whether something else is different that an option asks for.
    fn has_other_extras(&self, there: &Node, node: &Node) -> bool {
        let Preserve { owner, xattrs, special_bits, .. } = self.options.preserve;
        owner && there.owner != node.owner
            || xattrs && there.xattrs != node.xattrs
            || special_bits && (there.mode ^ node.mode) & 0o7000 != 0
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
        if kept > 0 || node.is_directory() && self.options.leads_to_kept(path) {
            self.expected.touched.insert(path.to_owned());
            return Cleared::No;
        }
        self.keep(path);
        self.expected.tree.remove(path);
        self.expected.touched.remove(path);
        self.expected.changes.insert(path.to_owned(), "delete");
        self.expected.deleted += 1;
        Cleared::Yes
    }

    /// What stands at `path` is replaced or removed.
    fn keep(&mut self, path: &str) {
        let Some(dir) = self.options.backup.filter(|_| !self.options.dry_run) else { return };
        let Some(there) = self.before.get(path) else { return };
        let place = join(dir, path);
        let is_certain = !self.expected.same_content.contains(path);
        let tree = &mut self.expected.tree;
        for above in
            std::iter::successors(parent(&place), |path| parent(path)).filter(|path| !path.is_empty())
        {
            self.expected.keeping.insert(above.to_owned());
            if is_certain && tree.get(above).is_none_or(|node| !node.is_directory()) {
                tree.insert(above.to_owned(), Node { kind: Kind::Directory, ..there.clone() });
            }
        }
        if there.is_directory() {
            self.expected.keeping.insert(place.clone());
        }
        if is_certain {
            if !there.is_directory() {
                tree.retain(|path, _| !is_at_or_below(path, &place));
            }
            tree.insert(place.clone(), there.clone());
        }
        self.expected.kept.insert(place, Kept { of: path.to_owned(), is_certain });
    }
}

/// Hard links.
impl Model<'_> {
    /// The first name of a file is the one that is listed first: a directory with all that is directly in it, and then its directories.
    fn find_links(&mut self) {
        let mut files: Vec<&String> =
            self.listed.iter().filter(|path| self.source[*path].size().is_some()).collect();
        files.sort_by_key(|path| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>(), name)
        });
        let mut by_inode = BTreeMap::new();
        for path in files {
            let first = *by_inode.entry(self.source[path].inode).or_insert(path);
            if first != path {
                self.firsts.insert(path.clone(), first.clone());
            }
        }
    }

    fn further_name(&mut self, path: &str, node: &Node) -> bool {
        let first = self.firsts[path].clone();
        if self.left.contains(&first) || self.expected.failed.contains(&first) {
            return false;
        }
        let target = self.expected.tree[&first].clone();
        let Some(there) = self.before.get(path) else {
            return self.link_to(path, (&first, &target), "create");
        };
        let is_replaced = matches!(self.expected.changes.get(&first), Some(&("create" | "update")));
        let is_shared = self.before.get(&first).is_some_and(|first| first.inode == there.inode);
        if is_shared && !is_replaced {
            self.expected.tree.insert(path.to_owned(), target);
            self.expected.placed.insert(path.to_owned());
            self.expected.linked.entry(first).or_default().insert(path.to_owned());
            return true;
        }
        if is_shared && self.expected.same_content.contains(&first) {
            self.expected.same_content.insert(path.to_owned());
        } else if self.is_kept(there, node) {
            return true;
        }
        match there.kind {
            Kind::Directory => {
                self.options.delete && self.make_way(path) && self.link_to(path, (&first, &target), "create")
            }
            Kind::Link { .. } | Kind::Special => self.link_to(path, (&first, &target), "create"),
            Kind::File { .. } if there.size() == node.size() && there.mtime == node.mtime => {
                self.link_to(path, (&first, &target), "metadata")
            }
            Kind::File { .. } => self.link_to(path, (&first, &target), "update"),
        }
    }

    fn link_to(&mut self, path: &str, (first, target): (&str, &Node), action: &'static str) -> bool {
        self.keep(path);
        self.expected.linked.entry(first.to_owned()).or_default().insert(path.to_owned());
        self.put(path, target, action)
    }

    fn find_loose(&mut self) {
        let mut by_inode: BTreeMap<u64, Vec<&String>> = BTreeMap::new();
        for (path, _) in self.before.iter().filter(|(_, node)| node.size().is_some()) {
            by_inode.entry(self.before[path].inode).or_default().push(path);
        }
        let linked = &self.expected.linked;
        let loose = &mut self.expected.loose;
        for names in by_inode.into_values().filter(|names| names.len() > 1) {
            let is_one = linked
                .iter()
                .any(|(first, links)| names.iter().all(|path| *path == first || links.contains(*path)));
            if !is_one && names.iter().any(|path| self.changed_in_place.contains(*path)) {
                loose.extend(names.into_iter().cloned());
            }
        }
        for (first, links) in linked {
            if loose.contains(first) || links.iter().any(|path| loose.contains(path)) {
                loose.insert(first.clone());
                loose.extend(links.iter().cloned());
            }
        }
    }
}
