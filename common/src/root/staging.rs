//! The private place where files are written before they take their names.
//!
//! A staging place is a directory `.swarmwire-<16 hex digits>` of mode 0700 that one sync makes and holds locked (`flock`) as long as it
//! lives. A place that nobody holds is what a crash left behind: [`clean`] removes it. Its names are reserved: they are never listed,
//! and a peer's entry of such a name is refused. Nothing here is ever visible under a final name.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use super::Dir;
use crate::{
    escape::escape,
    path::{Name, RESERVED_PREFIX},
};

/// A staging place that this process holds.
#[derive(Debug)]
pub struct Staging {
    parent: Dir,
    name: Vec<u8>,
    dir: Dir,
    next: AtomicU64,
}

impl Staging {
    /// Makes a place in `parent`. `seed` gives its names, one after another until one is free.
    pub fn create(parent: &Dir, mut seed: impl FnMut() -> u64) -> io::Result<Self> {
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
                    return Ok(Self { parent: parent.try_clone()?, name, dir, next: AtomicU64::new(0) });
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

    /// A name within the place that was not given before.
    pub fn next_name(&self) -> TempName {
        TempName(hex(self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Staging {
    /// Removes the place and whatever is still in it. What stays because of an error is cleaned by the next sync.
    fn drop(&mut self) {
        let name = Name::new(&self.name).expect("it was made with this name");
        if let Err(err) = remove_place(&self.parent, &self.dir, name) {
            tracing::warn!(%err, ?name, "a staging place could not be removed");
        }
    }
}

/// Removes the staging places in `parent` that no living process holds; says how many. A place that cannot be removed is
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
    remove_place(parent, &dir, name)?;
    Ok(true)
}

fn remove_place(parent: &Dir, dir: &Dir, name: Name<'_>) -> io::Result<()> {
    for leftover in dir.names()? {
        dir.remove_file(Name::new(&leftover).expect("listed as a name"))?;
    }
    parent.remove_dir(name)
}

/// Name of a file within a staging place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TempName([u8; 16]);

impl TempName {
    /// The name as a component.
    pub fn as_name(&self) -> Name<'_> {
        Name::new(&self.0).expect("hex digits are a name")
    }
}

fn hex(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|at| DIGITS[usize::try_from((number >> (60 - 4 * at)) & 15).expect("four bits")])
}
