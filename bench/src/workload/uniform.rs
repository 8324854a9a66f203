//! Trees of one kind of file: so many log files, of such sizes, spread evenly over so many directories.

use super::{
    PAGE_BYTES,
    plan::{Content, File, Item, Plan},
    whole_pages,
};
use crate::random::Random;

const KIB: u64 = 1024;

/// 20,000 files of 2 to 8 KiB: 102 MB.
pub(super) const SMALL: Uniform =
    Uniform { files: 20_000, directories: 200, sizes: Sizes::Between(2 * KIB, 8 * KIB) };

/// 2,000 files of 100 to 500 KiB: 614 MB.
pub(super) const MEDIUM: Uniform =
    Uniform { files: 2000, directories: 20, sizes: Sizes::Between(100 * KIB, 500 * KIB) };

/// 4 files of 512 MiB, at the top.
pub(super) const LARGE: Uniform =
    Uniform { files: 4, directories: 0, sizes: Sizes::Exactly(512 * KIB * KIB) };

/// 100,000 files of 4.2 kB: 420 MB.
pub(super) const HUNDREDK: Uniform =
    Uniform { files: 100_000, directories: 100, sizes: Sizes::Exactly(4200) };

/// 5,000 files of 4.2 kB: 21 MB.
pub(super) const FIVEK: Uniform = Uniform { files: 5000, directories: 50, sizes: Sizes::Exactly(4200) };

/// `count` files of 1 KiB, 100 in a directory, one directory at least.
pub(super) fn files(count: u64) -> Uniform {
    Uniform { files: count, directories: (count / 100).max(1), sizes: Sizes::Exactly(KIB) }
}

/// A tree's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uniform {
    pub(super) files: u64,
    /// 0 puts the files at the top.
    pub(super) directories: u64,
    pub(super) sizes: Sizes,
}

/// How many bytes files have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sizes {
    /// All the same.
    Exactly(u64),
    /// Any size from the first to the second is as likely.
    Between(u64, u64),
}

impl Uniform {
    pub(super) fn plan(self, mut random: Random) -> Plan {
        Box::new((0..self.files).map(move |number| {
            let bytes = self.bytes(&mut random);
            let content = Content::Log { host: "node-01".to_owned(), service: "unit".to_owned() };
            Item::File(File::new(self.path(number), bytes, 0, content, &mut random))
        }))
    }

    /// The most bytes on a file system.
    pub(super) fn bytes_max(self) -> u64 {
        let largest = match self.sizes {
            Sizes::Exactly(bytes) | Sizes::Between(_, bytes) => bytes,
        };
        self.files * whole_pages(largest) + (self.directories + 1) * PAGE_BYTES
    }

    fn bytes(self, random: &mut Random) -> u64 {
        match self.sizes {
            Sizes::Exactly(bytes) => bytes,
            Sizes::Between(least, most) => least + random.below(most - least + 1),
        }
    }

    fn path(self, number: u64) -> String {
        if self.directories == 0 {
            return format!("archive-{number}.log");
        }
        format!("unit-{:05}/{number:07}.log", number * self.directories / self.files)
    }
}
