//! What a tree is to the model: a value that is read from the disk and compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

/// Everything at and below a top, which has the empty path. Names that are reserved are not in it.
pub(super) type Tree = BTreeMap<String, Node>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Permission and special bits; 0 of a link, which has none.
    pub(super) mode: u32,
    /// Nanoseconds since the epoch.
    pub(super) mtime: i128,
    /// User and group.
    pub(super) owner: (u32, u32),
    /// Those of `user.*`.
    pub(super) xattrs: Xattrs,
    /// Names with the same one are one file.
    pub(super) inode: u64,
}

pub(super) type Xattrs = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File { size: u64, hash: blake3::Hash },
    Directory,
    Link { target: Vec<u8> },
    Special,
}

impl Node {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Its size, if it is a file.
    pub(super) fn size(&self) -> Option<u64> {
        if let Kind::File { size, .. } = self.kind { Some(size) } else { None }
    }
}

/// Reads the tree at `top`, and the reserved names directly in it. A reserved name anywhere else fails the test.
pub(super) fn read(top: &Path) -> (Tree, BTreeSet<String>) {
    let (mut tree, mut reserved) = (Tree::new(), BTreeSet::new());
    let mut waiting = vec![String::new()];
    while let Some(path) = waiting.pop() {
        let place = top.join(&path);
        let node = node(&place);
        if node.is_directory() {
            for entry in fs::read_dir(&place).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if !name.starts_with(RESERVED) {
                    waiting.push(join(&path, &name));
                } else {
                    assert!(path.is_empty(), "{path}/{name} is no place for that");
                    reserved.insert(name);
                }
            }
        }
        tree.insert(path, node);
    }
    (tree, reserved)
}

pub(super) const RESERVED: &str = ".swarmwire-";

fn node(place: &Path) -> Node {
    let stat = fs::symlink_metadata(place).unwrap();
    let kind = if stat.is_dir() {
        Kind::Directory
    } else if stat.is_symlink() {
        Kind::Link { target: fs::read_link(place).unwrap().as_os_str().as_bytes().to_vec() }
    } else if stat.is_file() {
        Kind::File { size: stat.len(), hash: blake3::hash(&fs::read(place).unwrap()) }
    } else {
        Kind::Special
    };
    let mode = if stat.is_symlink() { 0 } else { stat.mode() & 0o7777 };
    let mtime = i128::from(stat.mtime()) * 1_000_000_000 + i128::from(stat.mtime_nsec());
    let has_xattrs = stat.is_file() || stat.is_dir();
    let xattrs = if has_xattrs { xattrs(place) } else { Xattrs::new() };
    Node { kind, mode, mtime, owner: (stat.uid(), stat.gid()), xattrs, inode: stat.ino() }
}

/// None where the file system has none.
fn xattrs(place: &Path) -> Xattrs {
    let mut names = vec![0; 1 << 16];
    let size = rustix::fs::llistxattr(place, &mut names[..]).unwrap_or(0);
    let names = names[..size].split(|byte| *byte == 0).map(|name| String::from_utf8(name.to_vec()).unwrap());
    let names = names.filter(|name| name.starts_with("user."));
    names
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let size = rustix::fs::lgetxattr(place, name.as_str(), &mut value[..]).unwrap();
            value.truncate(size);
            (name, value)
        })
        .collect()
}

pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The directory that holds `path`; none for the top.
pub(super) fn parent(path: &str) -> Option<&str> {
    if path.is_empty() { None } else { Some(path.rsplit_once('/').map_or("", |(parent, _)| parent)) }
}

/// The paths directly in `directory`.
pub(super) fn children(tree: &Tree, directory: &str) -> Vec<String> {
    tree.keys().filter(|path| parent(path) == Some(directory)).cloned().collect()
}

/// How two trees differ, a line for each path.
pub(super) fn difference(expected: &Tree, found: &Tree) -> Vec<String> {
    let paths: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differ = paths.into_iter().filter(|path| expected.get(*path) != found.get(*path));
    differ
        .map(|path| format!("{path:?}: expected {:?}, found {:?}", expected.get(path), found.get(path)))
        .collect()
}
