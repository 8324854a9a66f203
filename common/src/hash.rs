//! BLAKE3 of chunks and files: the chunks' chaining values merge into the plain `b3sum` of the file.
//!
//! A file of more than `CHUNK_BYTES` is cut into aligned chunks of that size; each is a subtree of the file's BLAKE3 tree and hashed on
//! its own ([`chunk_chaining_value`]), in any order. [`TreeHasher`] merges the values as they come (BLAKE3 specification §2.1: the
//! left subtree is the largest power of two of chunks that leaves something to the right). A chaining value is not a hash: it is
//! comparable only for the same offset.

use std::collections::BTreeMap;

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};

use crate::limits::{CHUNK_BYTES, CHUNKS_AHEAD_MAX};

/// Chaining value of chunk `number` of a file that has more than one chunk. `bytes` is the whole chunk, not empty.
pub fn chunk_chaining_value(number: u64, bytes: &[u8]) -> ChainingValue {
    Hasher::new().set_input_offset(number * CHUNK_BYTES).update(bytes).finalize_non_root()
}

/// Merges the chaining values of a file's chunks, which may come in any order, into the file's hash.
///
/// Memory: a value for each power of two of chunks merged, and one for each complete subtree ahead of the first gap.
#[derive(Debug)]
pub struct TreeHasher {
    chunks: u64,
    /// Chunks merged into `stack`: all before the first gap.
    merged: u64,
    /// Complete subtrees from the left, each of a smaller power of two chunks than the one before.
    stack: Vec<ChainingValue>,
    /// By their first chunk, which is never the file's first: so none of them is the root.
    ahead: BTreeMap<u64, Subtree>,
}

/// An aligned power of two of chunks that have all come.
#[derive(Clone, Copy, Debug)]
struct Subtree {
    chunks: u64,
    value: ChainingValue,
}

impl TreeHasher {
    /// For a file of `chunks` chunks, at least 2.
    pub fn new(chunks: u64) -> Self {
        Self { chunks, merged: 0, stack: Vec::new(), ahead: BTreeMap::new() }
    }

    /// Takes the value of chunk `number`.
    pub fn add(&mut self, number: u64, value: ChainingValue) -> Result<(), TreeHashError> {
        if number >= self.chunks {
            return Err(TreeHashError::OutOfRange);
        }
        let before = self.ahead.range(..=number).next_back();
        let has_come = before.is_some_and(|(&first, subtree)| number < first + subtree.chunks);
        if number < self.merged || has_come {
            return Err(TreeHashError::Duplicate);
        }
        let single = Subtree { chunks: 1, value };
        if number != self.merged {
            return self.keep(number, single);
        }
        self.push(single);
        while let Some(subtree) = self.ahead.remove(&self.merged) {
            self.push(subtree);
        }
        Ok(())
    }

    /// Keeps a chunk ahead of the first gap, merged with its neighbours as far as they have come.
    fn keep(&mut self, number: u64, single: Subtree) -> Result<(), TreeHashError> {
        if self.ahead.len() >= CHUNKS_AHEAD_MAX {
            return Err(TreeHashError::TooFarAhead);
        }
        let (mut first, mut subtree) = (number, single);
        loop {
            let is_left = first & subtree.chunks == 0;
            let neighbour = if is_left { first + subtree.chunks } else { first - subtree.chunks };
            let Some(other) = self.ahead.get(&neighbour).filter(|other| other.chunks == subtree.chunks)
            else {
                self.ahead.insert(first, subtree);
                return Ok(());
            };
            let (left, right) =
                if is_left { (&subtree.value, &other.value) } else { (&other.value, &subtree.value) };
            let value = merge_subtrees_non_root(left, right, Mode::Hash);
            self.ahead.remove(&neighbour);
            (first, subtree) = (first.min(neighbour), Subtree { chunks: 2 * subtree.chunks, value });
        }
    }

    /// Whether every chunk has come.
    pub fn is_complete(&self) -> bool {
        self.merged == self.chunks
    }

    /// The file's hash, once complete.
    pub fn finish(mut self) -> Option<blake3::Hash> {
        if !self.is_complete() || self.stack.len() < 2 {
            return None;
        }
        let mut right = self.stack.pop()?;
        while self.stack.len() > 1 {
            right = merge_subtrees_non_root(&self.stack.pop()?, &right, Mode::Hash);
        }
        Some(merge_subtrees_root(&self.stack.pop()?, &right, Mode::Hash))
    }

    /// Appends the next subtree, merging equal ones, except at the end: what the last one completes may be the root, which is hashed
    /// differently.
    fn push(&mut self, Subtree { chunks, mut value }: Subtree) {
        self.merged += chunks;
        if self.merged < self.chunks {
            for _ in 0..(self.merged / chunks).trailing_zeros() {
                let left = self.stack.pop().expect("a subtree of the same size stands to the left");
                value = merge_subtrees_non_root(&left, &value, Mode::Hash);
            }
        }
        self.stack.push(value);
    }
}

/// Why a chunk's value cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeHashError {
    /// The file has no such chunk.
    #[error("a chunk lies beyond the end of the file")]
    OutOfRange,
    /// The chunk has come before.
    #[error("a chunk came twice")]
    Duplicate,
    /// More chunks are ahead of the first gap than an honest source sends.
    #[error("too many chunks came before an earlier one")]
    TooFarAhead,
}

#[cfg(test)]
mod tests {
    use super::{TreeHashError, TreeHasher, chunk_chaining_value};
    use crate::limits::CHUNK_BYTES;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    #[test]
    fn chunks_in_any_order_merge_into_the_plain_hash() {
        let chunk = usize::try_from(CHUNK_BYTES).unwrap();
        for size in [
            chunk + 1,
            2 * chunk,
            2 * chunk + 7,
            3 * chunk,
            4 * chunk,
            5 * chunk - 1,
            7 * chunk,
            8 * chunk + 3,
        ] {
            let bytes = content(size);
            let values: Vec<_> = bytes
                .chunks(chunk)
                .enumerate()
                .map(|(number, bytes)| (number as u64, chunk_chaining_value(number as u64, bytes)))
                .collect();
            for rotation in 0..values.len() {
                let mut order = values.clone();
                order.rotate_left(rotation);
                let mut tree = TreeHasher::new(values.len() as u64);
                for &(number, value) in order.iter().rev() {
                    tree.add(number, value).unwrap();
                }
                assert_eq!(tree.finish(), Some(blake3::hash(&bytes)), "{size} bytes, rotation {rotation}");
                let mut tree = TreeHasher::new(values.len() as u64);
                for (number, value) in order {
                    tree.add(number, value).unwrap();
                }
                assert_eq!(tree.finish(), Some(blake3::hash(&bytes)), "{size} bytes, from {rotation} on");
            }
        }
    }

    #[test]
    fn a_hostile_order_is_refused() {
        let mut tree = TreeHasher::new(1 << 40);
        assert_eq!(tree.add(1 << 40, [0; 32]), Err(TreeHashError::OutOfRange));
        assert_eq!(tree.add(0, [0; 32]), Ok(()));
        assert_eq!(tree.add(0, [0; 32]), Err(TreeHashError::Duplicate));
        for number in 1000..200_000 {
            assert_eq!(tree.add(number, [0; 32]), Ok(()), "what comes in a row is merged");
        }
        assert_eq!(tree.add(1234, [0; 32]), Err(TreeHashError::Duplicate));
        let ahead =
            (1..).map(|at| 300_000 + 2 * at).find(|&number| tree.add(number, [0; 32]).is_err()).unwrap();
        assert_eq!(tree.add(ahead, [0; 32]), Err(TreeHashError::TooFarAhead));
        assert_eq!(tree.add(1, [0; 32]), Ok(()), "the gap can still be filled");
        assert_eq!(tree.finish(), None);
    }
}
