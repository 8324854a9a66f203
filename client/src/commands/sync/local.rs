//! The local side of a sync: which directory becomes the root, and which path below it is meant.
//!
//! The engine follows no links below a root, so the links in what the operator typed are followed here, once. Nothing is made
//! yet. Opening can be repeated, for another attempt.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use swarmwire_client::home::hashes_path;
use swarmwire_common::{
    entry::Timestamp,
    escape::escape,
    filter::Selection,
    hashes::HashStore,
    path::{Name, RelPath},
    root::{Root, attributes::Namespaces, describe},
    sync::{Destination, Events, PlaceError, Source},
    wire::sync::Direction,
};

use super::job::Job;
use crate::{commands::now, place::means_contents};

/// The half of the sync that runs here.
#[derive(Debug)]
pub(super) enum LocalEnd {
    Source(Source),
    Destination(Destination),
}

impl LocalEnd {
    /// Tells what is changed, where the options ask for it.
    pub(super) fn telling(self, events: Events) -> Self {
        match self {
            Self::Source(source) => Self::Source(source.telling(events)),
            Self::Destination(destination) => Self::Destination(destination.telling(events)),
        }
    }
}

impl LocalEnd {
    fn remembering(self, hashes: Arc<HashStore>) -> Self {
        match self {
            Self::Source(source) => Self::Source(source.remembering(hashes)),
            Self::Destination(destination) => Self::Destination(destination.remembering(hashes)),
        }
    }
}

/// Opens the local side of `job`.
pub(super) async fn open(job: &Job) -> anyhow::Result<LocalEnd> {
    open_selecting(job, Arc::clone(&job.selection)).await
}

/// The same with another selection.
pub(super) async fn open_selecting(job: &Job, selection: Arc<Selection>) -> anyhow::Result<LocalEnd> {
    let (direction, path, as_of) = (job.direction, job.local.clone(), Timestamp::from(now()));
    let (backup, partial_bytes_max) = (job.backup.clone(), job.partial_bytes_max);
    let open = move || match direction {
        Direction::Push => {
            let source = open_source(&path)?.carrying(Namespaces::permitted()).selecting(selection);
            let source = source.map(|source| match backup {
                Some(dir) => source.opened_at(as_of).backing_up(dir),
                None => source.opened_at(as_of),
            });
            source.map(LocalEnd::Source).map_err(|err| anyhow!("{} {}", shown("SRC", &path), err.reason))
        }
        Direction::Pull => {
            let destination = open_destination(&path)?.carrying(Namespaces::permitted());
            let destination = destination.selecting(selection).keeping_partials(partial_bytes_max);
            Ok(LocalEnd::Destination(match backup {
                Some(dir) => destination.backing_up(dir),
                None => destination,
            }))
        }
    };
    let end = tokio::task::spawn_blocking(open).await??;
    // Without a place for hashes, files are read.
    Ok(match hashes_path() {
        Some(path) => end.remembering(Arc::new(HashStore::new(path, || now().into()))),
        None => end,
    })
}

fn open_source(typed: &Path) -> anyhow::Result<Source> {
    let shown = shown("SRC", typed);
    let fail = |err: io::Error| match err.kind() {
        io::ErrorKind::NotFound => anyhow!("{shown} does not exist"),
        _ => anyhow!("{shown} cannot be opened: {}", describe(&err)),
    };
    let place = |err: PlaceError| anyhow!("{shown} {}", err.reason);
    if fs::metadata(typed).map_err(fail)?.is_dir() {
        let root = Arc::new(Root::open(typed).map_err(fail)?);
        let name = typed.file_name().filter(|_| !means_contents(typed.as_os_str().as_bytes()));
        let name = name.map(|name| Name::new(name.as_bytes())).transpose()?;
        return Source::open(root, RelPath::root(), name).map_err(place);
    }
    let real = typed.canonicalize().map_err(fail)?;
    let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
        bail!("{shown} is neither a file nor a directory")
    };
    let root = Arc::new(Root::open(parent).map_err(fail)?);
    let path = RelPath::root().join(Name::new(name.as_bytes())?)?;
    // A link that was typed is followed, and what it leads to is called as it was typed.
    let name = typed.file_name().map(|name| Name::new(name.as_bytes())).transpose()?;
    Source::open(root, path, name).map_err(place)
}

fn open_destination(typed: &Path) -> anyhow::Result<Destination> {
    let shown = shown("DST", typed);
    let (root, rest) = nearest_directory(typed).with_context(|| shown.clone())?;
    let is_directory = rest.is_root() || means_contents(typed.as_os_str().as_bytes());
    let root = Root::open(&root).map_err(|err| anyhow!("{shown} cannot be opened: {}", describe(&err)))?;
    Destination::open(Arc::new(root), rest, is_directory, false).with_context(|| shown)
}

/// The nearest directory at or above `typed`, and what is left of the path below it.
fn nearest_directory(typed: &Path) -> anyhow::Result<(PathBuf, RelPath)> {
    for above in typed.ancestors() {
        let probed = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match fs::metadata(probed) {
            Ok(metadata) if metadata.is_dir() => {
                let rest = typed.strip_prefix(above).expect("an ancestor is a prefix");
                let rest = RelPath::parse(rest.as_os_str().as_bytes())
                    .context("what does not exist yet is no plain path")?;
                return Ok((probed.to_owned(), rest));
            }
            // What stands at the place itself may be replaced; the engine decides.
            Ok(_) if above == typed => {}
            Ok(_) => bail!("`{}` is not a directory", escape(above.as_os_str().as_bytes())),
            Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(err) => {
                bail!("`{}` cannot be opened: {}", escape(above.as_os_str().as_bytes()), describe(&err))
            }
        }
    }
    bail!("no directory on the way to it exists")
}

fn shown(argument: &str, path: &Path) -> String {
    format!("{argument} `{}`", escape(path.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::fs::symlink};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        fs::write(temp.path().join("file"), "x").unwrap();
        symlink("dir", temp.path().join("to-dir")).unwrap();
        symlink("file", temp.path().join("to-file")).unwrap();
        symlink("nowhere", temp.path().join("dangling")).unwrap();
        temp
    }

    #[test]
    fn a_source_is_a_file_or_a_directory_and_links_to_them_are_followed() {
        let temp = tree();
        for good in ["dir", "dir/", "dir/.", "file", "to-dir", "to-file", "dir/.."] {
            open_source(&temp.path().join(good)).unwrap();
        }
        for (bad, part) in [
            ("nothing", "nothing` does not exist"),
            ("dangling", "dangling` does not exist"),
            ("file/", "file/` cannot be opened: not a directory"),
        ] {
            let told = open_source(&temp.path().join(bad)).unwrap_err().to_string();
            assert!(told.starts_with("SRC `") && told.contains(part), "{told}");
        }
    }

    #[test]
    fn a_destination_is_split_at_the_nearest_directory() {
        let temp = tree();
        for (typed, root, rest) in [
            ("dir", "dir", ""),
            ("dir/", "dir/", ""),
            ("to-dir", "to-dir", ""),
            ("dir/new", "dir", "new"),
            ("dir/new/deep/", "dir", "new/deep"),
            ("to-dir/new", "to-dir", "new"),
            ("file", "", "file"),
            ("file/", "", "file"),
            ("to-file", "", "to-file"),
            ("dangling", "", "dangling"),
        ] {
            let (found, path) = nearest_directory(&temp.path().join(typed)).unwrap();
            assert_eq!((found, path.as_os_str()), (temp.path().join(root), OsStr::new(rest)), "{typed}");
        }
    }

    #[test]
    fn a_destination_that_cannot_be_says_why() {
        let temp = tree();
        for (typed, part) in [
            ("file/x", "file` is not a directory"),
            ("file/", "`file` is not a directory"),
            ("file/x/y", "file` is not a directory"),
            ("new/../x", "component"),
        ] {
            let told = format!("{:#}", open_destination(&temp.path().join(typed)).unwrap_err());
            assert!(told.starts_with("DST `") && told.contains(part), "{told}");
        }
    }
}
