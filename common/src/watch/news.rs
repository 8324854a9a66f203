//! What one side of a watch hears and the other acts on: one place between a thread or task that fills it and a task that takes.

use std::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use tokio::{
    sync::Notify,
    time::{sleep_until, timeout_at},
};

use super::{Changed, Pace, Seen};
use crate::path::RelPath;

/// Changes as they are heard of. There is one who waits.
#[derive(Debug, Default)]
pub struct News {
    state: Mutex<State>,
    told: Notify,
}

#[derive(Debug, Default)]
struct State {
    changed: Changed,
    is_ready: bool,
    end: Option<End>,
}

/// Why nothing more will be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// What was watched is not there any longer, or whoever told of it.
    Gone,
    /// The system does not let all of it be watched; why. What comes from a peer is to be escaped.
    Refused(String),
}

impl News {
    /// With room for `paths_max` changes.
    pub fn bounded(paths_max: usize) -> Self {
        let state = State { changed: Changed::bounded(paths_max), ..State::default() };
        Self { state: Mutex::new(state), told: Notify::new() }
    }

    /// These have changed.
    pub fn tell(&self, paths: impl IntoIterator<Item = RelPath>, now: Instant) {
        let mut state = self.state();
        paths.into_iter().for_each(|path| state.changed.add(path, now));
        drop(state);
        self.told.notify_one();
    }

    /// Changes were missed.
    pub fn tell_everything(&self, now: Instant) {
        self.state().changed.add_everything(now);
        self.told.notify_one();
    }

    /// From now on no change is missed.
    pub fn tell_ready(&self) {
        self.state().is_ready = true;
        self.told.notify_one();
    }

    /// Nothing more will be heard. What is told first counts.
    pub fn tell_end(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.told.notify_one();
    }

    /// Waits until no change is missed any longer. Cancel-safe.
    pub async fn ready(&self) -> Result<(), End> {
        loop {
            {
                let state = self.state();
                match &state.end {
                    Some(end) => return Err(end.clone()),
                    None if state.is_ready => return Ok(()),
                    None => {}
                }
            }
            self.told.notified().await;
        }
    }

    /// Waits until it is time to act, and gives what has changed. Cancel-safe.
    pub async fn next(&self, pace: &Pace) -> Result<Seen, End> {
        loop {
            let due = {
                let mut state = self.state();
                if let Some(end) = &state.end {
                    return Err(end.clone());
                }
                let due = state.changed.due(pace);
                if due.is_some_and(|due| due <= Instant::now()) {
                    return Ok(state.changed.take());
                }
                due
            };
            match due {
                // More of them move it.
                Some(due) => {
                    let _changed = timeout_at(due.into(), self.told.notified()).await;
                    let earliest = pace.not_before.filter(|earliest| *earliest > Instant::now());
                    if let Some(earliest) = earliest {
                        // Nothing is due before, however much is told.
                        sleep_until(earliest.into()).await;
                    }
                }
                None => self.told.notified().await,
            }
        }
    }

    /// Whether nothing is known that nobody has acted on.
    pub fn is_idle(&self) -> bool {
        self.state().changed.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}
