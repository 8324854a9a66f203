//! Trees of files that look like what people move: hosts' log directories, many small files, few large ones.
//!
//! A tree depends on its seed and its numbers alone: content, names, modes and times are the same on every machine and in every run. The
//! directory given must exist and be empty; nothing outside it is touched.

mod random;
mod text;

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use random::Random;
use text::LogText;

/// When the youngest generated file was written: 2026-11-20 00:00 UTC, so that a tree does not depend on the day it is made.
const NEWEST: Duration = Duration::from_secs(1_795_132_800);

/// Bytes of text produced at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// Regular files.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// The files of one service's log directory: a name, and how many days ago it was last written to.
const SERVICE_FILES: [(&str, u64); 10] = [
    ("app.log", 0),
    ("app.log.1", 1),
    ("app.log.2", 2),
    ("app.log.3.gz", 3),
    ("app.log.4.gz", 4),
    ("error.log", 0),
    ("error.log.1", 7),
    ("access.log", 0),
    ("access.log.1", 1),
    ("access.log.2.gz", 2),
];

const SERVICES: [&str; 8] =
    ["nginx", "checkout", "payments", "search", "sessions", "mail-relay", "postgres", "scheduler"];

const SITES: [&str; 3] = ["eu-west", "us-east", "ap-south"];

/// Makes the logs of a fleet: `site/host/service/…`, ten files per service of half a KiB to 200 KiB, some empty, some compressed, and
/// a symlink `current` in each service's directory.
pub fn log_tree(top: &Path, files: u64, seed: u64) -> io::Result<Generated> {
    let mut random = Random::new(seed);
    let mut made = Generated::default();
    let mut content = Vec::new();
    let slots = (0..).zip(SERVICE_FILES.iter().cycle());
    for (number, &(name, days)) in slots.take_while(|&(number, _)| number < files) {
        let service = Service::of_file(number);
        let directory = top.join(service.path());
        if name == SERVICE_FILES[0].0 {
            fs::create_dir_all(&directory)?;
            symlink(name, directory.join("current"))?;
        }
        let written = NEWEST - Duration::from_secs(days * 86_400) - random.nanoseconds_below_a_day();
        content.clear();
        match log_size(&mut random) {
            0 => {}
            bytes if Path::new(name).extension().is_some_and(|extension| extension == "gz") => {
                content.resize(bytes, 0);
                random.fill(&mut content);
                content[..3].copy_from_slice(&[0x1f, 0x8b, 0x08]);
            }
            bytes => {
                LogText::new(random.fork(), &service.host, service.name, written).fill(&mut content, bytes);
            }
        }
        let mode = if name.starts_with("error") { 0o600 } else { 0o640 };
        write_file(&directory.join(name), &content, mode, written)?;
        made.files += 1;
        made.bytes += content.len() as u64;
    }
    settle_directories(top)?;
    Ok(made)
}

/// Makes `files` log files of 2 to 8 KiB in 200 directories.
pub fn small_files(top: &Path, files: u64, seed: u64) -> io::Result<Generated> {
    const DIRECTORIES: u64 = 200;
    let mut random = Random::new(seed);
    let mut made = Generated::default();
    let mut content = Vec::new();
    for number in 0..files {
        let directory = top.join(format!("unit-{:03}", number % DIRECTORIES));
        if number < DIRECTORIES {
            fs::create_dir(&directory)?;
        }
        let written = NEWEST - random.nanoseconds_below_a_day();
        content.clear();
        let bytes = 2048 + random.index_below(6 * 1024 + 1);
        LogText::new(random.fork(), "node-01", "unit", written).fill(&mut content, bytes);
        write_file(&directory.join(format!("{number:06}.log")), &content, 0o644, written)?;
        made.files += 1;
        made.bytes += content.len() as u64;
    }
    settle_directories(top)?;
    Ok(made)
}

/// Makes `files` log files of `pieces` MiB each.
pub fn large_files(top: &Path, files: u64, pieces: usize, seed: u64) -> io::Result<Generated> {
    let mut random = Random::new(seed);
    let mut made = Generated::default();
    for number in 0..files {
        let written = NEWEST - random.nanoseconds_below_a_day();
        let mut text = LogText::new(random.fork(), "node-01", "archive", written);
        let path = top.join(format!("archive-{number}.log"));
        let mut file = File::create_new(&path)?;
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        for _ in 0..pieces {
            piece.clear();
            text.fill(&mut piece, PIECE_BYTES);
            file.write_all(&piece)?;
        }
        settle(&file, 0o644, written)?;
        made.files += 1;
        made.bytes += (pieces * PIECE_BYTES) as u64;
    }
    settle_directories(top)?;
    Ok(made)
}

/// Whose log directory a file belongs to.
struct Service {
    site: &'static str,
    host: String,
    name: &'static str,
}

impl Service {
    fn of_file(number: u64) -> Self {
        let service = number / SERVICE_FILES.len() as u64;
        let host = service / SERVICES.len() as u64;
        Self {
            site: nth(&SITES, host),
            host: format!("{}-{host:02}", nth(&SITES, host)),
            name: nth(&SERVICES, service),
        }
    }

    fn path(&self) -> String {
        format!("{}/{}/{}", self.site, self.host, self.name)
    }
}

fn nth(names: &[&'static str], number: u64) -> &'static str {
    let count = names.len() as u64;
    names[usize::try_from(number % count).expect("a remainder of a length is an index")]
}

/// 0, or 512 bytes to 200 KiB: the power of two is binomial, as log sizes are about log-normal; the median is near 12 KiB.
fn log_size(random: &mut Random) -> usize {
    if random.index_below(40) == 0 {
        return 0;
    }
    let power = 512 << random.index_below(256).count_ones();
    (power + random.index_below(power)).min(200 * 1024)
}

fn write_file(path: &Path, content: &[u8], mode: u32, written: Duration) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    settle(&file, mode, written)
}

/// Gives every directory its mode and time, deepest first: making an entry changes the time of the directory it is in.
fn settle_directories(top: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(top).contents_first(true).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_dir() {
            settle(&File::open(entry.path())?, 0o755, NEWEST)?;
        }
    }
    Ok(())
}

fn settle(file: &File, mode: u32, written: Duration) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_modified(SystemTime::UNIX_EPOCH + written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Snapshot;

    #[test]
    fn the_same_seed_makes_the_same_tree_and_another_seed_another() {
        let [one, two, other] = [7, 7, 8].map(|seed| {
            let top = tempfile::tempdir().unwrap();
            let made = log_tree(top.path(), 60, seed).unwrap();
            let snapshot = Snapshot::take(top.path()).unwrap();
            assert_eq!((snapshot.files(), snapshot.bytes()), (made.files, made.bytes));
            snapshot
        });
        assert_eq!(one.differences(&two), Vec::<String>::new());
        assert_ne!(one.differences(&other), Vec::<String>::new());
    }

    #[test]
    fn log_sizes_stay_in_their_range() {
        let mut random = Random::new(1);
        let sizes: Vec<usize> = (0..10_000).map(|_| log_size(&mut random)).collect();
        assert!(sizes.iter().all(|&bytes| bytes == 0 || (512..=200 * 1024).contains(&bytes)));
        assert!(sizes.contains(&0));
        assert!(sizes.iter().any(|&bytes| bytes > 100 * 1024));
    }

    #[test]
    fn workloads_have_the_files_and_bytes_they_say() {
        let top = tempfile::tempdir().unwrap();
        let made = small_files(top.path(), 450, 3).unwrap();
        let snapshot = Snapshot::take(top.path()).unwrap();
        assert_eq!((snapshot.files(), snapshot.bytes()), (450, made.bytes));
        assert!((450 * 2048..=450 * 8192).contains(&made.bytes));

        let top = tempfile::tempdir().unwrap();
        assert_eq!(large_files(top.path(), 2, 3, 3).unwrap(), Generated { files: 2, bytes: 6 << 20 });
        assert_eq!(Snapshot::take(top.path()).unwrap().bytes(), 6 << 20);
    }
}
