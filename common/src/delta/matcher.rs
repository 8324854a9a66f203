//! Finds an old file's chunks in a new one.

use std::collections::HashMap;

use super::{ChunkHash, Cuts, Signature, chunk_hash};
use crate::wire::data::Segment;

/// The state of matching one new file against one signature.
#[derive(Debug)]
pub struct Matcher<'a> {
    signature: &'a Signature,
    /// Where each chunk begins in the old file, by number.
    offsets: Vec<u64>,
    by_hash: HashMap<&'a ChunkHash, usize>,
    /// The chunk that follows the last match; none while there is no match to go on from.
    next: Option<usize>,
}

impl<'a> Matcher<'a> {
    /// At the start of a new file.
    pub fn new(signature: &'a Signature) -> Self {
        let mut offsets = Vec::with_capacity(signature.chunks.len());
        let mut by_hash = HashMap::with_capacity(signature.chunks.len());
        let mut offset = 0;
        for (number, (size, hash)) in signature.chunks.iter().enumerate() {
            offsets.push(offset);
            // The first of equal chunks, so that the copies of a run of them read on.
            by_hash.entry(hash).or_insert(number);
            offset += u64::from(*size);
        }
        Self { signature, offsets, by_hash, next: Some(0) }
    }

    /// How far ahead [`Self::next`] wants to see.
    pub fn longest(&self) -> usize {
        self.signature.cuts.longest()
    }

    /// Where the next bytes of the new file come from. `ahead` is not empty and has [`Self::longest`] bytes, or all that are left.
    pub fn next(&mut self, ahead: &[u8]) -> Segment {
        if let Some(number) = self.next {
            let (size, hash) = &self.signature.chunks.get(number).copied().unwrap_or_default();
            let here =
                usize::try_from(*size).ok().filter(|&size| size > 0).and_then(|size| ahead.get(..size));
            if here.is_some_and(|here| chunk_hash(here) == *hash) {
                return self.copy(number);
            }
        }
        let cuts: Cuts = self.signature.cuts;
        let size = cuts.first(ahead);
        match self.by_hash.get(&chunk_hash(&ahead[..size])) {
            Some(&number) if self.signature.chunks[number].0 as usize == size => self.copy(number),
            _ => {
                self.next = None;
                Segment::Literal { size: u32::try_from(size).expect("at most 4 MiB") }
            }
        }
    }

    fn copy(&mut self, number: usize) -> Segment {
        self.next = Some(number + 1);
        Segment::Copy { offset: self.offsets[number], size: self.signature.chunks[number].0 }
    }
}
