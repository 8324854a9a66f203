//! The log directory of a host: 200 services, each with a live log, three rotations in plain text and four that are compressed.
//!
//! As `logrotate` leaves it with `size 200k`, `rotate 7`, `compress` and a longer delay: 0.13 MB live, 3 × 0.26 MB plain and 4 × 0.05 MB
//! compressed for a service in the mean; 1,600 files and 225 MB in all.

use super::{
    PAGE_BYTES,
    plan::{Content, File, Item, Plan},
    whole_pages,
};
use crate::random::Random;

const SERVICES: u64 = 200;

const NAMES: [&str; 8] =
    ["nginx", "checkout", "payments", "search", "sessions", "mail-relay", "postgres", "scheduler"];

const KIB: u64 = 1024;

/// A file of a service: what follows `NAME.log`, since how many days it rests, and its least and most bytes. Compressed sizes are those
/// of the plain ones divided by the four to five that compression gives.
const FILES: [(&str, u64, u64, u64); 8] = [
    ("", 0, 4 * KIB, 256 * KIB),
    (".1", 1, 200 * KIB, 300 * KIB),
    (".2", 2, 200 * KIB, 300 * KIB),
    (".3", 3, 200 * KIB, 300 * KIB),
    (".4.gz", 4, 40 * KIB, 64 * KIB),
    (".5.gz", 5, 40 * KIB, 64 * KIB),
    (".6.gz", 6, 40 * KIB, 64 * KIB),
    (".7.gz", 7, 40 * KIB, 64 * KIB),
];

pub(super) fn plan(mut random: Random) -> Plan {
    let slots = (0..SERVICES).flat_map(|service| FILES.map(|file| (service, file)));
    Box::new(slots.map(move |(service, (suffix, days, least, most))| {
        let name = NAMES[usize::try_from(service % NAMES.len() as u64).expect("a remainder of a length")];
        let bytes = least + random.below(most - least + 1);
        let path = format!("{name}-{:02}/{name}.log{suffix}", service / NAMES.len() as u64);
        let content = if suffix.ends_with("gz") {
            Content::Compressed
        } else {
            Content::Log { host: "eu-west-07".to_owned(), service: name.to_owned() }
        };
        Item::File(File::new(path, bytes, days, content, &mut random))
    }))
}

/// The most bytes on a file system.
pub(super) fn bytes_max() -> u64 {
    let service: u64 = FILES.iter().map(|&(_, _, _, most)| whole_pages(most)).sum();
    SERVICES * (service + PAGE_BYTES) + PAGE_BYTES
}
