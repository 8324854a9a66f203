//! Writes what was planned: contents, modes, times. Two threads share the work, for two cores are what the smallest machine has.
//!
//! Which thread writes a file has no influence on it. Directories get their mode and time last, as making an entry changes the time of the
//! directory it is in.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::{
    LogText, NEWEST,
    plan::{self, Content, Item, Plan},
};
use crate::random::Random;

/// Bytes of content produced at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// How a gzip file with the usual method begins (RFC 1952 §2.3.1).
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];

/// Permission bits of every directory.
const DIRECTORY_MODE: u32 = 0o755;

/// Makes the items of `plan` below `top`.
pub(super) fn write(top: &Path, plan: Plan) -> Result<()> {
    let plan = Mutex::new(plan);
    let work = || -> Result<()> {
        let mut piece = Vec::new();
        loop {
            let item = plan.lock().expect("planning does not panic").next();
            let Some(item) = item else { return Ok(()) };
            make(top, item, &mut piece)?;
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        work().and(other.join().expect("the other half does not panic"))
    })?;
    settle_directories(top)
}

fn make(top: &Path, item: Item, piece: &mut Vec<u8>) -> Result<()> {
    match item {
        Item::File(file) => {
            let path = top.join(&file.path);
            write_file(&path, file, piece).with_context(|| format!("failed to write {}", path.display()))
        }
        Item::EmptyDirectory { path } => fs::create_dir_all(top.join(&path))
            .with_context(|| format!("failed to make the directory {path}")),
        Item::Symlink { path, target } => in_directory(&top.join(&path), |link| symlink(&target, link))
            .with_context(|| format!("failed to make the link {path}")),
    }
}

fn write_file(path: &Path, planned: plan::File, piece: &mut Vec<u8>) -> Result<()> {
    let mut file = in_directory(path, |path| File::create_new(path))?;
    let mut content = Bytes::of(&planned.content, planned.random, planned.written);
    let mut rest = planned.bytes;
    while rest > 0 {
        let bytes = usize::try_from(rest).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        content.fill(piece, bytes);
        file.write_all(piece)?;
        rest -= bytes as u64;
    }
    file.set_permissions(Permissions::from_mode(planned.mode))?;
    Ok(file.set_modified(SystemTime::UNIX_EPOCH + planned.written)?)
}

/// Does what makes an entry at `path`, after making its directory if that is missing.
fn in_directory<T>(path: &Path, entry: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    match (entry(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            entry(path)
        }
        (result, _) => result,
    }
}

/// Content as it is produced.
enum Bytes {
    Text(LogText),
    Compressed { random: Random, magic: &'static [u8] },
}

impl Bytes {
    fn of(content: &Content, random: Random, written: Duration) -> Self {
        match content {
            Content::Log { host, service } => Self::Text(LogText::new(random, host, service, written)),
            Content::Compressed => Self::Compressed { random, magic: GZIP_MAGIC },
        }
    }

    /// Replaces what is in `piece` by the next `count` bytes.
    fn fill(&mut self, piece: &mut Vec<u8>, count: usize) {
        piece.clear();
        match self {
            Self::Text(text) => text.fill(piece, count),
            Self::Compressed { random, magic } => {
                piece.resize(count, 0);
                random.fill(piece);
                let start = std::mem::take(magic);
                piece.iter_mut().zip(start).for_each(|(byte, &magic)| *byte = magic);
            }
        }
    }
}

/// Gives every directory its mode and time, deepest first.
fn settle_directories(top: &Path) -> Result<()> {
    for entry in WalkDir::new(top).contents_first(true) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            let directory = File::open(entry.path())?;
            directory.set_permissions(Permissions::from_mode(DIRECTORY_MODE))?;
            directory.set_modified(SystemTime::UNIX_EPOCH + NEWEST)?;
        }
    }
    Ok(())
}
