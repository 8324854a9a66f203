//! Which process groups of subroutines have not ended, so that a gateway's end can wait for theirs, and that they end with one that is killed.

use std::sync::Arc;

use rustix::process::Pid;
use tokio::sync::watch;

use super::guardian::Guardian;

/// The process groups of all subroutines of a registry. Cheap to clone; all clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    count: Arc<watch::Sender<usize>>,
    guardian: Arc<Guardian>,
}

impl Processes {
    /// Counts one until this is dropped.
    pub(crate) fn mark(&self) -> Mark {
        self.count.send_modify(|count| *count += 1);
        Mark { processes: self.clone(), group: None }
    }

    /// Waits until there is none. Cancel-safe.
    pub(crate) async fn none(&self) {
        let mut count = self.count.subscribe();
        count.wait_for(|&count| count == 0).await.expect("this handle holds the sender");
    }
}

/// A process group that has not ended.
#[derive(Debug)]
pub(crate) struct Mark {
    processes: Processes,
    /// The group, once it is there, and as long as its number is its own.
    group: Option<Pid>,
}

impl Mark {
    /// From now on it is ended, too, when this process is killed. May start a process.
    pub(crate) fn guard(&mut self, group: Pid) {
        self.processes.guardian.watch(group);
        self.group = Some(group);
    }

    /// It is about to be reaped.
    pub(crate) fn leave(&mut self) {
        if let Some(group) = self.group.take() {
            self.processes.guardian.leave(group);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.leave();
        self.processes.count.send_modify(|count| *count -= 1);
    }
}
