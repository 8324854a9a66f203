//! Owners and extended attributes of a listing, of which many are alike: each that is different is kept once.
//!
//! Both sides keep them, so that the source knows what the destination has room for.

use std::{collections::HashMap, sync::Arc};

use crate::{entry::Attributes, limits};

/// What a set takes beside the bytes of its names and values.
const SET_BYTES: usize = 64;

/// By index; 4 bytes for each entry.
#[derive(Debug, Default)]
pub(super) struct AttributeSets {
    numbers: HashMap<Arc<Attributes>, u32>,
    sets: Vec<Arc<Attributes>>,
    /// One more than the number of the entry's set.
    of: Vec<u32>,
    bytes: usize,
}

impl AttributeSets {
    /// Takes what is told of an entry; false if that would be more than a sync may have.
    pub(super) fn put(&mut self, index: u32, attributes: &Attributes) -> bool {
        let Some(number) = self.number(attributes) else { return false };
        let at = index as usize;
        if self.of.len() <= at {
            self.of.resize(at + 1, 0);
        }
        self.of[at] = number + 1;
        true
    }

    /// What was told of an entry, if anything was.
    pub(super) fn get(&self, index: u32) -> Option<Arc<Attributes>> {
        let number = self.of.get(index as usize)?.checked_sub(1)?;
        Some(Arc::clone(&self.sets[number as usize]))
    }

    fn number(&mut self, attributes: &Attributes) -> Option<u32> {
        if let Some(&number) = self.numbers.get(attributes) {
            return Some(number);
        }
        let bytes = self.bytes + SET_BYTES + attributes.xattr_bytes();
        if bytes > limits::XATTR_SETS_BYTES_MAX {
            return None;
        }
        self.bytes = bytes;
        let number = u32::try_from(self.sets.len()).expect("bounded by their bytes");
        let set = Arc::new(attributes.clone());
        self.sets.push(Arc::clone(&set));
        self.numbers.insert(set, number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::AttributeSets;
    use crate::{
        entry::{Attributes, Owner, Xattr},
        limits,
    };

    #[test]
    fn what_is_alike_is_kept_once() {
        let mut sets = AttributeSets::default();
        let of = |user| Attributes { owner: Some(Owner { user, group: 1 }), xattrs: None };
        for index in [1, 5, 7] {
            assert!(sets.put(index, &of(index % 5)));
        }
        assert_eq!((sets.sets.len(), sets.bytes), (3, 192));
        assert!(sets.put(9, &of(0)));
        assert_eq!(sets.sets.len(), 3);
        assert_eq!(sets.get(9).as_deref(), Some(&of(0)));
        assert_eq!((sets.get(0), sets.get(6), sets.get(100)), (None, None, None));
    }

    #[test]
    fn more_than_a_sync_may_have_is_not_taken() {
        let mut sets = AttributeSets::default();
        let value = |at: u32| [vec![0; 60_000], at.to_le_bytes().to_vec()].concat();
        let with = |at| {
            let xattrs = vec![Xattr { name: b"user.a".to_vec(), value: value(at) }];
            Attributes { owner: None, xattrs: Some(xattrs) }
        };
        let taken = (0..).take_while(|&at| sets.put(at, &with(at))).last().unwrap();
        assert_eq!(taken as usize + 1, limits::XATTR_SETS_BYTES_MAX / 60_074);
        assert!(sets.put(taken + 1, &with(0)), "what is there already");
    }
}
