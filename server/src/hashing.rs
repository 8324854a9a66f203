//! The hash of a file that may change while it is read. Blocks.

use std::io;

use swarmwire_common::{
    limits,
    path::Name,
    root::{Dir, EntryType, File, Stat},
};

/// Bytes of a file that are read and hashed at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// Hashes what the name leads to now, with what that is; the hash is that of a file which stood still. Fails with `Interrupted` once nobody waits for it.
pub(crate) fn hashed(
    dir: &Dir,
    name: Name<'_>,
    is_given_up: impl Fn() -> bool,
) -> io::Result<(Stat, Option<[u8; 32]>)> {
    let file = dir.open_file(name)?;
    for _ in 0..limits::READ_ATTEMPTS_MAX {
        let before = file.stat()?;
        if before.entry_type != EntryType::File {
            return Ok((before, None));
        }
        let hash = hash_of(&file, before.size, &is_given_up)?;
        if file.stat()?.same_content(&before) {
            return Ok((before, Some(hash)));
        }
    }
    Err(io::Error::other("it changed each time while it was read"))
}

/// The hash of what is in the file, which should be `size` bytes; of one that has more, of something else.
pub(crate) fn hash_of(file: &File, size: u64, is_given_up: impl Fn() -> bool) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut piece = Vec::new();
    let mut offset = 0;
    loop {
        piece.clear();
        let count = file.read_at(offset, PIECE_BYTES, &mut piece)?;
        hasher.update(&piece);
        offset += u64::try_from(count).expect("usize has 64 bits or fewer");
        if count < PIECE_BYTES || offset > size {
            return Ok(hasher.finalize().into());
        }
        if is_given_up() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
}
