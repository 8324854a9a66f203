//! Hearing of changes below a directory as they happen, through the kernel's inotify(7).
//!
//! A [`Watch`] has a thread that watches every directory that takes part and fills a [`News`]; whoever acts on it takes the changed
//! paths from there when they have settled (`changed`: pure). The controller fills one in the same way from what a gateway tells it.
//! What is heard is a hint about where to look, never about what is there: paths may be told that have not changed, and where some
//! may have been missed, everything is said to have changed.
//!
//! Directories are watched through handles that were opened beneath the root, so no link is followed. A new directory is watched with
//! all that is in it before it is told, so that whoever looks at it then misses nothing.

mod changed;
mod inotify;
mod news;

use std::{io, sync::Arc};

use crate::{
    filter::Selection,
    path::{Name, RelPath},
    root::{EntryType, Root},
};

pub use changed::{Changed, Pace, Seen};
pub use inotify::describe;
pub use news::{End, News};

/// A tree that is watched. Dropping it ends its thread.
#[derive(Debug)]
pub struct Watch {
    news: Arc<News>,
    stop: inotify::Stop,
}

impl Watch {
    /// Begins to watch what is at `path` below `root`, as far as it is selected. Blocks for a moment; must be called within a tokio
    /// runtime. [`News::ready`] waits until all of it is watched.
    pub fn start(
        root: Arc<Root>,
        path: RelPath,
        selection: Arc<Selection>,
        news: Arc<News>,
    ) -> io::Result<Self> {
        let top = match (root.stat(&path)?.entry_type, path.split_last()) {
            (EntryType::Directory, _) => Top { path, only: None },
            // A file is known by its name in its directory.
            (_, Some((parent, name))) => Top { path: parent, only: Some(name.as_bytes().to_vec()) },
            (_, None) => return Err(io::ErrorKind::NotADirectory.into()),
        };
        let stop = inotify::spawn(root, top, selection, Arc::clone(&news))?;
        Ok(Self { news, stop })
    }

    /// What it hears.
    pub fn news(&self) -> &Arc<News> {
        &self.news
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// What is watched.
#[derive(Clone, Debug)]
struct Top {
    /// Of a directory, below the root.
    path: RelPath,
    /// Of all that is in it, this alone: a file.
    only: Option<Vec<u8>>,
}

impl Top {
    fn is_about(&self, name: Name<'_>) -> bool {
        self.only.as_ref().is_none_or(|only| only == name.as_bytes())
    }
}

#[cfg(test)]
mod tests;
