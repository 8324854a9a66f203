//! Trees of several kinds of files: `tiny`, which copies the shape of a set that others publish figures for, and `mini`, a bit of everything.

use super::{
    PAGE_BYTES,
    plan::{Content, File, Item, Plan},
    uniform::{Sizes, Uniform},
};
use crate::random::Random;

const KIB: u64 = 1024;

/// The default set of sparsync 0.1.12 (its `BENCHMARKS.md`): `SMALL_DIRS=10`, `SMALL_FILES_PER_DIR=100`, `SMALL_FILE_SIZE=4096`,
/// `LARGE_FILES=8`, `LARGE_FILE_SIZE=2097152`; 20,873,216 bytes. Theirs are random bytes, these are text.
const TINY: [Uniform; 2] = [
    Uniform { files: 1000, directories: 10, sizes: Sizes::Exactly(4 * KIB) },
    Uniform { files: 8, directories: 0, sizes: Sizes::Exactly(2 * KIB * KIB) },
];

/// The small files of `mini`.
const MINI_SMALL: Uniform = Uniform { files: 200, directories: 4, sizes: Sizes::Between(2 * KIB, 8 * KIB) };

/// Bytes of each of the two large files of `mini`: three of Swarmwire's chunks.
const MINI_LARGE_BYTES: u64 = 3 * KIB * KIB;

pub(super) fn tiny(mut random: Random) -> Plan {
    let plans = TINY.map(|part| part.plan(random.fork()));
    Box::new(plans.into_iter().flatten())
}

/// The most bytes of `tiny` on a file system.
pub(super) fn tiny_bytes_max() -> u64 {
    TINY.iter().map(|part| part.bytes_max()).sum()
}

/// 200 small files, 2 that take several chunks, an empty file, an empty directory and a symlink.
pub(super) fn mini(mut random: Random) -> Plan {
    let small = MINI_SMALL.plan(random.fork());
    let rest = [("large/one.log", MINI_LARGE_BYTES), ("large/two.log", MINI_LARGE_BYTES), ("empty.log", 0)];
    let rest = rest.map(|(path, bytes)| {
        let content = Content::Log { host: "node-02".to_owned(), service: "archive".to_owned() };
        Item::File(File::new(path.to_owned(), bytes, 0, content, &mut random))
    });
    let others = [
        Item::EmptyDirectory { path: "nothing".to_owned() },
        Item::Symlink { path: "latest".to_owned(), target: "large/one.log".to_owned() },
    ];
    Box::new(small.chain(rest).chain(others))
}

/// The most bytes of `mini` on a file system: two directories, an empty file and a link beside the files.
pub(super) fn mini_bytes_max() -> u64 {
    MINI_SMALL.bytes_max() + 2 * MINI_LARGE_BYTES + 4 * PAGE_BYTES
}
