//! The thread that asks the kernel.
//!
//! It knows each watched directory by the number that the kernel gave it. A directory that is moved away or removed is forgotten with
//! all below it, one that comes is watched anew, so that no number has an old path for longer than it takes to read the next event.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::Arc,
    time::Instant,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader},
    io::Errno,
};
use tokio::task::spawn_blocking;

use super::{
    Top,
    news::{End, News},
};
use crate::{
    filter::{Selection, Subject, Verdict},
    path::{Name, RelPath},
    root::{Dir, Root},
};

/// Bytes of events that are read at once: a thousand with ordinary names.
const EVENTS_BYTES: usize = 64 * 1024;

/// Ends the thread.
#[derive(Debug)]
pub(super) struct Stop(Arc<OwnedFd>);

impl Stop {
    pub(super) fn stop(&self) {
        if let Err(err) = rustix::io::write(&*self.0, &1u64.to_ne_bytes()) {
            tracing::warn!(%err, "a watch could not be ended");
        }
    }

    fn is_asked(&self) -> bool {
        let mut polled = [PollFd::new(&*self.0, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

/// Starts the thread that watches `top` and tells `news`.
pub(super) fn spawn(
    root: Arc<Root>,
    top: Top,
    selection: Arc<Selection>,
    news: Arc<News>,
) -> io::Result<Stop> {
    let watches = Watches::new()?;
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let device = root.dir(&top.path)?.stat_self()?.device;
    let mut watcher = Watcher { root, top, selection, device, watches, news, stop: Stop(Arc::clone(&stop)) };
    // Ends by itself when it is told to, which dropping the watch does.
    drop(spawn_blocking(move || {
        let end = watcher.run();
        if let Some(end) = end {
            watcher.news.tell_end(end);
        }
    }));
    Ok(Stop(stop))
}

/// The directories that the kernel watches for us.
struct Watches {
    inotify: OwnedFd,
    paths: HashMap<i32, RelPath>,
    numbers: BTreeMap<RelPath, i32>,
}

impl Watches {
    fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify, paths: HashMap::new(), numbers: BTreeMap::new() })
    }

    /// Watches a directory, which may have been watched under another path.
    fn add(&mut self, path: &RelPath, dir: &Dir) -> io::Result<()> {
        let number = dir.watch(&self.inotify)?;
        if let Some(before) = self.paths.insert(number, path.clone())
            && before != *path
        {
            self.numbers.remove(&before);
        }
        if let Some(before) = self.numbers.insert(path.clone(), number)
            && before != number
        {
            self.paths.remove(&before);
        }
        Ok(())
    }

    /// Watches neither the directory at `path` any longer nor anything below it.
    fn remove_below(&mut self, path: &RelPath) {
        let below = self.numbers.range(path.clone()..).take_while(|(at, _)| {
            // What begins with the same bytes may stand between a directory and what is in it: `a!` between `a` and `a/b`.
            at.as_bytes().starts_with(path.as_bytes())
        });
        let gone: Vec<_> =
            below.filter(|(at, _)| at.starts_with(path)).map(|(at, n)| (at.clone(), *n)).collect();
        for (at, number) in gone {
            self.numbers.remove(&at);
            self.paths.remove(&number);
            // Fails where it has been removed, and its watch with it.
            let _gone = inotify::remove_watch(&self.inotify, number);
        }
    }

    /// The kernel has dropped this watch.
    fn forget(&mut self, number: i32) {
        if let Some(path) = self.paths.remove(&number)
            && self.numbers.get(&path) == Some(&number)
        {
            self.numbers.remove(&path);
        }
    }
}

/// One event, with what is needed of it.
struct Heard {
    number: i32,
    events: ReadFlags,
    name: Option<Vec<u8>>,
}

struct Watcher {
    root: Arc<Root>,
    top: Top,
    selection: Arc<Selection>,
    /// File system of the top.
    device: u64,
    watches: Watches,
    news: Arc<News>,
    stop: Stop,
}

/// Why a walk or a reading ended early.
enum Ended {
    /// It was told to.
    Stopped,
    Because(End),
}

impl Watcher {
    /// Watches until it is told to stop, or cannot go on.
    fn run(&mut self) -> Option<End> {
        let watching = || {
            self.watch(RelPath::root())?;
            self.news.tell_ready();
            loop {
                self.wait()?;
                self.hear()?;
            }
        };
        match run_to_end(watching) {
            Ended::Stopped => None,
            Ended::Because(end) => Some(end),
        }
    }

    /// Watches the directory at `path` below the top and all directories in it that take part, parents first.
    fn watch(&mut self, path: RelPath) -> Result<(), Ended> {
        let mut directories = vec![path];
        while let Some(path) = directories.pop() {
            if self.stop.is_asked() {
                return Err(Ended::Stopped);
            }
            match self.watch_one(&path) {
                Ok(below) => directories.extend(below),
                Err(err) if Errno::from_io_error(&err) == Some(Errno::NOSPC) => {
                    return Err(Ended::Because(End::Refused(too_many(self.watches.paths.len()))));
                }
                Err(err) if path.is_root() => return Err(Ended::Because(lost(&err))),
                // It is gone again, or cannot be listed, which a sync will tell.
                Err(err) => tracing::debug!(%path, %err, "a directory cannot be watched"),
            }
        }
        Ok(())
    }

    /// Watches one directory, and gives those in it.
    fn watch_one(&mut self, path: &RelPath) -> io::Result<Vec<RelPath>> {
        let below_root = path.components().try_fold(self.top.path.clone(), |joined, name| joined.join(name));
        let dir = self.root.dir(&below_root.map_err(|_| io::ErrorKind::InvalidFilename)?)?;
        if self.selection.one_file_system() && dir.stat_self()?.device != self.device {
            return Ok(Vec::new());
        }
        // What comes into it from now on is heard of; what is in it already is found.
        self.watches.add(path, &dir)?;
        if self.top.only.is_some() {
            return Ok(Vec::new());
        }
        let names = dir.directory_names()?;
        let paths = names.iter().filter_map(|name| path.join(Name::new(name).ok()?).ok());
        Ok(paths.filter(|path| self.takes(path, Subject::Directory)).collect())
    }

    fn takes(&self, path: &RelPath, subject: Subject) -> bool {
        self.selection.decide(path, subject) == Verdict::Take
    }

    /// Waits for something to read.
    fn wait(&self) -> Result<(), Ended> {
        let mut polled =
            [PollFd::new(&self.watches.inotify, PollFlags::IN), PollFd::new(&*self.stop.0, PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) if !polled[1].revents().is_empty() => Err(Ended::Stopped),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(err) => Err(Ended::Because(lost(&err.into()))),
        }
    }

    /// Takes what there is to read, once.
    fn hear(&mut self) -> Result<(), Ended> {
        let heard = self.read().map_err(|err| Ended::Because(lost(&err.into())))?;
        let mut changed = Vec::new();
        for event in heard {
            if event.events.contains(ReadFlags::QUEUE_OVERFLOW) {
                return self.start_anew();
            }
            changed.extend(self.changed_by(&event)?);
        }
        if !changed.is_empty() {
            self.news.tell(changed, Instant::now());
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<Heard>, Errno> {
        let mut buffer = vec![MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = Reader::new(&self.watches.inotify, &mut buffer);
        let mut heard = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => heard.push(Heard {
                    number: event.wd(),
                    events: event.events(),
                    name: event.file_name().map(|name| name.to_bytes().to_vec()),
                }),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(heard),
                Err(err) => return Err(err),
            }
            if reader.is_buffer_empty() {
                return Ok(heard);
            }
        }
    }

    /// Events were lost, those of new directories among them.
    fn start_anew(&mut self) -> Result<(), Ended> {
        tracing::debug!("the kernel dropped events");
        self.watches = Watches::new().map_err(|err| Ended::Because(lost(&err)))?;
        self.watch(RelPath::root())?;
        self.news.tell_everything(Instant::now());
        Ok(())
    }

    /// What an event says has changed.
    fn changed_by(&mut self, event: &Heard) -> Result<Option<RelPath>, Ended> {
        let Heard { number, events, name } = event;
        let Some(directory) = self.watches.paths.get(number).cloned() else { return Ok(None) };
        if events.intersects(ReadFlags::IGNORED) {
            self.watches.forget(*number);
        }
        let is_lost = events.intersects(
            ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED,
        );
        if is_lost && directory.is_root() {
            return Err(Ended::Because(End::Gone));
        }
        let Some(name) = name.as_deref().and_then(|name| Name::new(name).ok()) else {
            // A change of the top itself; that of another directory is heard of in the one above it.
            let is_top = directory.is_root() && self.top.only.is_none();
            return Ok((is_top && events.contains(ReadFlags::ATTRIB)).then(RelPath::root));
        };
        if self.top.only.is_some() {
            return Ok(self.top.is_about(name).then(RelPath::root));
        }
        self.entry_changed(&directory, name, *events)
    }

    /// An entry of a directory has changed, come or gone.
    fn entry_changed(
        &mut self,
        directory: &RelPath,
        name: Name<'_>,
        events: ReadFlags,
    ) -> Result<Option<RelPath>, Ended> {
        let Some(path) = directory.join(name).ok().filter(|_| !name.is_reserved()) else { return Ok(None) };
        let is_directory = events.contains(ReadFlags::ISDIR);
        if !self.takes(&path, if is_directory { Subject::Directory } else { Subject::Other }) {
            return Ok(None);
        }
        if is_directory && events.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            self.watches.remove_below(&path);
        }
        if is_directory && events.intersects(ReadFlags::MOVED_TO | ReadFlags::CREATE) {
            // Before it is told, so that nothing is missed that comes into it after somebody has looked.
            self.watch(path.clone())?;
        }
        Ok(Some(path))
    }
}

/// Runs what only ends by an error.
fn run_to_end(run: impl FnOnce() -> Result<std::convert::Infallible, Ended>) -> Ended {
    match run() {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

fn lost(err: &io::Error) -> End {
    match err.kind() {
        io::ErrorKind::NotFound => End::Gone,
        _ => End::Refused(crate::root::describe(err)),
    }
}

fn too_many(watched: usize) -> String {
    format!(
        "the system lets this user watch no more directories than the {watched} that are watched; raise fs.inotify.max_user_watches"
    )
}

/// Why the kernel gave no inotify instance, with what to do about it.
pub fn describe(err: &io::Error) -> String {
    match Errno::from_io_error(err) {
        Some(Errno::MFILE) => {
            "this user has too many watches open; raise fs.inotify.max_user_instances".to_owned()
        }
        _ => crate::root::describe(err),
    }
}
