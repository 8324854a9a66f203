//! A file that is only compared: read and hashed, and the hash told, many at a time.

use super::{Listed, ReadError, Reader, regular};
use crate::{
    limits::READ_ATTEMPTS_MAX,
    root::File,
    sync::source::Gone,
    wire::sync::{Digest, SourceMessage},
};

/// Hashes in a message. Chosen: 18 KB.
const DIGESTS_MAX: usize = 512;

impl Reader<'_> {
    pub(super) fn digest(&mut self, listed: &Listed, file: &File) -> Result<(), ReadError> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let before = regular(file)?;
            let hash = self.hash_file(file, before.size)?;
            let (Some(hash), true) = (hash, regular(file)?.same_content(&before)) else { continue };
            self.digests.push(Digest { index: listed.index, hash: hash.into() });
            if self.digests.len() >= DIGESTS_MAX {
                self.tell_digests()?;
            }
            return Ok(());
        }
        Err(ReadError::Changing)
    }

    pub(super) fn tell_digests(&mut self) -> Result<(), Gone> {
        let digests = std::mem::take(&mut self.digests);
        if digests.is_empty() { Ok(()) } else { self.shared.say(SourceMessage::Digests(digests)) }
    }
}
