//! Files that only change their names: a rotated log, or all that is in a renamed directory. They are not copied.
//!
//! The planner says which old names may become others ([`Moved::expect`]). A file whose content is verified waits under its old name ([`wait`])
//! until the sync takes that away. Where another file takes its place, it gets a second name in the staging place just before, and its new one
//! just after ([`displace`]); where it is deleted, it is renamed instead ([`take_over`]). So no two names of a tree ever lead to one file, and a
//! sync that breaks off in between leaves nothing but a name in the staging place, which the next one clears. What still has its old name in
//! the end, because that is spared or what should replace it has failed, is copied ([`copy_left`]).
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
    path::{Name, RelPath},
    root::{Dir, EntryType, File, Stat, staging::TempName},
};

/// Old names, by their paths below the root.
#[derive(Debug, Default)]
pub(super) struct Moved {
    old: Mutex<HashMap<RelPath, Old>>,
    /// Whether there are any.
    is_expecting: AtomicBool,
    /// What has lost its old name and not got its new one: it is copied in the end.
    stranded: Mutex<Vec<(Waiting, io::Result<File>)>>,
    /// Files that got their names when all batches had theirs.
    late: AtomicU64,
}

/// What is known of an old name.
#[derive(Debug)]
enum Old {
    /// Its file may be another one's.
    Expected,
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
    fn written(&self, temp: Option<TempName>) -> Written {
        Written { index: self.index, temp, bytes: self.stat.size, hash: Some(self.hash) }
    }
}

impl Moved {
    /// This sync replaces or deletes what is at `path`, and another file may be the same.
    pub(super) fn expect(&self, path: &RelPath) {
        self.is_expecting.store(true, Relaxed);
        self.old().entry(path.clone()).or_insert(Old::Expected);
    }

    /// Files that got their names when all batches had theirs.
    pub(super) fn late(&self) -> u64 {
        self.late.load(Relaxed)
    }

    fn is_expected(&self, path: &RelPath) -> bool {
        self.is_expecting.load(Relaxed) && matches!(self.old().get(path), Some(Old::Expected))
    }

    /// The name is about to lead elsewhere. What waits for that, if something does.
    fn let_go(&self, path: &RelPath) -> Option<Waiting> {
        match std::mem::replace(self.old().get_mut(path)?, Old::Gone) {
            Old::Waits(waiting) => Some(waiting),
            Old::Expected | Old::Gone => None,
        }
    }

    /// One of those that still wait.
    fn let_go_of_any(&self) -> Option<(RelPath, Waiting)> {
        self.old().iter_mut().find_map(|(path, old)| match std::mem::replace(old, Old::Gone) {
            Old::Waits(waiting) => Some((path.clone(), waiting)),
            Old::Expected | Old::Gone => None,
        })
    }

    fn strand(&self, waiting: Waiting, file: io::Result<File>) {
        self.stranded.lock().expect("no holder panics").push((waiting, file));
    }

    fn old(&self) -> MutexGuard<'_, HashMap<RelPath, Old>> {
        self.old.lock().expect("no holder panics")
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
        Some(old @ Old::Expected) => {
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
    let Some((dir, name)) = open_parent(shared, from)? else { return Ok(None) };
    let stat = dir.stat(name)?;
    let (size, metadata) = {
        let tree = shared.tree.read().expect("no holder panics");
        (tree.size(index), tree.metadata(index))
    };
    let looks_so = stat.entry_type == EntryType::File
        && !stat.has_links
        && (stat.size, stat.metadata) == (size, metadata)
        && stat.owner == shared.landing.staging()?.dir().stat_self()?.owner;
    let is_so =
        looks_so && !attributes::differ(shared, index, (&dir, name), &stat) && dir.is_plain_file(name)?;
    Ok(is_so.then_some(stat))
}

/// A file that has a second name in the staging place, which is to become its new one.
pub(super) struct Displaced {
    from: RelPath,
    waiting: Waiting,
    pub(super) written: Written,
}

/// Before the file `index` gets its name: gives what has that now, and waits for it to be taken, a second one.
pub(super) fn displace(shared: &Shared, index: u32) -> io::Result<Option<Displaced>> {
    if !shared.moved.is_expecting.load(Relaxed) {
        return Ok(None);
    }
    let from = shared.landing.path_below(&shared.path_of(index))?;
    let Some(waiting) = shared.moved.let_go(&from) else { return Ok(None) };
    let dir = shared.parent_dir(index)?;
    let name = shared.name_of(index);
    let name = Name::new(&name).expect("listed as a name");
    let link = || -> io::Result<TempName> {
        let staging = shared.landing.staging()?;
        let temp = staging.next_name();
        if dir.stat(name)? != waiting.stat {
            return Err(io::ErrorKind::InvalidData.into());
        }
        dir.hard_link(name, staging.dir(), temp.as_name())?;
        Ok(temp)
    };
    match link() {
        Ok(temp) => Ok(Some(Displaced { from, waiting, written: waiting.written(Some(temp)) })),
        Err(_) => {
            shared.moved.strand(waiting, dir.open_file(name));
            Ok(None)
        }
    }
}

/// The name was not taken away after all.
pub(super) fn put_back(shared: &Shared, displaced: Displaced) {
    let Displaced { from, waiting, written } = displaced;
    if let (Some(temp), Ok(staging)) = (written.temp, shared.landing.staging()) {
        // What cannot be removed goes with the staging place.
        let _gone = staging.dir().remove_file(temp.as_name());
    }
    // Which has changed by the second name.
    let stat =
        open_parent(shared, &from).and_then(|found| found.map(|(dir, name)| dir.stat(name)).transpose());
    let stat = stat.ok().flatten().unwrap_or(waiting.stat);
    shared.moved.old().insert(from, Old::Waits(Waiting { stat, ..waiting }));
}

/// Instead of removing the file `name` of `dir`, at `path` below the top: whether it got another name. Blocks.
pub(super) fn take_over(shared: &Shared, path: &RelPath, (dir, name): (&Dir, Name<'_>)) -> bool {
    if !shared.moved.is_expecting.load(Relaxed) {
        return false;
    }
    let waiting = shared.landing.path_below(path).ok().and_then(|from| shared.moved.let_go(&from));
    let Some(waiting) = waiting else { return false };
    if dir.stat(name).is_ok_and(|now| now == waiting.stat) {
        match commit::name(shared, &waiting.written(None), (dir, name)) {
            Ok(_) => {
                shared.moved.late.fetch_add(1, Relaxed);
                return true;
            }
            Err(err) => commit::fail(shared, waiting.written(None), &err),
        }
    } else {
        shared.moved.strand(waiting, dir.open_file(name));
    }
    false
}

/// Copies what has not got its name. Blocks. To be called when nothing else is replaced or deleted.
pub(super) fn copy_left(shared: &Shared) {
    let mut stranded = std::mem::take(&mut *shared.moved.stranded.lock().expect("no holder panics"));
    loop {
        let Some((waiting, file)) = stranded.pop().or_else(|| next_left(shared)) else { return };
        let copied = file
            .and_then(|file| writer::copy(shared, waiting.index, (&file, waiting.stat.size), &waiting.hash));
        match copied {
            Ok(written) => {
                // What this one takes the place of may be what another one waits for.
                commit::rename(shared, written, |written, renamed| match renamed {
                    Ok(_) => drop(shared.moved.late.fetch_add(1, Relaxed)),
                    Err(err) => commit::fail(shared, written, &err),
                });
            }
            Err(err) => shared.fail_io(waiting.index, "cannot be copied from what it was", &err),
        }
        stranded.append(&mut shared.moved.stranded.lock().expect("no holder panics"));
    }
}

fn next_left(shared: &Shared) -> Option<(Waiting, io::Result<File>)> {
    let (from, waiting) = shared.moved.let_go_of_any()?;
    let opened = open_parent(shared, &from)
        .and_then(|found| found.ok_or_else(|| io::ErrorKind::IsADirectory.into()))
        .and_then(|(dir, name)| dir.open_file(name));
    Some((waiting, opened))
}

fn open_parent<'a>(shared: &Shared, path: &'a RelPath) -> io::Result<Option<(Dir, Name<'a>)>> {
    let Some((parent, name)) = path.split_last() else { return Ok(None) };
    Ok(Some((shared.landing.root().dir(&parent)?, name)))
}
