//! What a gateway has of subroutines, by name.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, RwLock, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use swarmwire_common::{limits, wire::call::ServiceInfo};
use tokio::{runtime::Handle, sync::Notify, time::timeout};

use super::{
    Room, Subroutine,
    command::WorkerCounts,
    kinds::Options,
    pace::{Pace, Paced},
    processes::Processes,
};

/// Subroutines by name. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Subroutines {
    by_name: Arc<RwLock<BTreeMap<String, Arc<Registered>>>>,
    processes: Processes,
    /// The runtimes of gateways that serve them.
    serving: Arc<Mutex<Vec<Handle>>>,
}

/// A subroutine under its name.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) name: Arc<str>,
    pub(crate) subroutine: Subroutine,
    /// Calls that take up room, those among them of what had the name before.
    places: Arc<Places>,
    /// Calls that were made, those among them of what had the name before: the last id.
    calls: Arc<AtomicU64>,
    running: Arc<()>,
    failures_logged: Mutex<Pace>,
}

/// The places of calls.
#[derive(Debug, Default)]
struct Places {
    occupied: AtomicUsize,
    /// Told with each that is free again.
    freed: Notify,
}

/// Room that a call takes up.
#[derive(Debug)]
pub(crate) struct Occupied(Arc<Places>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.occupied.fetch_sub(1, Relaxed);
        self.0.freed.notify_waiters();
    }
}

/// What is found under a name.
#[derive(Debug)]
pub(crate) enum Lookup {
    Found(Arc<Registered>),
    /// The names that are nearest to it, nearest first.
    Missing(Vec<String>),
}

/// Names that are told where one is not known.
const NEAREST_MAX: usize = 3;

/// How long the processes of a gateway that has ended may take to follow: what they have between SIGTERM and SIGKILL, and half as much again.
const PROCESSES_TIME_MAX: Duration = Duration::from_secs(3);

/// One edit is taken for a slip in so many letters of the longer of two names, and one in any case. Chosen: most of a name is right.
const LETTERS_PER_EDIT: usize = 4;

/// Letters of which it is taken that a name begins with them, and was not typed to its end. Chosen: fewer fit to many.
const BEGINNING_MIN: usize = 3;

impl Subroutines {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers one under a name that is free.
    pub fn register(&self, name: &str, subroutine: Subroutine) -> Result<(), RegisterError> {
        let registered = Arc::new(Registered::new(name, subroutine)?);
        let mut by_name = self.by_name.write().expect("no holder panics");
        if by_name.contains_key(name) {
            return Err(RegisterError::Taken(name.to_owned()));
        }
        by_name.insert(name.to_owned(), Arc::clone(&registered));
        drop(by_name);
        self.begin(&registered);
        Ok(())
    }

    /// Registers one under a name, in place of what may be there. Batch ids go on; calls that run are among those that its
    /// [concurrency](Subroutine::concurrency) bounds.
    pub fn replace(&self, name: &str, subroutine: Subroutine) -> Result<(), RegisterError> {
        let mut registered = Registered::new(name, subroutine)?;
        let mut by_name = self.by_name.write().expect("no holder panics");
        if let Some(before) = by_name.get(name) {
            registered.places = Arc::clone(&before.places);
            registered.calls = Arc::clone(&before.calls);
        }
        let registered = Arc::new(registered);
        let before = by_name.insert(name.to_owned(), Arc::clone(&registered));
        drop(by_name);
        // What a function has captured may do anything when it is dropped; the lock is not held.
        if let Some(before) = before {
            before.retire();
        }
        self.begin(&registered);
        Ok(())
    }

    /// Takes one away; says whether there was one. Calls that run go on; the batch ids of what has its name later begin anew.
    pub fn remove(&self, name: &str) -> bool {
        let removed = self.by_name.write().expect("no holder panics").remove(name);
        removed.inspect(|removed| removed.retire()).is_some()
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.read().expect("no holder panics").contains_key(name)
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<String> {
        self.by_name.read().expect("no holder panics").keys().cloned().collect()
    }

    /// A gateway begins to serve them, until what is given is dropped. To be called within its runtime.
    pub(crate) fn serve(&self) -> Serving {
        let runtime = Handle::current();
        self.serving.lock().expect("no holder panics").push(runtime.clone());
        for registered in self.by_name.read().expect("no holder panics").values() {
            registered.start(&runtime);
        }
        Serving { subroutines: self.clone(), runtime }
    }

    /// The processes that run for them.
    pub(crate) fn processes(&self) -> &Processes {
        &self.processes
    }

    /// How the workers of each are, where it has some.
    pub(crate) fn workers(&self) -> Vec<(Arc<str>, WorkerCounts)> {
        let by_name = self.by_name.read().expect("no holder panics");
        let counted = |registered: &Arc<Registered>| {
            Some((Arc::clone(&registered.name), registered.subroutine.workers.as_ref()?.counts()))
        };
        by_name.values().filter_map(counted).collect()
    }

    /// Waits until no process is left that was started for a call, or kept for calls, of a gateway that has ended; for so long as it takes to
    /// kill them.
    pub async fn ended(&self) {
        if timeout(PROCESSES_TIME_MAX, self.processes.none()).await.is_err() {
            tracing::warn!("some processes of subroutines have not ended");
        }
    }

    /// What a subroutine needs before it can be called, and has ready once it is served.
    fn begin(&self, registered: &Registered) {
        if let Some(workers) = &registered.subroutine.workers {
            workers.belong_to(&registered.name, &self.processes);
        }
        if let Some(runtime) = self.serving.lock().expect("no holder panics").last() {
            registered.start(runtime);
        }
    }

    /// What is there under `name`; the names told where it is not are among the `visible` ones.
    pub(crate) fn look_up(&self, name: &str, visible: impl Fn(&str) -> bool) -> Lookup {
        let by_name = self.by_name.read().expect("no holder panics");
        if let Some(found) = by_name.get(name) {
            return Lookup::Found(Arc::clone(found));
        }
        let visible = by_name.keys().filter(|known| visible(known));
        let mut near: Vec<(usize, &String)> =
            visible.filter_map(|known| Some((edits(name, known)?, known))).collect();
        near.sort_unstable();
        Lookup::Missing(near.into_iter().take(NEAREST_MAX).map(|(_, known)| known.clone()).collect())
    }

    /// What there is, as far as it is `visible`.
    pub(crate) fn list(&self, visible: impl Fn(&str) -> bool) -> Vec<ServiceInfo> {
        let by_name = self.by_name.read().expect("no holder panics");
        by_name.values().filter(|registered| visible(&registered.name)).map(|it| it.info()).collect()
    }
}

/// How many edits lead from a name to one that may have been meant: a letter more, less or other, or two that have changed places. A beginning is one away.
fn edits(name: &str, known: &str) -> Option<usize> {
    let longer = name.len().max(known.len());
    let edits_max = (longer / LETTERS_PER_EDIT).max(1);
    if name.len() >= BEGINNING_MIN && known.starts_with(name) {
        return Some(1);
    }
    if name.len().abs_diff(known.len()) > edits_max {
        return None;
    }
    let edits = strsim::osa_distance(name, known);
    // Of a single letter nothing would be left.
    (edits <= edits_max && edits < longer).then_some(edits)
}

/// A gateway that serves subroutines.
#[derive(Debug)]
pub(crate) struct Serving {
    subroutines: Subroutines,
    runtime: Handle,
}

/// The last one to go ends what was kept for calls.
impl Drop for Serving {
    fn drop(&mut self) {
        let mut serving = self.subroutines.serving.lock().expect("no holder panics");
        let own = serving.iter().position(|runtime| runtime.id() == self.runtime.id());
        serving.swap_remove(own.expect("it is there until this is dropped"));
        if serving.is_empty() {
            for registered in self.subroutines.by_name.read().expect("no holder panics").values() {
                if let Some(workers) = &registered.subroutine.workers {
                    workers.stop();
                }
            }
        }
    }
}

impl Registered {
    fn new(name: &str, subroutine: Subroutine) -> Result<Self, RegisterError> {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > limits::SUBROUTINE_NAME_BYTES_MAX || !name.chars().all(is_valid) {
            return Err(RegisterError::Name(name.to_owned()));
        }
        let (places, calls, running) = (Arc::default(), Arc::default(), Arc::new(()));
        let failures_logged = Mutex::new(Pace::new(Instant::now()));
        Ok(Self { name: name.into(), subroutine, places, calls, running, failures_logged })
    }

    /// Room for a call, if there is any.
    pub(crate) fn take_room(&self) -> Option<Occupied> {
        let most = self.subroutine.options.concurrency.unwrap_or(usize::MAX);
        let one_more = |count: usize| (count < most).then(|| count + 1);
        self.places.occupied.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Occupied(Arc::clone(&self.places)))
    }

    /// Waits until a call has left its room, if that [has a process](Room::gets_process), which is being ended; not for a blocking function that has not
    /// returned. Cancel-safe.
    pub(crate) async fn left(&self, room: &Weak<Room>) {
        if !room.upgrade().is_some_and(|room| room.has_process.load(Relaxed)) {
            return;
        }
        loop {
            let freed = self.places.freed.notified();
            if room.strong_count() == 0 {
                return;
            }
            freed.await;
        }
    }

    /// Has ready what is kept for calls.
    fn start(&self, runtime: &Handle) {
        if let Some(workers) = &self.subroutine.workers {
            workers.start(runtime);
        }
    }

    /// It is not under its name any longer.
    fn retire(&self) {
        if let Some(workers) = &self.subroutine.workers {
            workers.retire();
        }
    }

    /// The id of the next call.
    pub(crate) fn next_id(&self) -> u64 {
        self.calls.fetch_add(1, Relaxed) + 1
    }

    /// Whether the log has room for one more failure.
    pub(crate) fn log_failure(&self) -> Paced {
        self.failures_logged.lock().expect("no holder panics").take(Instant::now())
    }

    /// Counts a call as running for as long as it is kept.
    pub(crate) fn mark_running(&self) -> Arc<()> {
        Arc::clone(&self.running)
    }

    fn info(&self) -> ServiceInfo {
        let Options { concurrency, arguments, codecs, .. } = &self.subroutine.options;
        let workers = self.subroutine.workers.as_ref().map(|workers| workers.living());
        ServiceInfo {
            name: self.name.to_string(),
            kind: self.subroutine.kind(),
            codecs: codecs.clone(),
            arguments: arguments.clone(),
            calls: self.calls.load(Relaxed),
            running: u32::try_from(Arc::strong_count(&self.running) - 1).unwrap_or(u32::MAX),
            concurrency: concurrency.map_or(0, |calls| u32::try_from(calls).unwrap_or(u32::MAX)),
            workers: workers.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        }
    }
}

/// Why a subroutine was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The name is one that calls cannot say.
    #[error(
        "{0:?} is no name for a subroutine; use letters, digits, `.`, `_` and `-`, at most {max}",
        max = limits::SUBROUTINE_NAME_BYTES_MAX
    )]
    Name(String),
    /// There is one of this name.
    #[error("there is a subroutine `{0}` already; replace it, or remove it first")]
    Taken(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subroutines::{Context, Failure};

    fn nothing() -> Subroutine {
        Subroutine::batch(async |_: Context, (): ()| Ok::<_, Failure>(Vec::new()))
    }

    #[test]
    fn names_are_taken_once_and_free_again() {
        let subroutines = Subroutines::new();
        subroutines.register("disk.usage", nothing()).unwrap();
        let taken = subroutines.register("disk.usage", nothing()).unwrap_err().to_string();
        assert!(taken.contains("`disk.usage` already"), "{taken}");
        subroutines.replace("disk.usage", nothing()).unwrap();
        assert!(subroutines.remove("disk.usage") && !subroutines.remove("disk.usage"));
        for bad in ["", "a b", "a/b", "ü", &"n".repeat(129)] {
            assert!(matches!(subroutines.register(bad, nothing()), Err(RegisterError::Name(_))), "{bad:?}");
        }
    }

    #[test]
    fn ids_go_on_where_a_name_is_given_to_another() {
        let subroutines = Subroutines::new();
        let found = || match subroutines.look_up("x", |_| true) {
            Lookup::Found(found) => found,
            Lookup::Missing(_) => panic!("it is there"),
        };
        subroutines.replace("x", nothing()).unwrap();
        let before = found();
        assert_eq!((before.next_id(), before.next_id()), (1, 2));
        subroutines.replace("x", nothing()).unwrap();
        // A call may have found what was there before, and begin only now.
        assert_eq!((found().next_id(), before.next_id(), found().next_id()), (3, 4, 5));
        assert_eq!(found().info().calls, 5);
        subroutines.remove("x");
        subroutines.register("x", nothing()).unwrap();
        assert_eq!(found().next_id(), 1);
    }

    #[test]
    fn the_nearest_names_are_told_and_only_those_that_may_be_seen() {
        let subroutines = Subroutines::new();
        for name in ["capture", "captures", "secret-capture", "reboot"] {
            subroutines.register(name, nothing()).unwrap();
        }
        let visible = |name: &str| name != "captures";
        let Lookup::Missing(near) = subroutines.look_up("captur", visible) else { panic!("it is not there") };
        assert_eq!(near, ["capture"]);
        assert_eq!(subroutines.list(visible).len(), 3);
        for name in ["ok", "seq", "segv", "echo", "s", "disk-usage", "disk-used", "list-files"] {
            subroutines.register(name, nothing()).unwrap();
        }
        for (typed, told) in [
            ("sqe", &["seq"][..]),
            ("opk", &["ok"]),
            ("k", &["ok"]),
            ("x", &[]),
            ("sek", &["seq"]),
            ("sev", &["segv", "seq"]),
            ("ehco", &["echo"]),
            ("disk", &["disk-usage", "disk-used"]),
            ("disk-usege", &["disk-usage", "disk-used"]),
            ("lsit-flies", &["list-files"]),
            ("Captures", &["capture"]),
            ("files", &[]),
        ] {
            let Lookup::Missing(near) = subroutines.look_up(typed, visible) else {
                panic!("{typed} is there")
            };
            assert_eq!(near, told, "{typed}");
        }
    }
}
