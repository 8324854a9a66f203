//! The private place where files are written before they take their names.
//!
//! A staging place is a directory `.swarmwire-<16 hex digits>` of mode 0700 that one sync makes and holds locked (`flock`) as long as it
//! lives. A place that nobody holds is what a crash left behind: [`clean`] removes it. Its names are reserved: they are never listed,
//! and a peer's entry of such a name is refused. Nothing here is ever visible under a final name.
//!
//! Large files that did not become complete outlive their place: they are moved beside it as `.swarmwire-part-<15 hex digits>`, where a
//! later sync of the same path finds them ([`open_partial`]). What they hold is believed by nobody.

use std::{
    collections::HashSet,
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use super::{Dir, EntryType, File};
use crate::{
    escape::escape,
    path::{Name, RESERVED_PREFIX, RelPath},
};

/// A staging place that this process holds.
#[derive(Debug)]
pub struct Staging {
    parent: Dir,
    name: Vec<u8>,
    dir: Dir,
    next: AtomicU64,
    keeps_partials: AtomicBool,
    partial_bytes_max: u64,
}

impl Staging {
    /// Makes a place in `parent`. `seed` gives its names, one after another until one is free. Beside it at most `partial_bytes_max` of
    /// unfinished files are kept.
    pub fn create(parent: &Dir, partial_bytes_max: u64, mut seed: impl FnMut() -> u64) -> io::Result<Self> {
        loop {
            let name = [RESERVED_PREFIX, &hex(seed())].concat();
            let valid = Name::new(&name).expect("prefix and hex digits are a name");
            match parent.create_dir(valid, 0o700) {
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            }
            // Another process may take the place for abandoned before it is locked; then it is gone, and the next name is tried.
            match Self::hold(parent, valid) {
                Ok(Some(dir)) => {
                    return Ok(Self {
                        parent: parent.try_clone()?,
                        name,
                        dir,
                        next: AtomicU64::new(0),
                        keeps_partials: AtomicBool::new(partial_bytes_max > 0),
                        partial_bytes_max,
                    });
                }
                Ok(None) => {}
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
    }

    fn hold(parent: &Dir, name: Name<'_>) -> io::Result<Option<Dir>> {
        let dir = parent.open_dir(name)?;
        if !dir.try_lock()? {
            return Ok(None);
        }
        let (held, named) = (dir.stat_self()?, parent.stat(name)?);
        Ok((held.inode == named.inode && held.device == named.device).then_some(dir))
    }

    /// The place itself.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Nobody will come back for what is unfinished: it goes with the place.
    pub fn forget_partials(&self) {
        self.keeps_partials.store(false, Ordering::Relaxed);
    }

    /// Removes the unfinished files beside the place that nobody has come back for, and the oldest of those that are too many.
    pub fn expire_partials(&self) -> io::Result<()> {
        // The place was made just now, by the clock by which the file system dates its files.
        let now = self.dir.stat_self()?.metadata.mtime.as_nanoseconds();
        let age_max = i128::try_from(PARTIAL_AGE_MAX.as_nanos()).expect("a week");
        // One from the future was written when the clock was wrong, and its time would be long in coming.
        trim(&self.parent, (now - age_max, now + age_max), self.partial_bytes_max)
    }

    /// A name within the place that was not given before.
    pub fn next_name(&self) -> TempName {
        TempName(hex(self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Staging {
    /// Removes the place and whatever is still in it, but for what is worth keeping. What stays because of an error is cleaned by the next sync.
    fn drop(&mut self) {
        let name = Name::new(&self.name).expect("it was made with this name");
        let keeps = self.keeps_partials.load(Ordering::Relaxed);
        if let Err(err) = remove_place(&self.parent, &self.dir, name, keeps) {
            tracing::warn!(%err, ?name, "a staging place could not be removed");
        }
        if keeps && let Err(err) = trim(&self.parent, (i128::MIN, i128::MAX), self.partial_bytes_max) {
            tracing::warn!(%err, "unfinished files are more than they may be");
        }
    }
}

/// Removes the staging places in `parent` that no living process holds, and keeps what is worth it; says how many. A place that cannot be removed is
/// left, and so is everything else of a reserved name: nobody but us makes names of exactly this form.
pub fn clean(parent: &Dir) -> io::Result<usize> {
    let mut cleaned = 0;
    for name in parent.reserved_names()?.iter().filter(|name| is_place_name(name)) {
        match clean_place(parent, Name::new(name).expect("listed as a name")) {
            Ok(true) => cleaned += 1,
            // Somebody's living place.
            Ok(false) => {}
            // Somebody else's file, already gone, or not ours to remove.
            Err(err) => tracing::debug!(%err, name = %escape(name), "left a reserved name alone"),
        }
    }
    Ok(cleaned)
}

fn is_place_name(name: &[u8]) -> bool {
    name.strip_prefix(RESERVED_PREFIX).is_some_and(|digits| {
        digits.len() == 16 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn clean_place(parent: &Dir, name: Name<'_>) -> io::Result<bool> {
    let Some(dir) = Staging::hold(parent, name)? else { return Ok(false) };
    remove_place(parent, &dir, name, true)?;
    Ok(true)
}

fn remove_place(parent: &Dir, dir: &Dir, name: Name<'_>, keeps_partials: bool) -> io::Result<()> {
    for leftover in dir.names()? {
        let leftover = Name::new(&leftover).expect("listed as a name");
        match PartialKey::of_temp(leftover).filter(|_| keeps_partials) {
            Some(key) => keep_partial(parent, dir, leftover, &key)?,
            None => dir.remove_file(leftover)?,
        }
    }
    parent.remove_dir(name)
}

/// Moves an unfinished file out of its place, unless there is more of it already.
fn keep_partial(parent: &Dir, dir: &Dir, temp: Name<'_>, key: &PartialKey) -> io::Result<()> {
    let name = key.name();
    let name = Name::new(&name).expect("prefix and hex digits are a name");
    let stat = dir.stat(temp)?;
    let kept = match parent.stat(name) {
        // Somebody else's, which no file can replace.
        Ok(kept) if kept.entry_type == EntryType::Directory => return dir.remove_file(temp),
        Ok(kept) if kept.entry_type == EntryType::File => kept.size,
        Ok(_) => 0,
        Err(err) if err.kind() == io::ErrorKind::NotFound => 0,
        Err(err) => return Err(err),
    };
    if stat.entry_type == EntryType::File && stat.size > kept {
        return dir.rename(temp, parent, name);
    }
    dir.remove_file(temp)
}

/// Removes the unfinished files in `parent` that were written to before `oldest` or after `latest`, in nanoseconds since 1970, and of the others those that
/// are beyond `bytes_max` in all, counted from the youngest on.
fn trim(parent: &Dir, (oldest, latest): (i128, i128), bytes_max: u64) -> io::Result<()> {
    let mut kept = Vec::new();
    for name in parent.reserved_names()?.into_iter().filter(|name| name.starts_with(PARTIAL_PREFIX)) {
        match parent.stat(Name::new(&name).expect("listed as a name")) {
            Ok(stat) if stat.entry_type == EntryType::File => {
                kept.push((stat.metadata.mtime.as_nanoseconds(), stat.size, name));
            }
            // Not ours, or gone on with by another sync.
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    kept.sort_unstable();
    let mut bytes: u64 = 0;
    for (mtime, size, name) in kept.iter().rev() {
        bytes = bytes.saturating_add(*size);
        if (oldest..=latest).contains(mtime) && bytes <= bytes_max {
            continue;
        }
        match parent.remove_file(Name::new(name).expect("listed as a name")) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(())
}

/// The keys of all unfinished files that are kept in `parent`.
pub fn partials(parent: &Dir) -> io::Result<HashSet<PartialKey>> {
    let names = parent.reserved_names()?;
    Ok(names.iter().filter_map(|name| PartialKey::of_digits(name.strip_prefix(PARTIAL_PREFIX)?)).collect())
}

/// What was left of the file of this key by syncs that staged in `parent`.
pub fn open_partial(parent: &Dir, key: &PartialKey) -> io::Result<File> {
    parent.open_file(Name::new(&key.name()).expect("prefix and hex digits are a name"))
}

/// Removes what was left of the file, if there is something.
pub fn remove_partial(parent: &Dir, key: &PartialKey) -> io::Result<()> {
    match parent.remove_file(Name::new(&key.name()).expect("prefix and hex digits are a name")) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// How long an unfinished file waits to be continued: over a weekend and some days more. Chosen, not measured.
const PARTIAL_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const PARTIAL_PREFIX: &[u8] = b".swarmwire-part-";

/// Marks the temporary names of files that are worth keeping when they do not become complete.
const PARTIAL_MARK: u8 = b'p';

/// Which file an unfinished one was to be: 60 bits of the BLAKE3 of its path below the root. Should two have the same, one finds nothing
/// of itself in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartialKey([u8; 15]);

impl PartialKey {
    /// The key of the file at `path`.
    pub fn of(path: &RelPath) -> Self {
        let hash = blake3::hash(path.as_bytes());
        let digits = hash.to_hex();
        Self(std::array::from_fn(|at| digits.as_bytes()[at]))
    }

    fn of_temp(name: Name<'_>) -> Option<Self> {
        Self::of_digits(name.as_bytes().strip_prefix(&[PARTIAL_MARK])?)
    }

    fn of_digits(digits: &[u8]) -> Option<Self> {
        let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        digits.try_into().ok().filter(|digits: &[u8; 15]| digits.iter().all(is_digit)).map(Self)
    }

    fn name(&self) -> Vec<u8> {
        [PARTIAL_PREFIX, &self.0].concat()
    }
}

/// Name of a file within a staging place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TempName([u8; 16]);

impl TempName {
    /// The name of a file that is worth keeping when it does not become complete. There is one such name for each key.
    pub fn partial(key: &PartialKey) -> Self {
        let mut name = [PARTIAL_MARK; 16];
        name[1..].copy_from_slice(&key.0);
        Self(name)
    }

    /// The name as a component.
    pub fn as_name(&self) -> Name<'_> {
        Name::new(&self.0).expect("hex digits and the mark are a name")
    }
}

fn hex(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|at| DIGITS[usize::try_from((number >> (60 - 4 * at)) & 15).expect("four bits")])
}
