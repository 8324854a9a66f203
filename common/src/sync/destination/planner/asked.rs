//! Whether the source lists what it was asked for: it may not choose what is written here.

use super::Planner;
use crate::{
    entry::{Kind, Metadata},
    filter::{Subject, Verdict},
    path::Name,
    sync::{SyncError, rotation::Series},
};

impl Planner<'_> {
    /// What may be in a directory beside that. Where what is listed may be missing by now, a watch, it may have been renamed by rotation a moment ago,
    /// and then the source lists that as well.
    pub(super) fn rotations_in(&self, directory: u32) -> Series {
        let selection = self.shared.selection();
        let names = selection.missing_ok().then(|| selection.names_in(&self.shared.path_of(directory)));
        names.flatten().map(|names| Series::after(&names)).unwrap_or_default()
    }

    /// Fails for an entry that was not asked for.
    pub(super) fn require_asked(
        &self,
        (index, name): (u32, Name<'_>),
        rotations: &Series,
        (kind, metadata): (&Kind, Metadata),
    ) -> Result<(), SyncError> {
        let selection = self.shared.selection();
        if selection.is_everything() || selection.awaits_list() {
            return Ok(());
        }
        let (path, subject) = (self.shared.path_of(index), subject(kind, metadata));
        let is_rotated = matches!(kind, Kind::File { .. }) && rotations.has(name.as_bytes());
        let verdict = if is_rotated {
            selection.decide_listed(&path, subject)
        } else {
            selection.decide(&path, subject)
        };
        match verdict {
            Verdict::Take => Ok(()),
            Verdict::Leave | Verdict::Prune => Err(SyncError::Protocol("it lists what was not asked for")),
        }
    }
}

fn subject(kind: &Kind, metadata: Metadata) -> Subject {
    match kind {
        Kind::File { size } => Subject::File { size: *size, mtime: metadata.mtime },
        Kind::Directory => Subject::Directory,
        Kind::Symlink { .. } => Subject::Other,
    }
}
