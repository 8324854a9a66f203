//! Where a test can stand between the engine and the disk.
//!
//! Every call that changes the disk names itself to the gate before it happens. In production there is no gate.

use std::{fmt, io};

/// A kind of call that changes the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskOp {
    /// `mkdirat`
    CreateDir,
    /// `openat` with `O_CREAT`
    CreateFile,
    /// `write` or `pwrite`
    Write,
    /// `fchmod`, `fchmodat`, `utimensat`
    SetMetadata,
    /// `symlinkat`
    CreateSymlink,
    /// `linkat`
    Link,
    /// `renameat`
    Rename,
    /// `unlinkat`
    Remove,
    /// `fsync` of a file
    SyncFile,
    /// `fsync` of a directory
    SyncDir,
    /// `syncfs`
    SyncFileSystem,
}

/// Sees every change before it happens and may refuse it.
pub trait Gate: Send + Sync + fmt::Debug {
    /// Called before `op` on `name` (empty where the call is about an open handle). An error is returned instead of the call.
    fn pass(&self, op: DiskOp, name: &[u8]) -> io::Result<()>;
}
