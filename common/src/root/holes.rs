//! Reading and writing around holes, for the files of a root that keeps them (`Root::keeping`).

use std::io;

use rustix::{
    fs::SeekFrom,
    io::{Errno, retry_on_intr},
};

use super::File;
use crate::zeros;

impl File {
    /// As [`File::read_at`], but the zeros of holes are not read.
    pub(super) fn read_around_holes(
        &self,
        offset: u64,
        limit: usize,
        buffer: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let start = buffer.len();
        let size = u64::try_from(retry_on_intr(|| rustix::fs::fstat(self.fd()))?.st_size).unwrap_or_default();
        let due = as_usize(size.saturating_sub(offset)).min(limit);
        while buffer.len() - start < due {
            let at = offset + as_u64(buffer.len() - start);
            let left = due - (buffer.len() - start);
            let data = self.next(SeekFrom::Data(at), size).unwrap_or(at);
            if data > at {
                zeros::append(as_usize(data - at).min(left), buffer);
                continue;
            }
            let hole = self.next(SeekFrom::Hole(at), size).unwrap_or(size);
            // At least a byte, so that the loop goes on whatever the file system says.
            let here = as_usize(hole.saturating_sub(at)).clamp(1, left);
            if self.read_all_at(at, here, buffer)? == 0 {
                break;
            }
        }
        Ok(buffer.len() - start)
    }

    /// Where the next data or hole is; `size` if there is none. `None` where the file system does not tell.
    fn next(&self, what: SeekFrom, size: u64) -> Option<u64> {
        match retry_on_intr(|| rustix::fs::seek(self.fd(), what)) {
            Ok(at) => Some(at),
            Err(Errno::NXIO) => Some(size),
            Err(_) => None,
        }
    }

    /// Writes `bytes` at `offset`, leaving their zeros out. What is written over must be a hole.
    pub(super) fn write_around_holes(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = offset;
        for run in zeros::runs(bytes) {
            if !run.is_zero {
                self.write_all_at(at, run.bytes)?;
            }
            at += as_u64(run.bytes.len());
        }
        Ok(())
    }
}

fn as_u64(size: usize) -> u64 {
    u64::try_from(size).expect("usize has 64 bits or fewer")
}

fn as_usize(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt};

    use crate::{path::Name, root::Root};

    #[test]
    fn what_is_read_is_the_same_with_holes_and_without() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("a")).unwrap();
        file.set_len(1_000_000).unwrap();
        file.write_all_at(&[7; 5000], 300_001).unwrap();
        file.write_all_at(&[8; 100], 999_000).unwrap();
        let content = fs::read(dir.path().join("a")).unwrap();
        let root = Root::open(dir.path()).unwrap().keeping(false, true).unwrap();
        let file = root.top().open_file(Name::new(b"a").unwrap()).unwrap();
        for (offset, limit) in [
            (0, 1_000_000),
            (0, 2_000_000),
            (1, 100),
            (299_999, 200_000),
            (999_050, 100_000),
            (2_000_000, 10),
        ] {
            let mut buffer = b"before".to_vec();
            let read = file.read_at(offset as u64, limit, &mut buffer).unwrap();
            let expected = content.get(offset..(offset + limit).min(content.len())).unwrap_or_default();
            assert_eq!((read, &buffer[6..]), (expected.len(), expected), "{limit} bytes at {offset}");
        }
    }

    #[test]
    fn what_is_written_has_holes_for_its_zeros_and_its_whole_size() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap().keeping(false, true).unwrap();
        let file = root.top().create_file(Name::new(b"a").unwrap()).unwrap();
        let content = [&[0; 100_000][..], &[7; 10], &[0; 100_000]].concat();
        file.write_at(0, &content).unwrap();
        file.end_at(200_010).unwrap();
        assert!(fs::read(dir.path().join("a")).unwrap() == content);
        use std::os::unix::fs::MetadataExt;
        assert!(fs::metadata(dir.path().join("a")).unwrap().blocks() <= 128);
    }
}
