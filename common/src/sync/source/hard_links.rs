//! Which listed files have several names (`--hard-links`).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use crate::root::Stat;

/// Device and inode: what two names of one file have in common.
type Identity = (u64, u64);

/// Files with more than one name, by the first that was listed.
#[derive(Debug, Default)]
pub(super) struct HardLinks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    firsts: HashMap<Identity, u32>,
    identities: HashMap<u32, Identity>,
}

impl HardLinks {
    /// The file that was listed before and is the same as this one, which is listed with `index`; without one this is the first.
    pub(super) fn first(&self, stat: &Stat, index: u32) -> Option<u32> {
        if !stat.has_links {
            return None;
        }
        let (mut state, identity) = (self.state(), identity(stat));
        if let Some(&first) = state.firsts.get(&identity) {
            return Some(first);
        }
        state.firsts.insert(identity, index);
        state.identities.insert(index, identity);
        None
    }

    /// Whether a file that others may be links to still is the one that was listed.
    pub(super) fn is_as_listed(&self, index: u32, now: &Stat) -> bool {
        self.state().identities.get(&index).is_none_or(|&listed| listed == identity(now))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

fn identity(stat: &Stat) -> Identity {
    (stat.device, stat.inode)
}
