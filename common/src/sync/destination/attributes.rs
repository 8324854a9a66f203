//! Owners and extended attributes at the destination: what differs, and putting it right.
//!
//! What cannot be set leaves an entry with its content in place, named as failed. The order matters: a change of owner takes setuid, setgid and capabilities
//! away, so it comes first, then the attributes, while the file may still be written, and the mode last.

use std::{io, sync::RwLock};

use rustix::io::Errno;

use super::Shared;
use crate::{
    entry::{Attributes, Metadata, Xattr},
    path::Name,
    root::{Dir, EntryType, File, Stat, attributes::xattrs_differ},
    sync::{SyncError, attributes::AttributeSets},
    wire::extra::{Extra, Preserve},
};

/// What the source has told of the entries, by index.
#[derive(Debug, Default)]
pub(super) struct Told {
    sets: RwLock<AttributeSets>,
}

impl Told {
    /// Takes what is told of an entry.
    pub(super) fn put(&self, index: u32, attributes: &Attributes) -> Result<(), SyncError> {
        if attributes.is_empty() || self.sets.write().expect("no holder panics").put(index, attributes) {
            return Ok(());
        }
        Err(SyncError::Protocol("it tells more extended attributes than a sync may have"))
    }

    fn get(&self, index: u32) -> Attributes {
        let set = self.sets.read().expect("no holder panics").get(index);
        set.map(|set| Attributes::clone(&set)).unwrap_or_default()
    }
}

/// Refuses what no honest source tells, and what nobody asked for.
pub(super) fn check(extra: &Extra, preserve: Preserve) -> Result<(), SyncError> {
    let Attributes { owner, xattrs } = &extra.attributes;
    let is_asked = (preserve.owner || owner.is_none())
        && (preserve.xattrs || xattrs.is_none())
        && (preserve.hard_links || extra.link.is_none());
    if !is_asked {
        return Err(SyncError::Protocol("it tells of entries what nobody asked for"));
    }
    if !extra.attributes.is_within_bounds() {
        return Err(SyncError::Protocol("it tells extended attributes that cannot be"));
    }
    Ok(())
}

/// Whether an entry that is here, with this type, has another owner or other attributes than it should have, or, a directory, other
/// special bits.
pub(super) fn differ(shared: &Shared, index: u32, (dir, name): (&Dir, Name<'_>), stat: &Stat) -> bool {
    let Preserve { owner, xattrs, special_bits, .. } = shared.options.preserve;
    if !(owner || xattrs || special_bits) {
        return false;
    }
    let special = |mode: u16| if special_bits { mode & 0o7000 } else { 0 };
    let mode = shared.tree.read().expect("no holder panics").metadata(index).mode;
    let is_directory = stat.entry_type == EntryType::Directory;
    let told = shared.told.get(index);
    is_directory && special(mode) != special(stat.metadata.mode)
        || told.owner.is_some_and(|owner| owner != stat.owner)
        // What cannot be read is tried to be set, and named then.
        || told.xattrs.is_some_and(|wanted| {
            let namespaces = shared.landing.namespaces();
            dir.xattrs(name, namespaces).map_or(true, |has| xattrs_differ(&has, &wanted, namespaces))
        })
}

/// Gives a file its owner, attributes, mode and time.
pub(super) fn set_file(shared: &Shared, index: u32, file: &File, metadata: Metadata) -> io::Result<()> {
    let (Attributes { owner, xattrs }, mut metadata) = (shared.told.get(index), metadata);
    if let Some(owner) = owner {
        metadata = owned(shared, index, metadata, || {
            if file.stat()?.owner == owner { Ok(()) } else { file.set_owner(owner) }
        });
    }
    if let Some(xattrs) = xattrs {
        attributed(shared, index, || set_file_xattrs(shared, file, &xattrs));
    }
    file.set_metadata(metadata)
}

fn set_file_xattrs(shared: &Shared, file: &File, xattrs: &[Xattr]) -> io::Result<()> {
    let set = || file.set_xattrs(xattrs, shared.landing.namespaces()).map(drop);
    match set() {
        // Its owner may write to it once its mode says so; it gets its own mode in the end.
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
            let Stat { metadata, .. } = file.stat()?;
            file.set_metadata(Metadata { mode: metadata.mode | 0o200, ..metadata })?;
            set()
        }
        other => other,
    }
}

/// Gives a directory its owner, attributes, mode and time; says whether anything was different.
pub(super) fn set_directory(shared: &Shared, index: u32, dir: &Dir, metadata: Metadata) -> io::Result<bool> {
    let stat = dir.stat_self()?;
    let Attributes { owner, xattrs } = shared.told.get(index);
    let (mut wanted, mut has_changed) = (metadata, false);
    if let Some(owner) = owner.filter(|owner| *owner != stat.owner) {
        has_changed = true;
        wanted = owned(shared, index, metadata, || dir.set_owner_self(owner));
    }
    if let Some(xattrs) = xattrs {
        let set = || dir.set_xattrs_self(&xattrs, shared.landing.namespaces());
        has_changed |= attributed(shared, index, set).unwrap_or(true);
    }
    if !has_changed && stat.metadata == wanted {
        return Ok(false);
    }
    dir.set_metadata(wanted)?;
    Ok(true)
}

/// Gives a link its owner and attributes.
pub(super) fn set_link(shared: &Shared, index: u32, (dir, name): (&Dir, Name<'_>)) -> io::Result<()> {
    let Attributes { owner, xattrs } = shared.told.get(index);
    if let Some(owner) = owner {
        let is_its = dir.stat(name)?.owner == owner;
        owned(
            shared,
            index,
            Metadata::default(),
            || if is_its { Ok(()) } else { dir.set_owner(name, owner) },
        );
    }
    if let Some(xattrs) = xattrs {
        attributed(shared, index, || dir.set_xattrs(name, &xattrs, shared.landing.namespaces()));
    }
    Ok(())
}

/// The metadata for an entry whose owner is set by `set`: where that fails, setuid and setgid would lend the rights of somebody else.
fn owned(shared: &Shared, index: u32, metadata: Metadata, set: impl FnOnce() -> io::Result<()>) -> Metadata {
    match set() {
        Ok(()) => metadata,
        Err(err) => {
            shared.flaw_io(index, "its owner cannot be set", &err);
            Metadata { mode: metadata.mode & 0o1777, ..metadata }
        }
    }
}

fn attributed<T>(shared: &Shared, index: u32, set: impl FnOnce() -> io::Result<T>) -> Option<T> {
    let told = |err: io::Error| {
        let err = match Errno::from_io_error(&err) {
            Some(Errno::OPNOTSUPP) => io::Error::other("the file system has none, or not of this kind"),
            _ => err,
        };
        shared.flaw_io(index, "its extended attributes cannot be set", &err);
    };
    set().map_err(told).ok()
}
