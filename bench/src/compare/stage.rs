//! The trees of one comparison: the source, as it is before each run, and the destination, as it should be after it.
//!
//! For a fresh sync the generated tree itself is the source and the destination does not exist. For a change, each run gets a copy of the tree and
//! an equal destination, to which the change is then made in place, so that a renamed file is the same inode under another name. A peer that remembers
//! former syncs brings the tree there itself; for the others it is copied.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::fs::statfs;

use crate::{
    change::Change,
    ground::Ground,
    peer::{Mode, Transfer},
    process,
    verify::{Comparison, Snapshot},
    workload::{Generated, Workload},
};

/// `f_type` of tmpfs (statfs(2)).
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// How long copying a tree may take.
const COPY_PATIENCE: Duration = Duration::from_secs(1800);

/// Where everything lies below the directory of a comparison.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The near end's trees.
    pub(crate) near: PathBuf,
    /// The far end's trees: what servers serve.
    pub(crate) far: PathBuf,
    /// The tree as it was generated, while it is not a source.
    pristine: PathBuf,
    /// What runs have left, until all are over; on tmpfs, where it takes memory, nothing. ext4 does not give out an inode that was freed in the last
    /// minutes, and looks at each that it passes: files that are made after others were removed cost up to ten times as much.
    past: Option<PathBuf>,
}

impl Ends {
    /// Makes the directories in `top`, and the tree.
    pub(crate) fn make(top: &Path, workload: &Workload, seed: u64) -> Result<(Self, Generated)> {
        let is_in_memory = statfs(top)?.f_type == TMPFS_MAGIC;
        let ends = Self {
            near: top.join("near"),
            far: top.join("far"),
            pristine: top.join("tree"),
            past: (!is_in_memory).then(|| top.join("past")),
        };
        for directory in ends.directories() {
            fs::create_dir(directory)?;
        }
        let generated = workload.generate(&ends.pristine, seed).context("failed to generate the tree")?;
        Ok((ends, generated))
    }

    /// Removes the directories and the trees.
    pub(crate) fn remove(self) -> Result<()> {
        for directory in self.directories() {
            fs::remove_dir_all(directory)
                .with_context(|| format!("failed to remove {}", directory.display()))?;
        }
        Ok(())
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.near, &self.far, &self.pristine].into_iter().chain(&self.past)
    }
}

/// One case: a change, and a direction.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    ends: &'a Ends,
    ground: &'a Ground,
    change: Change,
    mode: Mode,
    seed: u64,
    /// What the destination must become; known once the source has changed for the first time.
    expected: Option<Snapshot>,
}

impl<'a> Stage<'a> {
    /// Sets the stage.
    pub(crate) fn set(
        ends: &'a Ends,
        ground: &'a Ground,
        (change, mode): (Change, Mode),
        seed: u64,
    ) -> Result<Self> {
        let mut stage = Self { ends, ground, change, mode, seed, expected: None };
        if change == Change::Fresh {
            fs::rename(&ends.pristine, stage.source())?;
            stage.expected = Some(Snapshot::take(&stage.source())?);
        }
        Ok(stage)
    }

    /// The two ends that the trees lie at.
    pub(crate) fn ground(&self) -> &'a Ground {
        self.ground
    }

    /// What a server serves.
    pub(crate) fn root(&self) -> &'a Path {
        &self.ends.far
    }

    /// The transfer that is measured on it.
    pub(crate) fn transfer(&self, durable: bool) -> Transfer {
        let (near, far) = match self.mode {
            Mode::Push => (self.source(), self.destination()),
            Mode::Pull => (self.destination(), self.source()),
        };
        Transfer { mode: self.mode, near, far, mirror: self.change.removes(), durable }
    }

    /// Makes source and destination ready for a run. `bring` makes the destination equal to the source, if the peer does that itself.
    pub(crate) fn reset(&mut self, bring: Option<impl FnOnce() -> Result<()>>) -> Result<()> {
        self.clear()?;
        if let (Change::Fresh, Some(expected)) = (self.change, &self.expected) {
            // Some peers leave something in the trees that they serve.
            return expected.remove_strangers(&self.source());
        }
        let (source, destination) = (self.source(), self.destination());
        if source.exists() {
            fs::remove_dir_all(&source)?;
        }
        self.copy(&self.ends.pristine, &source)?;
        match bring {
            Some(bring) => bring().context("failed to bring the tree to the destination first")?,
            None => self.copy(&source, &destination)?,
        }
        self.change.apply(&source, self.seed).context("failed to change the source")?;
        if self.expected.is_none() {
            self.expected = Some(Snapshot::take(&source)?);
        }
        Ok(())
    }

    /// Compares the destination with the source.
    pub(crate) fn verify(&self) -> Result<Comparison> {
        let expected = self.expected.as_ref().context("nothing was synced yet")?;
        Ok(expected.compare(&Snapshot::take(&self.destination())?))
    }

    /// Files and bytes of the source, once a run was made ready.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.expected.as_ref().map_or((0, 0), |expected| (expected.files(), expected.bytes()))
    }

    /// The room that lies in the destination's files, those not yet in their place included.
    pub(crate) fn arrived_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;

        // Staging places may lie beside the destination, and what is not there any more does not count.
        let entries =
            walkdir::WalkDir::new(self.end()).into_iter().filter_entry(|entry| entry.path() != self.source());
        let files = entries.filter_map(|entry| entry.ok()?.metadata().ok()).filter(fs::Metadata::is_file);
        files.map(|metadata| metadata.len().min(metadata.blocks() * 512)).sum()
    }

    /// Leaves the stage as it was found.
    pub(crate) fn strike(mut self) -> Result<()> {
        self.clear()?;
        if self.change == Change::Fresh {
            fs::rename(self.source(), &self.ends.pristine)?;
        } else if self.source().exists() {
            fs::remove_dir_all(self.source())?;
        }
        self.expected = None;
        Ok(())
    }

    /// Removes the destination, and everything else that a run has left at its end; on a disk it only goes out of the way.
    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(self.end())? {
            let path = entry?.path();
            if path != self.source() {
                self.put_away(&path).with_context(|| format!("failed to remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn put_away(&self, path: &Path) -> io::Result<()> {
        let Some(past) = &self.ends.past else { return remove(path) };
        let number = fs::read_dir(past)?.count();
        fs::rename(path, past.join(number.to_string()))
    }

    /// Where the destination lies.
    fn end(&self) -> &Path {
        match self.mode {
            Mode::Push => &self.ends.far,
            Mode::Pull => &self.ends.near,
        }
    }

    fn source(&self) -> PathBuf {
        match self.mode {
            Mode::Push => self.ends.near.join("source"),
            Mode::Pull => self.ends.far.join("source"),
        }
    }

    fn destination(&self) -> PathBuf {
        self.end().join("arrived")
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let mut command = process::command("cp");
        command.args(["-a", "--reflink=never", "--"]).arg(from).arg(to);
        self.ground
            .near()
            .run(&command, COPY_PATIENCE)?
            .success()
            .map(drop)
            .context("failed to copy the tree")
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
