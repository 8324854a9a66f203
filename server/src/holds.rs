//! Which directories are being offloaded, so that nobody else moves files from the same one, or one above or below it, at the same time, nor two to one.
//!
//! A hold ends with its channel ([`Hold`]) and with the last thread of the syncs that its connection has begun meanwhile ([`Holds::guard`]): what they have
//! under way may still be put in place, or removed. The same identity takes a hold of the very same path over: it sees to it that only one of its processes is
//! at it, so the one before is dead, and its connection is only not known to be. That is closed, and waited for. In memory alone: a gateway that is gone
//! holds nothing.

use std::sync::{Arc, Mutex, MutexGuard};

use swarmwire_certs::Fingerprint;
use swarmwire_common::path::RelPath;
use tokio::sync::watch;

/// Cheap to clone; all clones are one table. What is over leaves it when the next one takes something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Arc<Mutex<Vec<Line>>>);

#[derive(Debug)]
struct Line {
    place: Place,
    holder: Holder,
    /// Whether another one takes it over. It is free once nobody listens any longer.
    overtaken: watch::Sender<bool>,
}

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: RelPath,
    pub(crate) role: Role,
}

/// What happens there. One directory may be both: files may be moved on from where others are moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Destination,
}

/// Who holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) identity: Fingerprint,
    /// Tells connections apart.
    pub(crate) connection: usize,
}

/// Somebody else is at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) place: Place,
    pub(crate) identity: Fingerprint,
}

/// The right to offload a directory, or to move files to it.
#[derive(Debug)]
pub(crate) struct Hold(watch::Receiver<bool>);

/// Keeps what a connection held when this was made.
#[derive(Debug)]
pub(crate) struct Guard {
    _holds: Vec<watch::Receiver<bool>>,
}

impl Place {
    fn meets(&self, other: &Self) -> bool {
        self.role == other.role && (self.path.starts_with(&other.path) || other.path.starts_with(&self.path))
    }
}

impl Holds {
    /// Takes a place, unless somebody is at it, above it or below it. What it takes over has come to its end when this returns, however long that takes.
    /// Cancel-safe.
    pub(crate) async fn take(&self, place: &Place, holder: Holder) -> Result<Hold, Held> {
        loop {
            let ending = match self.take_now(place, holder)? {
                Taken::New(hold) => return Ok(hold),
                Taken::Ending(ending) => ending,
            };
            ending.closed().await;
        }
    }

    fn take_now(&self, place: &Place, holder: Holder) -> Result<Taken, Held> {
        let mut table = self.table();
        table.retain(|line| !line.overtaken.is_closed());
        if let Some(line) = table.iter().find(|line| line.place.meets(place)) {
            let is_dead = line.place == *place
                && line.holder.identity == holder.identity
                && line.holder.connection != holder.connection;
            if !is_dead {
                return Err(Held { place: line.place.clone(), identity: line.holder.identity });
            }
            line.overtaken.send_replace(true);
            return Ok(Taken::Ending(line.overtaken.clone()));
        }
        let (overtaken, hears) = watch::channel(false);
        table.push(Line { place: place.clone(), holder, overtaken });
        Ok(Taken::New(Hold(hears)))
    }

    /// Keeps all that a connection holds now. None where that is nothing.
    pub(crate) fn guard(&self, connection: usize) -> Option<Guard> {
        let table = self.table();
        let own = table.iter().filter(|line| line.holder.connection == connection);
        let holds: Vec<_> =
            own.filter(|line| !line.overtaken.is_closed()).map(|line| line.overtaken.subscribe()).collect();
        (!holds.is_empty()).then_some(Guard { _holds: holds })
    }

    fn table(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().expect("no holder panics")
    }
}

enum Taken {
    New(Hold),
    /// Somebody is still at it, and closes the sender at the end.
    Ending(watch::Sender<bool>),
}

impl Hold {
    /// Waits until another one takes it over, which goes on when this is dropped. Cancel-safe.
    pub(crate) async fn overtaken(&mut self) {
        let heard = self.0.wait_for(|&overtaken| overtaken).await;
        heard.expect("the table keeps the sender as long as somebody listens");
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn source(path: &str) -> Place {
        Place { path: RelPath::parse(path.as_bytes()).unwrap(), role: Role::Source }
    }

    fn holder(identity: u8, connection: usize) -> Holder {
        Holder { identity: Fingerprint::from_bytes([identity; 32]), connection }
    }

    #[tokio::test]
    async fn a_directory_is_held_once_with_all_above_and_below_it_until_the_end() {
        let (holds, one, other) = (Holds::default(), holder(1, 1), holder(2, 2));
        let first = holds.take(&source("logs/app"), one).await.unwrap();
        for at in ["logs/app", "logs", "", "logs/app/old"] {
            let held = holds.take(&source(at), other).await.unwrap_err();
            assert_eq!(held, Held { place: source("logs/app"), identity: one.identity }, "{at}");
        }
        let beside = holds.take(&source("logs/apple"), other).await.unwrap();
        let onward = Place { role: Role::Destination, ..source("logs/app") };
        let onward = holds.take(&onward, other).await.unwrap();
        drop((first, beside));
        assert!(holds.take(&source(""), other).await.is_ok());
        drop(onward);
    }

    #[tokio::test]
    async fn only_a_later_connection_takes_the_very_same_directory_over_and_waits_for_its_end() {
        let holds = Holds::default();
        let mut first = holds.take(&source("logs/app"), holder(1, 1)).await.unwrap();
        assert!(holds.take(&source("logs"), holder(1, 2)).await.is_err());
        assert!(holds.take(&source("logs/app"), holder(1, 1)).await.is_err());
        assert!(first.overtaken().now_or_never().is_none());
        let app = source("logs/app");
        let mut again = Box::pin(holds.take(&app, holder(1, 2)));
        assert!((&mut again).now_or_never().is_none());
        first.overtaken().await;
        assert!((&mut again).now_or_never().is_none() && holds.take(&app, holder(2, 3)).await.is_err());
        let guard = holds.guard(1).unwrap();
        assert!(holds.guard(2).is_none());
        drop(first);
        assert!((&mut again).now_or_never().is_none(), "something of it still runs");
        drop(guard);
        assert!(matches!((&mut again).now_or_never(), Some(Ok(_))));
    }
}
