//! Memory that is touched before a run, so that the run finds its pages in the guest: a host takes idle pages back, and the first touch of one costs a virtual
//! machine several times more than the next.

use std::fs;

use anyhow::{Context, Result};

/// The most memory that is touched before a run, as a share of what is available.
const TOUCHED_SHARE: u64 = 2;

/// What an inode and its names cost in memory, about, for what is touched before a run.
const INODE_BYTES: u64 = 2048;

/// Writes to as much memory as a run that makes `files` files of `bytes` bytes will.
pub(crate) fn touch(files: u64, bytes: u64) -> Result<()> {
    let touched = (bytes + files * INODE_BYTES).min(available_bytes()? / TOUCHED_SHARE);
    // Ones: zeros would be given by the kernel without a page being touched.
    std::hint::black_box(vec![1_u8; usize::try_from(touched)?]);
    Ok(())
}

/// `MemAvailable` of proc(5).
fn available_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes: u64 = line
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .context("the kernel does not tell the available memory")?;
    Ok(kibibytes * 1024)
}
