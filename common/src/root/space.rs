//! How full the file system of a directory is.

use std::io;

use rustix::io::retry_on_intr;

use super::Dir;

/// Bytes of a file system, as df counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// All there are.
    pub total: u64,
    /// Those in use: all but what is free.
    pub used: u64,
    /// Those that programs without privileges may still use. What is reserved is in neither.
    pub available: u64,
    /// Bytes of a block: what a file takes is a multiple of it.
    pub block: u64,
}

impl Dir {
    /// What `statvfs` says of the directory's file system.
    pub fn space(&self) -> io::Result<Space> {
        let told = retry_on_intr(|| rustix::fs::fstatvfs(self.fd()))?;
        // Some file systems tell no size of their fragments (statvfs(3)).
        let block = if told.f_frsize > 0 { told.f_frsize } else { told.f_bsize };
        let bytes = |blocks: u64| blocks.saturating_mul(block);
        Ok(Space {
            total: bytes(told.f_blocks),
            used: bytes(told.f_blocks.saturating_sub(told.f_bfree)),
            available: bytes(told.f_bavail),
            block,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::root::Root;

    #[test]
    fn a_file_system_is_as_full_as_df_says() {
        let temp = tempfile::tempdir().unwrap();
        let df = std::process::Command::new("df")
            .args(["-B1", "--output=size"])
            .arg(temp.path())
            .output()
            .unwrap();
        let text = String::from_utf8(df.stdout).unwrap();
        let total: u64 = text.split_whitespace().last().unwrap().parse().unwrap();
        let space = Root::open(temp.path()).unwrap().top().space().unwrap();
        // What is used changes while others run; that it is counted in the same blocks does not.
        assert_eq!(space.total, total);
        assert!(space.used <= space.total && space.available <= space.total - space.used);
        assert!(space.block > 0 && space.total.is_multiple_of(space.block));
    }
}
