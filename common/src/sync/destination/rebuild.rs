//! New content from old: what a patch copies, what came with it, and zeros.
//!
//! A patch that reaches beyond what was told, or does not add up, is the source's fault and ends the sync. One that adds up to something else than
//! the hash says is most likely nobody's: somebody has written to the old file since it was told. Then that entry fails.

use std::io;

use super::{Shared, UNWANTED, bases::Basis};
use crate::{
    root::{File, describe},
    sync::{Stage, SyncError, unit::Buffer},
    wire::data::Segment,
    zeros,
};

/// What an entry is told whose old version did not stay as it was.
pub(super) const BASIS_CHANGED: &str = "what it was to be built from was changed meanwhile; sync again";

/// What an entry is told that should be a copy of another one.
const CHANGED: &str = "that has not come or was changed meanwhile; sync again";

/// Why an old version cannot be used.
pub(super) const BASIS_UNREADABLE: &str = "what it was to be built from cannot be read";

/// Bytes that are read, hashed and written at a time, so that they stay in the processor's caches on the way.
const PIECE_BYTES: usize = 128 * 1024;

/// A patch that cannot be of what was told.
pub(super) const MISFIT: SyncError = SyncError::Protocol("a patch does not fit what it was made for");

/// Puts content of `size` bytes together in a buffer. An outer error ends the sync, an inner one the file.
pub(super) fn content(
    shared: &Shared,
    index: u32,
    segments: &[Segment],
    mut literals: &[u8],
    size: usize,
) -> Result<io::Result<Buffer>, SyncError> {
    check(shared, index, segments, (literals.len(), size))?;
    let basis = shared.bases.get(index);
    let opened = match basis.as_deref().map(|basis| basis.open(shared, index)).transpose() {
        Ok(opened) => opened,
        Err(err) => return Ok(Err(err)),
    };
    let mut out = shared.pool.take();
    out.bytes.reserve(size);
    for segment in segments {
        match *segment {
            Segment::Literal { size } => {
                let bytes;
                (bytes, literals) = literals.split_at(size as usize);
                out.bytes.extend_from_slice(bytes);
            }
            Segment::Zeros { size } => zeros::append(size as usize, &mut out.bytes),
            Segment::Copy { offset, size } => {
                let opened = opened.as_ref().ok_or(UNWANTED)?;
                if let Err(err) = opened.read(shared, (offset, size as usize), &mut out.bytes) {
                    return Ok(Err(err));
                }
            }
        }
    }
    Ok(Ok(out))
}

/// Checks a patch that makes `size` bytes and has so many literal ones. An error ends the sync.
pub(super) fn check(
    shared: &Shared,
    index: u32,
    segments: &[Segment],
    (literals, size): (usize, usize),
) -> Result<(), SyncError> {
    let basis = shared.bases.get(index);
    let (mut all, mut literal) = (0_u64, 0_u64);
    for segment in segments {
        all += u64::from(segment.size());
        match *segment {
            Segment::Literal { size } => literal += u64::from(size),
            Segment::Zeros { .. } if shared.options.preserve.sparse => {}
            Segment::Zeros { .. } => {
                return Err(SyncError::Protocol("it tells zeros though nobody asked for holes"));
            }
            Segment::Copy { offset, size } => {
                let basis = basis.as_deref().ok_or(UNWANTED)?;
                if offset.checked_add(size.into()).is_none_or(|end| end > basis.len()) {
                    return Err(MISFIT);
                }
            }
        }
    }
    let fits = u64::try_from(size) == Ok(all) && u64::try_from(literals) == Ok(literal);
    if fits { Ok(()) } else { Err(MISFIT) }
}

/// Writes what a patch, which was checked, makes to `out`; gives its hash.
pub(super) fn write(
    shared: &Shared,
    index: u32,
    (segments, mut literals): (&[Segment], &[u8]),
    out: &File,
) -> io::Result<blake3::Hash> {
    let basis = shared.bases.get(index);
    let opened = basis
        .as_deref()
        .map(|basis| basis.open(shared, index))
        .transpose()
        .map_err(|err| unreadable(&err))?;
    let mut pieces = Pieces::new(shared, out);
    for segment in segments {
        let bytes = u64::from(segment.size());
        match *segment {
            Segment::Literal { size } => {
                let mut left;
                (left, literals) = literals.split_at(size as usize);
                pieces.add(bytes, |_, due, buffer| {
                    let piece;
                    (piece, left) = left.split_at(due);
                    buffer.extend_from_slice(piece);
                    Ok(())
                })?;
            }
            Segment::Zeros { .. } => pieces.add(bytes, |_, due, buffer| {
                zeros::append(due, buffer);
                Ok(())
            })?,
            Segment::Copy { offset, .. } => {
                let opened = opened.as_ref().ok_or(io::ErrorKind::NotFound)?;
                pieces.add(bytes, |at, due, buffer| {
                    opened.read(shared, (offset + at, due), buffer).map_err(|err| unreadable(&err))
                })?;
            }
        }
    }
    pieces.finish()
}

/// Copies a file of `size` bytes that has come and is in place to `out`, as long as it still has this hash.
pub(super) fn copy(
    shared: &Shared,
    (from, size): (&File, u64),
    hash: &[u8; 32],
    out: &File,
) -> io::Result<()> {
    let mut pieces = Pieces::new(shared, out);
    pieces.add(size, |at, due, buffer| {
        // The file may take an hour, and the sync may be over.
        if shared.duplicates.is_aborted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let read = shared.tally.timed(Stage::Read, || from.read_at(at, due, buffer))?;
        if read == due { Ok(()) } else { Err(io::Error::other(CHANGED)) }
    })?;
    if pieces.finish()? == *hash { Ok(()) } else { Err(io::Error::other(CHANGED)) }
}

/// Copies all that was told of a basis to `out`, as long as it has this hash.
pub(super) fn whole(
    shared: &Shared,
    index: u32,
    (basis, hash): (&Basis, &[u8; 32]),
    out: &File,
) -> io::Result<()> {
    let opened = basis.open(shared, index)?;
    let mut pieces = Pieces::new(shared, out);
    pieces.add(basis.len(), |at, due, buffer| opened.read(shared, (at, due), buffer))?;
    if pieces.finish()? == *hash { Ok(()) } else { Err(io::Error::other(BASIS_CHANGED)) }
}

fn unreadable(err: &io::Error) -> io::Error {
    io::Error::new(err.kind(), format!("{BASIS_UNREADABLE}: {}", describe(err)))
}

/// A file that is written piece by piece, each of which is hashed as it passes.
struct Pieces<'a> {
    shared: &'a Shared,
    out: &'a File,
    /// What is not written yet.
    buffer: Buffer,
    /// Bytes that are.
    written: u64,
    hasher: blake3::Hasher,
}

impl<'a> Pieces<'a> {
    fn new(shared: &'a Shared, out: &'a File) -> Self {
        Self { shared, out, buffer: shared.pool.take(), written: 0, hasher: blake3::Hasher::new() }
    }

    /// Adds `size` bytes, of which `fill` appends so many to the buffer from so many on.
    fn add(
        &mut self,
        size: u64,
        mut fill: impl FnMut(u64, usize, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut at = 0;
        while at < size {
            let room = PIECE_BYTES - self.buffer.bytes.len();
            let due = usize::try_from(size - at).unwrap_or(usize::MAX).min(room);
            fill(at, due, &mut self.buffer.bytes)?;
            at += u64::try_from(due).expect("at most a piece");
            // Pieces begin at multiples of their size, as holes do.
            if self.buffer.bytes.len() == PIECE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (tally, bytes) = (&self.shared.tally, &self.buffer.bytes);
        tally.timed(Stage::Hash, || self.hasher.update(bytes));
        tally.timed(Stage::Write, || self.out.write_at(self.written, bytes))?;
        self.written += u64::try_from(bytes.len()).expect("at most a piece");
        self.buffer.bytes.clear();
        Ok(())
    }

    /// Writes the rest; gives the hash of all.
    fn finish(mut self) -> io::Result<blake3::Hash> {
        if !self.buffer.bytes.is_empty() {
            self.flush()?;
        }
        Ok(self.hasher.finalize())
    }
}
