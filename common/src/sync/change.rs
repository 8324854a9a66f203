//! What an action means to the person who asked for the sync. Pure.

use super::plan::{Action, Existing};
use crate::{
    entry::{Kind, Metadata},
    wire::change::{Change, Difference},
};

/// The change that `action` makes of `existing`; `None` where nothing becomes different.
pub(super) fn change(kind: &Kind, metadata: Metadata, existing: &Existing, action: Action) -> Option<Change> {
    match (action, kind, existing) {
        (Action::Keep | Action::Refuse(_), ..) => None,
        (Action::SetMetadata, ..) => Some(Change::Metadata),
        (
            Action::Fetch | Action::FetchWithBasis | Action::FetchUnlessSame,
            Kind::File { size },
            Existing::File { size: there, metadata: has },
        ) => {
            let (size, mtime) = (size != there, metadata.mtime != has.mtime);
            Some(Change::Update(Difference { size, mtime, content: !size && !mtime }))
        }
        (Action::Fetch | Action::FetchWithBasis | Action::FetchUnlessSame, ..) => Some(Change::Create),
        (Action::MakeDirectory | Action::ReplaceLinkByDirectory | Action::ReplaceFileByDirectory, ..) => {
            Some(Change::MakeDirectory)
        }
        (Action::MakeSymlink | Action::ReplaceDirectoryBySymlink, ..) => Some(Change::MakeSymlink),
    }
}

#[cfg(test)]
mod tests {
    use super::change;
    use crate::{
        entry::{Kind, Metadata, Timestamp},
        sync::plan::{Action, Existing},
        wire::change::{Change, Difference},
    };

    #[test]
    fn every_action_is_told_with_its_reason() {
        let at = |seconds| Metadata { mode: 0o644, mtime: Timestamp { seconds, nanoseconds: 0 } };
        let has = |size, seconds| Existing::File { size, metadata: at(seconds) };
        let differs = |size, mtime, content| Some(Change::Update(Difference { size, mtime, content }));
        for (action, existing, expected) in [
            (Action::Keep, has(3, 1), None),
            (Action::Refuse("no"), Existing::Directory, None),
            (Action::SetMetadata, has(3, 1), Some(Change::Metadata)),
            (Action::Fetch, Existing::Nothing, Some(Change::Create)),
            (Action::Fetch, Existing::Directory, Some(Change::Create)),
            (Action::Fetch, has(4, 1), differs(true, false, false)),
            (Action::Fetch, has(3, 2), differs(false, true, false)),
            (Action::Fetch, has(4, 2), differs(true, true, false)),
            (Action::FetchWithBasis, has(3, 1), differs(false, false, true)),
            (Action::MakeDirectory, Existing::Nothing, Some(Change::MakeDirectory)),
            (Action::ReplaceFileByDirectory, has(3, 1), Some(Change::MakeDirectory)),
            (Action::MakeSymlink, Existing::Nothing, Some(Change::MakeSymlink)),
            (Action::ReplaceDirectoryBySymlink, Existing::Directory, Some(Change::MakeSymlink)),
        ] {
            let told = change(&Kind::File { size: 3 }, at(1), &existing, action);
            assert_eq!(told, expected, "{action:?} over {existing:?}");
        }
    }
}
