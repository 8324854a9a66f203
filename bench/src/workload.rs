//! The trees that are moved, each known by a name that people type and that stands in every result.
//!
//! A generated tree depends on its name and its seed alone: contents, names, modes and times are the same on every machine and in every run,
//! and [`Generated::manifest`] shows it. What a tree holds is decided first ([`plan`] and the file of each kind of tree) and written afterwards
//! ([`writer`]). A real tree (`dir:PATH`) is only read; what is moved and changed is its copy. Nothing outside the given directory is touched.

mod fleet;
mod mixed;
mod plan;
mod real;
mod rotated;
mod text;
mod times;
mod uniform;
mod writer;

use std::{
    fmt, fs,
    num::NonZeroU64,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{random::Random, verify::Snapshot};
use plan::Plan;
pub(crate) use text::LogText;
pub(crate) use times::{modified, set_modified};
use uniform::Uniform;

/// When the youngest generated file was written: 2026-11-20 00:00 UTC, so that a tree does not depend on the day it is made.
const NEWEST: Duration = Duration::from_secs(1_795_132_800);

/// What a file takes at least, and in multiples of which: bytes of a page, the same as a block of ext4.
const PAGE_BYTES: u64 = 4096;

/// The most files of `files:N`, chosen below the 16 Mi entries that one sync of Swarmwire can list.
const FILES_MAX: u64 = 10_000_000;

/// A tree to move.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// `small`: 20,000 files of 2 to 8 KiB in 200 directories.
    Small,
    /// `medium`: 2,000 files of 100 to 500 KiB in 20 directories.
    Medium,
    /// `large`: 4 files of 512 MiB.
    Large,
    /// `tiny`: 1,008 files, 20.9 MB, as in the set that sparsync publishes figures for: 1,000 of 4 KiB and 8 of 2 MiB.
    Tiny,
    /// `hundredk`: 100,000 files of 4,200 bytes in 100 directories: the count and size that syq publishes figures for.
    HundredK,
    /// `fivek`: 5,000 of the same files in 50 directories, 21 MB: over a long link, start and end of a run are most of it.
    FiveK,
    /// `rotated`: the log directory of a host with 200 services: 1,600 files, about 225 MB.
    Rotated,
    /// `mini`: a bit of everything, 7 MB, for a check that takes seconds.
    Mini,
    /// `files:N`: N files of 1 KiB, 100 in a directory.
    Files(NonZeroU64),
    /// `dir:PATH`: a copy of a real tree.
    Dir(PathBuf),
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Regular files.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// [`Snapshot::manifest`] of the tree.
    pub manifest: blake3::Hash,
}

/// The workloads whose name is all there is to say.
static NAMED: [(&str, Workload); 8] = [
    ("small", Workload::Small),
    ("medium", Workload::Medium),
    ("large", Workload::Large),
    ("tiny", Workload::Tiny),
    ("hundredk", Workload::HundredK),
    ("fivek", Workload::FiveK),
    ("rotated", Workload::Rotated),
    ("mini", Workload::Mini),
];

impl Workload {
    /// The most bytes that the tree takes on a file system: every file in whole pages, and a page for each directory and link.
    ///
    /// A real tree is counted, which reads all its directories.
    pub fn bytes_max(&self) -> Result<u64> {
        Ok(match self {
            Self::Dir(path) => real::bytes_max(path)?,
            Self::Rotated => rotated::bytes_max(),
            Self::Tiny => mixed::tiny_bytes_max(),
            Self::Mini => mixed::mini_bytes_max(),
            _ => self.uniform().map_or(0, |uniform| uniform.bytes_max()),
        })
    }

    /// Makes the tree in `top`, which must be an empty directory.
    pub fn generate(&self, top: &Path, seed: u64) -> Result<Generated> {
        let context = || format!("failed to generate {self} in {}", top.display());
        make(top, |top| match self {
            Self::Dir(path) => real::copy(path, top),
            _ => writer::write(top, self.plan(seed)),
        })
        .with_context(context)
    }

    /// What the tree will hold; nothing for a real one.
    fn plan(&self, seed: u64) -> Plan {
        let random = Random::new(seed);
        match self {
            Self::Rotated => rotated::plan(random),
            Self::Tiny => mixed::tiny(random),
            Self::Mini => mixed::mini(random),
            _ => match self.uniform() {
                Some(uniform) => uniform.plan(random),
                None => Box::new(std::iter::empty()),
            },
        }
    }

    fn uniform(&self) -> Option<Uniform> {
        Some(match self {
            Self::Small => uniform::SMALL,
            Self::Medium => uniform::MEDIUM,
            Self::Large => uniform::LARGE,
            Self::HundredK => uniform::HUNDREDK,
            Self::FiveK => uniform::FIVEK,
            Self::Files(count) => uniform::files(count.get()),
            Self::Tiny | Self::Rotated | Self::Mini | Self::Dir(_) => return None,
        })
    }
}

/// Makes the logs of a fleet in the empty directory `top`: what the demonstration moves.
pub(crate) fn fleet(top: &Path, files: u64, seed: u64) -> Result<Generated> {
    make(top, |top| writer::write(top, fleet::plan(files, Random::new(seed))))
        .with_context(|| format!("failed to generate logs in {}", top.display()))
}

fn make(top: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<Generated> {
    if fs::read_dir(top)?.next().is_some() {
        bail!("the directory is not empty");
    }
    write(top)?;
    let made = Snapshot::take(top)?;
    Ok(Generated { files: made.files(), bytes: made.bytes(), manifest: made.manifest() })
}

fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_BYTES)
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("dir:") {
            if path.is_empty() {
                bail!("dir: needs the path of a directory, as in dir:/var/log");
            }
            return Ok(Self::Dir(PathBuf::from(path)));
        }
        if let Some(count) = text.strip_prefix("files:") {
            let count = count.parse().ok().filter(|count| (1..=FILES_MAX).contains(count));
            let count = count.and_then(NonZeroU64::new);
            return count
                .map(Self::Files)
                .with_context(|| format!("files: needs a count from 1 to {FILES_MAX}, as in files:1000"));
        }
        let found = NAMED.iter().find(|(name, _)| *name == text);
        found.map(|(_, workload)| workload.clone()).with_context(|| {
            let names: Vec<&str> = NAMED.iter().map(|&(name, _)| name).collect();
            format!("unknown workload {text:?}; known are {}, files:N and dir:PATH", names.join(", "))
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(count) => write!(f, "files:{count}"),
            Self::Dir(path) => write!(f, "dir:{}", path.display()),
            named => {
                let (name, _) =
                    NAMED.iter().find(|(_, workload)| workload == named).expect("all others are named");
                f.write_str(name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{plan::Item, *};

    fn workload(name: &str) -> Workload {
        name.parse().unwrap()
    }

    #[test]
    fn a_name_gives_the_workload_and_the_workload_gives_the_name_back() {
        let others = ["files:1", "files:1000000", "dir:/var/log", "dir:relative/with space"];
        for name in NAMED.iter().map(|&(name, _)| name).chain(others) {
            assert_eq!(workload(name).to_string(), name);
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_known_ones() {
        let error = |name: &str| Workload::from_str(name).unwrap_err().to_string();
        assert_eq!(
            error("smal"),
            "unknown workload \"smal\"; known are small, medium, large, tiny, hundredk, fivek, rotated, mini, files:N and dir:PATH"
        );
        assert!(error("dir:").contains("dir:/var/log"));
        for count in ["", "0", "-1", "1e3", "10000001"] {
            assert!(error(&format!("files:{count}")).contains("from 1 to 10000000"));
        }
    }

    /// Files, least and most bytes of one, bytes of all, and directories, as planned.
    fn planned(workload: &Workload, seed: u64) -> (u64, u64, u64, u64, usize) {
        let (mut files, mut least, mut most, mut bytes) = (0, u64::MAX, 0, 0);
        let mut directories = std::collections::BTreeSet::new();
        for item in workload.plan(seed) {
            if let Item::File(file) = item {
                files += 1;
                bytes += file.bytes;
                least = least.min(file.bytes);
                most = most.max(file.bytes);
                directories.extend(Path::new(&file.path).ancestors().skip(1).map(Path::to_owned));
            }
        }
        (files, least, most, bytes, directories.len() - 1)
    }

    #[test]
    fn every_workload_has_the_files_bytes_and_directories_that_it_says() {
        const KIB: u64 = 1024;
        for seed in [1, 2] {
            for (name, count, range, sum, places) in [
                ("small", 20_000, 2 * KIB..=8 * KIB, 100_000_000..=105_000_000, 200),
                ("medium", 2000, 100 * KIB..=500 * KIB, 600_000_000..=630_000_000, 20),
                ("large", 4, 512 * KIB * KIB..=512 * KIB * KIB, 2 << 30..=2 << 30, 0),
                ("tiny", 1008, 4 * KIB..=2 * KIB * KIB, 20_873_216..=20_873_216, 10),
                ("hundredk", 100_000, 4200..=4200, 420_000_000..=420_000_000, 100),
                ("fivek", 5000, 4200..=4200, 21_000_000..=21_000_000, 50),
                ("rotated", 1600, 4 * KIB..=300 * KIB, 200_000_000..=250_000_000, 200),
                ("files:1000", 1000, KIB..=KIB, 1_024_000..=1_024_000, 10),
                ("files:7", 7, KIB..=KIB, 7168..=7168, 1),
                ("mini", 203, 0..=3 * KIB * KIB, 6_700_000..=8_000_000, 5),
            ] {
                let workload = workload(name);
                let (files, least, most, bytes, directories) = planned(&workload, seed);
                assert_eq!((files, directories), (count, places), "{name}");
                assert!(range.contains(&least) && range.contains(&most), "{name}: {least} to {most}");
                assert!(sum.contains(&bytes), "{name}: {bytes}");
                let bytes_max = workload.bytes_max().unwrap();
                assert!((bytes..bytes * 4 + 400 * PAGE_BYTES).contains(&bytes_max), "{name}: {bytes_max}");
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_tree_on_every_machine_and_another_seed_another() {
        let [one, two, other] = [7, 7, 8].map(|seed| {
            let top = tempfile::tempdir().unwrap();
            workload("mini").generate(top.path(), seed).unwrap()
        });
        assert_eq!(one, two);
        assert_ne!(one.manifest, other.manifest);
        assert_eq!(
            one.manifest.to_hex().as_str(),
            "a2318fd880845f3cfe6d3a15f0294ad4cc3de7244d9400307a099cd611e6b80d"
        );
    }

    #[test]
    fn a_tree_holds_what_was_planned_within_the_space_that_was_foretold() {
        let top = tempfile::tempdir().unwrap();
        let workload = workload("files:250");
        let made = workload.generate(top.path(), 3).unwrap();
        assert_eq!((made.files, made.bytes), (250, 250 * 1024));
        assert!(real::bytes_max(top.path()).unwrap() <= workload.bytes_max().unwrap());
    }

    #[test]
    fn a_directory_that_holds_something_is_refused_and_left_alone() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join("mine"), b"precious").unwrap();
        let error = workload("files:1").generate(top.path(), 1).unwrap_err();
        assert!(format!("{error:#}").ends_with("the directory is not empty"), "{error:#}");
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
    }
}
