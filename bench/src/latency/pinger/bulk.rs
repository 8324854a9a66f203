//! One push after the other, each into a fresh directory, for as long as pings go on; and how much of it has arrived.
//!
//! A tree that has arrived is removed on another thread while the next one is pushed, so that the far end holds two at most. That takes processor
//! time from both ways of pinging alike. What has arrived is read off the far end's file system, which is on this machine: no program's own account
//! is believed. The push itself is the caller's.

use std::{
    cell::Cell,
    convert::Infallible,
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use super::blocking;

/// Start of the names of the directories into which trees are pushed.
const PREFIX: &str = "round-";

/// Bytes of a block as stat(2) counts them.
const BLOCK_BYTES: u64 = 512;

/// Pushes of one tree.
#[derive(Debug)]
pub(crate) struct Rounds {
    tree: PathBuf,
    into: PathBuf,
    tree_bytes: u64,
    completed: Cell<u64>,
}

impl Rounds {
    /// Pushes of `tree` into directories below `into`. Reads the tree's sizes; blocks.
    pub(crate) fn new(tree: &Path, into: &Path) -> Result<Self> {
        let mut tree_bytes = 0;
        for entry in WalkDir::new(tree) {
            let entry = entry.context("failed to read the tree")?;
            if entry.file_type().is_file() {
                tree_bytes += entry.metadata()?.len();
            }
        }
        Ok(Self { tree: tree.to_owned(), into: into.to_owned(), tree_bytes, completed: Cell::new(0) })
    }

    /// Calls `push` with the tree and one new name below `into` after the other, until it fails.
    pub(crate) async fn run(&self, push: impl AsyncFn(&Path, &str) -> Result<()>) -> Result<Infallible> {
        loop {
            let number = self.completed.get();
            let name = round(number);
            let earlier = number.checked_sub(1).map(|earlier| self.into.join(round(earlier)));
            let removal = blocking(move || {
                earlier.map_or(Ok(()), fs::remove_dir_all).context("failed to remove what had arrived")
            });
            tokio::try_join!(push(&self.tree, &name), removal)?;
            self.completed.set(number + 1);
        }
    }

    /// Bytes of file content that have arrived: whole trees, and a part of one.
    pub(crate) fn arrived_bytes(&self) -> u64 {
        let current = round(self.completed.get());
        let is_counted =
            |entry: &DirEntry| entry.depth() != 1 || !is_other_round(entry.file_name(), &current);
        let entries = WalkDir::new(&self.into).into_iter().filter_entry(is_counted);
        // What goes away under the walk is being moved to its name, or was never whole.
        let files = entries.flatten().filter(|entry| entry.file_type().is_file());
        let part: u64 = files.filter_map(|file| file.metadata().ok()).map(|file| written_bytes(&file)).sum();
        self.completed.get() * self.tree_bytes + part
    }
}

fn round(number: u64) -> String {
    format!("{PREFIX}{number}")
}

fn is_other_round(name: &OsStr, current: &str) -> bool {
    name != current && name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// A file that is written in pieces has holes, which have no blocks; a whole one may have more blocks than bytes.
fn written_bytes(file: &fs::Metadata) -> u64 {
    file.len().min(file.blocks() * BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::bail;

    use super::*;

    fn run(rounds: &Rounds, push: impl AsyncFn(&Path, &str) -> Result<()>) -> anyhow::Error {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(rounds.run(push)).unwrap_err()
    }

    #[test]
    fn whole_trees_and_the_part_of_one_that_has_arrived_are_counted_and_earlier_ones_removed() {
        let temp = tempfile::tempdir().unwrap();
        let (tree, into) = (temp.path().join("tree"), temp.path().join("into"));
        fs::create_dir(&tree).unwrap();
        fs::create_dir(&into).unwrap();
        fs::write(tree.join("a"), [1; 3000]).unwrap();
        fs::write(tree.join("b"), [1; 5000]).unwrap();
        let rounds = Rounds::new(&tree, &into).unwrap();
        let names = RefCell::new(vec![]);
        let error = run(&rounds, async |tree, name| {
            names.borrow_mut().push(name.to_owned());
            let to = into.join(name);
            fs::create_dir(&to)?;
            fs::copy(tree.join("a"), to.join("a"))?;
            if names.borrow().len() == 3 {
                bail!("the third breaks off");
            }
            fs::copy(tree.join("b"), to.join("b"))?;
            Ok(())
        });
        assert_eq!(error.to_string(), "the third breaks off");
        assert_eq!(*names.borrow(), ["round-0", "round-1", "round-2"]);
        assert_eq!(rounds.arrived_bytes(), 2 * 8000 + 3000);
        assert!(!into.join("round-0").exists());
    }

    #[test]
    fn what_is_staged_beside_the_rounds_has_arrived_as_far_as_it_is_written() {
        let temp = tempfile::tempdir().unwrap();
        let rounds = Rounds::new(temp.path(), temp.path()).unwrap();
        let staged = temp.path().join(".staged");
        fs::create_dir(&staged).unwrap();
        fs::write(staged.join("whole"), [1; 100]).unwrap();
        fs::File::create(staged.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        assert_eq!(rounds.arrived_bytes(), 100);
    }
}
