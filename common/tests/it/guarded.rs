//! What guards a directory for a sync is let go when no thread of that works any longer, also where nobody waits for its end.

use std::{
    fs, io,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use swarmwire_common::{
    path::RelPath,
    root::{
        Root,
        gate::{DiskOp, Gate},
    },
    sync::{Destination, Source},
    wire::sync::{Durability, SyncOptions},
};
use tokio::{sync::Notify, time::timeout};

use crate::{
    pair::Pair,
    sync::{options, source},
};

/// A disk that hangs at a kind of call, until its other half is dropped.
#[derive(Debug)]
struct Stuck {
    at: DiskOp,
    reached: Arc<Notify>,
    until: Mutex<mpsc::Receiver<()>>,
}

impl Gate for Stuck {
    fn pass(&self, op: DiskOp, _: &[u8]) -> io::Result<()> {
        if op == self.at {
            self.reached.notify_one();
            assert!(self.until.lock().unwrap().recv().is_err());
        }
        Ok(())
    }
}

/// Story: the directory of a connection that was lost was another's while a thread waited for the disk, which then put in place what it had, or removed
/// what the other had just written.
#[tokio::test]
async fn a_directory_is_guarded_until_the_last_thread_has_ended() {
    let pair = Pair::connect().await;
    for at in [DiskOp::Remove, DiskOp::SyncFileSystem, DiskOp::Rename] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["a", "b"] {
            fs::write(from.path().join(name), name).unwrap();
        }
        let (release, until) = mpsc::sync_channel(0);
        let reached = Arc::new(Notify::new());
        let gate: Arc<dyn Gate> = Arc::new(Stuck { at, reached: Arc::clone(&reached), until: until.into() });
        let (guard, top) = (Arc::new(()), RelPath::root());
        let weak = Arc::downgrade(&guard);
        let (source, destination) = if at == DiskOp::Remove {
            let root = Arc::new(Root::open_gated(from.path(), Some(gate)).unwrap());
            let destination =
                Destination::open(Arc::new(Root::open(to.path()).unwrap()), top.clone(), true, true);
            (Source::open(root, top, None).unwrap().guarded(guard), destination.unwrap())
        } else {
            let root = Arc::new(Root::open_gated(to.path(), Some(gate)).unwrap());
            let destination = Destination::open(root, top, true, true).unwrap();
            (source(from.path(), None), destination.guarded(guard))
        };
        let moving = SyncOptions { remove_source: true, ..options(Durability::Batch) };
        tokio::select! {
            outcomes = pair.sync(source, destination, moving) => panic!("{at:?} was passed: {outcomes:?}"),
            () = reached.notified() => {}
        }
        // Whatever of it does not wait for the disk ends.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(weak.strong_count(), 1, "{at:?}");
        drop(release);
        let ended = async {
            while weak.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), ended).await.expect("it is let go");
    }
}
