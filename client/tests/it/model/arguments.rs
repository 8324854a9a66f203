//! The command line of the options.

use std::{path::Path, time::UNIX_EPOCH};

use super::options::{AGE_BOUND, Age, Durability, Keep, Manner, Options, Preserve};
use crate::world::now;

/// What is typed beside the places. A list of paths is written to `list_file`.
pub(super) fn arguments(options: &Options, list_file: &Path) -> Vec<String> {
    let mut arguments = of_manner(options.manner);
    let Preserve { owner, xattrs, hard_links, special_bits } = options.preserve;
    let flags = [
        (owner, "--owner"),
        (xattrs, "--xattrs"),
        (hard_links, "--hard-links"),
        (special_bits, "--special-bits"),
        (options.manner.sparse, "--sparse"),
        (options.checksum, "--checksum"),
        (options.delete, "--delete"),
        (options.dry_run, "--dry-run"),
        (!options.dry_run, "-v"),
        (options.remove_source, "--remove-source-files"),
        (options.keep == Keep::Newer, "--update"),
        (options.keep == Keep::Existing, "--ignore-existing"),
    ];
    arguments.extend(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| (*flag).to_owned()));
    for (option, value) in
        [("max-delete", options.max_delete), ("min-size", options.min_size), ("max-size", options.max_size)]
    {
        arguments.extend(value.map(|value| format!("--{option}={value}")));
    }
    arguments.extend(options.backup.map(|dir| format!("--backup-dir={dir}")));
    for (takes, pattern) in &options.rules {
        let option = if *takes { "include" } else { "exclude" };
        arguments.push(format!("--{option}={}", pattern.typed()));
    }
    if let Some(age) = options.age {
        let option = if age == Age::Older { "older" } else { "newer" };
        let seconds = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        arguments.push(format!("--{option}-than={}s", seconds - u64::try_from(AGE_BOUND).unwrap()));
    }
    arguments.extend(options.matching.map(|matching| format!("--match={matching}")));
    if let Some(listed) = &options.listed {
        std::fs::write(list_file, listed.join("\0")).unwrap();
        arguments.extend(["--from0".to_owned(), format!("--files-from={}", list_file.display())]);
    }
    arguments
}

fn of_manner(manner: Manner) -> Vec<String> {
    let compress =
        manner.compress.map(|level| if level == 0 { "never".to_owned() } else { level.to_string() });
    let durability = manner.durability.map(|durability| match durability {
        Durability::None => "none".to_owned(),
        Durability::Batch => "batch".to_owned(),
        Durability::File => "file".to_owned(),
    });
    let jobs = manner.jobs.map(|jobs| jobs.to_string());
    [("compress", compress), ("jobs", jobs), ("durability", durability)]
        .into_iter()
        .filter_map(|(option, value)| Some(format!("--{option}={}", value?)))
        .collect()
}
