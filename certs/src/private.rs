//! A directory that only its owner can enter, for keys, grants and pins.
//!
//! It is held open by a handle, and every file in it is reached relative to that handle, never through a link. A
//! directory wider than 0700 or a file wider than 0600 is refused with the command that mends it: narrowing it in
//! silence would hide that the secret may already have been read. Files are replaced whole or not at all.
//!
//! Calls block on the disk. The names that callers pass are constants of ours, single components.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

/// Permission bits that somebody other than the owner would gain.
const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

/// A directory of mode 0700 that is ours. Cloning shares the handle.
#[derive(Clone, Debug)]
pub struct PrivateDir {
    path: PathBuf,
    handle: Arc<File>,
}

impl PrivateDir {
    /// Opens the directory, or makes it, and missing parents, with mode 0700.
    ///
    /// A directory that stands, is ours, is empty and too wide is narrowed instead of refused: nothing can have leaked.
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self, PrivateError> {
        let path = path.into();
        if let Some(parent) = path.parent() {
            // Private too, as the XDG base directory specification asks: another state directory may be made beside this one.
            DirBuilder::new()
                .mode(0o700)
                .recursive(true)
                .create(parent)
                .map_err(|err| PrivateError::io("create directory", parent, err))?;
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => {
                Err(PrivateError::io("create directory", &path, err))
            }
            _ => Self::open(path),
        }
    }

    /// Opens a directory that must stand; otherwise as [`PrivateDir::open_or_create`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, PrivateError> {
        let path = path.into();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|err| PrivateError::io("open directory", &path, err.into()))?;
        let dir = Self { path, handle: Arc::new(handle.into()) };
        dir.require_private()?;
        Ok(dir)
    }

    /// Where the directory was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of a file; `None` if there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, PrivateError> {
        let mut file = match self.open_file(name, OFlags::RDONLY) {
            Err(PrivateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        };
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(|err| self.io("read", name, err))?;
        Ok(Some(content))
    }

    /// Replaces or makes a file of mode 0600, so that a crash at any moment leaves the old content or the new one, and
    /// a return means that the new one survives power loss.
    ///
    /// Writers of one file at the same time do not mix their bytes; the last rename wins. A crash in mid-write leaves
    /// a file `.NAME.*.new`, which nothing reads.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), PrivateError> {
        self.replace(name, content, File::sync_all)?;
        self.handle.sync_all().map_err(|err| self.io("write", name, err))
    }

    /// As [`PrivateDir::write`], without waiting for the disk: after a power loss the file may be the old one, or empty. For what is
    /// only a hint.
    pub fn write_hint(&self, name: &str, content: &[u8]) -> Result<(), PrivateError> {
        self.replace(name, content, |_| Ok(()))
    }

    /// Opens a file of mode 0600 to read it and to append to it; one that there was none of survives power loss, empty.
    pub fn append(&self, name: &str) -> Result<File, PrivateError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)?;
        self.handle.sync_all().map_err(|err| self.io("open", name, err))?;
        Ok(file)
    }

    /// Gives a file another name, in place of what had that.
    pub fn rename(&self, name: &str, to: &str) -> Result<(), PrivateError> {
        rustix::fs::renameat(&self.handle, component(name), &self.handle, component(to))
            .map_err(|err| self.io("rename", name, err.into()))?;
        self.handle.sync_all().map_err(|err| self.io("rename", name, err))
    }

    /// Removes a file for good; `false` if there was none.
    pub fn remove(&self, name: &str) -> Result<bool, PrivateError> {
        match rustix::fs::unlinkat(&self.handle, component(name), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(false),
            result => {
                result.map_err(|err| self.io("remove", name, err.into()))?;
                self.handle.sync_all().map_err(|err| self.io("remove", name, err))?;
                Ok(true)
            }
        }
    }

    /// Takes the lock that the file `name` stands for, or `None` if somebody holds it, in this process or another.
    pub fn lock(&self, name: &str) -> Result<Option<FileLock>, PrivateError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FileLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => Err(self.io("lock", name, err)),
        }
    }

    /// As [`PrivateDir::lock`], waiting for the holder. Only for locks that are held for a few disk accesses: the wait
    /// has no deadline, but the system ends it when the holder dies.
    pub fn lock_blocking(&self, name: &str) -> Result<FileLock, PrivateError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE)?;
        file.lock().map_err(|err| self.io("lock", name, err))?;
        Ok(FileLock { _file: file })
    }

    fn require_private(&self) -> Result<(), PrivateError> {
        let stat = stat(&self.handle).map_err(|err| self.own_io(err))?;
        require_ours(&self.path, &stat)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        if !mode.intersects(OTHERS) {
            return Ok(());
        }
        let too_wide = PrivateError::DirectoryTooWide { path: self.path.clone(), mode: mode.as_raw_mode() };
        if !self.is_empty()? {
            return Err(too_wide);
        }
        rustix::fs::fchmod(&*self.handle, Mode::RWXU).map_err(|err| self.own_io(err.into()))?;
        // Whoever put something in before it was narrowed is found here; nobody else can afterwards.
        if self.is_empty()? { Ok(()) } else { Err(too_wide) }
    }

    fn is_empty(&self) -> Result<bool, PrivateError> {
        for entry in Dir::read_from(&*self.handle).map_err(|err| self.own_io(err.into()))? {
            let entry = entry.map_err(|err| self.own_io(err.into()))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens a file that must be regular, ours and private. Not blocking, so that a FIFO cannot hold us.
    fn open_file(&self, name: &str, flags: OFlags) -> Result<File, PrivateError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = self.path.join(name);
        let file: File =
            match rustix::fs::openat(&self.handle, component(name), flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => file.into(),
                Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Err(PrivateError::NotAFile { path }),
                Err(err) => return Err(self.io("open", name, err.into())),
            };
        let stat = stat(&file).map_err(|err| self.io("open", name, err))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(PrivateError::NotAFile { path });
        }
        require_ours(&path, &stat)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        if mode.intersects(OTHERS) {
            return Err(PrivateError::FileTooWide { path, mode: mode.as_raw_mode() });
        }
        Ok(file)
    }

    /// Makes a file beside the one called `name` and gives it that name, once `settle` is done with it.
    fn replace(
        &self,
        name: &str,
        content: &[u8],
        settle: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), PrivateError> {
        let random = getrandom::u64().map_err(|err| self.io("write", name, err.into()))?;
        let temporary = format!(".{name}.{random:016x}.new");
        let written = self.write_new(&temporary, content).and_then(|file| {
            settle(&file)?;
            rustix::fs::renameat(&self.handle, &temporary, &self.handle, component(name))
                .map_err(io::Error::from)
        });
        written.map_err(|err| {
            // The failure that matters is told; a temporary file that stays behind is as private as the rest.
            let _ = rustix::fs::unlinkat(&self.handle, &temporary, AtFlags::empty());
            self.io("write", name, err)
        })
    }

    fn write_new(&self, name: &str, content: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(content)?;
        Ok(file)
    }

    fn io(&self, action: &'static str, name: &str, source: io::Error) -> PrivateError {
        PrivateError::io(action, &self.path.join(name), source)
    }

    fn own_io(&self, source: io::Error) -> PrivateError {
        PrivateError::io("open directory", &self.path, source)
    }
}

/// A lock that is held until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

fn stat(file: &File) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(file)?)
}

fn component(name: &str) -> &str {
    assert!(
        !matches!(name, "" | "." | "..") && !name.contains('/'),
        "names of private files are single components: {name:?}"
    );
    name
}

fn require_ours(path: &Path, stat: &Stat) -> Result<(), PrivateError> {
    let us = rustix::process::geteuid().as_raw();
    if stat.st_uid == us {
        return Ok(());
    }
    Err(PrivateError::NotOurs { path: path.to_owned(), owner: stat.st_uid, us })
}

/// `path` as one word of a POSIX shell.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.into_owned();
    }
    let guard = if text.starts_with('-') { "./" } else { "" };
    format!("'{guard}{}'", text.replace('\'', r"'\''"))
}

/// Why a private directory or a file in it could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else may enter or list the directory.
    #[error(
        "directory {} has mode {mode:04o} and must have 0700, because it holds secrets: run `chmod 700 {}`",
        path.display(),
        shell_word(path)
    )]
    DirectoryTooWide {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else may read or write the file.
    #[error(
        "file {} has mode {mode:04o} and must have 0600, because it holds secrets: run `chmod 600 {}`",
        path.display(),
        shell_word(path)
    )]
    FileTooWide {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else owns it, and so may do with it what they like.
    #[error("{} belongs to user {owner}, and this is user {us}: run as its owner, or use another directory", path.display())]
    NotOurs {
        /// The directory or file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// The number of the user that this process acts as.
        us: u32,
    },
    /// A link, directory, FIFO, socket or device stands where a file belongs.
    #[error("{} is not a regular file: move it away", path.display())]
    NotAFile {
        /// What stands there.
        path: PathBuf,
    },
}

impl PrivateError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_in_a_message_can_be_pasted_into_a_shell() {
        for (path, word) in [
            ("/var/lib/swarmd", "/var/lib/swarmd"),
            ("/home/a b/state", "'/home/a b/state'"),
            ("/it's", r"'/it'\''s'"),
            ("-rf", "'./-rf'"),
            ("/$HOME", "'/$HOME'"),
        ] {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }

    #[test]
    #[should_panic(expected = "single components")]
    fn a_name_that_would_leave_the_directory_is_a_bug() {
        component("../identity.key");
    }
}
