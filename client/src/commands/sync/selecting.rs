//! What the options say about which entries take part, with the files that they name read and times counted from now.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmwire_common::{
    entry::Timestamp,
    escape::escape,
    filter::{List, Selection, SelectionError, parse_rules},
    limits,
    path::RelPath,
    root::describe,
    wire::sync::{Listed, Rule, Selection as WireSelection},
};

use super::job::Job;
use crate::{cli::SelectingArguments, exit::Failure};

/// Bytes of a file of rules that are read: comments may take most of it.
const RULE_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a list of files that are read: as many as may be listed, and a separator each.
const LIST_FILE_BYTES_MAX: usize = limits::LISTED_BYTES_MAX + limits::LISTED_PATHS_MAX;

/// Reads what there is to read. Blocks, at a time when nothing else runs.
pub(super) fn selection(arguments: &SelectingArguments, now: SystemTime) -> Result<Arc<Selection>, Failure> {
    refuse_contradictions(arguments)?;
    let mut rules = arguments.rules.0.clone();
    rules.extend(arguments.filter_from.as_deref().map(rules_of).transpose()?.unwrap_or_default());
    let (mtime_min, mtime_max) = Ages::of(arguments).at(now);
    let asked = WireSelection {
        rules,
        matching: arguments.matching.clone(),
        listed: Listed::All,
        size_min: arguments.min_size,
        size_max: arguments.max_size,
        mtime_min,
        mtime_max,
        one_file_system: arguments.one_file_system,
        follow_links: arguments.copy_links,
        missing_ok: false,
    };
    let selection = Selection::from_wire(asked)
        .map_err(|err| Failure::usage(format!("--include, --exclude and --filter-from: {err}")))?;
    let list = arguments.files_from.as_deref().map(|path| list_of(path, arguments.from0)).transpose()?;
    Ok(Arc::new(match list {
        Some(list) => selection.listing(list),
        None => selection,
    }))
}

/// How old files must be and may be, whenever that is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ages {
    older_than: Option<Duration>,
    newer_than: Option<Duration>,
}

impl Ages {
    pub(super) fn of(arguments: &SelectingArguments) -> Self {
        Self { older_than: arguments.older_than, newer_than: arguments.newer_than }
    }

    /// The earliest and the latest time of modification.
    fn at(self, now: SystemTime) -> (Option<Timestamp>, Option<Timestamp>) {
        let ago = |age: Option<Duration>| age.map(|age| timestamp(now, age));
        (ago(self.newer_than), ago(self.older_than))
    }
}

/// The selection of a job, with ages counted from now.
pub(super) fn at(job: &Job, now: SystemTime) -> Selection {
    let (min, max) = job.ages.at(now);
    Selection::clone(&job.selection).modified_within(min, max)
}

fn refuse_contradictions(arguments: &SelectingArguments) -> Result<(), Failure> {
    let SelectingArguments { filter_from, files_from, min_size, max_size, .. } = arguments;
    let is_input = |path: &Option<_>| path.as_deref().is_some_and(is_standard_input);
    if is_input(filter_from) && is_input(files_from) {
        return Err(Failure::usage(
            "--filter-from and --files-from cannot both be read from standard input; write one of them to a file",
        ));
    }
    if min_size.zip(*max_size).is_some_and(|(min, max)| min > max) {
        return Err(Failure::usage("--min-size is larger than --max-size, so no file is left"));
    }
    if arguments.older_than.zip(arguments.newer_than).is_some_and(|(older, newer)| older > newer) {
        return Err(Failure::usage("--older-than is longer ago than --newer-than, so no file is left"));
    }
    Ok(())
}

fn rules_of(path: &Path) -> Result<Vec<Rule>, Failure> {
    let text = read(path, RULE_FILE_BYTES_MAX, "--filter-from")?;
    parse_rules(&text).map_err(|err| Failure::usage(format!("{}: {err}", shown("--filter-from", path))))
}

fn list_of(path: &Path, from0: bool) -> Result<List, Failure> {
    let limit = u64::try_from(LIST_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let text = read(path, limit, "--files-from")?;
    parse_list(&text, from0)
        .map_err(|reason| Failure::usage(format!("{}: {reason}", shown("--files-from", path))))
}

/// The paths in a list; empty ones are passed over.
fn parse_list(text: &[u8], from0: bool) -> Result<List, String> {
    let mut list = List::default();
    let separator = if from0 { 0 } else { b'\n' };
    for line in text.split(|&byte| byte == separator) {
        let line = if from0 { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        if line.is_empty() {
            continue;
        }
        let path = RelPath::parse(line).map_err(|_| {
            format!("`{}` is no path below SRC; leave a leading `/` and `..` away", escape(line))
        })?;
        list.push(path).map_err(|err: SelectionError| err.to_string())?;
    }
    Ok(list)
}

fn read(path: &Path, limit: u64, option: &str) -> Result<Vec<u8>, Failure> {
    let fail = |err: io::Error| {
        Failure::usage(format!("{} cannot be read: {}", shown(option, path), describe(&err)))
    };
    let input: Box<dyn Read> = if is_standard_input(path) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(fail)?)
    };
    let mut bytes = Vec::new();
    input.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > limit) {
        return Err(Failure::usage(format!("{} has more than {limit} bytes", shown(option, path))));
    }
    Ok(bytes)
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn shown(option: &str, path: &Path) -> String {
    format!("{option} `{}`", escape(path.as_os_str().as_encoded_bytes()))
}

/// The time `age` before `now`, the earliest there is at most.
fn timestamp(now: SystemTime, age: Duration) -> Timestamp {
    now.checked_sub(age).map_or(Timestamp { seconds: i64::MIN, nanoseconds: 0 }, Timestamp::from)
}
