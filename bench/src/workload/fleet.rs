//! The logs of a fleet: `site/host/service/…`, ten files for a service of half a KiB to 200 KiB, some empty, some compressed, and a symlink
//! `current` in each service's directory. What the demonstration moves; measurements have their own trees.

use super::plan::{Content, File, Item, Plan};
use crate::random::Random;

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

/// `files` files, service after service.
pub(super) fn plan(files: u64, mut random: Random) -> Plan {
    let slots = (0..files).zip(SERVICE_FILES.iter().cycle());
    Box::new(slots.flat_map(move |(number, &(name, days))| {
        let service = Service::of_file(number);
        let path = format!("{}/{name}", service.path());
        let link = (name == SERVICE_FILES[0].0)
            .then(|| Item::Symlink { path: format!("{}/current", service.path()), target: name.to_owned() });
        let bytes = log_size(&mut random);
        let content = if name.ends_with("gz") {
            Content::Compressed
        } else {
            Content::Log { host: service.host, service: service.name.to_owned() }
        };
        let mut file = File::new(path, bytes, days, content, &mut random);
        file.mode = if name.starts_with("error") { 0o600 } else { 0o640 };
        [Some(Item::File(file)), link].into_iter().flatten()
    }))
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
fn log_size(random: &mut Random) -> u64 {
    if random.below(40) == 0 {
        return 0;
    }
    let power = 512 << random.below(256).count_ones();
    (power + random.below(power)).min(200 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sizes_stay_in_their_range() {
        let mut random = Random::new(1);
        let sizes: Vec<u64> = (0..10_000).map(|_| log_size(&mut random)).collect();
        assert!(sizes.iter().all(|&bytes| bytes == 0 || (512..=200 * 1024).contains(&bytes)));
        assert!(sizes.contains(&0));
        assert!(sizes.iter().any(|&bytes| bytes > 100 * 1024));
    }

    #[test]
    fn every_service_has_its_files_and_a_link_to_the_live_log() {
        let items: Vec<Item> = plan(60, Random::new(2)).collect();
        let links = items.iter().filter(|item| matches!(item, Item::Symlink { .. })).count();
        assert_eq!((items.len() - links, links), (60, 6));
    }
}
