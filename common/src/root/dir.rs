//! One open directory, and everything that is done to its entries.
//!
//! Calls take a single `Name` relative to the handle and never follow a link there. They retry `EINTR`, leave other errors to the
//! caller, and do not log.

use std::{
    ffi::OsStr,
    fmt, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::{
    buffer::spare_capacity,
    fs::{
        AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, Timespec, Timestamps, UTIME_OMIT,
        inotify::WatchFlags,
    },
    io::{Errno, retry_on_intr},
};

use super::{
    gate::{DiskOp, Gate},
    manner::Manner,
    resolve::{DIR_FLAGS, open_child, open_child_here},
};
use crate::{
    entry::{Metadata, Owner, SpecialKind, Timestamp},
    path::Name,
};

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    manner: Manner,
}

/// What `fstatat` says of an entry, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its type.
    pub entry_type: EntryType,
    /// Bytes of content.
    pub size: u64,
    /// Permission bits and modification time.
    pub metadata: Metadata,
    /// Time of the last change of content or metadata, by the kernel's clock.
    pub ctime: Timestamp,
    /// File system.
    pub device: u64,
    /// Number within the file system.
    pub inode: u64,
    /// Whether it has more than one name; of a directory it says nothing.
    pub has_links: bool,
    /// Whose it is.
    pub owner: Owner,
}

/// Type of an entry on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Special(SpecialKind),
}

impl Dir {
    pub(super) fn new(fd: OwnedFd, manner: Manner) -> Self {
        Self { fd, manner }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn manner(&self) -> Manner {
        self.manner.clone()
    }

    pub(super) fn gate(&self) -> Option<&dyn Gate> {
        self.manner.gate.as_deref()
    }

    /// A second handle to the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::new(self.fd.try_clone()?, self.manner()))
    }

    /// The subdirectory `name`. Fails with `ELOOP` where that is a link, with `ENOTDIR` where it is something else.
    pub fn open_dir(&self, name: Name<'_>) -> io::Result<Self> {
        Ok(Self::new(open_child(self.fd(), name)?, self.manner()))
    }

    /// As [`Self::open_dir`], but fails with `EXDEV` where something is mounted.
    pub fn open_dir_here(&self, name: Name<'_>) -> io::Result<Self> {
        Ok(Self::new(open_child_here(self.fd(), name)?, self.manner()))
    }

    /// The file `name`, for reading. Does not wait on a FIFO; the caller checks the type by [`File::stat`].
    pub fn open_file(&self, name: Name<'_>) -> io::Result<File> {
        const FLAGS: OFlags = OFlags::RDONLY
            .union(OFlags::NOFOLLOW)
            .union(OFlags::NONBLOCK)
            .union(OFlags::NOCTTY)
            .union(OFlags::CLOEXEC);
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, name.as_os_str(), FLAGS, Mode::empty()))?;
        Ok(File { fd, manner: self.manner() })
    }

    /// A new file `name` with mode 0600; fails if anything has that name.
    pub fn create_file(&self, name: Name<'_>) -> io::Result<File> {
        const FLAGS: OFlags = OFlags::WRONLY
            .union(OFlags::CREATE)
            .union(OFlags::EXCL)
            .union(OFlags::NOFOLLOW)
            .union(OFlags::CLOEXEC);
        self.pass(DiskOp::CreateFile, name)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, name.as_os_str(), FLAGS, mode))?;
        Ok(File { fd, manner: self.manner() })
    }

    /// A new subdirectory; the umask applies to `mode`.
    pub fn create_dir(&self, name: Name<'_>, mode: u32) -> io::Result<()> {
        self.pass(DiskOp::CreateDir, name)?;
        Ok(rustix::fs::mkdirat(&self.fd, name.as_os_str(), Mode::from_raw_mode(mode))?)
    }

    /// A new symbolic link.
    pub fn create_symlink(&self, name: Name<'_>, target: &[u8]) -> io::Result<()> {
        self.pass(DiskOp::CreateSymlink, name)?;
        Ok(rustix::fs::symlinkat(OsStr::from_bytes(target), &self.fd, name.as_os_str())?)
    }

    /// What `name` is.
    pub fn stat(&self, name: Name<'_>) -> io::Result<Stat> {
        let stat =
            retry_on_intr(|| rustix::fs::statat(&self.fd, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW))?;
        Ok(Stat::from_raw(&stat, &self.manner))
    }

    /// What the directory itself is.
    pub fn stat_self(&self) -> io::Result<Stat> {
        Ok(Stat::from_raw(&retry_on_intr(|| rustix::fs::fstat(&self.fd))?, &self.manner))
    }

    /// The text of the symbolic link `name`.
    pub fn read_link(&self, name: Name<'_>) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, name.as_os_str(), Vec::new())?.into_bytes())
    }

    /// The names in the directory, sorted, without `.`, `..` and the names that Swarmwire keeps for itself.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = self.names_where(|name| !name.is_reserved())?;
        names.sort_unstable();
        Ok(names)
    }

    /// Whether [`Self::names`] are any.
    pub fn has_names(&self) -> io::Result<bool> {
        let mut found = false;
        self.each_name(|name, _| {
            found = !name.is_reserved();
            !found
        })?;
        Ok(found)
    }

    /// The names in the directory that Swarmwire keeps for itself.
    pub fn reserved_names(&self) -> io::Result<Vec<Vec<u8>>> {
        self.names_where(|name| name.is_reserved())
    }

    /// Those of [`Self::names`] that are directories.
    pub fn directory_names(&self) -> io::Result<Vec<Vec<u8>>> {
        let is_directory = |name: Name<'_>, told: FileType| match told {
            FileType::Directory => true,
            // Some file systems do not tell types in a listing.
            FileType::Unknown => self.stat(name).is_ok_and(|stat| stat.entry_type == EntryType::Directory),
            _ => false,
        };
        self.entries_where(|name, told| !name.is_reserved() && is_directory(name, told))
    }

    /// Has an inotify instance watch the directory, and gives its number there. A second time it is the same.
    pub fn watch(&self, inotify: &OwnedFd) -> io::Result<i32> {
        const CHANGES: WatchFlags = WatchFlags::CREATE
            .union(WatchFlags::DELETE)
            .union(WatchFlags::MODIFY)
            .union(WatchFlags::CLOSE_WRITE)
            .union(WatchFlags::ATTRIB)
            .union(WatchFlags::MOVED_FROM)
            .union(WatchFlags::MOVED_TO)
            .union(WatchFlags::DELETE_SELF)
            .union(WatchFlags::MOVE_SELF)
            .union(WatchFlags::ONLYDIR);
        // By its handle, since its path may lead elsewhere by now.
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        Ok(rustix::fs::inotify::add_watch(inotify, path, CHANGES)?)
    }

    fn names_where(&self, keep: impl Fn(Name<'_>) -> bool) -> io::Result<Vec<Vec<u8>>> {
        self.entries_where(|name, _| keep(name))
    }

    fn entries_where(&self, keep: impl Fn(Name<'_>, FileType) -> bool) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.each_name(|name, told| {
            if keep(name, told) {
                names.push(name.as_bytes().to_vec());
            }
            true
        })?;
        Ok(names)
    }

    /// Gives each name, and the type that the listing tells, to `take`, until that wants no more.
    fn each_name(&self, mut take: impl FnMut(Name<'_>, FileType) -> bool) -> io::Result<()> {
        let listing = self.reopen()?;
        let mut buffer = Vec::with_capacity(LISTING_BUFFER_BYTES);
        let mut entries = RawDir::new(&listing, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            // `.` and `..` are no names.
            if let Ok(name) = Name::new(entry.file_name().to_bytes())
                && !take(name, entry.file_type())
            {
                break;
            }
        }
        Ok(())
    }

    /// A handle with a position of its own, at the start.
    fn reopen(&self) -> io::Result<OwnedFd> {
        Ok(retry_on_intr(|| rustix::fs::openat(&self.fd, ".", DIR_FLAGS, Mode::empty()))?)
    }

    /// Gives `name` here the name `to_name` in `to`, replacing a file or link of that name in one step.
    pub fn rename(&self, name: Name<'_>, to: &Self, to_name: Name<'_>) -> io::Result<()> {
        self.pass(DiskOp::Rename, to_name)?;
        Ok(rustix::fs::renameat(&self.fd, name.as_os_str(), &to.fd, to_name.as_os_str())?)
    }

    /// As [`Self::rename`], but fails with `EEXIST` where `to` has something of that name.
    ///
    /// One step where the file system can (`renameat2`), otherwise a look and a rename.
    pub fn rename_new(&self, name: Name<'_>, to: &Self, to_name: Name<'_>) -> io::Result<()> {
        self.pass(DiskOp::Rename, to_name)?;
        let (from, onto) = (name.as_os_str(), to_name.as_os_str());
        match rustix::fs::renameat_with(&self.fd, from, &to.fd, onto, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {}
            other => return Ok(other?),
        }
        match to.stat(to_name) {
            Ok(_) => Err(Errno::EXIST.into()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                Ok(rustix::fs::renameat(&self.fd, from, &to.fd, onto)?)
            }
            Err(err) => Err(err),
        }
    }

    /// Gives the file or link `name` here a second name, `to_name` in `to`; fails if anything has that name.
    pub fn hard_link(&self, name: Name<'_>, to: &Self, to_name: Name<'_>) -> io::Result<()> {
        self.pass(DiskOp::HardLink, to_name)?;
        let (from, onto) = (name.as_os_str(), to_name.as_os_str());
        Ok(rustix::fs::linkat(&self.fd, from, &to.fd, onto, AtFlags::empty())?)
    }

    /// Removes the file or link `name`.
    pub fn remove_file(&self, name: Name<'_>) -> io::Result<()> {
        self.pass(DiskOp::Remove, name)?;
        Ok(rustix::fs::unlinkat(&self.fd, name.as_os_str(), AtFlags::empty())?)
    }

    /// Removes the empty directory `name`.
    pub fn remove_dir(&self, name: Name<'_>) -> io::Result<()> {
        self.pass(DiskOp::Remove, name)?;
        Ok(rustix::fs::unlinkat(&self.fd, name.as_os_str(), AtFlags::REMOVEDIR)?)
    }

    /// Sets the modification time of the link `name` itself.
    pub fn set_link_mtime(&self, name: Name<'_>, mtime: Timestamp) -> io::Result<()> {
        self.pass(DiskOp::SetMetadata, name)?;
        let times = timestamps(mtime);
        Ok(rustix::fs::utimensat(&self.fd, name.as_os_str(), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// As [`Self::open_file`], of a file whose mode will be set. One that its owner may not read is made readable for him first.
    pub fn open_file_to_change(&self, name: Name<'_>) -> io::Result<File> {
        match self.open_file(name) {
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {}
            other => return other,
        }
        const FLAGS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, name.as_os_str(), FLAGS, Mode::empty()))?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::LOOP.into());
        }
        self.pass(DiskOp::SetMetadata, name)?;
        // A handle without permission to read takes no `fchmod`; the kernel's link to it leads to the very file that was opened.
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        rustix::fs::chmod(&link, Mode::from_raw_mode(stat.st_mode) | Mode::RUSR)?;
        self.open_file(name)
    }

    /// Sets mode and modification time of the directory itself. Special bits that are not seen stay: a setgid directory says whose group
    /// new files get, which is the destination's matter.
    pub fn set_metadata(&self, metadata: Metadata) -> io::Result<()> {
        let hidden = 0o7777 & !self.manner.mode_bits();
        let kept =
            if hidden == 0 { 0 } else { retry_on_intr(|| rustix::fs::fstat(&self.fd))?.st_mode & hidden };
        set_metadata(&self.fd, &self.manner, (metadata, kept))
    }

    /// Waits until the directory's entries are on the disk.
    pub fn sync(&self) -> io::Result<()> {
        pass(self.gate(), DiskOp::SyncDir, b"")?;
        Ok(retry_on_intr(|| rustix::fs::fsync(&self.fd))?)
    }

    /// Waits until everything written to this directory's file system is on the disk.
    pub fn sync_file_system(&self) -> io::Result<()> {
        pass(self.gate(), DiskOp::SyncFileSystem, b"")?;
        Ok(retry_on_intr(|| rustix::fs::syncfs(&self.fd))?)
    }

    /// Fails where nothing can be put into the directory, or removed from it, for the reason that the system would give then.
    pub fn check_writable(&self) -> io::Result<()> {
        use rustix::fs::{Access, AtFlags};
        let access = Access::WRITE_OK | Access::EXEC_OK;
        Ok(retry_on_intr(|| rustix::fs::accessat(&self.fd, c".", access, AtFlags::EACCESS))?)
    }

    /// Takes the directory's lock for as long as the handle lives; false if another handle has it.
    pub fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.fd, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(err) => Err(err.into()),
        }
    }

    /// As [`Self::try_lock`], but others may take it in this way at the same time.
    pub fn try_lock_shared(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.fd, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(err) => Err(err.into()),
        }
    }

    pub(super) fn pass(&self, op: DiskOp, name: Name<'_>) -> io::Result<()> {
        pass(self.gate(), op, name.as_bytes())
    }
}

/// Bytes for `getdents64` in one call: about 1,000 entries.
const LISTING_BUFFER_BYTES: usize = 32 * 1024;

/// Bytes of a reading from which on it pays to ask for holes. Chosen, not measured.
const HOLE_BYTES_MIN: usize = 64 * 1024;

/// An open file below a root.
pub struct File {
    fd: OwnedFd,
    manner: Manner,
}

impl File {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn gate(&self) -> Option<&dyn Gate> {
        self.manner.gate.as_deref()
    }

    /// What the open file is now.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::from_raw(&retry_on_intr(|| rustix::fs::fstat(&self.fd))?, &self.manner))
    }

    /// How many names the file has.
    pub fn links(&self) -> io::Result<u64> {
        Ok(retry_on_intr(|| rustix::fs::fstat(&self.fd))?.st_nlink)
    }

    /// Appends up to `limit` bytes from `offset` on to `buffer`, fewer only at the end of the file; says how many.
    ///
    /// The buffer's memory is not zeroed first. The holes of a sparse root's files are not read.
    pub fn read_at(&self, offset: u64, limit: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
        if self.manner.sparse && limit >= HOLE_BYTES_MIN {
            return self.read_around_holes(offset, limit, buffer);
        }
        self.read_all_at(offset, limit, buffer)
    }

    pub(super) fn read_all_at(&self, offset: u64, limit: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let start = buffer.len();
        buffer.reserve(limit);
        while buffer.len() - start < limit {
            let at = offset + u64::try_from(buffer.len() - start).expect("usize has 64 bits or fewer");
            if retry_on_intr(|| rustix::io::pread(&self.fd, spare_capacity(buffer), at))? == 0 {
                break;
            }
        }
        // The buffer may have had more room than the caller wants bytes.
        buffer.truncate(start + limit);
        Ok(buffer.len() - start)
    }

    /// Writes all of `bytes` at `offset`. Of a sparse root's files, zeros are left out; [`Self::end_at`] completes them.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        pass(self.gate(), DiskOp::Write, b"")?;
        if !self.manner.sparse {
            return self.write_all_at(offset, bytes);
        }
        self.write_around_holes(offset, bytes)
    }

    /// Gives a file whose content is written its `size`, where zeros at its end may have been left out.
    pub fn end_at(&self, size: u64) -> io::Result<()> {
        if !self.manner.sparse {
            return Ok(());
        }
        pass(self.gate(), DiskOp::Write, b"")?;
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.fd, size))?)
    }

    pub(super) fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + u64::try_from(done).expect("usize has 64 bits or fewer");
            match retry_on_intr(|| rustix::io::pwrite(&self.fd, &bytes[done..], at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => done += written,
            }
        }
        Ok(())
    }

    /// Sets permission bits and modification time.
    pub fn set_metadata(&self, metadata: Metadata) -> io::Result<()> {
        set_metadata(&self.fd, &self.manner, (metadata, 0))
    }

    /// Waits until the content is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        pass(self.gate(), DiskOp::SyncFile, b"")?;
        Ok(retry_on_intr(|| rustix::fs::fsync(&self.fd))?)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("fd", &self.fd).finish_non_exhaustive()
    }
}

pub(super) fn pass(gate: Option<&dyn Gate>, op: DiskOp, name: &[u8]) -> io::Result<()> {
    gate.map_or(Ok(()), |gate| gate.pass(op, name))
}

/// Sets a mode of the bits that are seen and `kept`.
fn set_metadata(fd: &OwnedFd, manner: &Manner, (metadata, kept): (Metadata, u32)) -> io::Result<()> {
    pass(manner.gate.as_deref(), DiskOp::SetMetadata, b"")?;
    let mode = u32::from(metadata.mode) & manner.mode_bits() | kept;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
    Ok(rustix::fs::futimens(fd, &timestamps(metadata.mtime))?)
}

fn timestamps(mtime: Timestamp) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let mtime = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.min(999_999_999).into() };
    Timestamps { last_access: omit, last_modification: mtime }
}

impl Stat {
    fn from_raw(raw: &rustix::fs::Stat, manner: &Manner) -> Self {
        let mode = u16::try_from(raw.st_mode & manner.mode_bits()).expect("twelve bits fit");
        let time = |seconds, nanoseconds| Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or_default(),
        };
        Self {
            entry_type: entry_type(FileType::from_raw_mode(raw.st_mode)),
            size: u64::try_from(raw.st_size).unwrap_or_default(),
            metadata: Metadata { mode, mtime: time(raw.st_mtime, raw.st_mtime_nsec) },
            ctime: time(raw.st_ctime, raw.st_ctime_nsec),
            device: raw.st_dev,
            inode: raw.st_ino,
            has_links: raw.st_nlink > 1,
            owner: Owner { user: raw.st_uid, group: raw.st_gid },
        }
    }

    /// Whether two looks at an open file saw it unchanged.
    pub fn same_content(&self, other: &Self) -> bool {
        self.size == other.size && self.metadata.mtime == other.metadata.mtime && self.ctime == other.ctime
    }
}

fn entry_type(raw: FileType) -> EntryType {
    match raw {
        FileType::RegularFile => EntryType::File,
        FileType::Directory => EntryType::Directory,
        FileType::Symlink => EntryType::Symlink,
        FileType::Fifo => EntryType::Special(SpecialKind::Fifo),
        FileType::Socket => EntryType::Special(SpecialKind::Socket),
        FileType::CharacterDevice | FileType::BlockDevice => EntryType::Special(SpecialKind::Device),
        FileType::Unknown => EntryType::Special(SpecialKind::Unknown),
    }
}
