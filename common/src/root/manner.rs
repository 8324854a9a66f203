//! How the calls on a root are made: what stands before them, and what of metadata and content they keep.
//!
//! Chosen once for a root and handed on to every directory and file that is reached from it.

use std::sync::Arc;

use super::gate::Gate;

/// One for each root.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    pub(super) gate: Option<Arc<dyn Gate>>,
    /// Setuid, setgid and sticky are seen and set.
    pub(super) special_bits: bool,
    /// Holes are not read, and runs of zeros are left out of what is written, so that they become holes.
    pub(super) sparse: bool,
}

impl Manner {
    /// The mode bits that are seen and set.
    pub(super) fn mode_bits(&self) -> u32 {
        if self.special_bits { 0o7777 } else { 0o777 }
    }
}
