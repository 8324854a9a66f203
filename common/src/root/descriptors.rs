//! How many files this process may hold open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes all descriptors that the system grants. A sync may hold thousands, and the usual soft limit of 1,024 is less than a full
/// pool of a gateway needs; without one left its list of clients cannot be read, and then nobody is known.
pub fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where the system refuses, the limit stays what it is.
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// How many files one sync may hold open beside those that it works on: at most `most`, and so few that a full pool of handlers, which
/// has 64 by default, leaves room.
pub(crate) fn share(most: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / 128).unwrap_or(usize::MAX).clamp(1, most)
}
