//! An explicit list of paths: each stands for itself and all below it, and brings the directories on the way with it.

use super::SelectionError;
use crate::{
    limits,
    path::{Name, RelPath},
};

/// Bytes that a path of a few hundred bytes costs on the wire beside its own.
const PATH_OVERHEAD: usize = 3;

/// Paths below the top of a sync, at most `LISTED_PATHS_MAX` and `LISTED_BYTES_MAX`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Sorted bytewise and without doubles, once it is complete.
    paths: Vec<RelPath>,
    bytes: usize,
}

impl List {
    /// Adds one path.
    pub fn push(&mut self, path: RelPath) -> Result<(), SelectionError> {
        self.bytes += path.as_bytes().len();
        if self.paths.len() >= limits::LISTED_PATHS_MAX || self.bytes > limits::LISTED_BYTES_MAX {
            return Err(SelectionError::ListTooLong);
        }
        self.paths.push(path);
        Ok(())
    }

    /// Adds paths from a peer.
    pub fn extend(&mut self, paths: Vec<Vec<u8>>) -> Result<(), SelectionError> {
        paths.into_iter().try_for_each(|path| self.push(RelPath::from_wire(path)?))
    }

    pub(super) fn sorted(mut self) -> Self {
        self.paths.sort_unstable();
        self.paths.dedup();
        self
    }

    /// The paths, ascending.
    pub fn paths(&self) -> &[RelPath] {
        &self.paths
    }

    /// The place of a path in the list.
    pub fn position(&self, path: &RelPath) -> Option<usize> {
        self.paths.binary_search(path).ok()
    }

    /// Whether the path is listed, or below one that is.
    pub fn covers(&self, path: &RelPath) -> bool {
        let bytes = path.as_bytes();
        let above = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        [0].into_iter().chain(above).chain([bytes.len()]).any(|end| self.has(&bytes[..end]))
    }

    /// Whether a path that is listed lies below this one.
    pub fn leads_to(&self, path: &RelPath) -> bool {
        if path.is_root() {
            return !self.paths.is_empty();
        }
        let below = [path.as_bytes(), b"/"].concat();
        let at = self.paths.partition_point(|listed| listed.as_bytes() < below.as_slice());
        self.paths.get(at).is_some_and(|listed| listed.as_bytes().starts_with(&below))
    }

    /// The paths below this one.
    pub fn below(&self, path: &RelPath) -> impl Iterator<Item = &RelPath> {
        let prefix = prefix_of(path);
        let at = self.paths.partition_point(|listed| listed.as_bytes() < prefix.as_slice());
        self.paths[at..].iter().take_while(move |listed| listed.as_bytes().starts_with(&prefix))
    }

    /// The names in the directory at `path` that a path below it begins with, ascending and without those that are reserved.
    pub fn names_below(&self, path: &RelPath) -> Vec<Vec<u8>> {
        let from = prefix_of(path).len();
        let first = |listed: &RelPath| {
            listed.as_bytes()[from..].split(|&byte| byte == b'/').next().unwrap_or_default().to_vec()
        };
        let is_usable = |name: &Vec<u8>| Name::new(name).is_ok_and(|name| !name.is_reserved());
        let mut names: Vec<_> = self.below(path).map(first).filter(is_usable).collect();
        // `a!` comes before `a/b`, and after `a`.
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The paths in portions of a message each.
    pub fn portions(&self) -> impl Iterator<Item = Vec<Vec<u8>>> {
        let mut rest = self.paths.as_slice();
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|path| {
                bytes += path.as_bytes().len() + PATH_OVERHEAD;
                bytes <= limits::SELECT_BYTES_TARGET
            });
            let (portion, after) = rest.split_at(fitting.count());
            rest = after;
            (!portion.is_empty()).then(|| portion.iter().map(|path| path.as_bytes().to_vec()).collect())
        })
    }

    pub(super) fn fits_opening(&self) -> bool {
        self.bytes + self.paths.len() * PATH_OVERHEAD <= limits::LISTED_INLINE_BYTES_MAX
    }

    pub(super) fn to_wire(&self) -> Vec<Vec<u8>> {
        self.paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    fn has(&self, path: &[u8]) -> bool {
        self.paths.binary_search_by(|listed| listed.as_bytes().cmp(path)).is_ok()
    }
}

/// What the paths below a directory begin with.
fn prefix_of(path: &RelPath) -> Vec<u8> {
    if path.is_root() { Vec::new() } else { [path.as_bytes(), b"/"].concat() }
}
