//! `list-files`: the files below a path, the oldest first, as many as are asked for. Needs `list`.
//!
//! The walk goes by directory handles and follows no link. It keeps the oldest files that it has seen, and of the directories that it is in the names.

use std::{cmp::Ordering, collections::BinaryHeap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarmwire_common::{
    entry::Timestamp,
    filter, limits,
    path::{Name, RelPath},
    root::{Dir, EntryType, Root, Stat},
};

use super::{Context, Failure, Listed, cancelled, granted, json, not_there, reason, written};
use crate::{gateway::wall_clock, grants::Operation, hashing::hashed};

/// Files that are told unless the caller says otherwise. Chosen: what somebody reads, or a program removes in one go.
const LIMIT_DEFAULT: usize = 1000;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    path: Option<String>,
    #[serde(default, rename = "match")]
    expression: Option<String>,
    #[serde(default)]
    older_than: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    hash: bool,
}

#[derive(Debug, Serialize)]
struct Told {
    files: Vec<Listed>,
    /// Files that would be told, too, with a higher limit.
    more: u64,
    /// Places that could not be looked at, the first of them by name.
    unreadable: Vec<Unreadable>,
    unreadable_count: u64,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    reason: String,
}

pub(super) fn run(context: &Context, asked: &Asked) -> Result<Bytes, Failure> {
    let path = granted(context, &Operation::List, asked.path.as_deref())?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT);
    if limit > limits::FILES_TOLD_MAX {
        let most = limits::FILES_TOLD_MAX;
        return Err(Failure::invalid(format!(
            "argument mismatch: argument `limit`: {limit} files, {most} are told at most"
        )));
    }
    let before = asked.older_than.as_deref().map(ago).transpose()?;
    let pattern = asked.expression.as_deref().map(filter::compile_match).transpose();
    let pattern =
        pattern.map_err(|err| Failure::invalid(format!("argument mismatch: argument `match`: {err}")))?;
    let is_wanted = |path: &RelPath, stat: &Stat| {
        before.is_none_or(|before| stat.metadata.mtime < before)
            && pattern.as_ref().is_none_or(|pattern| pattern.is_match(path.as_bytes()))
    };
    let root = Arc::clone(&context.session.gateway.root);
    let mut walk = Walk {
        root: &root,
        base: &path,
        context,
        oldest: BinaryHeap::new(),
        path_bytes: 0,
        limit,
        more: 0,
        failed: Failed::default(),
    };
    walk.run(&is_wanted)?;
    let Walk { oldest, more, mut failed, .. } = walk;
    let mut files = Vec::with_capacity(oldest.len());
    for Found { path, stat } in oldest.into_sorted_vec() {
        match told(&root, &path, &stat, asked.hash, || context.is_cancelled()) {
            Ok(file) => files.push(file),
            Err(_) if context.is_cancelled() => return Err(cancelled()),
            // Removed meanwhile.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => failed.add(&path, &err),
        }
    }
    Ok(json(&Told { files, more, unreadable: failed.named, unreadable_count: failed.count }))
}

/// So long ago.
fn ago(text: &str) -> Result<Timestamp, Failure> {
    let wrong = |err: &dyn std::fmt::Display| {
        Failure::invalid(format!("argument mismatch: argument `older_than`: {err}"))
    };
    let age: Duration = humantime::parse_duration(text).map_err(|err| wrong(&err))?;
    let then = wall_clock().checked_sub(age).ok_or_else(|| wrong(&"it is before all time"))?;
    Ok(then.into())
}

/// A file as the walk saw it, hashed if that is asked for. What it has become since is none that was asked for.
fn told(
    root: &Root,
    path: &RelPath,
    stat: &Stat,
    hashes: bool,
    is_given_up: impl Fn() -> bool,
) -> io::Result<Listed> {
    if !hashes {
        return Ok(Listed::new(path, stat, None));
    }
    let (parent, name) = path.split_last().ok_or(io::ErrorKind::NotFound)?;
    let (now, hash) = hashed(&root.dir(&parent)?, name, is_given_up)?;
    let hash = hash.ok_or_else(|| io::Error::other("it is no file any longer"))?;
    if !now.same_content(stat) || (now.device, now.inode) != (stat.device, stat.inode) {
        return Err(io::Error::other("it changed while the list was made"));
    }
    Ok(Listed::new(path, stat, Some(hash)))
}

/// A file, the older the less.
struct Found {
    path: RelPath,
    stat: Stat,
}

impl Found {
    fn key(&self) -> (Timestamp, &[u8]) {
        (self.stat.metadata.mtime, self.path.as_bytes())
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Found {}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[derive(Default)]
struct Failed {
    named: Vec<Unreadable>,
    count: u64,
}

impl Failed {
    fn add(&mut self, path: &RelPath, err: &io::Error) {
        self.count += 1;
        if self.named.len() < limits::UNREADABLE_NAMED_MAX {
            let (path, path_base64) = written(path);
            self.named.push(Unreadable { path, path_base64, reason: reason(err) });
        }
    }
}

struct Walk<'a> {
    root: &'a Root,
    base: &'a RelPath,
    context: &'a Context,
    /// The newest of them on top.
    oldest: BinaryHeap<Found>,
    /// Bytes of their paths.
    path_bytes: usize,
    limit: usize,
    more: u64,
    failed: Failed,
}

/// A directory of which some names are still to come.
struct Level {
    path: RelPath,
    names: std::vec::IntoIter<Vec<u8>>,
    /// Open while its own names are looked at; closed while one of its subdirectories is.
    dir: Option<Dir>,
}

impl Walk<'_> {
    fn run(&mut self, is_wanted: &dyn Fn(&RelPath, &Stat) -> bool) -> Result<(), Failure> {
        let top = self.root.stat(self.base).map_err(|err| not_there(self.base, &err))?;
        if top.entry_type != EntryType::Directory {
            self.look(self.base.clone(), top, is_wanted);
            return Ok(());
        }
        let mut levels = vec![self.enter(self.base.clone()).map_err(|err| not_there(self.base, &err))?];
        while let Some(level) = levels.last_mut() {
            if self.context.is_cancelled() {
                return Err(cancelled());
            }
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let name = Name::new(&name).expect("listed as a name");
            let at = level.path.clone();
            let found = at.join(name).map_err(io::Error::other);
            let found = found.and_then(|path| Ok((self.stat(level, name)?, path)));
            match found {
                Ok((stat, path)) if stat.entry_type == EntryType::Directory => {
                    level.dir = None;
                    match self.enter(path.clone()) {
                        Ok(level) => levels.push(level),
                        Err(err) => self.failed.add(&path, &err),
                    }
                }
                Ok((stat, path)) => self.look(path, stat, is_wanted),
                // Removed since its name was read.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => self.failed.add(&at, &err),
            }
        }
        Ok(())
    }

    fn enter(&self, path: RelPath) -> io::Result<Level> {
        let dir = self.root.dir(&path)?;
        Ok(Level { path, names: dir.names()?.into_iter(), dir: Some(dir) })
    }

    fn stat(&self, level: &mut Level, name: Name<'_>) -> io::Result<Stat> {
        let dir = match level.dir.take() {
            Some(dir) => dir,
            None => self.root.dir(&level.path)?,
        };
        level.dir.insert(dir).stat(name)
    }

    fn look(&mut self, path: RelPath, stat: Stat, is_wanted: &dyn Fn(&RelPath, &Stat) -> bool) {
        if stat.entry_type != EntryType::File || !is_wanted(&path, &stat) {
            return;
        }
        self.path_bytes += path.as_bytes().len();
        self.oldest.push(Found { path, stat });
        while self.oldest.len() > self.limit || self.path_bytes > limits::LISTED_PATH_BYTES_MAX {
            let Some(newest) = self.oldest.pop() else { return };
            self.path_bytes -= newest.path.as_bytes().len();
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// It was old when the walk saw it, and is not when it is its turn to be hashed.
    #[test]
    fn a_file_that_changes_before_it_is_hashed_is_not_told() {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("file");
        fs::write(&place, "old").unwrap();
        let root = Root::open(temp.path()).unwrap();
        let path = RelPath::parse(b"file").unwrap();
        let seen = root.stat(&path).unwrap();
        let told = |seen: &Stat| told(&root, &path, seen, true, || false);
        assert_eq!(told(&seen).unwrap().hash.unwrap(), blake3::hash(b"old").to_hex().as_str());

        fs::write(&place, "new and longer").unwrap();
        let err = told(&seen).unwrap_err().to_string();
        assert_eq!(err, "it changed while the list was made");

        // Another file by the same name, which is the same in all but that.
        let seen = root.stat(&path).unwrap();
        let other = Stat { inode: seen.inode + 1, ..seen };
        assert!(told(&seen).is_ok() && told(&other).is_err());
    }
}
