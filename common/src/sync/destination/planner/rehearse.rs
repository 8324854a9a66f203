//! The dry run of one entry: looked at, decided and told, with nothing done about it.

use super::{
    DirState, Place, Planner, Surroundings, comparing, decide_here, look, unchanged, with_attributes,
};
use crate::{
    entry::{Kind, Metadata},
    path::Name,
    root::Dir,
    sync::{
        change::change,
        destination::{attributes, comparing::Verdict, extraneous::clear_way, items},
        plan::{Action, Existing},
    },
    wire::change::Change,
};

impl Planner<'_> {
    /// Says what would become of an entry. `dir` is there unless it would itself be made.
    pub(super) fn rehearse(
        &mut self,
        (dir, name): (Option<&Dir>, Name<'_>),
        index: u32,
        kind: &Kind,
        metadata: Metadata,
    ) {
        let shared = self.shared;
        if shared.options.verify {
            return self.compare((dir, name), index, kind, metadata);
        }
        let found =
            dir.map_or(Ok((Existing::Nothing, None)), |dir| look(shared, &Place { dir, name, index }));
        let (existing, stat) = match found {
            Ok(found) => found,
            Err(err) => {
                shared.fail_io(index, "what is there cannot be looked at", &err);
                return self.unreachable(index, kind);
            }
        };
        let action = decide_here(shared, index, (kind, metadata), &existing);
        let action = dir.map_or(action, |dir| {
            let place = Place { dir, name, index };
            with_attributes(shared, &place, (kind, metadata), (&existing, stat.as_ref()), action)
        });
        if let Some(dir) = dir.filter(|_| clears(action, &existing))
            && let Err(err) = clear_way(shared, index, (dir, name))
        {
            shared.fail_io(index, "it cannot be put in place", &err);
            return self.unreachable(index, kind);
        }
        let change = change(kind, metadata, &existing, action);
        if let (Kind::File { size }, Existing::File { size: there, metadata: has }, Some(other)) =
            (kind, &existing, change)
            && matches!(action, Action::FetchWithBasis | Action::FetchUnlessSame)
            && size == there
            && shared.options.compares_only()
        {
            let has_other_attributes = dir.zip(stat.as_ref());
            let has_other_attributes = has_other_attributes
                .is_some_and(|(dir, stat)| attributes::differ(shared, index, (dir, name), stat));
            let same = (metadata != *has || has_other_attributes).then_some(Change::Metadata);
            comparing::ask(shared, index, Verdict { same, other });
            return self.wants.push(shared, index);
        }
        items::planned(shared, index, change);
        match (kind, action) {
            (_, Action::Refuse(reason)) => {
                shared.fail(index, reason);
                self.unreachable(index, kind);
            }
            (Kind::Directory, Action::Keep | Action::SetMetadata) => {
                self.states.insert(index, DirState::Existing);
                shared.landing.add_directory(index);
            }
            (Kind::Directory, _) => drop(self.states.insert(index, DirState::New)),
            (Kind::File { size }, Action::Keep | Action::SetMetadata) => unchanged(shared, *size),
            (Kind::File { .. }, _) if shared.options.preserve.hard_links => shared.links.note_replaced(index),
            _ => {}
        }
    }

    /// What is listed in this entry, if it is a directory, cannot be in place either.
    pub(super) fn unreachable(&mut self, index: u32, kind: &Kind) {
        if *kind == Kind::Directory {
            self.states.insert(index, DirState::Failed);
        }
    }

    /// Whether an entry of a directory that is open, or would be new, is only to be rehearsed.
    pub(super) fn is_rehearsal(&self, dir: Option<&Dir>, surroundings: Surroundings) -> bool {
        self.shared.options.dry_run && (dir.is_some() || surroundings == Surroundings::New)
    }
}

/// Whether what is there would be deleted to make way.
fn clears(action: Action, existing: &Existing) -> bool {
    match action {
        Action::Fetch => *existing == Existing::Directory,
        Action::ReplaceFileByDirectory | Action::ReplaceDirectoryBySymlink => true,
        _ => false,
    }
}
