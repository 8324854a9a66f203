//! Which files are wanted and have not come, and when the last of them is written.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

/// Shared by the planner, which adds, and everyone who delivers.
#[derive(Debug)]
pub(super) struct Pending {
    state: Mutex<State>,
    all_written: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// One bit per entry: wanted, and nothing of it has come.
    wanted: Vec<u64>,
    /// Files wanted and neither written nor failed.
    open: u64,
    plan_ended: bool,
}

impl Default for Pending {
    fn default() -> Self {
        Self { state: Mutex::default(), all_written: watch::Sender::new(false) }
    }
}

impl Pending {
    /// The file is wanted from now on. To be called before the source is told.
    pub(super) fn want(&self, index: u32) {
        let (word, bit) = place(index);
        let mut state = self.state();
        if state.wanted.len() <= word {
            state.wanted.resize(word + 1, 0);
        }
        state.wanted[word] |= bit;
        state.open += 1;
    }

    /// Takes the file as coming; false if it was not wanted or is taken.
    pub(super) fn take(&self, index: u32) -> bool {
        let (word, bit) = place(index);
        let mut state = self.state();
        let Some(word) = state.wanted.get_mut(word) else { return false };
        let was_wanted = *word & bit != 0;
        *word &= !bit;
        was_wanted
    }

    /// A file that was taken is wanted in another way. To be called before the source is told.
    pub(super) fn want_again(&self, index: u32) {
        let (word, bit) = place(index);
        // It was wanted before, so its word is there.
        self.state().wanted[word] |= bit;
    }

    /// A file that was taken is written and checked, or has failed.
    pub(super) fn delivered(&self) {
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        self.notice(&state);
    }

    /// Nothing more will be wanted.
    pub(super) fn plan_ended(&self) {
        let mut state = self.state();
        state.plan_ended = true;
        self.notice(&state);
    }

    /// Ends the wait of [`Self::all_written`] whatever is missing.
    pub(super) fn abort(&self) {
        self.all_written.send_replace(true);
    }

    /// Whether [`Self::all_written`] has nothing to wait for.
    pub(super) fn is_over(&self) -> bool {
        *self.all_written.borrow()
    }

    /// Waits until the plan has ended and nothing is missing, or the sync is aborted. Cancel-safe.
    pub(super) async fn all_written(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let mut done = self.all_written.subscribe();
        let _sender_lives = done.wait_for(|&done| done).await;
    }

    fn notice(&self, state: &State) {
        if state.plan_ended && state.open == 0 {
            self.all_written.send_replace(true);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

fn place(index: u32) -> (usize, u64) {
    (index as usize / 64, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::Pending;

    #[test]
    fn a_file_is_taken_once_and_only_if_it_is_wanted() {
        let pending = Pending::default();
        pending.want(70);
        assert!(!pending.take(69));
        assert!(!pending.take(1_000_000));
        assert!(pending.take(70));
        assert!(!pending.take(70));
        pending.want_again(70);
        assert!(pending.take(70));
        assert!(!pending.take(70));
    }

    #[tokio::test]
    async fn the_wait_ends_with_the_last_delivery_after_the_plan() {
        let pending = Pending::default();
        pending.want(1);
        pending.plan_ended();
        assert!(!*pending.all_written.borrow());
        pending.delivered();
        pending.all_written().await;
    }
}
