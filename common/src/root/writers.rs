//! Whether somebody has a file open for writing.
//!
//! The kernel tells those who ask for a read lease (`F_SETLEASE`, fcntl(2)), which it gives only of a file that nobody can write to through what he
//! has open or mapped. It is given back at once.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::io::{Errno, retry_on_intr};

use super::File;

/// File systems of servers, which give a lease only where they have one of the server themselves, and otherwise answer as if somebody wrote: NFS, SMB
/// of three kinds (statfs(2)).
const OF_SERVERS: [u32; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];

/// Which signal tells of a broken lease (asm-generic/fcntl.h); the libc crate does not have it.
const F_SETSIG: c_int = 10;

impl File {
    /// Whether a program has the file open for writing, as far as the kernel tells: not of what lies on a server or a file system without leases, nor of
    /// a file of others, unless we are root (`CAP_LEASE`). The file must have been opened for reading only.
    pub fn has_writer(&self) -> bool {
        let told = lease(self.fd());
        match told {
            Ok(()) => false,
            Err(err) => Errno::from_io_error(&err) == Some(Errno::AGAIN),
        }
    }
}

/// Takes a read lease and gives it back.
fn lease(fd: BorrowedFd<'_>) -> io::Result<()> {
    let kind = retry_on_intr(|| rustix::fs::fstatfs(fd))?.f_type;
    if OF_SERVERS.iter().any(|&server| i64::from(server) == kind) {
        return Err(Errno::OPNOTSUPP.into());
    }
    // Who opens the file for writing in between has the holder of the lease sent a signal, which ends a process that does not expect SIGIO. SIGURG is
    // ignored.
    control(fd, F_SETSIG, libc::SIGURG)?;
    control(fd, libc::F_SETLEASE, libc::F_RDLCK)?;
    control(fd, libc::F_SETLEASE, libc::F_UNLCK)
}

/// `fcntl` with a command that takes an integer.
#[expect(unsafe_code, reason = "rustix and nix have no call for leases")]
fn control(fd: BorrowedFd<'_>, command: c_int, argument: c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as it is borrowed, and neither command reads or writes memory of ours.
    let done = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use crate::{path::Name, root::Root};

    #[test]
    fn who_has_a_file_open_for_writing_is_noticed_and_who_reads_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log"), b"a line").unwrap();
        let top = Root::open(dir.path()).unwrap();
        let file = top.top().open_file(Name::new(b"log").unwrap()).unwrap();
        let reader = fs::File::open(dir.path().join("log")).unwrap();
        assert!(!file.has_writer());
        let writer = OpenOptions::new().append(true).open(dir.path().join("log")).unwrap();
        assert!(file.has_writer());
        drop(writer);
        // A child that another test starts has it, too, until it executes its program.
        while file.has_writer() {
            std::thread::yield_now();
        }
        drop(reader);
    }
}
