//! A temporary directory for one command of the laboratory, that goes away with it, also when it is killed.
//!
//! A janitor, a second process of this program in a session of its own, waits for the end of the command, then for the end of everything that holds
//! a lock in the directory (the keepers of children do), and removes the directory if it is still there. Only a directory that this
//! command has made is ever removed: the janitor knows it by device and inode, not by name.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::{figures::megabytes, process::Nursery};

/// Start of the names of our directories.
const PREFIX: &str = "swarmwire-lab-";

/// The file in it that keepers lock.
const LOCK: &str = "lock";

/// How long the janitor waits for the keepers, which give their children 10 s.
const KEEPERS_PATIENCE: Duration = Duration::from_secs(40);

/// How long it tries to remove a directory in which somebody may still be writing.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(20);

/// A directory of ours, and who cleans it up.
#[derive(Debug)]
pub struct Work {
    /// Dropped before the janitor is dismissed.
    directory: Option<TempDir>,
    janitor: Child,
    nursery: Nursery,
}

impl Work {
    /// Makes a directory below the existing `parent`.
    pub fn begin(parent: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .with_context(|| format!("failed to make a directory in {}", parent.display()))?;
        let lock = directory.path().join(LOCK);
        File::create_new(&lock)?;
        let janitor = Self::janitor(directory.path()).context("failed to start the janitor")?;
        let nursery = Nursery::of_this_program(Some(lock));
        Ok(Self { directory: Some(directory), janitor, nursery })
    }

    fn janitor(directory: &Path) -> io::Result<Child> {
        let found = fs::metadata(directory)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("lab-janitor").arg("clean");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut janitor = command.spawn()?;
        let mut order = format!("{} {} ", found.dev(), found.ino()).into_bytes();
        order.extend_from_slice(directory.as_os_str().as_bytes());
        order.push(0);
        janitor.stdin.as_mut().expect("its input is a pipe").write_all(&order)?;
        Ok(janitor)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.as_ref().expect("it is taken by `drop` alone").path()
    }

    /// What starts children that end before the directory is removed.
    pub fn nursery(&self) -> &Nursery {
        &self.nursery
    }

    /// Fails unless `bytes` more fit into the directory's file system.
    pub fn expect_space(&self, bytes: u64) -> Result<()> {
        let space = rustix::fs::statvfs(self.path())?;
        let free = space.f_bavail * space.f_frsize;
        if free < bytes {
            let place = self.path().parent().unwrap_or(self.path()).display();
            bail!("{place} has {} free, and this takes {}", megabytes(free), megabytes(bytes));
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        drop(self.directory.take());
        // The end of its input dismisses the janitor, which finds nothing left to do.
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

/// The janitor: waits for the end of its input, then removes the directory that it was told about.
pub fn clean() -> Result<()> {
    rustix::process::setsid().context("failed to leave the session")?;
    let mut order = Vec::new();
    io::stdin().read_to_end(&mut order)?;
    let order = order.strip_suffix(&[0]).context("there is no order")?;
    let Some((identity, path)) = parse(order) else { bail!("the order makes no sense") };
    let is_ours = || fs::metadata(&path).is_ok_and(|found| (found.dev(), found.ino()) == identity);
    if !is_ours() {
        return Ok(());
    }
    wait_for_keepers(&path.join(LOCK));
    let start = Instant::now();
    while is_ours() && start.elapsed() < REMOVAL_PATIENCE {
        // Whoever still writes into it may bring a directory back while it is removed.
        if fs::remove_dir_all(&path).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Device, inode and path.
fn parse(order: &[u8]) -> Option<((u64, u64), PathBuf)> {
    let mut parts = order.splitn(3, |byte| *byte == b' ');
    let mut number = || str::from_utf8(parts.next()?).ok()?.parse().ok();
    let identity = (number()?, number()?);
    Some((identity, Path::new(std::ffi::OsStr::from_bytes(parts.next()?)).to_owned()))
}

/// Returns when nobody holds the lock any more, or when patience ends.
fn wait_for_keepers(lock: &Path) {
    let Ok(lock) = File::open(lock) else { return };
    let start = Instant::now();
    while flock(lock.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err() {
        if start.elapsed() > KEEPERS_PATIENCE {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_may_name_a_path_with_spaces() {
        assert_eq!(parse(b"1 23 /tmp/a b"), Some(((1, 23), "/tmp/a b".into())));
        for nonsense in [&b""[..], b"1", b"1 2", b"x 2 /tmp"] {
            assert_eq!(parse(nonsense), None);
        }
    }
}
