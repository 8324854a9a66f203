//! New content from old: what a patch copies, what came with it, and zeros.
//!
//! A patch that reaches beyond what was told, or does not add up, is the source's fault and ends the sync. One that adds up to something else than
//! the hash says is most likely nobody's: somebody has written to the old file since it was told. Then that entry fails.

use std::io;

use super::{Shared, UNWANTED, bases::Basis};
use crate::{
    limits::CHUNK_BYTES,
    root::File,
    sync::{SyncError, unit::Buffer},
    wire::data::Segment,
    zeros,
};

/// What an entry is told whose old version did not stay as it was.
pub(super) const BASIS_CHANGED: &str = "what it was to be built from was changed meanwhile; sync again";

/// What an entry is told that should be a copy of another one.
const CHANGED: &str = "that has not come or was changed meanwhile; sync again";

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
    let basis = shared.bases.get(index);
    check(segments, literals.len(), size, basis.as_deref())?;
    if !shared.options.preserve.sparse
        && segments.iter().any(|segment| matches!(segment, Segment::Zeros { .. }))
    {
        return Err(SyncError::Protocol("it tells zeros though nobody asked for holes"));
    }
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
                let basis = basis.as_deref().ok_or(UNWANTED)?;
                if let Err(err) = basis.read(shared, index, (offset, size), &mut out.bytes) {
                    return Ok(Err(err));
                }
            }
        }
    }
    Ok(Ok(out))
}

fn check(segments: &[Segment], literals: usize, size: usize, basis: Option<&Basis>) -> Result<(), SyncError> {
    let (mut all, mut literal) = (0_u64, 0_u64);
    for segment in segments {
        all += u64::from(segment.size());
        match *segment {
            Segment::Literal { size } => literal += u64::from(size),
            Segment::Zeros { .. } => {}
            Segment::Copy { offset, size } => {
                let basis = basis.ok_or(UNWANTED)?;
                if offset.checked_add(size.into()).is_none_or(|end| end > basis.len()) {
                    return Err(MISFIT);
                }
            }
        }
    }
    let fits = u64::try_from(size) == Ok(all) && u64::try_from(literals) == Ok(literal);
    if fits { Ok(()) } else { Err(MISFIT) }
}

/// Copies a file of `size` bytes that has come and is in place to `out`, as long as it still has this hash.
pub(super) fn copy(
    shared: &Shared,
    (from, size): (&File, u64),
    hash: &[u8; 32],
    out: &File,
) -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = shared.pool.take();
    for offset in (0..size).step_by(usize::try_from(CHUNK_BYTES).expect("1 MiB")) {
        buffer.bytes.clear();
        let due = usize::try_from(CHUNK_BYTES.min(size - offset)).expect("at most a chunk");
        // The file may take an hour, and the sync may be over.
        if shared.duplicates.is_aborted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if from.read_at(offset, due, &mut buffer.bytes)? != due {
            return Err(io::Error::other(CHANGED));
        }
        hasher.update(&buffer.bytes);
        out.write_at(offset, &buffer.bytes)?;
    }
    if hasher.finalize() == *hash { Ok(()) } else { Err(io::Error::other(CHANGED)) }
}

/// Copies all that was told of a basis to `out`, as long as it still is what was told.
pub(super) fn whole(shared: &Shared, index: u32, basis: &Basis, out: &File) -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = shared.pool.take();
    let mut offset = 0;
    while offset < basis.len() {
        buffer.bytes.clear();
        let due = u32::try_from(CHUNK_BYTES.min(basis.len() - offset)).expect("at most a chunk");
        basis.read(shared, index, (offset, due), &mut buffer.bytes)?;
        hasher.update(&buffer.bytes);
        out.write_at(offset, &buffer.bytes)?;
        offset += u64::from(due);
    }
    if *hasher.finalize().as_bytes() == basis.hash { Ok(()) } else { Err(io::Error::other(BASIS_CHANGED)) }
}
