//! The handler pool: how many channels are served at the same time.
//!
//! Nobody waits for a handler: one is free or the peer is told to come back. A [`Handler`] goes back to the pool when it is
//! dropped, however its task ends.

use std::sync::Arc;

use tokio::sync::watch;

/// Cheap to clone; all clones are one pool.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    counts: Arc<watch::Sender<Counts>>,
    limit: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    in_use: usize,
    /// Channels whose answer may not have arrived, with or without a handler.
    answering: usize,
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { counts: Arc::default(), limit }
    }

    /// Takes a handler, or `None` at once when all are in use.
    pub(crate) fn try_take(&self) -> Option<Handler> {
        let taken = self.counts.send_if_modified(|counts| {
            let is_free = counts.in_use < self.limit;
            counts.in_use += usize::from(is_free);
            is_free
        });
        taken.then(|| Handler { pool: self.clone() })
    }

    /// How many there are.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.counts.borrow().in_use
    }

    /// Lets [`Self::idle`] wait for an answer that is given without a handler, until this is dropped.
    pub(crate) fn answering(&self) -> Answering {
        self.counts.send_modify(|counts| counts.answering += 1);
        Answering { pool: self.clone() }
    }

    /// Waits until none is taken and nobody answers. Cancel-safe.
    pub(crate) async fn idle(&self) {
        let mut counts = self.counts.subscribe();
        let idle = counts.wait_for(|counts| counts.in_use == 0 && counts.answering == 0);
        idle.await.expect("this pool holds the sender");
    }
}

/// The right to serve one channel.
#[derive(Debug)]
pub(crate) struct Handler {
    pool: Pool,
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.pool.counts.send_modify(|counts| counts.in_use -= 1);
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Answering {
    pool: Pool,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.pool.counts.send_modify(|counts| counts.answering -= 1);
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
