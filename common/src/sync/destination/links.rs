//! Hard links (`--hard-links`): further names of files that are in place, made when all files are.
//!
//! A name that belongs to the right file already is left alone. Where the file itself failed, or was left as it is though it differs, its further names
//! fail as well: what they would lead to is not what the source has.

use std::{
    collections::HashSet,
    io,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Shared, backup, extraneous::clear_way, items};
use crate::{
    entry::{Kind, Metadata},
    path::Name,
    root::{Dir, EntryType, Stat, describe},
    sync::{
        Stage,
        change::change,
        plan::{Action, Existing, is_kept},
    },
    wire::change::Change,
};

/// What is known of them while the listing and the files come in.
#[derive(Debug, Default)]
pub(super) struct Links {
    state: Mutex<State>,
    /// How many were made.
    made: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    listed: Vec<u32>,
    /// Entries that are not in place, or not as they are listed.
    absent: HashSet<u32>,
    /// Of a dry run: files that would be others, so that what are names of them now would be made anew.
    replaced: HashSet<u32>,
}

impl Links {
    /// Notes a further name of a file, to be made in the end.
    pub(super) fn add(&self, index: u32) {
        self.state().listed.push(index);
    }

    /// An entry is not what the source has.
    pub(super) fn note_absent(&self, index: u32) {
        self.state().absent.insert(index);
    }

    /// A dry run would put another file in the place of this one.
    pub(super) fn note_replaced(&self, index: u32) {
        self.state().replaced.insert(index);
    }

    /// How many were made.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// What became of one.
enum Made {
    New,
    /// It was there, or is to be left alone.
    Unchanged,
    /// A dry run makes none.
    Rehearsed,
}

/// Makes all that are listed. Blocks.
pub(super) fn make(shared: &Shared) {
    let State { listed, absent, replaced } = std::mem::take(&mut *shared.links.state());
    for index in listed {
        // The sync has ended, and another may be at work here already.
        if shared.control.is_closed() {
            return;
        }
        let first = shared.tree.read().expect("no holder panics").link(index);
        let first = first.expect("it was noted as one");
        if absent.contains(&first) {
            shared.fail(index, "the file of which it is another name is not in place");
            continue;
        }
        let made = if shared.options.dry_run {
            rehearse(shared, index, first, replaced.contains(&first))
        } else {
            shared.tally.timed(Stage::Write, || make_one(shared, index, first))
        };
        match made {
            Ok(Made::New) => {
                let tally = &shared.tally;
                for count in [&tally.received, &tally.verified, &tally.committed] {
                    count.fetch_add(1, Relaxed);
                }
                shared.links.made.fetch_add(1, Relaxed);
                shared.landing.note_change();
                items::committed(shared, index);
            }
            Ok(Made::Unchanged) => drop(shared.tally.files_unchanged.fetch_add(1, Relaxed)),
            Ok(Made::Rehearsed) => {}
            Err(err) => shared.fail(index, &reason(&err)),
        }
    }
}

fn make_one(shared: &Shared, index: u32, first: u32) -> io::Result<Made> {
    let (name, first_name) = (shared.name_of(index), shared.name_of(first));
    let [name, first_name] = [&name, &first_name].map(|name| Name::new(name).expect("listed as a name"));
    let (dir, first_dir) = (shared.parent_dir(index)?, shared.parent_dir(first)?);
    let target = first_dir.stat(first_name)?;
    if target.entry_type != EntryType::File {
        return Err(io::Error::other("something else was put in its place"));
    }
    let here = found(&dir, name)?;
    let Some(change) = change_of(shared, index, (&dir, name), (here.as_ref(), Some(&target)))? else {
        return Ok(Made::Unchanged);
    };
    items::planned(shared, index, Some(change));
    match here {
        None => first_dir.hard_link(first_name, &dir, name)?,
        Some(stat) if stat.entry_type == EntryType::Directory => {
            clear_way(shared, index, (&dir, name))?;
            first_dir.hard_link(first_name, &dir, name)?;
        }
        Some(_) => {
            let staging = shared.landing.staging()?;
            let temp = staging.next_name();
            first_dir.hard_link(first_name, staging.dir(), temp.as_name())?;
            backup::keep(shared, &shared.path_of(index), (&dir, name))?;
            staging.dir().rename(temp.as_name(), &dir, name)?;
        }
    }
    Ok(Made::New)
}

/// Says what would be done. The file, or the directory of its new name, may have to be made first.
fn rehearse(shared: &Shared, index: u32, first: u32, is_replaced: bool) -> io::Result<Made> {
    let (name, first_name) = (shared.name_of(index), shared.name_of(first));
    let [name, first_name] = [&name, &first_name].map(|name| Name::new(name).expect("listed as a name"));
    let absent_as_none = |err: io::Error| if is_absent(&err) { Ok(None) } else { Err(err) };
    let dir = shared.parent_dir(index).map(Some).or_else(absent_as_none)?;
    let first_dir = shared.parent_dir(first).map(Some).or_else(absent_as_none)?;
    let target = first_dir.filter(|_| !is_replaced).map_or(Ok(None), |dir| found(&dir, first_name))?;
    let change = match &dir {
        None => Some(Change::Create),
        Some(dir) => {
            let here = found(dir, name)?;
            let change = change_of(shared, index, (dir, name), (here.as_ref(), target.as_ref()))?;
            if here.is_some_and(|stat| stat.entry_type == EntryType::Directory) && change.is_some() {
                clear_way(shared, index, (dir, name))?;
            }
            change
        }
    };
    let is_unchanged = change.is_none();
    items::planned(shared, index, change);
    Ok(if is_unchanged { Made::Unchanged } else { Made::Rehearsed })
}

/// What a link would change where `here` is; nothing where that is the file itself or is to be kept.
fn change_of(
    shared: &Shared,
    index: u32,
    (dir, name): (&Dir, Name<'_>),
    (here, target): (Option<&Stat>, Option<&Stat>),
) -> io::Result<Option<Change>> {
    let Some(here) = here else { return Ok(Some(Change::Create)) };
    if target.is_some_and(|target| (target.device, target.inode) == (here.device, here.inode)) {
        return Ok(None);
    }
    let (size, metadata) = {
        let tree = shared.tree.read().expect("no holder panics");
        (tree.size(index), tree.metadata(index))
    };
    let kind = Kind::File { size };
    let existing = match here.entry_type {
        EntryType::File => Existing::File { size: here.size, metadata: here.metadata },
        EntryType::Directory => Existing::Directory,
        EntryType::Symlink => Existing::Symlink { target: dir.read_link(name)?, metadata: here.metadata },
        EntryType::Special(_) => Existing::Special,
    };
    if is_kept(&kind, metadata, &existing, shared.options.keep) {
        return Ok(None);
    }
    match existing {
        Existing::Directory if !shared.options.delete.is_asked() => {
            Err(io::Error::from(io::ErrorKind::IsADirectory))
        }
        Existing::File { size: there, metadata: Metadata { mtime, .. } }
            if there == size && mtime == metadata.mtime =>
        {
            Ok(Some(Change::Metadata))
        }
        existing => Ok(change(&kind, metadata, &existing, Action::Fetch)),
    }
}

fn found(dir: &Dir, name: Name<'_>) -> io::Result<Option<Stat>> {
    dir.stat(name).map(Some).or_else(|err| if is_absent(&err) { Ok(None) } else { Err(err) })
}

fn is_absent(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn reason(err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::IsADirectory => "a directory is in the way of the file".to_owned(),
        io::ErrorKind::AlreadyExists => {
            "something else was put in its place meanwhile; it is left as it is".to_owned()
        }
        _ => format!("it cannot be made another name of its file: {}", describe(err)),
    }
}
