//! What happens to a tree between two syncs: files grow, logs rotate, somebody renames, edits or deletes.
//!
//! A change is done in place and depends on the tree and the seed alone: the same tree is changed the same way on every machine and in every
//! run. Whatever a change modifies gets the same new modification time, one second after the youngest file or directory of the tree, so that
//! it differs from what any copy has. Names are changed by renaming, so that what they lead to stays the same file. Symlinks are left alone.

mod content;
mod names;
mod tree;

use std::{fmt, path::Path, str::FromStr};

use anyhow::{Context, Result};

use tree::Tree;

/// A change of a tree that was synced before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// `fresh`: nothing is changed, and the destination is empty: a first sync.
    Fresh,
    /// `none`: nothing is changed.
    None,
    /// `append`: every file grows by 1 % of log text, by a line at least.
    Append,
    /// `rotate`: every `X.log` becomes `X.log.1`, that `X.log.2` and so on, compressed ones too, and a new `X.log` begins.
    Rotate,
    /// `touch`: every file gets another modification time.
    Touch,
    /// `rename`: the directory at the top that holds the most bytes gets another name; without directories, the first file does.
    Rename,
    /// `edit`: in the middle of every file, 1 % of its bytes are overwritten, one byte at least.
    Edit,
    /// `delete`: 5 % of the files are removed, one at least.
    Delete,
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Files that have other content, another name or another time, or are new or gone.
    pub files: u64,
    /// Bytes that are new or gone, or under another name.
    pub bytes: u64,
}

impl Change {
    /// All changes, in the order in which they are told of.
    pub const ALL: [Self; 8] = [
        Self::Fresh,
        Self::None,
        Self::Append,
        Self::Rotate,
        Self::Touch,
        Self::Rename,
        Self::Edit,
        Self::Delete,
    ];

    /// Changes the tree in `top`.
    pub fn apply(self, top: &Path, seed: u64) -> Result<Changed> {
        let read = || Tree::read(top);
        match self {
            Self::Fresh | Self::None => Ok(Changed::default()),
            Self::Append => read().and_then(|tree| content::append(&tree, seed)),
            Self::Touch => read().and_then(|tree| content::touch(&tree)),
            Self::Edit => read().and_then(|tree| content::edit(&tree, seed)),
            Self::Rotate => read().and_then(|tree| names::rotate(&tree, seed)),
            Self::Rename => read().and_then(|tree| names::rename(&tree)),
            Self::Delete => read().and_then(|tree| names::delete(&tree, seed)),
        }
        .with_context(|| format!("failed to {self} in {}", top.display()))
    }

    /// Whether names that were there before are gone, which a program that does not delete leaves at the destination.
    pub fn removes(self) -> bool {
        matches!(self, Self::Rotate | Self::Rename | Self::Delete)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::None => "none",
            Self::Append => "append",
            Self::Rotate => "rotate",
            Self::Touch => "touch",
            Self::Rename => "rename",
            Self::Edit => "edit",
            Self::Delete => "delete",
        }
    }
}

impl FromStr for Change {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|change| change.name() == text).with_context(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown change {text:?}; known are {names}")
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
