//! How many process groups of subroutines have not ended, so that a gateway's end can wait for theirs.

use std::sync::Arc;

use tokio::sync::watch;

/// The process groups of all subroutines of a registry. Cheap to clone; all clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    count: Arc<watch::Sender<usize>>,
}

impl Processes {
    /// Counts one until this is dropped.
    pub(crate) fn mark(&self) -> Mark {
        self.count.send_modify(|count| *count += 1);
        Mark(self.clone())
    }

    /// Waits until there is none. Cancel-safe.
    pub(crate) async fn none(&self) {
        let mut count = self.count.subscribe();
        count.wait_for(|&count| count == 0).await.expect("this handle holds the sender");
    }
}

/// A process group that has not ended.
#[derive(Debug)]
pub(crate) struct Mark(Processes);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| *count -= 1);
    }
}
