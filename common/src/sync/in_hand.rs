//! The file that is on its way at the moment, as far as one can be named: for whoever watches, at a pace at which he can read.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    limits::CHUNK_BYTES,
    path::RelPath,
    wire::data::{FileAttempt, UnitHeader},
};

/// How long a file stays in hand at least. Chosen, not measured.
const SHOWN_MIN: Duration = Duration::from_millis(150);

/// How long a large file stays in hand of which nothing comes, while others do. Chosen, not measured.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a file is named of which nothing comes, nor of any other: slow links take a while for a chunk. Chosen, not measured.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A file on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInHand {
    /// Below the top of the sync; escape it before showing it.
    pub path: RelPath,
    /// Bytes of it that are on their way or through.
    pub bytes_done: u64,
    /// All its bytes.
    pub bytes_total: u64,
}

/// Which file a unit belongs to, or the first of a pack, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    index: u32,
    bytes_done: u64,
    bytes_total: u64,
}

impl Mark {
    /// That of a unit; none of an empty pack.
    pub(super) fn of(header: &UnitHeader) -> Option<Self> {
        Some(match header {
            UnitHeader::Pack { files, .. } => {
                let file = files.first()?;
                Self { index: file.index, bytes_done: 0, bytes_total: file.size.into() }
            }
            UnitHeader::Chunk { file: FileAttempt { index, size, .. }, number, .. } => {
                let bytes_done = number.saturating_mul(CHUNK_BYTES).min(*size);
                Self { index: *index, bytes_done, bytes_total: *size }
            }
            UnitHeader::FileEnd { file, .. } => {
                Self { index: file.index, bytes_done: file.size, bytes_total: file.size }
            }
        })
    }
}

/// What was noted last.
#[derive(Debug, Default)]
pub(super) struct InHand(Mutex<Option<Noted>>);

#[derive(Debug)]
struct Noted {
    index: u32,
    at: Instant,
    file: FileInHand,
}

impl InHand {
    /// Notes that a unit is on its way. `path` is asked now and then.
    pub(super) fn note(&self, mark: Option<Mark>, now: Instant, path: impl FnOnce(u32) -> Option<RelPath>) {
        let Some(Mark { index, bytes_done, bytes_total }) = mark else { return };
        // Whoever is there already notes as good a file.
        let Ok(mut last) = self.0.try_lock() else { return };
        match &mut *last {
            Some(noted) if noted.index == index => {
                noted.at = now;
                noted.file.bytes_done = bytes_done.max(noted.file.bytes_done.min(bytes_total));
                noted.file.bytes_total = bytes_total;
            }
            Some(noted) if now.saturating_duration_since(noted.at) < noted.stays() => {}
            _ => {
                if let Some(path) = path(index) {
                    let file = FileInHand { path, bytes_done, bytes_total };
                    *last = Some(Noted { index, at: now, file });
                }
            }
        }
    }

    /// The file in hand, if there is one.
    pub(super) fn get(&self, now: Instant) -> Option<FileInHand> {
        let last = self.0.lock().expect("no holder panics");
        let noted = last.as_ref().filter(|noted| now.saturating_duration_since(noted.at) < SILENCE_MAX)?;
        Some(noted.file.clone())
    }
}

impl Noted {
    fn stays(&self) -> Duration {
        if self.file.bytes_done < self.file.bytes_total && self.file.bytes_total > CHUNK_BYTES {
            PAUSE_MAX
        } else {
            SHOWN_MIN
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_stays_in_hand_until_it_is_through_or_stalls() {
        let (in_hand, start) = (InHand::default(), Instant::now());
        let chunk = |index, number| UnitHeader::Chunk {
            file: FileAttempt { index, attempt: 0, size: 4 * CHUNK_BYTES },
            number,
            size: 1 << 20,
            chaining_value: [0; 32],
            segments: Vec::new(),
        };
        let note = |header: &UnitHeader, milliseconds| {
            let path = |index: u32| RelPath::parse(index.to_string().as_bytes()).ok();
            in_hand.note(Mark::of(header), start + Duration::from_millis(milliseconds), path);
            let file = in_hand.get(start).unwrap();
            (file.path.to_string(), file.bytes_done / CHUNK_BYTES)
        };
        assert_eq!(note(&chunk(1, 2), 0), ("1".to_owned(), 2));
        assert_eq!(note(&chunk(1, 1), 10), ("1".to_owned(), 2), "chunks overtake each other");
        assert_eq!(note(&chunk(2, 1), 900), ("1".to_owned(), 2));
        assert_eq!(note(&chunk(2, 1), 1100), ("2".to_owned(), 1));
        let end = FileAttempt { index: 2, attempt: 0, size: 4 * CHUNK_BYTES };
        note(
            &UnitHeader::FileEnd { file: end, hash: [0; 32], metadata: crate::entry::Metadata::default() },
            1200,
        );
        assert_eq!(note(&chunk(3, 0), 1400), ("3".to_owned(), 0));
    }
}
