//! Files that only change their names: a rotated log, or all that is in a renamed directory. They are not copied.
//!
//! The planner says which old names may become others ([`Moved::expect`]). A file whose content is verified waits under its old name ([`wait`])
//! until the sync takes that away. Where another file takes its place, it gets a second name in the staging place just before, and its new one
//! just after ([`displace`]); where it is deleted, it goes through the staging place, too ([`take_over`]). So no two names of a tree ever lead to
//! one file, and a sync that breaks off in between leaves nothing but a name in the staging place, which the next one clears. What still has
//! its old name in the end, because that is spared or what should replace it has failed, is copied ([`copy_left`]), as is what cannot be linked
//! or renamed.
//!
//! Only a file moves that is in every respect what a new one would be.

use std::{
    collections::HashMap,
    io,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    Shared, attributes,
    bases::Basis,
    commit::{self, Written},
    writer,
};
use crate::{
    limits,
    path::{Name, RelPath},
    root::{Dir, EntryType, File, Stat, staging::TempName},
    wire::sync::Durability,
};

/// Old names, by their paths below the root.
#[derive(Debug, Default)]
pub(super) struct Moved {
    old: Mutex<HashMap<RelPath, Old>>,
    /// Whether there are any.
    is_expecting: AtomicBool,
    /// What could not move and is copied, in the staging place.
    copied: Mutex<Vec<Written>>,
    /// Files that got their names when their old ones were deleted, and so became durable with the end of the sync.
    late: AtomicU64,
}

/// What is known of an old name.
#[derive(Debug)]
enum Old {
    /// Its file may be another one's. If the name is listed, as this index, only until that is given to another file.
    Expected { listed: Option<u32> },
    /// Its file will be.
    Waits(Waiting),
    /// It leads to another file now, or nowhere.
    Gone,
}

/// A file that is to get another name.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Under which it is listed.
    index: u32,
    /// What it was when it was verified.
    stat: Stat,
    /// BLAKE3.
    hash: [u8; 32],
}

impl Waiting {
    fn written(&self, temp: TempName) -> Written {
        Written { index: self.index, temp: Some(temp), bytes: self.stat.size, hash: Some(self.hash) }
    }

    /// Whether a file is still the one that was verified. Its links and the time of their change do not count.
    fn is(&self, now: &Stat) -> bool {
        let of = |stat: &Stat| (stat.device, stat.inode, stat.size, stat.metadata, stat.owner);
        of(now) == of(&self.stat)
    }
}

impl Moved {
    /// This sync replaces what is at `path`, which is `listed` then, or deletes it, and another file may be the same.
    pub(super) fn expect(&self, path: &RelPath, listed: Option<u32>) {
        self.is_expecting.store(true, Relaxed);
        self.old().entry(path.clone()).or_insert(Old::Expected { listed });
    }

    /// Files that have become durable with the end of the sync.
    pub(super) fn late(&self) -> u64 {
        self.late.load(Relaxed)
    }

    fn is_expected(&self, path: &RelPath) -> bool {
        self.is_expecting.load(Relaxed) && matches!(self.old().get(path), Some(Old::Expected { .. }))
    }

    /// The name is about to lead elsewhere. What waits for that, if something does.
    fn let_go(&self, path: &RelPath) -> Option<Waiting> {
        match std::mem::replace(self.old().get_mut(path)?, Old::Gone) {
            Old::Waits(waiting) => Some(waiting),
            Old::Expected { .. } | Old::Gone => None,
        }
    }

    fn old(&self) -> MutexGuard<'_, HashMap<RelPath, Old>> {
        self.old.lock().expect("no holder panics")
    }

    fn copied(&self) -> MutexGuard<'_, Vec<Written>> {
        self.copied.lock().expect("no holder panics")
    }
}

/// Whether the file at `from` is verified to be what the file `index` should be, and now waits to get its name. It is read, if its hash was not
/// told. Blocks.
pub(super) fn wait(shared: &Shared, index: u32, from: &RelPath, (basis, hash): (&Basis, &[u8; 32])) -> bool {
    if !shared.moved.is_expected(from) || !basis.is_likely() {
        return false;
    }
    let Ok(Some(stat)) = as_new(shared, index, from) else { return false };
    if basis.stat != stat || !basis.has(shared, index, hash).unwrap_or(false) {
        return false;
    }
    match shared.moved.old().get_mut(from) {
        // A file that is being given the name has been taken from what is replaced before it looks for one that waits.
        Some(Old::Expected { listed: Some(listed) }) if !shared.replaced.is_due(*listed) => false,
        Some(old @ Old::Expected { .. }) => {
            *old = Old::Waits(Waiting { index, stat, hash: *hash });
            true
        }
        _ => false,
    }
}

/// The file at `from`, if it is, but for its content, what the file `index` would be if it was written now.
fn as_new(shared: &Shared, index: u32, from: &RelPath) -> io::Result<Option<Stat>> {
    // Another name would be taken for one of the source's, what is kept changes its name itself, and what the source removes is made durable
    // first.
    if shared.options.preserve.hard_links
        || shared.landing.backup().is_asked()
        || shared.options.remove_source
    {
        return Ok(None);
    }
    let Some((parent, name)) = from.split_last() else { return Ok(None) };
    let dir = shared.landing.root().dir(&parent)?;
    let stat = dir.stat(name)?;
    let (size, metadata) = {
        let tree = shared.tree.read().expect("no holder panics");
        (tree.size(index), tree.metadata(index))
    };
    let staging = shared.landing.staging()?.dir().stat_self()?;
    let looks_so = stat.entry_type == EntryType::File
        && !stat.has_links
        && (stat.size, stat.metadata) == (size, metadata)
        && (stat.device, stat.owner) == (staging.device, staging.owner);
    let is_so =
        looks_so && !attributes::differ(shared, index, (&dir, name), &stat) && dir.is_plain_file(name)?;
    Ok(is_so.then_some(stat))
}

/// A file in the staging place that gets its name when its old one has been given to another.
pub(super) struct Displaced {
    pub(super) written: Written,
    /// Whether it still has the old name as well.
    is_linked: bool,
    hash: [u8; 32],
}

/// Before the file `index` gets its name: sees to it that what has that now, and waits for it to be taken, is not lost. Blocks.
pub(super) fn displace(shared: &Shared, index: u32) -> io::Result<Option<Displaced>> {
    if !shared.moved.is_expecting.load(Relaxed) {
        return Ok(None);
    }
    let dir = shared.parent_dir(index)?;
    let path = shared.landing.path_below(&shared.path_of(index))?;
    let Some(waiting) = shared.moved.let_go(&path) else { return Ok(None) };
    let name = shared.name_of(index);
    let name = Name::new(&name).expect("listed as a name");
    let displaced = |written, is_linked| Displaced { written, is_linked, hash: waiting.hash };
    if let Ok(temp) = link(shared, &waiting, (&dir, name)) {
        return Ok(Some(displaced(waiting.written(temp), true)));
    }
    Ok(copy(shared, &waiting, dir.open_file(name)).map(|written| displaced(written, false)))
}

fn link(shared: &Shared, waiting: &Waiting, (dir, name): (&Dir, Name<'_>)) -> io::Result<TempName> {
    let staging = shared.landing.staging()?;
    let temp = staging.next_name();
    dir.hard_link(name, staging.dir(), temp.as_name())?;
    if !waiting.is(&staging.dir().stat(temp.as_name())?) {
        return Err(changed());
    }
    if shared.options.durability == Durability::File {
        staging.dir().open_file(temp.as_name())?.sync()?;
    }
    Ok(temp)
}

/// The old name was not given to another file after all.
pub(super) fn put_back(shared: &Shared, displaced: &Displaced) {
    let &Displaced { written, is_linked, hash } = displaced;
    if !is_linked {
        return shared.moved.copied().push(written);
    }
    let waiting = |stat| Waiting { index: written.index, stat, hash };
    let linked = || {
        let staging = shared.landing.staging()?;
        let temp = written.temp.ok_or(io::ErrorKind::NotFound)?;
        let file = staging.dir().open_file(temp.as_name())?;
        // Its other name stays.
        staging.dir().remove_file(temp.as_name())?;
        let stat = file.stat()?;
        Ok((stat, file))
    };
    match linked() {
        Ok((stat, file)) => {
            let copied = copy(shared, &waiting(stat), Ok(file));
            shared.moved.copied().extend(copied);
        }
        Err(err) => not_copied(shared, written.index, &err),
    }
}

/// Instead of removing the file `name` of `dir`, at `path` below the top: whether it has gone to another name, or with that. Blocks.
pub(super) fn take_over(shared: &Shared, path: &RelPath, (dir, name): (&Dir, Name<'_>)) -> bool {
    if !shared.moved.is_expecting.load(Relaxed) {
        return false;
    }
    let waiting = shared.landing.path_below(path).ok().and_then(|from| shared.moved.let_go(&from));
    let Some(waiting) = waiting else { return false };
    let aside = || -> io::Result<(TempName, Stat)> {
        let staging = shared.landing.staging()?;
        let temp = staging.next_name();
        dir.rename_new(name, staging.dir(), temp.as_name())?;
        Ok((temp, staging.dir().stat(temp.as_name())?))
    };
    match aside() {
        Ok((temp, now)) if waiting.is(&now) => {
            commit::rename(shared, waiting.written(temp), |written, renamed| match renamed {
                Ok(_) => drop(shared.moved.late.fetch_add(1, Relaxed)),
                Err(err) => commit::fail(shared, written, &err),
            });
            true
        }
        // What it was goes with the staging place.
        Ok(_) => {
            not_copied(shared, waiting.index, &changed());
            true
        }
        Err(_) => {
            let copied = copy(shared, &waiting, dir.open_file(name));
            shared.moved.copied().extend(copied);
            false
        }
    }
}

/// Copies what has not got its name. Blocks. To be called when nothing else is replaced or deleted.
pub(super) fn copy_left(shared: &Shared) {
    let left = |(path, old): (&RelPath, &Old)| matches!(old, Old::Waits(_)).then(|| path.clone());
    let left: Vec<RelPath> = shared.moved.old().iter().filter_map(left).collect();
    let mut bytes = 0;
    for from in left {
        // The sync has ended, and another may be at work here already.
        if shared.control.is_closed() {
            return;
        }
        // It may have got its name since.
        let Some(waiting) = shared.moved.let_go(&from) else { continue };
        let copied = copy(shared, &waiting, open(shared, &from));
        bytes += copied.map_or(0, |written| written.bytes);
        let count = {
            let mut all = shared.moved.copied();
            all.extend(copied);
            all.len()
        };
        if count >= limits::BATCH_FILES_MAX || bytes >= limits::BATCH_BYTES_MAX {
            commit_copied(shared);
            bytes = 0;
        }
    }
    commit_copied(shared);
}

fn commit_copied(shared: &Shared) {
    loop {
        let copied = std::mem::take(&mut *shared.moved.copied());
        if copied.is_empty() {
            return;
        }
        commit::all(shared, &copied);
    }
}

/// Copies a file that waits into the staging place. `None` where it cannot, which is told.
fn copy(shared: &Shared, waiting: &Waiting, from: io::Result<File>) -> Option<Written> {
    let copied =
        from.and_then(|from| writer::copy(shared, waiting.index, (&from, waiting.stat.size), &waiting.hash));
    copied.inspect_err(|err| not_copied(shared, waiting.index, err)).ok()
}

fn not_copied(shared: &Shared, index: u32, err: &io::Error) {
    shared.fail_io(index, "cannot be taken from what it was", err);
}

fn open(shared: &Shared, path: &RelPath) -> io::Result<File> {
    let (parent, name) = path.split_last().ok_or(io::ErrorKind::IsADirectory)?;
    shared.landing.root().dir(&parent)?.open_file(name)
}

fn changed() -> io::Error {
    io::Error::other("that was changed meanwhile; sync again")
}
