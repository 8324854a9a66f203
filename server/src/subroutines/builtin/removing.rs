//! `remove-files`: removes files that are in every respect what the caller takes them for. Needs `delete`.
//!
//! As where a sync removes what is safe at its destination: the file is opened beneath the root, compared, read and hashed, and its name must lead to that very
//! file, unchanged, right before it is removed. Nobody can lock a name of Linux: what is written within that last moment is lost.

use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarmwire_common::{
    path::RelPath,
    root::{EntryType, Root, Stat},
};

use super::{Args, Context, Failure, Listed, cancelled, denied, grant, json, nanoseconds, reason, written};
use crate::{
    grants::{Grant, Operation},
    hashing::hash_of,
};

/// What `list-files` tells beside the files, so that all that it gives can be handed on.
const TOLD_BESIDE: [&str; 3] = ["more", "unreadable", "unreadable_count"];

#[derive(Debug, Deserialize)]
struct Asked {
    files: Vec<Listed>,
}

impl Asked {
    fn new(args: &Args) -> Result<Self, Failure> {
        let mut arguments = args.values()?;
        arguments.named.retain(|(name, _)| !TOLD_BESIDE.contains(&name.as_str()));
        arguments.parse().map_err(|err| Failure::argument(&err))
    }
}

#[derive(Debug, Serialize)]
struct Told {
    removed: u64,
    kept: u64,
    files: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Bytes, Failure> {
    let asked = Asked::new(args)?;
    let grant = grant(context)?;
    grant.require(&Operation::Delete).map_err(|err| denied(&err))?;
    let mut told = Told { removed: 0, kept: 0, files: Vec::with_capacity(asked.files.len()) };
    for file in &asked.files {
        if context.is_cancelled() {
            return Err(cancelled());
        }
        let removed = file.path().and_then(|path| {
            let removed = remove(context, &grant, &path, file);
            removed.map(|()| path)
        });
        let (path, path_base64) = match &removed {
            Ok(path) => written(path),
            Err(_) => (file.path.clone(), file.path_base64.clone()),
        };
        told.removed += u64::from(removed.is_ok());
        told.kept += u64::from(removed.is_err());
        told.files.push(Outcome { path, path_base64, removed: removed.is_ok(), reason: removed.err() });
    }
    Ok(json(&told))
}

fn remove(context: &Context, grant: &Grant, path: &RelPath, expected: &Listed) -> Result<(), String> {
    grant.require_at(&Operation::Delete, path).map_err(|err| err.to_string())?;
    let hash =
        expected.hash.as_deref().ok_or("it has no `hash`: `list-files` gives one with `hash = true`")?;
    let root = &context.session.gateway.root;
    match remove_if_same(root, path, expected, hash, &|| context.is_cancelled()) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(different)) => Err(different.to_string()),
        Err(err) => Err(reason(&err)),
    }
}

/// Why a file is not the one that was meant, and stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Different {
    #[error("it is no file any longer")]
    NoFile,
    /// In these respects.
    #[error("it is not what was told of it: another {}", .0.join(", another "))]
    In(Vec<&'static str>),
    #[error("it changed while it was looked at")]
    Changing,
}

/// Removes a file, unless it is another one, or has changed.
fn remove_if_same(
    root: &Root,
    path: &RelPath,
    expected: &Listed,
    hash: &str,
    is_given_up: &impl Fn() -> bool,
) -> io::Result<Result<(), Different>> {
    let (parent, name) = path.split_last().ok_or(io::ErrorKind::IsADirectory)?;
    let dir = root.dir(&parent)?;
    let file = dir.open_file(name)?;
    let now = file.stat()?;
    if let Err(different) = compare(&now, expected) {
        return Ok(Err(different));
    }
    let found = hash_of(&file, now.size, is_given_up)?;
    // The name may mean another file by now, and this one may have been written to while it was read.
    if file.stat()? != now || dir.stat(name)? != now {
        return Ok(Err(Different::Changing));
    }
    if !data_encoding::HEXLOWER_PERMISSIVE.encode(&found).eq_ignore_ascii_case(hash) {
        return Ok(Err(Different::In(vec!["content"])));
    }
    if is_given_up() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    dir.remove_file(name)?;
    Ok(Ok(()))
}

fn compare(now: &Stat, expected: &Listed) -> Result<(), Different> {
    if now.entry_type != EntryType::File {
        return Err(Different::NoFile);
    }
    let is_other_inode = expected.inode.is_some_and(|inode| inode.0 != now.inode);
    let respects = [
        ("size", now.size != expected.size),
        ("mtime", nanoseconds(now.metadata.mtime) != expected.mtime_ns.0),
        ("inode", is_other_inode),
    ];
    let different: Vec<_> =
        respects.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    if different.is_empty() { Ok(()) } else { Err(Different::In(different)) }
}
