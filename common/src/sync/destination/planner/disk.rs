//! What the planner looks at and does on the disk, one entry at a time.

use std::io;

use super::DirState;
use crate::{
    entry::Metadata,
    path::Name,
    root::{Dir, EntryType, Stat},
    sync::{
        Stage,
        destination::{Shared, attributes, backup, extraneous::clear_way},
        plan::{Action, Existing},
    },
};

/// Where an entry belongs.
pub(super) struct Place<'a> {
    pub(super) dir: &'a Dir,
    pub(super) name: Name<'a>,
    pub(super) index: u32,
}

/// What stands under an entry's name, and what the kernel says of it.
pub(super) type Found = (Existing, Option<Stat>);

/// What stands under an entry's name.
pub(super) fn look(shared: &Shared, place: &Place<'_>) -> io::Result<Found> {
    let Place { dir, name, .. } = *place;
    let stat = match shared.tally.timed(Stage::Plan, || dir.stat(name)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok((Existing::Nothing, None)),
        other => other?,
    };
    Ok((existing(dir, name, &stat)?, Some(stat)))
}

/// What an entry is that was found.
pub(super) fn existing(dir: &Dir, name: Name<'_>, stat: &Stat) -> io::Result<Existing> {
    Ok(match stat.entry_type {
        EntryType::File => Existing::File { size: stat.size, metadata: stat.metadata },
        EntryType::Directory => Existing::Directory,
        EntryType::Symlink => Existing::Symlink { target: dir.read_link(name)?, metadata: stat.metadata },
        EntryType::Special(_) => Existing::Special,
    })
}

/// Owner's read, write and search permission, which a directory needs while things are put into it.
const OWNER_BITS: u16 = 0o700;

pub(super) fn make_directory(
    shared: &Shared,
    place: &Place<'_>,
    metadata: Metadata,
    action: Action,
) -> io::Result<DirState> {
    match action {
        Action::ReplaceLinkByDirectory => remove_link(shared, place)?,
        Action::ReplaceFileByDirectory => clear_way(shared, place.index, (place.dir, place.name))?,
        _ => {}
    }
    match place.dir.create_dir(place.name, u32::from(metadata.mode & 0o777 | OWNER_BITS)) {
        // Since it was looked for, another sync into this place has made it.
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
            make_writable(place).map(|()| DirState::Existing)
        }
        other => other.map(|()| DirState::New),
    }
}

/// Removes the link in the way, or moves it to where old versions are kept.
fn remove_link(shared: &Shared, place: &Place<'_>) -> io::Result<()> {
    let path = shared.path_of(place.index);
    let is_kept = backup::take(shared, &path, (place.dir, place.name))?;
    if is_kept { Ok(()) } else { place.dir.remove_file(place.name) }
}

/// Lets the owner write into an existing directory; its own mode comes back in the end.
pub(super) fn make_writable(place: &Place<'_>) -> io::Result<()> {
    let stat = place.dir.stat(place.name)?;
    if stat.metadata.mode & OWNER_BITS == OWNER_BITS {
        return Ok(());
    }
    let writable = Metadata { mode: stat.metadata.mode | OWNER_BITS, ..stat.metadata };
    place.dir.open_dir(place.name)?.set_metadata(writable)
}

pub(super) fn make_symlink(
    shared: &Shared,
    place: &Place<'_>,
    (target, metadata): (&[u8], Metadata),
    action: Action,
) -> io::Result<()> {
    let staging = shared.landing.staging()?;
    let temp = staging.next_name();
    staging.dir().create_symlink(temp.as_name(), target)?;
    attributes::set_link(shared, place.index, (staging.dir(), temp.as_name()))?;
    staging.dir().set_link_mtime(temp.as_name(), metadata.mtime)?;
    if action == Action::ReplaceDirectoryBySymlink {
        clear_way(shared, place.index, (place.dir, place.name))?;
    }
    backup::keep(shared, &shared.path_of(place.index), (place.dir, place.name))?;
    staging.dir().rename(temp.as_name(), place.dir, place.name)
}
