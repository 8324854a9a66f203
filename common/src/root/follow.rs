//! Follows a link as far as it stays below a directory, component by component.
//!
//! Nothing is opened through a link: each component is looked at by itself, and what comes out is a path that had no link in it at
//! that moment. Whoever opens it does so as anything else below a root, so a link that is put there later is refused then.

use std::{collections::VecDeque, io};

use rustix::io::Errno;

use super::{EntryType, Root, Stat, describe};
use crate::{
    limits,
    path::{Name, RelPath},
};

/// Why a link is not followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Its text is absolute or has more `..` than there are directories.
    #[error("the link leads outside of what is synced and is not followed")]
    Outside,
    /// It leads to itself in the end.
    #[error("the link leads in a circle")]
    Circle,
    /// Nothing is there.
    #[error("the link leads to nothing")]
    Nothing,
    /// A call failed.
    #[error("the link cannot be followed: {}", describe(.0))]
    Io(#[from] io::Error),
}

impl Root {
    /// What the link at `path` below `beneath` leads to, below `beneath` as well, and where that is.
    pub fn follow(&self, beneath: &RelPath, path: &RelPath) -> Result<(RelPath, Stat), FollowError> {
        let mut reached = Reached { root: self, beneath: beneath.clone(), stack: Vec::new() };
        let mut rest: VecDeque<Vec<u8>> = path.components().map(|name| name.as_bytes().to_vec()).collect();
        let mut stat = self.stat(beneath)?;
        let mut hops = 0;
        while let Some(component) = rest.pop_front() {
            match component.as_slice() {
                b"" | b"." => {}
                b".." => {
                    reached.stack.pop().ok_or(FollowError::Outside)?;
                    stat = self.stat(&reached.path()?)?;
                }
                name => match reached.enter(name)? {
                    Step::Entry(entry) => stat = entry,
                    Step::Link(target) => {
                        hops += 1;
                        if hops > limits::LINK_HOPS_MAX {
                            return Err(FollowError::Circle);
                        }
                        if target.first() == Some(&b'/') {
                            return Err(FollowError::Outside);
                        }
                        target
                            .split(|&byte| byte == b'/')
                            .rev()
                            .for_each(|part| rest.push_front(part.to_vec()));
                    }
                },
            }
        }
        Ok((reached.below()?, stat))
    }
}

/// How far it has been followed.
struct Reached<'a> {
    root: &'a Root,
    beneath: RelPath,
    stack: Vec<Vec<u8>>,
}

enum Step {
    Entry(Stat),
    Link(Vec<u8>),
}

impl Reached<'_> {
    fn enter(&mut self, name: &[u8]) -> Result<Step, FollowError> {
        let valid = Name::new(name).ok().filter(|name| !name.is_reserved()).ok_or(FollowError::Nothing)?;
        let found = self.path().and_then(|path| {
            let dir = self.root.dir(&path)?;
            let stat = dir.stat(valid)?;
            if stat.entry_type == EntryType::Symlink {
                return Ok(Step::Link(dir.read_link(valid)?));
            }
            Ok(Step::Entry(stat))
        });
        match found {
            Ok(Step::Entry(stat)) => {
                self.stack.push(name.to_vec());
                Ok(Step::Entry(stat))
            }
            Ok(link) => Ok(link),
            Err(err) if matches!(Errno::from_io_error(&err), Some(Errno::NOENT | Errno::NOTDIR)) => {
                Err(FollowError::Nothing)
            }
            Err(err) => Err(err.into()),
        }
    }

    /// Below the root.
    fn path(&self) -> io::Result<RelPath> {
        self.joined(self.beneath.clone())
    }

    /// Below the directory that is not left.
    fn below(&self) -> io::Result<RelPath> {
        self.joined(RelPath::root())
    }

    fn joined(&self, base: RelPath) -> io::Result<RelPath> {
        let fail = |err| io::Error::new(io::ErrorKind::InvalidFilename, err);
        self.stack
            .iter()
            .try_fold(base, |path, name| Name::new(name).and_then(|name| path.join(name)))
            .map_err(fail)
    }
}
