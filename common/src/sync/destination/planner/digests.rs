//! Listing blocks that come as digests, and are what is here already.
//!
//! Where the destination has something, the source tells of each block which names it reaches to, how many entries it has and their
//! digest. What is here between these names is looked at as ever, and if it has that digest it is the block. Otherwise the
//! block comes after all, and what is told behind it waits, because an index means nothing before all earlier ones are known; but
//! it is compared and answered at once where its directory is known, so that a tree with many changes costs one round trip and not
//! one for each.

use std::{collections::VecDeque, io, sync::Arc};

use super::{Current, DirState, Existing, Found, Planner, Surroundings, backup, disk::existing};
use crate::{
    entry::Kind,
    limits,
    path::Name,
    root::{Dir, EntryType},
    sync::{Stage, SyncError},
    wire::sync::{BlockDigest, DestinationMessage, ListingEntry, SourceMessage, block_digest},
};

/// What of the listing is compared and cannot be planned yet.
#[derive(Default)]
pub(super) struct Comparing {
    /// In the order of the listing; the first block is on its way.
    waiting: VecDeque<Waiting>,
    /// Entries of the blocks that wait.
    entries: usize,
    /// Bytes of memory that those of them take which are here.
    bytes: usize,
    /// Directory and last name of the block that came last.
    reached: Option<(u32, Vec<u8>)>,
    /// The directory that was compared last, open and listed.
    own: Option<(u32, Arc<Dir>, Vec<Vec<u8>>)>,
    /// Answers that the source has not been told.
    answers: Vec<bool>,
    /// The listing's end has come, and waits.
    has_ended: bool,
}

/// Entries that an honest source can have told behind a block that is on its way: those that were not answered, and a block that was
/// just being told; doubled.
const WAITING_MAX: usize = limits::DIGEST_ENTRIES_AHEAD_MAX + 2 * limits::BLOCK_ENTRIES_MAX;

enum Waiting {
    /// It comes.
    Block { directory: u32, count: u32 },
    /// It is here.
    Here { directory: u32, entries: Vec<(ListingEntry, Found)>, bytes: usize },
    /// The end of the listing.
    End(SourceMessage),
}

impl Planner<'_> {
    /// Takes a message of the listing, in its turn.
    pub(super) fn in_turn(&mut self, message: SourceMessage) -> Result<super::More, SyncError> {
        match message {
            SourceMessage::ListingDigest { directory, last, count, hash } => {
                self.digest(directory, last, count, hash)?;
            }
            SourceMessage::Listing { directory, entries } if !self.comparing.waiting.is_empty() => {
                self.awaited(directory, entries)?;
                return self.go_on();
            }
            message if self.comparing.waiting.is_empty() => {
                if let SourceMessage::Listing { directory, entries } = &message {
                    let last = entries.last().map(|entry| entry.name.clone());
                    self.comparing.reached = last.map(|last| (*directory, last));
                }
                return self.message(message);
            }
            message @ SourceMessage::ListingEnd { .. } if !self.comparing.has_ended => {
                self.comparing.has_ended = true;
                self.comparing.waiting.push_back(Waiting::End(message));
            }
            _ => return Err(SyncError::Protocol("it goes on listing behind a block that is missing")),
        }
        Ok(super::More::Yes)
    }

    /// Tells the source what has been compared.
    pub(super) fn answer(&mut self) {
        let answers = std::mem::take(&mut self.comparing.answers);
        if !answers.is_empty() {
            self.say(DestinationMessage::Compared(answers));
        }
    }

    /// A block that is told by its digest: planned if it is here and nothing waits, answered at once in any case.
    fn digest(
        &mut self,
        directory: u32,
        last: Vec<u8>,
        count: u32,
        hash: BlockDigest,
    ) -> Result<(), SyncError> {
        if !self.shared.landing.destination().compares() {
            return Err(SyncError::Protocol("it tells digests where that was not agreed"));
        }
        self.comparing.entries += count as usize;
        if self.comparing.has_ended
            || count == 0
            || count as usize > limits::BLOCK_ENTRIES_MAX
            || self.comparing.entries > WAITING_MAX
        {
            return Err(SyncError::Protocol("a digest is of nothing, or of too much"));
        }
        let after = match self.comparing.reached.take() {
            Some((same, name)) if same == directory => name,
            _ => Vec::new(),
        };
        let here = self.here_as_told(directory, (&after, &last), count, hash);
        let here = here.filter(|entries| self.comparing.has_room(bytes_of(entries)));
        self.comparing.answers.push(here.is_some());
        self.comparing.reached = Some((directory, last));
        match here {
            Some(entries) if self.comparing.waiting.is_empty() => self.here(directory, entries)?,
            Some(entries) => {
                let bytes = bytes_of(&entries);
                self.comparing.bytes += bytes;
                self.comparing.waiting.push_back(Waiting::Here { directory, entries, bytes });
            }
            None => self.comparing.waiting.push_back(Waiting::Block { directory, count }),
        }
        Ok(())
    }

    /// What is here after one name and up to another, if it is just what the digest is of.
    fn here_as_told(
        &mut self,
        directory: u32,
        (after, last): (&[u8], &[u8]),
        count: u32,
        hash: BlockDigest,
    ) -> Option<Vec<(ListingEntry, Found)>> {
        let is_here = self.states.get(&directory) == Some(&DirState::Existing)
            || self.current.as_ref().is_some_and(|current| current.is_here(directory));
        if !is_here {
            return None;
        }
        let shared = self.shared;
        if self.comparing.own.as_ref().is_none_or(|own| own.0 != directory) {
            let opened = shared.tally.timed(Stage::Plan, || {
                let dir = shared.landing.dir(&shared.tree.read().expect("no holder panics"), directory)?;
                let mut names = dir.names()?;
                // It is not listed.
                let hidden = backup::name_in(shared, &shared.path_of(directory));
                names.retain(|name| Some(name) != hidden.as_ref());
                io::Result::Ok((directory, dir, names))
            });
            self.comparing.own = Some(opened.ok()?);
        }
        let (_, dir, names) = self.comparing.own.as_ref()?;
        let from = names.partition_point(|name| name.as_slice() <= after);
        let to = names.partition_point(|name| name.as_slice() <= last);
        let entries = shared
            .tally
            .timed(Stage::Plan, || look_at(dir, names.get(from..to)?, count as usize).ok().flatten())?;
        let is_same =
            entries.len() == count as usize && block_digest(entries.iter().map(|(entry, _)| entry)) == hash;
        is_same.then_some(entries)
    }

    /// Plans a block that is here.
    fn here(&mut self, directory: u32, entries: Vec<(ListingEntry, Found)>) -> Result<(), SyncError> {
        self.comparing.entries -= entries.len();
        self.rotated_away.clear();
        self.entries(directory, entries.into_iter().map(|(entry, found)| (entry, Some(found))))
    }

    /// A block that was told by its digest and has come after all.
    fn awaited(&mut self, directory: u32, entries: Vec<ListingEntry>) -> Result<(), SyncError> {
        match self.comparing.waiting.pop_front() {
            Some(Waiting::Block { directory: awaited, count })
                if awaited == directory && entries.len() == count as usize =>
            {
                self.comparing.entries -= entries.len();
                self.block(directory, entries)
            }
            _ => Err(SyncError::Protocol("it lists something else than its digest was of")),
        }
    }

    /// Plans what has waited, up to the next block that is on its way.
    fn go_on(&mut self) -> Result<super::More, SyncError> {
        while let Some(next) = self.comparing.waiting.pop_front() {
            match next {
                Waiting::Block { .. } => {
                    self.comparing.waiting.push_front(next);
                    break;
                }
                Waiting::Here { directory, entries, bytes } => {
                    self.comparing.bytes -= bytes;
                    self.here(directory, entries)?;
                }
                Waiting::End(message) => return self.message(message),
            }
        }
        Ok(super::More::Yes)
    }
}

impl Comparing {
    /// Whether a block that is here may wait. One that may not is asked for, as if it were not here.
    fn has_room(&self, bytes: usize) -> bool {
        self.waiting.is_empty() || self.bytes + bytes <= limits::DIGEST_BYTES_WAITING_MAX
    }
}

/// Bytes of memory that entries take. A link's target is in both halves.
fn bytes_of(entries: &[(ListingEntry, Found)]) -> usize {
    let target = |kind: &Kind| if let Kind::Symlink { target } = kind { target.len() } else { 0 };
    let of = |(entry, _): &(ListingEntry, Found)| {
        size_of::<(ListingEntry, Found)>() + entry.name.len() + 2 * target(&entry.kind)
    };
    entries.iter().map(of).sum()
}

impl Current {
    fn is_here(&self, directory: u32) -> bool {
        self.index == directory && self.dir.is_some() && self.surroundings == Surroundings::Existing
    }
}

/// What these names are, as a listing would tell it, without what is never listed; `None` if that is more than `count`.
fn look_at(dir: &Dir, names: &[Vec<u8>], count: usize) -> io::Result<Option<Vec<(ListingEntry, Found)>>> {
    let mut entries = Vec::with_capacity(count.min(names.len()));
    for name in names {
        if entries.len() > count {
            return Ok(None);
        }
        let stat = dir.stat(Name::new(name).expect("listed as a name"))?;
        let existing = existing(dir, Name::new(name).expect("listed as a name"), &stat)?;
        let kind = match (&stat.entry_type, &existing) {
            (EntryType::File, _) => Kind::File { size: stat.size },
            (EntryType::Directory, _) => Kind::Directory,
            (EntryType::Symlink, Existing::Symlink { target, .. }) => {
                Kind::Symlink { target: target.clone() }
            }
            _ => continue,
        };
        let entry = ListingEntry { name: name.clone(), kind, metadata: stat.metadata, extra: None };
        entries.push((entry, (existing, Some(stat))));
    }
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Metadata;

    /// Story: as many entries as may wait took half a gigabyte when they were links with long targets.
    #[test]
    fn what_waits_is_bounded_by_its_bytes() {
        let link = |target: usize| {
            let (target, metadata) = (vec![b'x'; target], Metadata::default());
            let kind = Kind::Symlink { target: target.clone() };
            let entry = ListingEntry { name: b"link".to_vec(), kind, metadata, extra: None };
            (entry, (Existing::Symlink { target, metadata }, None))
        };
        let (short, long) = (bytes_of(&[link(10)]), bytes_of(&[link(4000)]));
        assert_eq!(long - short, 2 * 3990);
        // As many ordinary ones as may wait find room, whatever they are.
        assert!(
            limits::DIGEST_ENTRIES_AHEAD_MAX * (short + 40) <= limits::DIGEST_BYTES_WAITING_MAX,
            "{short}"
        );
        let mut comparing = Comparing::default();
        assert!(comparing.has_room(usize::MAX), "what does not wait");
        comparing.waiting.push_back(Waiting::Block { directory: 0, count: 1 });
        comparing.bytes = limits::DIGEST_BYTES_WAITING_MAX - long;
        assert!(comparing.has_room(long) && !comparing.has_room(long + 1));
    }
}
