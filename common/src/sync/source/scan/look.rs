//! What stands under one name in a directory, and whether it takes part.

use std::io;

use super::{Scan, Stop};
use crate::{
    entry::Kind,
    filter::{Subject, Verdict},
    path::{Name, PathError, RelPath},
    root::{Dir, EntryType, FollowError, Stat, describe},
    sync::Stage,
    wire::sync::{ListingEntry, SourceMessage},
};

/// An entry that is to be listed.
pub(super) struct Found {
    pub(super) entry: ListingEntry,
    /// Whether it is a directory whose entries take part.
    pub(super) is_entered: bool,
    /// Where it is, if that is not where its path says.
    pub(super) place: Option<RelPath>,
    pub(super) stat: Stat,
}

/// What was seen under a name, or behind it.
struct Seen {
    stat: Stat,
    /// The text of a link.
    target: Vec<u8>,
    place: Option<RelPath>,
}

impl Scan<'_> {
    /// What `name` is; `None` where it is not to be listed, which is noted unless that was asked for.
    pub(super) fn look(
        &mut self,
        dir: &Dir,
        name: Name<'_>,
        (parent, parent_path): (u32, &RelPath),
    ) -> Result<Option<Found>, Stop> {
        let selected = if self.selection.is_everything() { None } else { parent_path.join(name).ok() };
        let is_rotated = self.rotated.contains(name.as_bytes());
        if selected.as_ref().is_some_and(|path| !is_rotated && !self.selection.may_list(path, true)) {
            return Ok(None);
        }
        let path = || parent_path.join(name).unwrap_or_else(|_| parent_path.clone());
        let (stat, target) = match self.stat(dir, name) {
            Ok(looked) => looked,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return self.failed(&path(), &describe(&err)),
        };
        self.meet(selected.as_ref());
        let (stat, place) = if stat.entry_type == EntryType::Symlink && self.selection.follow_links() {
            match self.follow(parent, name) {
                Ok((place, stat)) => (stat, Some(place)),
                Err(_) if !self.takes(selected.as_ref(), Subject::Other, is_rotated) => return Ok(None),
                Err(err) => return self.failed(&path(), &err.to_string()),
            }
        } else {
            (stat, None)
        };
        // What has been rotated is a file.
        let is_out_of_place = is_rotated && stat.entry_type != EntryType::File;
        if is_out_of_place || !self.takes(selected.as_ref(), subject(&stat), is_rotated) {
            return Ok(None);
        }
        self.found(name, parent_path, Seen { stat, target, place })
    }

    /// The entry that takes part, if it is of a type that is synced.
    fn found(
        &self,
        name: Name<'_>,
        parent_path: &RelPath,
        Seen { stat, target, place }: Seen,
    ) -> Result<Option<Found>, Stop> {
        let kind = match stat.entry_type {
            EntryType::File => Kind::File { size: stat.size },
            EntryType::Directory if parent_path.join(name).is_err() => {
                return self.failed(parent_path, "a directory in it has too long a path");
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink { target },
            EntryType::Special(kind) => {
                let (shared, path) = (self.shared, parent_path.join(name));
                let path = path.unwrap_or_else(|_| parent_path.clone());
                shared.say(SourceMessage::Skipped { path: path.as_bytes().to_vec(), kind })?;
                shared.named.skipped(&shared.tally, path, kind);
                return Ok(None);
            }
        };
        let is_here = !self.selection.one_file_system() || stat.device == self.shared.source.top.device;
        let is_entered = kind == Kind::Directory && is_here;
        let entry =
            ListingEntry { name: name.as_bytes().to_vec(), kind, metadata: stat.metadata, extra: None };
        Ok(Some(Found { entry, is_entered, place, stat }))
    }

    fn stat(&self, dir: &Dir, name: Name<'_>) -> io::Result<(Stat, Vec<u8>)> {
        self.shared.tally.timed(Stage::Scan, || {
            let stat = dir.stat(name)?;
            let is_link = stat.entry_type == EntryType::Symlink;
            Ok((stat, if is_link { dir.read_link(name)? } else { Vec::new() }))
        })
    }

    /// What the link `name` in a directory leads to. A directory that the walk is in already would be walked for ever.
    fn follow(&self, parent: u32, name: Name<'_>) -> Result<(RelPath, Stat), FollowError> {
        let source = &self.shared.source;
        let invalid = |err| FollowError::Io(io::Error::new(io::ErrorKind::InvalidFilename, err));
        let entered = self.entered(parent).map_err(invalid)?;
        let link = entered[0].join(name).map_err(invalid)?;
        let (place, stat) = source.root.follow(&source.path, &link)?;
        if stat.entry_type == EntryType::Directory && entered.contains(&place) {
            return Err(FollowError::Circle);
        }
        Ok((place, stat))
    }

    /// Where the directory is and those through which the walk came to it, up to the top.
    fn entered(&self, mut index: u32) -> Result<Vec<RelPath>, PathError> {
        let tree = self.shared.tree.read().expect("no holder panics");
        let mut entered = vec![self.shared.places.locate(&tree, index)?];
        while index != 0 {
            index = tree.parent(index);
            entered.push(self.shared.places.locate(&tree, index)?);
        }
        Ok(entered)
    }

    fn takes(&self, path: Option<&RelPath>, subject: Subject, is_rotated: bool) -> bool {
        path.is_none_or(|path| {
            let is_directory = subject == Subject::Directory;
            (is_rotated || self.selection.may_list(path, is_directory))
                && self.selection.decide_listed(path, subject) == Verdict::Take
        })
    }

    fn meet(&mut self, path: Option<&RelPath>) {
        let listed = path.zip(self.selection.list()).and_then(|(path, list)| list.position(path));
        if let Some(at) = listed {
            self.met[at] = true;
        }
    }

    fn failed(&self, path: &RelPath, reason: &str) -> Result<Option<Found>, Stop> {
        self.shared.fail(None, path, reason)?;
        Ok(None)
    }
}

fn subject(stat: &Stat) -> Subject {
    match stat.entry_type {
        EntryType::File => Subject::File { size: stat.size, mtime: stat.metadata.mtime },
        EntryType::Directory => Subject::Directory,
        EntryType::Symlink | EntryType::Special(_) => Subject::Other,
    }
}
