//! The door to the disk: nothing gets out by it, and each call does what it says and no more.
//!
//! Scenarios that resolve paths run twice, with `openat2` and component by component, and must end alike. They hold for
//! root as for anybody: no failure is made by permission bits.

mod content;
mod entries;
mod gates;
mod resolving;
mod staging;

use std::{
    fmt::Debug,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use tempfile::TempDir;

use super::{Dir, Root, describe};
use crate::path::{Name, RelPath};

/// A root, and beside it what must never be touched.
struct Place {
    dir: TempDir,
    root: Root,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inside")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        let root = Root::open(&dir.path().join("inside")).unwrap();
        Self { dir, root }
    }

    fn stepwise() -> Self {
        let Self { dir, root } = Self::new();
        Self { dir, root: root.without_openat2() }
    }

    fn top(&self) -> &Dir {
        self.root.top()
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.dir.path().join("inside").join(path)
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn assert_outside_untouched(&self) {
        assert_eq!(names_at(&self.outside()), ["secret"]);
        assert_eq!(fs::read(self.outside().join("secret")).unwrap(), b"secret");
    }
}

/// Runs a scenario by both ways of resolving.
fn both(scenario: impl Fn(&Place)) {
    scenario(&Place::new());
    scenario(&Place::stepwise());
}

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn names_at(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_fails<T: Debug>(result: io::Result<T>, expected: Errno) {
    let err = result.expect_err("it should have been refused");
    assert_eq!(Errno::from_io_error(&err), Some(expected), "{err}");
}

#[test]
fn failures_are_put_into_words_without_numbers() {
    for (err, words) in [
        (Errno::LOOP.into(), "a symbolic link is in the way and is not followed"),
        (Errno::XDEV.into(), "it lies on another file system than the staging place"),
        (Errno::NOSPC.into(), "no space left on device"),
        (Errno::NOENT.into(), "no such file or directory"),
        (Errno::NOTDIR.into(), "not a directory"),
        (io::ErrorKind::WriteZero.into(), "write zero"),
        (io::Error::other("The disk is tired"), "the disk is tired"),
        (io::Error::other(""), ""),
    ] {
        assert_eq!(describe(&err), words);
    }
}
