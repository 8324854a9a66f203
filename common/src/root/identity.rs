//! Which directory of which running system a handle is of, so that two sides of a sync can tell whether they are at the same one.

use std::{fs, io};

use super::Dir;

/// A number of this boot of the kernel, which containers share as they share directories.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Dir {
    /// BLAKE3 of the boot, the file system and the inode: the same for two handles of one directory, whoever holds them. Machines that
    /// share it over a network do not find it to be the same. Where the boot cannot be known, any machine's may be taken for ours.
    pub fn identity(&self) -> io::Result<[u8; 32]> {
        let stat = self.stat_self()?;
        let mut hasher = blake3::Hasher::new();
        match fs::read(BOOT_ID) {
            Ok(id) => hasher.update(&id),
            Err(_) => hasher.update(b"unknown"),
        };
        hasher.update(&stat.device.to_le_bytes()).update(&stat.inode.to_le_bytes());
        Ok(hasher.finalize().into())
    }
}
