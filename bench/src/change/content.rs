//! Changes of what is in files, or of their times: append, edit, touch. New content is log text, whatever was in the file before.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    Changed,
    tree::{File, Tree},
};
use crate::{random::Random, workload::LogText};

/// What part of a file is appended or edited: one in a hundred bytes.
const PART: u64 = 100;

/// Bytes of a line of log text: 149 in the mean of 3 MiB, rounded up.
const LINE_BYTES: u64 = 160;

/// Bytes of text produced at a time.
const PIECE_BYTES: u64 = 1024 * 1024;

pub(super) fn append(tree: &Tree, seed: u64) -> Result<Changed> {
    let mut random = Random::new(seed);
    each(tree, |file| {
        let (bytes, random) = (growth(file.bytes), random.fork());
        tree.change(&file.path, |path| {
            let mut out = OpenOptions::new().append(true).open(path)?;
            text(tree, random, bytes, |piece| out.write_all(piece))
        })?;
        Ok(Some(bytes))
    })
}

pub(super) fn edit(tree: &Tree, seed: u64) -> Result<Changed> {
    let mut random = Random::new(seed);
    each(tree, |file| {
        let random = random.fork();
        if file.bytes == 0 {
            return Ok(None);
        }
        let bytes = (file.bytes / PART).max(1);
        tree.change(&file.path, |path| {
            let mut disk = OpenOptions::new().read(true).write(true).open(path)?;
            disk.seek(SeekFrom::Start((file.bytes - bytes) / 2))?;
            text(tree, random, bytes, |piece| overwrite(&mut disk, piece))
        })?;
        Ok(Some(bytes))
    })
}

pub(super) fn touch(tree: &Tree) -> Result<Changed> {
    each(tree, |file| {
        tree.stamp(&file.path)?;
        Ok(Some(0))
    })
}

/// How much a log of `bytes` bytes grows from one sync to the next: 1 %, a line at least.
pub(super) fn growth(bytes: u64) -> u64 {
    (bytes / PART).max(LINE_BYTES)
}

/// Gives `write` `bytes` bytes of log text, piece by piece.
pub(super) fn text(
    tree: &Tree,
    random: Random,
    bytes: u64,
    mut write: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let start = Duration::from_secs(tree.time.tv_sec.try_into().unwrap_or(0));
    let mut text = LogText::new(random, "node-01", "unit", start);
    let mut piece = Vec::new();
    let mut rest = bytes;
    while rest > 0 {
        let count = rest.min(PIECE_BYTES);
        piece.clear();
        text.fill(&mut piece, usize::try_from(count).expect("a piece fits in memory"));
        write(&mut piece)?;
        rest -= count;
    }
    Ok(())
}

/// Replaces the next bytes of `disk` by those of `piece`, of which those that are there already are changed first.
fn overwrite(disk: &mut fs::File, piece: &mut [u8]) -> io::Result<()> {
    let mut there = vec![0; piece.len()];
    disk.read_exact(&mut there)?;
    for (new, old) in piece.iter_mut().zip(there) {
        *new ^= u8::from(*new == old);
    }
    disk.seek_relative(-i64::try_from(piece.len()).expect("a piece is small"))?;
    disk.write_all(piece)
}

/// Does `change` to each file; it tells how many bytes it changed, or none if it left the file alone.
fn each(tree: &Tree, mut change: impl FnMut(&File) -> io::Result<Option<u64>>) -> Result<Changed> {
    let mut changed = Changed::default();
    for file in &tree.files {
        let bytes = change(file).with_context(|| format!("failed to change {}", file.path.display()))?;
        if let Some(bytes) = bytes {
            changed.files += 1;
            changed.bytes += bytes;
        }
    }
    Ok(changed)
}
