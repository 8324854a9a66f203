//! What to do about one entry, given what stands in its place. Pure.
//!
//! Public for the laboratory's micro-benchmarks alone, and hidden from the documentation: no other crate plans.

use crate::{
    entry::{Kind, Metadata},
    wire::sync::{Keep, SyncOptions},
};

/// What the destination has under an entry's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    Nothing,
    File {
        size: u64,
        metadata: Metadata,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
        metadata: Metadata,
    },
    /// A device, FIFO or socket.
    Special,
}

/// What the destination does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is as it should be.
    Keep,
    /// The content is right; mode or, of an empty file, modification time is set, or what else is kept of the entry.
    SetMetadata,
    /// Ask for the content. A directory in the way goes when it has come.
    Fetch,
    /// Ask for the content, and tell what is here, of which it may be a later version or just the same.
    FetchWithBasis,
    /// Ask for the content if it is not what is here, which is told by its hash.
    FetchUnlessSame,
    /// Make the directory.
    MakeDirectory,
    /// Remove the link in the way, then make the directory.
    ReplaceLinkByDirectory,
    /// Remove the file in the way, then make the directory.
    ReplaceFileByDirectory,
    /// Remove the directory in the way, then make the link.
    ReplaceDirectoryBySymlink,
    /// Make the link, in place of whatever file or link is there.
    MakeSymlink,
    /// Leave what is there and name the entry as failed.
    Refuse(&'static str),
}

/// Bytes from which on an old file of another size is worth telling about. Below it, signature and reading cost more than they save.
const BASIS_BYTES_MIN: u64 = 4096;

/// Decides. Any difference of size or modification time means that the content is fetched (DESIGN §8).
pub fn decide(kind: &Kind, metadata: Metadata, existing: &Existing, options: SyncOptions) -> Action {
    if is_kept(kind, metadata, existing, options.keep) {
        return Action::Keep;
    }
    match (kind, existing) {
        (Kind::File { size }, Existing::File { size: there, metadata: has }) => {
            compare_files((*size, metadata), (*there, *has), options)
        }
        (Kind::File { .. }, Existing::Directory) if options.delete.is_asked() => Action::Fetch,
        (Kind::File { .. }, Existing::Directory) => Action::Refuse("a directory is in the way of the file"),
        (Kind::File { .. }, Existing::Nothing | Existing::Symlink { .. } | Existing::Special) => {
            Action::Fetch
        }
        (Kind::Directory, Existing::Nothing) => Action::MakeDirectory,
        (Kind::Directory, Existing::Directory) => Action::Keep,
        (Kind::Directory, Existing::Symlink { .. }) => Action::ReplaceLinkByDirectory,
        (Kind::Directory, Existing::File { .. } | Existing::Special) if options.delete.is_asked() => {
            Action::ReplaceFileByDirectory
        }
        (Kind::Directory, Existing::File { .. } | Existing::Special) => {
            Action::Refuse("a file is in the way of the directory")
        }
        (Kind::Symlink { target }, Existing::Symlink { target: there, metadata: has })
            if target == there && metadata.mtime == has.mtime =>
        {
            Action::Keep
        }
        (Kind::Symlink { .. }, Existing::Directory) if options.delete.is_asked() => {
            Action::ReplaceDirectoryBySymlink
        }
        (Kind::Symlink { .. }, Existing::Directory) => {
            Action::Refuse("a directory is in the way of the link")
        }
        (Kind::Symlink { .. }, _) => Action::MakeSymlink,
    }
}

/// Whether what is there stays, however it differs.
pub(super) fn is_kept(kind: &Kind, metadata: Metadata, existing: &Existing, keep: Keep) -> bool {
    match keep {
        Keep::None => false,
        Keep::Newer => matches!(
            (kind, existing),
            (Kind::File { .. }, Existing::File { metadata: has, .. }) if has.mtime > metadata.mtime
        ),
        Keep::Existing => *kind != Kind::Directory && *existing != Existing::Nothing,
    }
}

fn compare_files(wanted: (u64, Metadata), there: (u64, Metadata), options: SyncOptions) -> Action {
    if wanted.0 != there.0 {
        let is_worth_it = wanted.0.min(there.0) >= BASIS_BYTES_MIN;
        return if is_worth_it { Action::FetchWithBasis } else { Action::Fetch };
    }
    if wanted.0 > 0 && wanted.1.mtime != there.1.mtime {
        return Action::FetchWithBasis;
    }
    if wanted.0 > 0 && options.compares_content() {
        return Action::FetchUnlessSame;
    }
    // The source removes what it has sent, and an empty file costs nothing.
    if options.remove_source && !options.dry_run {
        return Action::Fetch;
    }
    if wanted.1 != there.1 { Action::SetMetadata } else { Action::Keep }
}

#[cfg(test)]
mod tests {
    use super::{Action, Existing, decide};
    use crate::{
        entry::{Kind, Metadata, Timestamp},
        wire::sync::{Deletion, Keep, SyncOptions},
    };

    fn metadata(mode: u16, nanoseconds: u32) -> Metadata {
        Metadata { mode, mtime: Timestamp { seconds: 1, nanoseconds } }
    }

    #[test]
    fn every_pair_of_types_has_its_action() {
        let here = metadata(0o644, 5);
        let file = Kind::File { size: 3 };
        let link = Kind::Symlink { target: b"t".to_vec() };
        let has_file = |size, metadata| Existing::File { size, metadata };
        let has_link = |target: &[u8], metadata| Existing::Symlink { target: target.to_vec(), metadata };
        for (kind, existing, action) in [
            (&file, Existing::Nothing, Action::Fetch),
            (&file, has_file(3, here), Action::Keep),
            (&file, has_file(3, metadata(0o600, 5)), Action::SetMetadata),
            (&file, has_file(3, metadata(0o644, 6)), Action::FetchWithBasis),
            (&file, has_file(4, here), Action::Fetch),
            (&file, has_link(b"t", here), Action::Fetch),
            (&file, Existing::Special, Action::Fetch),
            (&file, Existing::Directory, Action::Refuse("a directory is in the way of the file")),
            (&Kind::Directory, Existing::Nothing, Action::MakeDirectory),
            (&Kind::Directory, Existing::Directory, Action::Keep),
            (&Kind::Directory, has_link(b"t", here), Action::ReplaceLinkByDirectory),
            (&Kind::Directory, has_file(3, here), Action::Refuse("a file is in the way of the directory")),
            (&Kind::Directory, Existing::Special, Action::Refuse("a file is in the way of the directory")),
            (&link, Existing::Nothing, Action::MakeSymlink),
            (&link, has_link(b"t", here), Action::Keep),
            (&link, has_link(b"u", here), Action::MakeSymlink),
            (&link, has_link(b"t", metadata(0o777, 6)), Action::MakeSymlink),
            (&link, has_file(3, here), Action::MakeSymlink),
            (&link, Existing::Directory, Action::Refuse("a directory is in the way of the link")),
        ] {
            assert_eq!(
                decide(kind, here, &existing, SyncOptions::default()),
                action,
                "{kind:?} over {existing:?}"
            );
        }
    }

    #[test]
    fn what_is_to_be_kept_is_kept_however_it_differs() {
        let (file, link) = (Kind::File { size: 3 }, Kind::Symlink { target: b"t".to_vec() });
        let at = |nanoseconds| Existing::File { size: 4, metadata: metadata(0o600, nanoseconds) };
        let has_link = || Existing::Symlink { target: b"u".to_vec(), metadata: metadata(0o777, 9) };
        for (kind, existing, newer, all) in [
            (&file, at(6), Action::Keep, Action::Keep),
            (&file, at(5), Action::Fetch, Action::Keep),
            (&file, at(4), Action::Fetch, Action::Keep),
            (&file, Existing::Nothing, Action::Fetch, Action::Fetch),
            (&file, has_link(), Action::Fetch, Action::Keep),
            (&file, Existing::Directory, Action::Fetch, Action::Keep),
            (&link, has_link(), Action::MakeSymlink, Action::Keep),
            (&link, at(6), Action::MakeSymlink, Action::Keep),
            (&link, Existing::Nothing, Action::MakeSymlink, Action::MakeSymlink),
            (&Kind::Directory, at(6), Action::ReplaceFileByDirectory, Action::ReplaceFileByDirectory),
            (&Kind::Directory, Existing::Nothing, Action::MakeDirectory, Action::MakeDirectory),
        ] {
            for (keep, expected) in [(Keep::Newer, newer), (Keep::Existing, all)] {
                let options = SyncOptions { delete: Deletion::All, keep, ..SyncOptions::default() };
                let action = decide(kind, metadata(0o644, 5), &existing, options);
                assert_eq!(action, expected, "{kind:?} over {existing:?} with {keep:?}");
            }
        }
    }

    #[test]
    fn what_is_in_the_way_is_replaced_where_deleting_is_asked_for() {
        let options = SyncOptions { delete: Deletion::AtMost(1), ..SyncOptions::default() };
        let here = metadata(0o644, 5);
        let (file, link) = (Kind::File { size: 3 }, Kind::Symlink { target: b"t".to_vec() });
        let has_file = Existing::File { size: 3, metadata: here };
        for (kind, existing, action) in [
            (&file, Existing::Directory, Action::Fetch),
            (&Kind::Directory, has_file, Action::ReplaceFileByDirectory),
            (&Kind::Directory, Existing::Special, Action::ReplaceFileByDirectory),
            (&Kind::Directory, Existing::Directory, Action::Keep),
            (&link, Existing::Directory, Action::ReplaceDirectoryBySymlink),
        ] {
            assert_eq!(decide(kind, here, &existing, options), action, "{kind:?} over {existing:?}");
        }
    }

    #[test]
    fn checksum_asks_by_content_where_sizes_agree() {
        let options = SyncOptions { checksum: true, ..SyncOptions::default() };
        let at = |size| Existing::File { size, metadata: metadata(0o644, 5) };
        let file = |size| Kind::File { size };
        let decided = |size, there| decide(&file(size), metadata(0o644, 5), &at(there), options);
        assert_eq!(decided(3, 3), Action::FetchUnlessSame);
        assert_eq!(decided(3, 4), Action::Fetch);
        assert_eq!(decided(0, 0), Action::Keep);
    }

    #[test]
    fn an_old_version_is_told_where_it_can_save_something() {
        let at = |size| Existing::File { size, metadata: metadata(0o644, 9) };
        for (size, there, action) in [
            (100_000, 90_000, Action::FetchWithBasis),
            (90_000, 100_000, Action::FetchWithBasis),
            (100_000, 4_095, Action::Fetch),
            (100, 90_000, Action::Fetch),
            (0, 0, Action::SetMetadata),
        ] {
            let kind = Kind::File { size };
            assert_eq!(decide(&kind, metadata(0o644, 5), &at(there), SyncOptions::default()), action);
        }
    }
}
