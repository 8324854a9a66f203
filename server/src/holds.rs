//! Which directories are being offloaded, so that nobody offloads the same one, or one above or below it, at the same time.
//!
//! A [`Hold`] ends with its channel, however that ends. The same identity takes a hold of the very same path over: it sees to it that only one of its
//! processes is at it, so the one before is dead, and its connection is only not known to be. In memory alone: a gateway that is gone holds nothing.

use std::sync::{Arc, Mutex, MutexGuard};

use swarmwire_certs::Fingerprint;
use swarmwire_common::path::RelPath;
use tokio::sync::watch;

/// Cheap to clone; all clones are one table. It has as many lines as there are handlers, at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    lines: Vec<Line>,
    last_id: u64,
}

#[derive(Debug)]
struct Line {
    id: u64,
    path: RelPath,
    holder: Fingerprint,
    /// Dropped with the line, which the hold hears.
    _lives: watch::Sender<()>,
}

/// Somebody else is at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) path: RelPath,
    pub(crate) holder: Fingerprint,
}

/// The right to offload a directory.
#[derive(Debug)]
pub(crate) struct Hold {
    holds: Holds,
    id: u64,
    lives: watch::Receiver<()>,
}

impl Holds {
    /// Takes the directory at `path`, unless somebody is at it, above it or below it.
    pub(crate) fn take(&self, path: &RelPath, holder: Fingerprint) -> Result<Hold, Held> {
        let mut table = self.table();
        table.lines.retain(|line| line.path != *path || line.holder != holder);
        let meets = |line: &&Line| line.path.starts_with(path) || path.starts_with(&line.path);
        if let Some(line) = table.lines.iter().find(meets) {
            return Err(Held { path: line.path.clone(), holder: line.holder });
        }
        table.last_id += 1;
        let (id, (sender, lives)) = (table.last_id, watch::channel(()));
        table.lines.push(Line { id, path: path.clone(), holder, _lives: sender });
        Ok(Hold { holds: self.clone(), id, lives })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no holder panics")
    }
}

impl Hold {
    /// Waits until another one has taken it over. Cancel-safe.
    pub(crate) async fn lost(&mut self) {
        // Nothing is ever sent, so this is the end of the sender.
        while self.lives.changed().await.is_ok() {}
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.table().lines.retain(|line| line.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_directory_is_held_once_with_all_above_and_below_it_until_the_end() {
        let (holds, one, other) =
            (Holds::default(), Fingerprint::from_bytes([1; 32]), Fingerprint::from_bytes([2; 32]));
        let mut first = holds.take(&path("logs/app"), one).unwrap();
        for at in ["logs/app", "logs", "", "logs/app/old"] {
            let held = holds.take(&path(at), other).unwrap_err();
            assert_eq!(held, Held { path: path("logs/app"), holder: one }, "{at}");
        }
        // Only the very same directory is taken over.
        assert!(holds.take(&path("logs"), one).is_err());
        let beside = holds.take(&path("logs/apple"), other).unwrap();
        let again = holds.take(&path("logs/app"), one).unwrap();
        first.lost().await;
        drop(first);
        assert!(holds.take(&path("logs/app"), other).is_err());
        drop((again, beside));
        assert!(holds.take(&path(""), other).is_ok());
    }
}
