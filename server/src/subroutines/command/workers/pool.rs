//! Which worker serves which call, and how many there are. Short and under one lock; nothing here waits.
//!
//! A *slot* is a place for one process at a time. It is idle with a process that waits for a call, or rests without one after processes that died at
//! once, or starts one, or serves. A call goes to the slot that was idle last, so that those that are not needed stay idle, and end. It waits where all
//! slots there may be are serving or about to end, which the bound of calls lets happen for a moment only.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::oneshot;

use super::{Home, Program, job::Job};

/// What slots and calls share.
pub(super) struct Pool {
    pub(super) program: Program,
    /// Whose they are; known from when the subroutine is registered.
    pub(super) home: OnceLock<Home>,
    state: Mutex<State>,
    /// Processes that live.
    pub(super) living: AtomicUsize,
    /// Those that have ended by themselves, or for what they did.
    pub(super) failed: AtomicU64,
}

#[derive(Default)]
struct State {
    slots: usize,
    /// Slots that start a process for whatever call waits then.
    starting: usize,
    waiting: VecDeque<Box<Job>>,
    idle: Vec<Bed>,
    resting: Vec<Bed>,
    last_id: u64,
    is_retired: bool,
}

/// A slot that waits to be given a call.
struct Bed {
    id: u64,
    call: oneshot::Sender<Box<Job>>,
}

/// A slot's right to be one. It is over when it is dropped.
pub(super) struct Place<'a> {
    pool: &'a Pool,
    id: u64,
    is_starting: bool,
    has_left: bool,
}

/// What a slot does next.
pub(super) enum Next {
    Serve(Box<Job>),
    /// It is given a call through this; or has to look again.
    Wait(oneshot::Receiver<Box<Job>>),
    Leave,
}

/// What a slot does after its process has died.
pub(super) enum Afterwards {
    Start(Option<Box<Job>>),
    /// It may be given a call before its time.
    Rest(oneshot::Receiver<Box<Job>>),
    Leave,
}

/// Where a call has gone.
pub(super) enum Taken {
    /// To a slot there is.
    Given,
    /// There must be another slot, which is counted already.
    New(u64, Box<Job>),
}

impl Pool {
    pub(super) fn new(program: Program) -> Self {
        let (living, failed) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { program, home: OnceLock::new(), state: Mutex::default(), living, failed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Finds a slot for a call.
    pub(super) fn take(&self, mut job: Box<Job>) -> Taken {
        let mut state = self.state();
        while let Some(bed) = state.idle.pop() {
            match bed.call.send(job) {
                Ok(()) => return Taken::Given,
                Err(back) => job = back,
            }
        }
        if state.starting > state.waiting.len() {
            state.waiting.push_back(job);
            return Taken::Given;
        }
        while let Some(bed) = state.resting.pop() {
            match bed.call.send(job) {
                Ok(()) => return Taken::Given,
                Err(back) => job = back,
            }
        }
        if state.slots < self.program.workers.max {
            let id = state.new_slot();
            return Taken::New(id, job);
        }
        state.waiting.push_back(job);
        Taken::Given
    }

    /// A slot that is missing, for as long as there are fewer than there should always be.
    pub(super) fn missing(&self) -> Option<u64> {
        let mut state = self.state();
        if state.is_retired || state.slots >= self.program.workers.min {
            return None;
        }
        state.starting += 1;
        Some(state.new_slot())
    }

    /// No slot is kept for calls to come.
    pub(super) fn retire(&self) {
        let mut state = self.state();
        state.is_retired = true;
        let beds = (std::mem::take(&mut state.idle), std::mem::take(&mut state.resting));
        drop(state);
        drop(beds);
    }

    /// The calls that wait are not served any more.
    pub(super) fn abandon(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        drop(waiting);
    }

    /// A slot that was counted by [`Self::take`] or [`Self::missing`].
    pub(super) fn place(&self, id: u64, is_starting: bool) -> Place<'_> {
        Place { pool: self, id, is_starting, has_left: false }
    }

    /// Whose they are, for the log.
    pub(super) fn name(&self) -> &str {
        self.home.get().map_or("", |home| &home.subroutine)
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }
}

impl State {
    fn new_slot(&mut self) -> u64 {
        self.slots += 1;
        self.last_id += 1;
        self.last_id
    }

    /// A call that somebody waits for.
    fn next_waiting(&mut self) -> Option<Box<Job>> {
        loop {
            let job = self.waiting.pop_front()?;
            if !job.is_given_up() {
                return Some(job);
            }
        }
    }
}

impl Place<'_> {
    /// What to do with a process that waits for a call.
    pub(super) fn next(&mut self) -> Next {
        let mut state = self.pool.state();
        self.has_started(&mut state);
        if let Some(job) = state.next_waiting() {
            return Next::Serve(job);
        }
        if state.is_retired {
            self.leave(&mut state);
            return Next::Leave;
        }
        let (call, given) = oneshot::channel();
        state.idle.push(Bed { id: self.id, call });
        Next::Wait(given)
    }

    /// Leaves after having been idle for long, unless it should stay; false where it is being given a call, too.
    pub(super) fn leave_if_surplus(&mut self) -> bool {
        let mut state = self.pool.state();
        let is_surplus = state.slots > self.pool.program.workers.min;
        let leaves = is_surplus && withdraw(&mut state.idle, self.id);
        if leaves {
            self.leave(&mut state);
        }
        leaves
    }

    /// Takes back that it is idle; false where it is being given a call.
    pub(super) fn withdraw(&self) -> bool {
        withdraw(&mut self.pool.state().idle, self.id)
    }

    /// Gives back a call that was not begun.
    pub(super) fn put_back(&self, job: Box<Job>) {
        self.pool.state().waiting.push_front(job);
    }

    /// The call that a process would have been for, had it started.
    pub(super) fn not_started(&mut self) -> Option<Box<Job>> {
        let mut state = self.pool.state();
        self.has_started(&mut state);
        state.next_waiting()
    }

    /// What to do without a process; with a `pause` not at once, unless there is a call.
    pub(super) fn afterwards(&mut self, pauses: bool) -> Afterwards {
        let mut state = self.pool.state();
        if let Some(job) = state.next_waiting() {
            return Afterwards::Start(Some(job));
        }
        if state.is_retired || state.slots > self.pool.program.workers.min {
            self.leave(&mut state);
            return Afterwards::Leave;
        }
        if pauses {
            let (call, given) = oneshot::channel();
            state.resting.push(Bed { id: self.id, call });
            return Afterwards::Rest(given);
        }
        self.start(&mut state);
        Afterwards::Start(None)
    }

    /// Takes back that it rests; false where it is being given a call.
    pub(super) fn has_rested(&mut self) -> bool {
        let mut state = self.pool.state();
        let has_rested = withdraw(&mut state.resting, self.id);
        if has_rested {
            self.start(&mut state);
        }
        has_rested
    }

    fn start(&mut self, state: &mut State) {
        state.starting += 1;
        self.is_starting = true;
    }

    fn has_started(&mut self, state: &mut State) {
        state.starting -= usize::from(std::mem::take(&mut self.is_starting));
    }

    fn leave(&mut self, state: &mut State) {
        self.has_started(state);
        if !std::mem::replace(&mut self.has_left, true) {
            state.slots -= 1;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        withdraw(&mut state.idle, self.id);
        withdraw(&mut state.resting, self.id);
        self.leave(&mut state);
        if state.slots == 0 {
            // There is none left to serve them.
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            drop(waiting);
        }
    }
}

fn withdraw(beds: &mut Vec<Bed>, id: u64) -> bool {
    let before = beds.len();
    beds.retain(|bed| bed.id != id);
    beds.len() < before
}
