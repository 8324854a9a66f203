//! What is told of an entry beside type, mode and time, as far as the sync asks for it.

use std::io;

use rustix::io::Errno;

use super::{Scan, Stop, look::Found};
use crate::{
    entry::{Attributes, Kind, Metadata, Xattr},
    limits,
    path::{Name, RelPath},
    root::{Dir, Stat, describe},
    sync::{Stage, join},
    wire::extra::{Extra, Preserve},
};

impl Scan<'_> {
    /// Mode and time of the top, and what else is told of it.
    pub(super) fn top(&mut self) -> Result<(Metadata, Option<Extra>), Stop> {
        let (source, preserve) = (&self.shared.source, self.shared.options.preserve);
        if !(preserve.special_bits || preserve.owner || preserve.xattrs) {
            return Ok((source.top.metadata, None));
        }
        // It was opened before it was known what is asked for. Should it be gone, its listing will tell.
        let stat = source.root.stat(&source.path).unwrap_or(source.top);
        let read = || match (&source.kind, source.path.split_last()) {
            (Kind::File { .. }, Some((parent, name))) => {
                source.root.dir(&parent)?.xattrs(name, source.namespaces)
            }
            _ => source.root.dir(&source.path)?.xattrs_self(source.namespaces),
        };
        let attributes = self.attributes(0, &stat, &RelPath::root(), read)?;
        let extra = (!attributes.is_empty()).then_some(Extra { link: None, attributes });
        Ok((stat.metadata, extra))
    }

    /// What else is told of the entry `name` of a directory. `parent` is the directory's path.
    pub(super) fn extra(
        &mut self,
        (dir, name): (&Dir, Name<'_>),
        parent: &RelPath,
        found: &Found,
    ) -> Result<Option<Extra>, Stop> {
        let Preserve { owner, xattrs, hard_links, .. } = self.shared.options.preserve;
        if !(owner || xattrs || hard_links) {
            return Ok(None);
        }
        let (shared, stat) = (self.shared, &found.stat);
        let index = shared.tree.read().expect("no holder panics").len();
        // Links that are followed are entries of their own, whatever they lead to.
        let is_linked = hard_links && found.place.is_none() && matches!(found.entry.kind, Kind::File { .. });
        if is_linked && let Some(first) = shared.hard_links.first(stat, index) {
            return Ok(Some(Extra { link: Some(first), attributes: Attributes::default() }));
        }
        let read = || match &found.place {
            None => dir.xattrs(name, shared.source.namespaces),
            Some(place) => {
                let place = join(&shared.source.path, place)?;
                let (parent, name) = place.split_last().ok_or(io::ErrorKind::InvalidInput)?;
                shared.source.root.dir(&parent)?.xattrs(name, shared.source.namespaces)
            }
        };
        let path = parent.join(name).unwrap_or_else(|_| parent.clone());
        let attributes = self.attributes(index, stat, &path, read)?;
        Ok((!attributes.is_empty()).then_some(Extra { link: None, attributes }))
    }

    /// Owner and extended attributes. Those that cannot be told are named, and left as they are at the destination.
    fn attributes(
        &mut self,
        index: u32,
        stat: &Stat,
        path: &RelPath,
        read: impl FnOnce() -> io::Result<Vec<Xattr>>,
    ) -> Result<Attributes, Stop> {
        let (shared, preserve) = (self.shared, self.shared.options.preserve);
        let owner = preserve.owner.then_some(stat.owner);
        let xattrs = if preserve.xattrs {
            match shared.tally.timed(Stage::Scan, read) {
                Ok(xattrs) => Some(xattrs),
                // Removed since it was looked at: its content will tell.
                Err(err) if err.kind() == io::ErrorKind::NotFound => None,
                Err(err) => {
                    shared.fail(None, path, &cannot_read(&err))?;
                    None
                }
            }
        } else {
            None
        };
        let attributes = Attributes { owner, xattrs };
        if attributes.is_empty() || self.told.put(index, &attributes) {
            return Ok(attributes);
        }
        shared.fail(None, path, "its extended attributes are more than one sync carries")?;
        let attributes = Attributes { owner, xattrs: None };
        Ok(if self.told.put(index, &attributes) { attributes } else { Attributes::default() })
    }
}

fn cannot_read(err: &io::Error) -> String {
    let reason = match Errno::from_io_error(err) {
        Some(Errno::TOOBIG) => format!(
            "they are more than {} or longer than {} KiB in all",
            limits::XATTRS_MAX,
            limits::XATTR_BYTES_MAX / 1024
        ),
        _ => describe(err),
    };
    format!("its extended attributes cannot be read: {reason}")
}
