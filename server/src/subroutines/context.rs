//! What a function is given beside its arguments.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use swarmwire_certs::Fingerprint;
use swarmwire_common::transport::Share;

use super::{processes::Processes, registry::Occupied};
use crate::{connection::Session, pool::Handler};

/// About the call. Cheap to clone; the call's handler is free again when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) subroutine: Arc<str>,
    pub(crate) caller: Fingerprint,
    pub(crate) id: u64,
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) session: Arc<Session>,
    pub(crate) _room: Arc<Room>,
}

/// What a running call takes up.
#[derive(Debug)]
pub(crate) struct Room {
    /// Before the call's place, whose end is waited for.
    pub(crate) _handler: Option<Handler>,
    pub(crate) _occupied: Occupied,
    pub(crate) _share: Share,
    /// Where what is started for it is counted.
    pub(crate) processes: Processes,
    /// Whether a process works for the call, which is ended with it, and takes this up until it is.
    pub(crate) has_process: AtomicBool,
}

impl Room {
    /// From now on whoever [waits](super::Registered::left) for it to be free waits for the end of a process.
    pub(crate) fn gets_process(&self) {
        self.has_process.store(true, Relaxed);
    }
}

impl Context {
    /// The name that was called.
    pub fn subroutine(&self) -> &str {
        &self.subroutine
    }

    /// Whose call it is.
    pub fn caller(&self) -> Fingerprint {
        self.caller
    }

    /// One more with each call of this subroutine, from 1 on.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When the caller, or the subroutine's own bound, gives it up.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether nobody waits for the end any longer. An async function is dropped then and need not ask.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }
}

/// Says so when it is dropped.
#[derive(Debug)]
pub(crate) struct Cancel(pub(crate) Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
