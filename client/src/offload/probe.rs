//! Whether both directories are one, or the destination lies in the source: what is moved onto itself would be gone.
//!
//! A directory that two machines share over a network has no number that both would know. So a file of a name that nobody else has is put into the
//! one on this machine, and looked for at the gateway, by its very name: what a file server's client remembers of a directory may be old.

use std::{
    fs::{self, File, TryLockError},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use data_encoding::HEXLOWER;
use swarmwire_common::{
    path::{Name, RelPath},
    root::Root,
    sync::{Source, Tally},
    wire::{
        status::Status,
        sync::{Keep, SyncOptions},
    },
};

use super::{
    OffloadError,
    side::{Files, blocking},
};
use crate::controller::{Controller, RemotePath, RequestError};

/// What the names of such files begin with.
const PREFIX: &str = ".offload-probe-";

/// How old such a file is of which nobody thinks any longer. Chosen: far longer than one is looked for.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// An empty file that is removed when this is dropped, and whose lock is held until then. Its name tells the machine, since it was started.
#[derive(Debug)]
pub(super) struct Probe {
    dir: PathBuf,
    name: RelPath,
    _file: File,
}

impl Probe {
    /// Puts one into `dir`, or, where that is still to be made, into the nearest directory above it.
    pub(super) async fn put(dir: &Path) -> Result<Self, OffloadError> {
        let dir = dir.to_owned();
        blocking(move || {
            let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
            let here = of_this_machine();
            loop {
                let text = format!("{here}{:016x}", RandomState::new().build_hasher().finish());
                let made = make(&there.join(&text)).map_err(|err| OffloadError::not_written(there, &err))?;
                // Somebody may have taken it for left, before it was locked.
                let Some(_file) = made else { continue };
                let name = Name::new(text.as_bytes()).expect("a plain name");
                let name = RelPath::root().join(name).expect("a short name");
                return Ok(Self { dir: there.to_owned(), name, _file });
            }
        })
        .await
    }

    /// Fails if the directory at `source` at the gateway, in which `files` are, is the one here, or the one here lies in it.
    pub(super) async fn is_not_below(
        &self,
        controller: &Controller,
        source: &RelPath,
        files: &Files,
    ) -> Result<(), OffloadError> {
        let is_own = |path: &RelPath| path.split_last().is_some_and(|(_, name)| self.is(name));
        if files.probes.iter().any(is_own) {
            return Err(OffloadError::OnePlace);
        }
        let Ok(path) = source
            .components()
            .chain(self.name.components())
            .try_fold(RelPath::root(), |path, name| path.join(name))
        else {
            return Ok(());
        };
        match controller.list(&path, false, false).await {
            Ok(_) => Err(OffloadError::OnePlace),
            Err(err) if err.status() == Some(Status::NotFound) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// Fails if the directory at `destination` at the gateway is the one here, or lies in it. A push that is only rehearsed tells, as that needs no grant
    /// that the offload does not need itself.
    pub(super) async fn is_not_above(
        &self,
        controller: &Controller,
        destination: &RelPath,
    ) -> Result<(), OffloadError> {
        let mut place = Some(destination.clone());
        while let Some(path) = place {
            match self.is_in(controller, &path).await {
                Ok(true) => return Err(OffloadError::OnePlace),
                Ok(false) => {}
                // Nobody may look there, or nothing is there yet.
                Err(OffloadError::Request(RequestError::Refused {
                    status: Status::Denied | Status::NotFound,
                    ..
                })) if path != *destination => {}
                Err(err) => return Err(err),
            }
            place = path.split_last().map(|(parent, _)| parent);
        }
        Ok(())
    }

    /// Whether the file is seen in the directory at `path` at the gateway.
    async fn is_in(&self, controller: &Controller, path: &RelPath) -> Result<bool, OffloadError> {
        let (dir, name) = (self.dir.clone(), self.name.clone());
        let opened = blocking(move || {
            let root = Root::open(&dir).map_err(|err| OffloadError::local(&dir, &err))?;
            Ok(Source::open(Arc::new(root), name, None)?)
        });
        let options = SyncOptions { dry_run: true, keep: Keep::Existing, jobs: 1, ..SyncOptions::default() };
        let remote = RemotePath { path: path.clone(), trailing_slash: true };
        let outcome = controller.push(opened.await?, &remote, options, Arc::<Tally>::default()).await?;
        match outcome.error {
            Some(err) => Err(err.into()),
            None => Ok(outcome.report.files_unchanged > 0),
        }
    }

    fn is(&self, name: Name<'_>) -> bool {
        name.as_bytes() == self.name.as_bytes()
    }

    /// Removes it.
    pub(super) async fn remove(self) -> Result<(), OffloadError> {
        blocking(move || {
            drop(self);
            Ok(())
        })
        .await
    }
}

/// Makes one and locks it; none if it is gone before that. Where there are no locks, only its age tells that nobody looks for it any longer.
fn make(path: &Path) -> io::Result<Option<File>> {
    let file = File::create_new(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(err)) => tracing::debug!(%err, "a file cannot be locked"),
        Ok(()) => {}
    }
    Ok((file.metadata()?.nlink() > 0).then_some(file))
}

/// What the names of all those begin with that this machine has made since it was started.
fn of_this_machine() -> String {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{PREFIX}{}", HEXLOWER.encode(&blake3::hash(&id).as_bytes()[..8]))
}

/// Whether a file of such a name and size is one of these.
pub(super) fn is_probe(name: Name<'_>, size: u64) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    size == 0 && digits.is_some_and(|digits| digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Removes what runs have left that were killed while they looked for theirs: in `dir`, or above it where it was still to be made.
pub(super) async fn sweep(dir: &Path) -> Result<(), OffloadError> {
    let dir = dir.to_owned();
    blocking(move || {
        dir.ancestors().take(2).for_each(sweep_in);
        Ok(())
    })
    .await
}

fn sweep_in(dir: &Path) {
    let here = of_this_machine();
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if !Name::new(name).is_ok_and(|name| is_probe(name, 0)) {
            continue;
        }
        if let Err(err) = remove_if_left(&entry.path(), name.starts_with(here.as_bytes())) {
            tracing::debug!(%err, path = %entry.path().display(), "a file of no use stays");
        }
    }
}

/// A process of this machine that looks for it has its lock. Of one of another machine, which may share the directory, nothing is known but the age.
fn remove_if_left(path: &Path, is_of_here: bool) -> io::Result<()> {
    let stat = path.symlink_metadata()?;
    if !stat.is_file() || stat.len() > 0 {
        return Ok(());
    }
    let file = File::open(path)?;
    let is_left = is_of_here && file.try_lock().is_ok();
    let is_old = stat.modified()?.elapsed().is_ok_and(|age| age > AGE_MAX);
    if is_left || is_old { fs::remove_file(path) } else { Ok(()) }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let path = self.dir.join(self.name.to_string());
        match fs::remove_file(&path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%err, path = %path.display(), "a file of no use is left");
            }
            _ => {}
        }
    }
}
