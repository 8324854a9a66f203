//! The listing as both sides remember it: one compact node per entry, in the order of the listing.
//!
//! An entry is known by its index; index 0 is the top. A node takes 32 bytes and its name's bytes lie in one arena, so that a million
//! entries with ordinary names take about 60 MB (the promise is 200 bytes each).

use std::{cmp::Ordering, collections::HashMap, ops::Range};

use crate::{
    entry::{Kind, Metadata, Timestamp},
    limits,
    path::{Name, PathError, RelPath},
    wire::sync::ListingEntry,
};

/// All entries listed so far.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    names: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    size: u64,
    seconds: i64,
    nanoseconds: u32,
    parent: u32,
    name_at: u32,
    mode: u16,
    name_len: u8,
    node_type: NodeType,
}

/// Type of a listed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeType {
    File,
    Directory,
    Symlink,
    /// Another name of a file that was listed before, whose index stands in the place of the size.
    HardLink,
}

impl Tree {
    /// Adds the next entry. `None` when the tree is full.
    pub(super) fn push(&mut self, parent: u32, name: &[u8], kind: &Kind, metadata: Metadata) -> Option<u32> {
        let index = u32::try_from(self.nodes.len()).ok().filter(|&index| index < limits::ENTRIES_MAX)?;
        let (node_type, size) = match kind {
            Kind::File { size } => (NodeType::File, *size),
            Kind::Directory => (NodeType::Directory, 0),
            Kind::Symlink { .. } => (NodeType::Symlink, 0),
        };
        self.nodes.push(Node {
            size,
            seconds: metadata.mtime.seconds,
            nanoseconds: metadata.mtime.nanoseconds,
            parent,
            name_at: u32::try_from(self.names.len()).ok()?,
            mode: metadata.mode,
            name_len: u8::try_from(name.len()).ok()?,
            node_type,
        });
        self.names.extend_from_slice(name);
        Some(index)
    }

    /// Makes the file that was listed last another name of `first`; false if that is no file before it, or itself such a name.
    pub(super) fn link_last(&mut self, first: u32) -> bool {
        let Some((last, before)) = self.nodes.split_last_mut() else { return false };
        let is_file = |node: &Node| node.node_type == NodeType::File;
        if !is_file(last) || !before.get(first as usize).is_some_and(is_file) {
            return false;
        }
        (last.node_type, last.size) = (NodeType::HardLink, first.into());
        true
    }

    /// The file that an entry is another name of, if it is one.
    pub(super) fn link(&self, index: u32) -> Option<u32> {
        let node = self.known(index);
        let first = || u32::try_from(node.size).expect("put there as an index");
        (node.node_type == NodeType::HardLink).then(first)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).expect("bounded by ENTRIES_MAX")
    }

    /// The entry's type; `None` if there is no such entry.
    pub(super) fn node_type(&self, index: u32) -> Option<NodeType> {
        self.node(index).map(|node| node.node_type)
    }

    /// The entry as it was listed, but for the target of a link.
    pub(super) fn entry(&self, index: u32) -> ListingEntry {
        let node = self.known(index);
        let kind = match node.node_type {
            NodeType::File | NodeType::HardLink => Kind::File { size: self.size(index) },
            NodeType::Directory => Kind::Directory,
            NodeType::Symlink => Kind::Symlink { target: Vec::new() },
        };
        ListingEntry {
            name: self.name_bytes(node).to_vec(),
            kind,
            metadata: self.metadata(index),
            extra: None,
        }
    }

    /// The listed size of a file.
    pub(super) fn size(&self, index: u32) -> u64 {
        self.known(self.link(index).unwrap_or(index)).size
    }

    /// Mode and modification time as listed.
    pub(super) fn metadata(&self, index: u32) -> Metadata {
        let node = self.known(index);
        let mtime = Timestamp { seconds: node.seconds, nanoseconds: node.nanoseconds };
        Metadata { mode: node.mode, mtime }
    }

    /// The directory that holds the entry; itself for the top.
    pub(super) fn parent(&self, index: u32) -> u32 {
        self.known(index).parent
    }

    /// The entry's name; `None` for the top.
    pub(super) fn name(&self, index: u32) -> Option<Name<'_>> {
        Name::new(self.name_bytes(self.known(index))).ok().filter(|_| index != 0)
    }

    /// The entries of each directory that has any, as the one run of indexes in which they were listed, ascending by name.
    pub(super) fn children(&self) -> HashMap<u32, Range<u32>> {
        let mut runs = HashMap::new();
        for index in 1..self.len() {
            runs.entry(self.parent(index)).or_insert(index..index).end = index + 1;
        }
        runs
    }

    /// The entry `name` among those of `run`, which are those of one directory.
    pub(super) fn find(&self, run: &Range<u32>, name: Name<'_>) -> Option<u32> {
        let (mut low, mut high) = (run.start, run.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name_bytes(self.known(middle)).cmp(name.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The path from the top to the entry; an error when it is longer than paths may be.
    pub(super) fn path(&self, index: u32) -> Result<RelPath, PathError> {
        let mut names = Vec::new();
        let mut bytes = 0;
        let mut at = index;
        while at != 0 {
            let node = self.known(at);
            bytes += usize::from(node.name_len) + 1;
            // A peer may list a chain of directories as long as the tree, and every one of them asks for its path.
            if bytes > limits::PATH_BYTES_MAX + 1 {
                return Err(PathError::TooLong);
            }
            names.push(self.name_bytes(node));
            at = node.parent;
        }
        names.reverse();
        RelPath::from_wire(names.join(&b'/'))
    }

    fn name_bytes(&self, node: &Node) -> &[u8] {
        let start = node.name_at as usize;
        &self.names[start..start + usize::from(node.name_len)]
    }

    fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    fn known(&self, index: u32) -> &Node {
        self.node(index).expect("indexes are checked where they come in")
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeType, Tree};
    use crate::{
        entry::{Kind, Metadata},
        path::Name,
    };

    #[test]
    fn an_entry_is_found_by_its_index() {
        let mut tree = Tree::default();
        let metadata = Metadata::default();
        assert_eq!(tree.push(0, b"", &Kind::Directory, metadata), Some(0));
        assert_eq!(tree.push(0, b"a", &Kind::Directory, metadata), Some(1));
        assert_eq!(tree.push(1, b"x\xff", &Kind::File { size: 7 }, metadata), Some(2));
        assert_eq!(tree.path(2).unwrap().as_bytes(), b"a/x\xff");
        assert!(tree.path(0).unwrap().is_root());
        assert_eq!((tree.size(2), tree.parent(2), tree.name(0)), (7, 1, None));
        assert_eq!((tree.node_type(2), tree.node_type(3)), (Some(NodeType::File), None));
    }

    #[test]
    fn a_name_is_found_in_its_directory_and_nowhere_else() {
        let mut tree = Tree::default();
        for (parent, name) in [(0, ""), (0, "a"), (0, "b"), (0, "d"), (1, "c"), (3, "e"), (3, "f")] {
            tree.push(parent, name.as_bytes(), &Kind::Directory, Metadata::default());
        }
        let children = tree.children();
        assert_eq!(children, [(0, 1..4), (1, 4..5), (3, 5..7)].into());
        let has = |directory, name: &str| {
            tree.find(&children[&directory], Name::new(name.as_bytes()).unwrap()).is_some()
        };
        assert!(has(0, "a") && has(0, "b") && has(0, "d") && has(1, "c") && has(3, "f"));
        assert!(!has(0, "c") && !has(0, "A") && !has(0, "e") && !has(1, "b") && !has(3, "g"));
    }

    #[test]
    fn a_hard_link_leads_to_a_file_before_it_that_is_none() {
        let mut tree = Tree::default();
        let metadata = Metadata::default();
        tree.push(0, b"", &Kind::Directory, metadata);
        assert!(!tree.link_last(0), "the top is no file");
        tree.push(0, b"a", &Kind::File { size: 7 }, metadata);
        assert!(!tree.link_last(1), "a file is no link to itself");
        tree.push(0, b"b", &Kind::File { size: 9 }, metadata);
        assert!(!tree.link_last(0) && !tree.link_last(2) && !tree.link_last(9));
        assert!(tree.link_last(1));
        assert_eq!((tree.link(1), tree.link(2), tree.size(2)), (None, Some(1), 7));
        tree.push(0, b"c", &Kind::File { size: 9 }, metadata);
        assert!(!tree.link_last(2), "a link to a link");
        tree.push(0, b"d", &Kind::Directory, metadata);
        assert!(!tree.link_last(1), "a directory is no link");
    }

    /// Each entry of the chain asks for its path when it fails, which took a hostile source a few megabytes to make minutes of.
    #[test]
    fn the_path_of_an_entry_in_a_chain_without_end_costs_no_more_than_a_path() {
        let mut tree = Tree::default();
        tree.push(0, b"", &Kind::Directory, Metadata::default());
        for parent in 0..200_000 {
            tree.push(parent, &[b'd'; 255], &Kind::Directory, Metadata::default());
        }
        assert_eq!(tree.path(15).unwrap().as_bytes().len(), 15 * 256 - 1);
        assert!(tree.path(16).is_ok(), "4,095 bytes are a path");
        for index in 17..200_000 {
            assert!(tree.path(index).is_err());
        }
    }

    #[test]
    fn a_node_takes_no_more_than_was_promised() {
        assert_eq!(size_of::<super::Node>(), 32);
    }
}
