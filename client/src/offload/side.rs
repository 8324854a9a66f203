//! The side from which files go: what is there, how full it is, and nobody else at it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use swarmwire_common::{
    entry::Kind,
    escape::escape,
    limits,
    path::{Name, RelPath},
    root::{Dir, EntryType, Root, Space, describe},
    sync::Failure,
    wire::list::ListKind,
};
use tokio::task::spawn_blocking;

use super::{OffloadError, probe::is_probe, terms::Candidate};
use crate::controller::{Controller, Holding, ListItem};

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// All regular files, but those of `probe`.
    pub(super) there: Vec<Candidate>,
    pub(super) probes: Vec<RelPath>,
    /// What could not be looked at; beyond `limits::NAMED_OUTCOMES_MAX` of them are not kept.
    pub(super) failed: Vec<Failure>,
    pub(super) path_bytes: usize,
    /// What a gateway has listed, of whatever kind.
    pub(super) items: u32,
}

impl Files {
    /// Takes what a gateway lists. Whatever that is, it is counted, so that the listing has an end.
    fn take(&mut self, item: ListItem) -> Result<(), OffloadError> {
        self.items += 1;
        if self.items > limits::ENTRIES_MAX {
            return Err(OffloadError::TooMany);
        }
        match item {
            ListItem::Entry { path, kind: ListKind::Plain(Kind::File { size }), metadata, .. } => {
                self.push(Candidate { path, size, mtime: metadata.mtime })?;
            }
            ListItem::Entry { .. } => {}
            ListItem::Failed { path, reason } => self.fail(path, reason),
        }
        Ok(())
    }

    fn push(&mut self, file: Candidate) -> Result<(), OffloadError> {
        self.path_bytes += file.path.as_bytes().len();
        if file.path.split_last().is_some_and(|(_, name)| is_probe(name, file.size)) {
            self.probes.push(file.path);
        } else {
            self.there.push(file);
        }
        let count = self.there.len() + self.probes.len();
        let is_few = u32::try_from(count).is_ok_and(|count| count <= limits::ENTRIES_MAX);
        if is_few && self.path_bytes <= limits::OFFLOAD_PATH_BYTES_MAX {
            return Ok(());
        }
        Err(OffloadError::TooMany)
    }

    /// Notes what could not be looked at, in the words of a peer, perhaps.
    fn fail(&mut self, path: RelPath, mut reason: String) {
        if self.failed.len() < limits::NAMED_OUTCOMES_MAX {
            reason.truncate(reason.floor_char_boundary(limits::REASON_BYTES_MAX));
            self.failed.push(Failure { path, reason });
        }
    }
}

/// A directory that is held.
#[derive(Debug)]
pub(super) enum Side {
    There(RelPath, Holding),
    Here { root: Arc<Root>, space: Space, _hold: LocalHold },
}

impl Side {
    /// Takes the directory at the gateway.
    pub(super) async fn there(controller: &Controller, path: &RelPath) -> Result<Self, OffloadError> {
        Ok(Self::There(path.clone(), controller.hold_source(path).await?))
    }

    /// Takes the directory on this machine.
    pub(super) async fn here(path: &Path) -> Result<Self, OffloadError> {
        let path = path.to_owned();
        blocking(move || {
            let root = open_root(&path)?;
            let _hold = LocalHold::take(&path)?;
            let space = root.top().space().map_err(|err| OffloadError::local(&path, &err))?;
            Ok(Self::Here { root: Arc::new(root), space, _hold })
        })
        .await
    }

    /// How full it was when that was asked last.
    pub(super) fn space(&self) -> Space {
        match self {
            Self::There(_, holding) => holding.space(),
            Self::Here { space, .. } => *space,
        }
    }

    /// Asks how full it is now.
    pub(super) async fn measure(&mut self) -> Result<(), OffloadError> {
        match self {
            Self::There(_, holding) => {
                holding.measure().await?;
                Ok(())
            }
            Self::Here { root, space, .. } => {
                let root = Arc::clone(root);
                *space = blocking(move || {
                    let measure = || root.top().sync_file_system().and_then(|()| root.top().space());
                    measure().map_err(|err| OffloadError::local(root.path(), &err))
                })
                .await?;
                Ok(())
            }
        }
    }

    /// Fails where another one has taken the directory over. A lock on this machine is not lost.
    pub(super) async fn check_hold(&mut self) -> Result<(), OffloadError> {
        match self {
            Self::There(..) => self.measure().await,
            Self::Here { .. } => Ok(()),
        }
    }

    /// Lists what is there, here without other file systems, if that is wanted; a gateway lists them all.
    pub(super) async fn list(
        &self,
        controller: &Controller,
        is_one_file_system: bool,
    ) -> Result<Files, OffloadError> {
        match self {
            Self::There(path, _) => list_there(controller, path).await,
            Self::Here { root, .. } => list_here(Arc::clone(root), is_one_file_system).await,
        }
    }
}

/// Runs on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OffloadError> + Send + 'static,
) -> Result<T, OffloadError> {
    spawn_blocking(work).await.expect("it does not panic, and nobody aborts it")
}

/// Fails where something else than a directory is at `path`. Blocks.
pub(super) fn require_directory_or_nothing(path: &Path) -> Result<(), OffloadError> {
    match path.metadata() {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => Err(OffloadError::local(path, &io::ErrorKind::NotADirectory.into())),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(OffloadError::local(path, &err)),
    }
}

/// Opens a directory that must be there.
pub(super) fn open_root(path: &Path) -> Result<Root, OffloadError> {
    Root::open(path).map_err(|err| OffloadError::local(path, &err))
}

pub(super) async fn list_there(controller: &Controller, path: &RelPath) -> Result<Files, OffloadError> {
    let mut listing = controller.list(path, true, false).await?;
    let mut files = Files::default();
    while let Some(item) = listing.next().await? {
        files.take(item)?;
    }
    Ok(files)
}

pub(super) async fn list_here(root: Arc<Root>, is_one_file_system: bool) -> Result<Files, OffloadError> {
    blocking(move || {
        let top = root.top().stat_self().map_err(|err| OffloadError::local(root.path(), &err))?;
        let (mut files, mut waiting) = (Files::default(), vec![RelPath::root()]);
        while let Some(path) = waiting.pop() {
            let looked = root.dir(&path).and_then(|dir| Ok((dir.stat_self()?.device, dir.names()?, dir)));
            match looked {
                Ok((device, ..)) if is_one_file_system && device != top.device => {}
                Ok((_, names, dir)) => look(&dir, &path, names, (&mut files, &mut waiting))?,
                Err(err) if err.kind() == io::ErrorKind::NotFound && !path.is_root() => {}
                Err(err) => files.fail(path, describe(&err)),
            }
        }
        Ok(files)
    })
    .await
}

fn look(
    dir: &Dir,
    path: &RelPath,
    names: Vec<Vec<u8>>,
    (files, waiting): (&mut Files, &mut Vec<RelPath>),
) -> Result<(), OffloadError> {
    for name in names {
        let name = Name::new(&name).expect("listed as a name");
        let (stat, path) = match (dir.stat(name), path.join(name)) {
            (Ok(stat), Ok(path)) => (stat, path),
            // Removed since its name was read.
            (Err(err), _) if err.kind() == io::ErrorKind::NotFound => continue,
            (Err(err), _) => {
                files.fail(path.clone(), describe(&err));
                continue;
            }
            (_, Err(err)) => {
                files.fail(path.clone(), err.to_string());
                continue;
            }
        };
        match stat.entry_type {
            EntryType::File => {
                files.push(Candidate { path, size: stat.size, mtime: stat.metadata.mtime })?;
            }
            EntryType::Directory => waiting.push(path),
            EntryType::Symlink | EntryType::Special(_) => {}
        }
    }
    Ok(())
}

/// Locks of a directory on this machine, which the kernel takes back with the process: its own for it alone, and those of the directories above it,
/// shared.
#[derive(Debug)]
pub(super) struct LocalHold {
    _handles: Vec<Root>,
}

impl LocalHold {
    pub(super) fn take(path: &Path) -> Result<Self, OffloadError> {
        let real = path.canonicalize().map_err(|err| OffloadError::local(path, &err))?;
        let mut handles = Vec::new();
        for above in real.ancestors() {
            // What cannot be opened cannot be offloaded by us either.
            let Ok(root) = Root::open(above) else { continue };
            let is_own = above == real;
            let locked = if is_own { root.top().try_lock() } else { root.top().try_lock_shared() };
            match locked {
                Ok(true) => handles.push(root),
                Ok(false) => return Err(OffloadError::Busy(busy(path, (!is_own).then(|| above.to_owned())))),
                // Some file systems have no locks for directories; the journal's is left.
                Err(err) => tracing::debug!(%err, path = %above.display(), "a directory cannot be locked"),
            }
        }
        Ok(Self { _handles: handles })
    }
}

fn busy(path: &Path, above: Option<PathBuf>) -> String {
    let shown = |path: &Path| escape(path.as_os_str().as_encoded_bytes()).into_owned();
    match above {
        None => format!(
            "`{}`, or a directory in it, is being offloaded by another process, or another one moves files to it; try again \
             when that has ended",
            shown(path)
        ),
        Some(above) => format!(
            "`{}`, in which `{}` lies, is being offloaded by another process, or another one moves files to it; try again \
             when that has ended",
            shown(&above),
            shown(path)
        ),
    }
}

#[cfg(test)]
mod tests {
    use swarmwire_common::entry::Metadata;

    use super::*;

    /// Story: a gateway that listed one directory after the other, or said of one path after the other that it cannot be read, was listened to for ever.
    #[test]
    fn a_listing_has_an_end_whatever_it_is_of() {
        let path = RelPath::parse(b"a").unwrap();
        let directory = ListItem::Entry {
            path: path.clone(),
            kind: ListKind::Plain(Kind::Directory),
            metadata: Metadata::default(),
            hash: None,
        };
        let failed = ListItem::Failed { path, reason: "no".to_owned() };
        for item in [directory, failed] {
            let mut files = Files { items: limits::ENTRIES_MAX - 1, ..Files::default() };
            files.take(item.clone()).unwrap();
            assert!(matches!(files.take(item), Err(OffloadError::TooMany)));
        }
    }
}
