//! The handler pool: how many channels are served at the same time.
//!
//! Nobody waits for a handler: one is free or the peer is told to come back. A [`Handler`] goes back to the pool when it is
//! dropped, however its task ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use tokio::sync::Notify;

/// Cheap to clone; all clones are one pool.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Shared {
    /// Handlers in use, in units of [`HANDLER`], and channels whose answer may not have arrived, with or without a handler. Both in one number, so that
    /// who sees zero has seen both at the same moment.
    counts: AtomicU64,
    is_idle: Notify,
    /// Whether anything was given back since [`Pool::was_used`] was asked.
    was_used: AtomicBool,
}

const HANDLER: u64 = 1 << 32;
const ANSWER: u64 = 1;

impl Pool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { shared: Arc::default(), limit }
    }

    /// Takes a handler, or `None` at once when all are in use.
    pub(crate) fn try_take(&self) -> Option<Handler> {
        let limit = self.limit as u64;
        let take = |counts| (counts / HANDLER < limit).then_some(counts + HANDLER);
        self.shared.counts.fetch_update(SeqCst, SeqCst, take).ok()?;
        Some(Handler(Counted { shared: Arc::clone(&self.shared), unit: HANDLER }))
    }

    /// How many there are.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        usize::try_from(self.shared.counts.load(SeqCst) / HANDLER).expect("no more than the limit")
    }

    /// Whether a handler has been in use, or an answer on its way, since this was asked last.
    pub(crate) fn was_used(&self) -> bool {
        self.shared.was_used.swap(false, SeqCst) || self.shared.counts.load(SeqCst) > 0
    }

    /// Lets [`Self::idle`] wait for an answer that is given without a handler, until this is dropped.
    pub(crate) fn answering(&self) -> Answering {
        self.shared.counts.fetch_add(ANSWER, SeqCst);
        Answering(Counted { shared: Arc::clone(&self.shared), unit: ANSWER })
    }

    /// Waits until none is taken and nobody answers. Cancel-safe.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.shared.is_idle.notified();
            if self.shared.counts.load(SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// The right to serve one channel.
#[derive(Debug)]
pub(crate) struct Handler(#[expect(dead_code, reason = "it is kept to be dropped")] Counted);

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Answering(#[expect(dead_code, reason = "it is kept to be dropped")] Counted);

/// Part of a count for as long as it lives.
#[derive(Debug)]
struct Counted {
    shared: Arc<Shared>,
    unit: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.was_used.store(true, SeqCst);
        if self.shared.counts.fetch_sub(self.unit, SeqCst) == self.unit {
            self.shared.is_idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;

    #[tokio::test]
    async fn a_full_pool_says_no_and_a_dropped_handler_is_free_again() {
        let pool = Pool::new(2);
        let first = pool.try_take().unwrap();
        let second = pool.try_take().unwrap();
        assert!(pool.try_take().is_none());
        assert_eq!(pool.in_use(), 2);
        drop(first);
        let third = pool.try_take().unwrap();
        drop((second, third));
        pool.idle().await;
    }

    #[test]
    fn use_is_told_while_it_lasts_and_once_after_it() {
        let pool = Pool::new(1);
        assert!(!pool.was_used());
        let handler = pool.try_take();
        assert!(pool.was_used());
        assert!(pool.was_used());
        drop(handler);
        assert!(pool.was_used());
        assert!(!pool.was_used());
        drop(pool.answering());
        assert!(pool.was_used());
    }

    #[test]
    fn a_handler_is_free_again_after_a_panic() {
        let pool = Pool::new(1);
        let handler = pool.try_take();
        let died = std::thread::spawn(move || {
            let _handler = handler;
            panic!("a handler dies, as this test wants it to");
        });
        assert!(died.join().is_err());
        assert_eq!(pool.in_use(), 0);
    }
}
