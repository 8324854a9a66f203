//! Which of the files that are here a wanted one may have been, under another name.
//!
//! A log that is rotated and a directory that is renamed keep size and modification time to the nanosecond; a log that grew before it
//! was rotated, or was rotated by copying, is known by its name. Asked at the end of the listing, when all names are known. Nothing is believed of it: the source
//! compares content with what it is told of the candidate.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::Planner;
use crate::{
    entry::Timestamp,
    limits,
    path::{Name, RelPath},
    root::EntryType,
    sync::destination::bases::{Candidate, Telling},
    wire::sync::{Deletion, ListingEntry},
};

/// A wanted file for which something else than an old version of itself may be here.
pub(super) struct Seeking {
    pub(super) index: u32,
    /// Its old version, if it has one that is worth telling about.
    pub(super) own: bool,
}

/// The entries of each directory of the listing.
type Children = HashMap<u32, Range<u32>>;

/// Candidates by what renaming leaves as it is: size and modification time. Files that were written in one tick of the clock share these,
/// so one that has the name as well comes first.
#[derive(Default)]
struct Here {
    by_name: HashMap<(u64, Timestamp, Vec<u8>), Old>,
    by_stamp: HashMap<(u64, Timestamp), Old>,
}

/// A file that is here and not what the listing says.
#[derive(Clone)]
struct Old {
    path: RelPath,
    /// Its index, if its name is given to another file by this sync.
    listed: Option<u32>,
    /// Whether its name is deleted, or given to another file.
    goes: bool,
}

impl Here {
    fn add(&mut self, size: u64, mtime: Timestamp, old: Old) {
        let Some((_, name)) = old.path.split_last() else { return };
        self.by_name.insert((size, mtime, name.as_bytes().to_vec()), old.clone());
        self.by_stamp.insert((size, mtime), old);
    }

    fn find(&self, size: u64, mtime: Timestamp, name: &[u8]) -> Option<&Old> {
        self.by_name.get(&(size, mtime, name.to_vec())).or_else(|| self.by_stamp.get(&(size, mtime)))
    }
}

impl Planner<'_> {
    /// Asks for the files that were put off, with the best candidate for each.
    pub(super) fn seek(&mut self) {
        let seeking = std::mem::take(&mut self.seeking);
        if seeking.is_empty() {
            return;
        }
        let children = self.shared.tree.read().expect("no holder panics").children();
        let here = self.what_is_here(&children);
        // What is taken from elsewhere first: its candidate may itself be replaced as soon as something else is asked for.
        let mut left = Vec::new();
        for Seeking { index, own } in seeking {
            let candidate =
                self.same_stamp(&here, index).or_else(|| self.before_rotation(&children, index, own));
            match candidate {
                Some(candidate) => self.wants.push_with(self.shared, index, candidate),
                None => left.push((index, own)),
            }
        }
        self.wants.tell(self.shared);
        self.shared.bases.settle_asked();
        for (index, own) in left {
            if own {
                let size = self.shared.tree.read().expect("no holder panics").size(index);
                let telling = Telling::of_growing(size, self.shared.replaced.size(index).unwrap_or_default());
                self.wants.push_with(self.shared, index, (Candidate::Own, telling));
            } else {
                self.wants.push(self.shared, index);
            }
        }
        self.wants.tell(self.shared);
    }

    fn same_stamp(&self, here: &Here, index: u32) -> Option<(Candidate, Telling)> {
        let tree = self.shared.tree.read().expect("no holder panics");
        let name = tree.name(index).map(Name::as_bytes).unwrap_or_default();
        let found = here.find(tree.size(index), tree.metadata(index).mtime, name)?;
        let path = tree.path(index).ok().and_then(|path| self.shared.landing.path_below(&path).ok());
        // Its own old version is told as such, so that it can turn out to be the same.
        if path.as_ref() == Some(&found.path) {
            return None;
        }
        if found.goes && tree.size(index) >= limits::MOVED_BYTES_MIN {
            self.shared.moved.expect(&found.path, found.listed);
        }
        Some((Candidate::Other(found.path.clone()), Telling::Mark))
    }

    /// For `app.log.1` what is here as `app.log`, for `.2` the `.1`, if it is shorter than the new file and has a name that now holds
    /// something shorter, or nothing: then its content has moved on.
    fn before_rotation(&self, children: &Children, index: u32, own: bool) -> Option<(Candidate, Telling)> {
        let shared = self.shared;
        let (name, size, parent) = {
            let tree = shared.tree.read().expect("no holder panics");
            (tree.name(index)?.as_bytes().to_vec(), tree.size(index), tree.parent(index))
        };
        // What is compressed does not grow.
        let before = name_before(&name).filter(|_| split_ending(&name).is_none())?;
        let before = Name::new(&before).ok()?;
        let stat = shared.parent_dir(index).ok()?.stat(before).ok()?;
        if stat.entry_type != EntryType::File || stat.size > size || stat.size == 0 {
            return None;
        }
        // One of its own of the same size is most likely the same: logs of one length to the byte are rare.
        if own && shared.replaced.size(index) == Some(size) {
            return None;
        }
        // An old version of its own is better, unless the other has visibly moved on.
        let moved_on = {
            let tree = shared.tree.read().expect("no holder panics");
            let listed = children.get(&parent).and_then(|listed| tree.find(listed, before));
            listed.is_none_or(|listed| tree.size(listed) < stat.size)
        };
        if own && !moved_on {
            return None;
        }
        let path = shared.landing.path_below(&shared.path_of(parent)).ok()?.join(before).ok()?;
        let telling = if stat.size == size { Telling::Mark } else { Telling::of_growing(size, stat.size) };
        Some((Candidate::Other(path), telling))
    }

    /// All files here that are not what the listing says they should be: those that will be replaced, and those that it does not name.
    fn what_is_here(&self, children: &Children) -> Here {
        let landing = &self.shared.landing;
        let below = |index| landing.path_below(&self.shared.path_of(index)).ok();
        let mut here = Here::default();
        for (index, size, mtime) in self.shared.replaced.all() {
            if let Some(path) = below(index) {
                here.add(size, mtime, Old { path, listed: Some(index), goes: true });
            }
        }
        // Directories to look into, what the listing has of them, and the names that it is about.
        let nothing = 0..0;
        let listed = |index| {
            Some((below(index)?, children.get(&index).unwrap_or(&nothing), self.names_of_change(index)))
        };
        let mut directories: Vec<_> = landing.directories().into_iter().filter_map(listed).collect();
        // With a limit, what is deleted is not known before the end.
        let deletes = self.shared.options.delete == Deletion::All;
        let mut looked_at = 0;
        while let Some((path, listed, names)) = directories.pop() {
            // What cannot be read now cannot serve either.
            let Ok(dir) = landing.root().dir(&path) else { continue };
            for name in names.unwrap_or_else(|| dir.names().unwrap_or_default()) {
                let name = Name::new(&name).expect("listed as a name");
                let is_listed =
                    self.shared.tree.read().expect("no holder panics").find(listed, name).is_some();
                let (false, Ok(stat), Ok(path)) = (is_listed, dir.stat(name), path.join(name)) else {
                    continue;
                };
                match stat.entry_type {
                    EntryType::File if looked_at < limits::CANDIDATES_MAX => {
                        here.add(stat.size, stat.metadata.mtime, Old { path, listed: None, goes: deletes });
                        looked_at += 1;
                    }
                    EntryType::Directory => directories.push((path, &nothing, None)),
                    _ => {}
                }
            }
        }
        here
    }

    /// Where a list tells all that has changed, what moved is named in it: the names in a directory that it is about, unless all are.
    fn names_of_change(&self, index: u32) -> Option<Vec<Vec<u8>>> {
        let selection = self.shared.selection();
        selection.names_in(&self.shared.path_of(index)).filter(|_| selection.missing_ok())
    }
}

/// Endings of logs that were compressed after an earlier rotation.
const COMPRESSED: [&[u8]; 5] = [b".gz", b".xz", b".zst", b".bz2", b".lz4"];

/// The ending of a compressed file, and its name without it.
fn split_ending(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let ending = COMPRESSED.into_iter().find(|ending| name.ends_with(ending))?;
    Some(name.split_at(name.len() - ending.len()))
}

/// What a log was called before it was rotated: `app.log` for `app.log.1` and `app.log-20261125`, `app.log.1` for `app.log.2`, and
/// `app.log.1.gz` for `app.log.2.gz`.
fn name_before(name: &[u8]) -> Option<Vec<u8>> {
    if let Some((stem, ending)) = split_ending(name) {
        // Before the first rotation it was not compressed, and so another file.
        let before = plain_name_before(stem)?;
        if !before.last()?.is_ascii_digit() {
            return None;
        }
        return Some([&before, ending].concat());
    }
    plain_name_before(name)
}

fn plain_name_before(name: &[u8]) -> Option<Vec<u8>> {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (stem, number) = name.split_at(name.len() - digits);
    let number: u32 = std::str::from_utf8(number).ok()?.parse().ok()?;
    match stem.split_last()? {
        (b'.', log) if number == 1 => Some(log.to_vec()),
        (b'.', _) if number > 1 => Some([stem, (number - 1).to_string().as_bytes()].concat()),
        (b'-', log) if digits == 8 => Some(log.to_vec()),
        _ => None,
    }
}

/// Whether a file's name says that its content was another file's before.
pub(super) fn is_rotated(name: Name<'_>) -> bool {
    name_before(name.as_bytes()).is_some()
}

/// The names that a rotation has taken from the logs of a listing block, in which they stand side by side.
pub(super) fn rotated_away(entries: &[ListingEntry]) -> HashSet<Vec<u8>> {
    entries.iter().filter_map(|entry| name_before(&entry.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::name_before;

    #[test]
    fn a_rotated_log_is_known_by_its_name() {
        for (name, before) in [
            ("app.log.1", Some("app.log")),
            ("app.log.2", Some("app.log.1")),
            ("app.log.10", Some("app.log.9")),
            ("app.log.10.gz", Some("app.log.9.gz")),
            ("app.log.2.zst", Some("app.log.1.zst")),
            ("app.log.1.gz", None),
            ("app.log-20261125.gz", None),
            ("app.log.gz", None),
            ("app.log-20261125", Some("app.log")),
            ("app.log", None),
            ("app.log.0", None),
            ("app-1", None),
            ("1", None),
            (".1", Some("")),
            ("app.99999999999", None),
        ] {
            let found = name_before(name.as_bytes());
            assert_eq!(found.as_deref(), before.map(str::as_bytes), "{name}");
        }
    }
}
