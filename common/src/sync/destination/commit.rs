//! From a written file to a visible one, and to a durable one.
//!
//! With `batch`, files wait in the staging place for their turn (`batches`); then, in this order: one barrier makes their content durable
//! (`syncfs`), each is renamed, the directories they went into are made durable, and only then are they counted as durable. A barrier that
//! fails poisons the sync: what depended on it is not renamed, and no later barrier is trusted, because the kernel reports a lost write
//! once.

mod batches;

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::SyncSender},
};

use tokio::task::JoinSet;

use self::batches::{Batches, lost};
use super::{
    Shared, backup,
    extraneous::clear_way,
    items,
    moved::{self, Displaced},
    receipts,
};
use crate::{
    path::Name,
    root::{Dir, EntryType, describe, staging::TempName},
    sync::Stage,
    wire::sync::Durability,
};

/// A file that is complete, checked and closed under a temporary name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) index: u32,
    /// None for a file that was in its place already, with the content that was coming.
    pub(super) temp: Option<TempName>,
    pub(super) bytes: u64,
    /// BLAKE3 of a large file, which is known.
    pub(super) hash: Option<[u8; 32]>,
}

/// Takes written files, as the durability asks.
#[derive(Clone, Debug)]
pub(super) enum Committer {
    /// Renamed at once by the thread that wrote it.
    AtOnce,
    /// Handed to the threads that commit batches.
    Batches(SyncSender<Written>),
}

impl Committer {
    pub(super) fn start(shared: &Arc<Shared>, threads: &mut JoinSet<()>) -> Self {
        match shared.options.durability {
            Durability::Batch => Self::Batches(batches::start(shared, threads)),
            _ => Self::AtOnce,
        }
    }

    /// Blocks while the disk is behind.
    pub(super) fn commit(&self, shared: &Shared, written: Written) {
        match self {
            Self::AtOnce => commit_at_once(shared, written),
            // The receiver lives until all senders are gone.
            Self::Batches(sender) => sender.send(written).unwrap_or_default(),
        }
    }
}

fn commit_at_once(shared: &Shared, written: Written) {
    shared.tally.timed(Stage::Write, || {
        rename(shared, written, |written, renamed| match renamed {
            Ok(dir) => renamed_at_once(shared, written, &dir),
            Err(err) => fail(shared, written, &err),
        });
    });
}

fn renamed_at_once(shared: &Shared, written: Written, dir: &Dir) {
    if shared.options.durability != Durability::File {
        return;
    }
    match shared.tally.timed(Stage::Sync, || dir.sync()) {
        Ok(()) => {
            shared.tally.durable.fetch_add(u64::from(written.temp.is_some()), Relaxed);
            receipts::add(shared, [written.index]);
        }
        Err(err) => shared.abort(lost(&err)),
    }
}

/// Commits files that are left when the collector has ended, as the durability asks. Blocks.
pub(super) fn all(shared: &Shared, left: &[Written]) {
    if shared.options.durability != Durability::Batch {
        return left.iter().for_each(|&written| commit_at_once(shared, written));
    }
    Batches::new(shared).commit_all(left);
}

/// Gives the file its name, then what had that and has waited for it to be taken its new one, and so on. Tells `each` of every one, with the
/// directory that it went into.
pub(super) fn rename(shared: &Shared, written: Written, mut each: impl FnMut(Written, io::Result<Arc<Dir>>)) {
    let mut next = Some(written);
    while let Some(written) = next.take() {
        let mut displaced = None;
        let renamed = rename_one(shared, &written, &mut displaced);
        match (displaced, &renamed) {
            (Some(displaced), Ok(_)) => next = Some(displaced.written),
            (Some(displaced), Err(_)) => moved::put_back(shared, &displaced),
            (None, _) => {}
        }
        each(written, renamed);
    }
}

fn rename_one(shared: &Shared, written: &Written, displaced: &mut Option<Displaced>) -> io::Result<Arc<Dir>> {
    let dir = shared.parent_dir(written.index)?;
    let Some(temp) = written.temp else { return Ok(dir) };
    let seen = shared.replaced.take(written.index);
    *displaced = moved::displace(shared, written.index)?;
    let staging = shared.landing.staging()?;
    let name = shared.name_of(written.index);
    let name = Name::new(&name).expect("listed as a name");
    let temp = (staging.dir(), temp.as_name());
    // An empty file is moved again where its removal was not heard of, and is not there twice then.
    let is_empty = |dir: &Dir, name| {
        dir.stat(name).is_ok_and(|stat| stat.entry_type == EntryType::File && stat.size == 0)
    };
    let is_nothing = || shared.options.remove_source && is_empty(temp.0, temp.1) && is_empty(&dir, name);
    let keep = || {
        if is_nothing() { Ok(()) } else { backup::keep(shared, &shared.path_of(written.index), (&dir, name)) }
    };
    match shared.replaced.rename(seen, temp, (&dir, name), keep) {
        // The whole file is here, so now what is in its way may go.
        Err(err) if err.kind() == io::ErrorKind::IsADirectory && written.index != 0 => {
            if !shared.options.delete.is_asked() {
                return Err(err);
            }
            clear_way(shared, written.index, (&dir, name))?;
            staging.dir().rename_new(temp.1, &dir, name)?;
        }
        other => other?,
    }
    if let Some(hash) = written.hash {
        shared.fresh.note(written.index, hash);
    }
    shared.tally.committed.fetch_add(1, Relaxed);
    items::committed(shared, written.index);
    shared.landing.note_change();
    Ok(dir)
}

pub(super) fn fail(shared: &Shared, written: Written, err: &io::Error) {
    let reason = match err.kind() {
        io::ErrorKind::IsADirectory => "a directory is in the way of the file".to_owned(),
        io::ErrorKind::AlreadyExists => {
            "something else was put in its place while it was on its way; it is left as it is".to_owned()
        }
        _ => format!("cannot be given its name: {}", describe(err)),
    };
    shared.fail(written.index, &reason);
    if let (Some(temp), Ok(staging)) = (written.temp, shared.landing.staging()) {
        if shared.duplicates.keep(written, temp) {
            return;
        }
        // What cannot be removed goes with the staging place.
        let _gone = staging.dir().remove_file(temp.as_name());
    }
}
