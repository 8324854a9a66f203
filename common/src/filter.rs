//! Which entries of the source a sync takes part in, and which of the destination it must leave alone.
//!
//! A [`Selection`] is a valid [`wire::Selection`](crate::wire::sync::Selection): its patterns are compiled within the bounds of
//! `limits`, its ranges are not empty. The source asks [`Selection::decide`] on its way down the tree, so what is above an entry
//! takes part already; the destination asks [`Selection::protects`] about anything that it has and the source did not list.
//!
//! An entry takes part if *all* conditions hold: the first rule that fits it, if any, takes it; it is listed, below what is listed
//! or on the way there; a file or link has the expression in its path; a regular file is within the bounds of size and time.
//! Nothing applies to the top itself. Pure: no disk and no clock; a time is an argument.

mod gitignore;
mod list;
mod rules;

use regex::bytes::{Regex, RegexBuilder};

use crate::{
    entry::Timestamp,
    escape::escape_str,
    limits,
    path::{PathError, RelPath},
    wire::sync::{Listed as WireListed, Selection as WireSelection},
};

pub use gitignore::{RuleFileError, parse_rules};
pub use list::List;
use rules::Rules;

/// A valid selection; by default everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// As it was asked for, but for the list.
    asked: WireSelection,
    rules: Rules,
    matching: Option<Regex>,
    listed: Listed,
}

#[derive(Clone, Debug, Default)]
enum Listed {
    #[default]
    All,
    Paths(List),
    /// Somebody else knows them.
    Apart,
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
        /// Time of the last modification.
        mtime: Timestamp,
    },
    /// A directory.
    Directory,
    /// A link, or something of a type that is not synced.
    Other,
}

/// Whether an entry takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does; of a directory's entries each is asked about.
    Take,
    /// It does not.
    Leave,
    /// The directory does not, nor does anything below it.
    Prune,
}

impl Selection {
    /// Takes what a peer or the command line asks for, or says why it makes no sense.
    pub fn from_wire(mut asked: WireSelection) -> Result<Self, SelectionError> {
        let rules = Rules::compile(&asked.rules)?;
        let matching = asked.matching.as_deref().map(compile_match).transpose()?;
        if is_empty(asked.size_min, asked.size_max) {
            return Err(SelectionError::NoSize);
        }
        if is_empty(asked.mtime_min, asked.mtime_max) {
            return Err(SelectionError::NoTime);
        }
        let listed = match std::mem::take(&mut asked.listed) {
            WireListed::All => Listed::All,
            WireListed::Apart => Listed::Apart,
            WireListed::Paths(paths) => {
                let mut list = List::default();
                list.extend(paths)?;
                if !list.fits_opening() {
                    return Err(SelectionError::ListTooLong);
                }
                Listed::Paths(list.sorted())
            }
        };
        Ok(Self { asked, rules, matching, listed })
    }

    /// What the peer is asked for. A list that is too long for the opening frame travels apart.
    pub fn to_wire(&self) -> WireSelection {
        let listed = match &self.listed {
            Listed::All => WireListed::All,
            Listed::Paths(list) if list.fits_opening() => WireListed::Paths(list.to_wire()),
            Listed::Paths(_) | Listed::Apart => WireListed::Apart,
        };
        WireSelection { listed, ..self.asked.clone() }
    }

    /// The same, of files modified from `min` to `max`.
    pub fn modified_within(mut self, min: Option<Timestamp>, max: Option<Timestamp>) -> Self {
        (self.asked.mtime_min, self.asked.mtime_max) = (min, max);
        self
    }

    /// The same, where what is missing has been removed.
    pub fn with_missing_ok(mut self) -> Self {
        self.asked.missing_ok = true;
        self
    }

    /// The same, of these paths alone.
    pub fn listing(mut self, list: List) -> Self {
        self.listed = Listed::Paths(list.sorted());
        self
    }

    /// Whether an entry takes part whose directory does.
    pub fn decide(&self, path: &RelPath, subject: Subject) -> Verdict {
        let is_directory = subject == Subject::Directory;
        match (self.may_list(path, is_directory), is_directory) {
            (true, _) => self.decide_listed(path, subject),
            (false, true) => Verdict::Prune,
            (false, false) => Verdict::Leave,
        }
    }

    /// The same of one that is listed.
    pub fn decide_listed(&self, path: &RelPath, subject: Subject) -> Verdict {
        let is_directory = subject == Subject::Directory;
        let takes = self.rules.decide(path, is_directory) != Some(false)
            && (is_directory || self.matches(path))
            && self.within_bounds(subject);
        match (takes, is_directory) {
            (true, _) => Verdict::Take,
            (false, true) => Verdict::Prune,
            (false, false) => Verdict::Leave,
        }
    }

    /// Whether the destination must keep an entry that was not listed, since the source may have it and leave it out.
    ///
    /// Size and time are those of the source's file, which are not known where it was left out: with bounds on them everything but
    /// directories is kept. The same holds for all while a list has yet to come.
    pub fn protects(&self, path: &RelPath, is_directory: bool) -> bool {
        let is_bounded = self.has_bounds() && !is_directory;
        is_bounded
            || !(self.is_listed(path) && (is_directory || self.matches(path)))
            || self.rules.leave_out(path, is_directory)
    }

    /// Whether a directory that was listed without entries may have some at the source all the same.
    pub fn hides_contents(&self) -> bool {
        self.asked.one_file_system
    }

    /// Whether it leaves nothing out and changes nothing of what is listed.
    pub fn is_everything(&self) -> bool {
        let plain = WireSelection { missing_ok: self.asked.missing_ok, ..WireSelection::default() };
        matches!(self.listed, Listed::All) && self.asked == plain
    }

    /// Whether something that is listed, or was a moment ago, may be missing without that being a failure.
    pub fn missing_ok(&self) -> bool {
        self.asked.missing_ok
    }

    /// The names in the directory at `path` that the list is about, ascending; `None` where it may be about any.
    pub fn names_in(&self, path: &RelPath) -> Option<Vec<Vec<u8>>> {
        self.list().filter(|list| !list.covers(path)).map(|list| list.names_below(path))
    }

    /// Whether directories on other file systems are not descended into.
    pub fn one_file_system(&self) -> bool {
        self.asked.one_file_system
    }

    /// Whether links are sent as what they lead to.
    pub fn follow_links(&self) -> bool {
        self.asked.follow_links
    }

    /// Whether the list of paths has yet to come.
    pub fn awaits_list(&self) -> bool {
        matches!(self.listed, Listed::Apart)
    }

    /// The paths that are meant, if they are known.
    pub fn list(&self) -> Option<&List> {
        match &self.listed {
            Listed::Paths(list) => Some(list),
            Listed::All | Listed::Apart => None,
        }
    }

    /// The list that a peer has to be told apart.
    pub fn list_apart(&self) -> Option<&List> {
        self.list().filter(|list| !list.fits_opening())
    }

    /// Whether rules leave out the entry or anything above it.
    pub fn rules_leave_out(&self, path: &RelPath, is_directory: bool) -> bool {
        self.rules.leave_out(path, is_directory)
    }

    /// Whether a regular file has the size and the time that are asked for; anything else always has.
    pub fn within_bounds(&self, subject: Subject) -> bool {
        let Subject::File { size, mtime } = subject else { return true };
        let WireSelection { size_min, size_max, mtime_min, mtime_max, .. } = self.asked;
        size_min.is_none_or(|min| size >= min)
            && size_max.is_none_or(|max| size <= max)
            && mtime_min.is_none_or(|min| mtime >= min)
            && mtime_max.is_none_or(|max| mtime <= max)
    }

    /// Whether the list, as far as it is known, lets the entry take part: it is listed, below what is, or a directory on the way.
    pub fn may_list(&self, path: &RelPath, is_directory: bool) -> bool {
        self.list().is_none_or(|list| list.covers(path) || (is_directory && list.leads_to(path)))
    }

    fn is_listed(&self, path: &RelPath) -> bool {
        match &self.listed {
            Listed::All => true,
            Listed::Paths(list) => list.covers(path),
            Listed::Apart => false,
        }
    }

    fn matches(&self, path: &RelPath) -> bool {
        self.matching.as_ref().is_none_or(|matching| matching.is_match(path.as_bytes()))
    }

    fn has_bounds(&self) -> bool {
        let WireSelection { size_min, size_max, mtime_min, mtime_max, .. } = &self.asked;
        size_min.or(*size_max).is_some() || mtime_min.or(*mtime_max).is_some()
    }
}

/// Why a selection makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A pattern that cannot be read.
    #[error("the pattern `{}` {reason}", escape_str(pattern))]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Continues it: "names nothing".
        reason: String,
    },
    /// Beyond `PATTERNS_MAX` or `PATTERN_BYTES_MAX`.
    #[error(
        "there are more patterns than {}, or they have more than {} bytes",
        limits::PATTERNS_MAX,
        limits::PATTERN_BYTES_MAX
    )]
    TooManyPatterns,
    /// A regular expression that cannot be read.
    #[error("the regular expression cannot be used: {}", escape_str(.0))]
    Match(String),
    /// A bound on the size that no file meets.
    #[error("no file has at least the least size and at most the largest")]
    NoSize,
    /// A bound on the time that no file meets.
    #[error("no file is both old enough and new enough")]
    NoTime,
    /// Something in the list that is no path.
    #[error("the list has something that is no path: {0}")]
    Path(#[from] PathError),
    /// Beyond `LISTED_PATHS_MAX` or `LISTED_BYTES_MAX`.
    #[error(
        "the list has more than {} paths, or they have more than {} bytes",
        limits::LISTED_PATHS_MAX,
        limits::LISTED_BYTES_MAX
    )]
    ListTooLong,
}

/// Whether `pattern` can be a rule.
pub fn check_pattern(pattern: &str) -> Result<(), SelectionError> {
    rules::glob(pattern).map(drop)
}

/// Whether `expression` can be what paths must match.
pub fn check_match(expression: &str) -> Result<(), SelectionError> {
    compile_match(expression).map(drop)
}

/// What paths must match, within bounds of its length, its program and its memory.
pub fn compile_match(expression: &str) -> Result<Regex, SelectionError> {
    if expression.len() > limits::MATCH_BYTES_MAX {
        let reason = format!("it has more than {} bytes", limits::MATCH_BYTES_MAX);
        return Err(SelectionError::Match(reason));
    }
    RegexBuilder::new(expression)
        .size_limit(limits::MATCH_PROGRAM_BYTES_MAX)
        .dfa_size_limit(limits::MATCH_CACHE_BYTES_MAX)
        .build()
        .map_err(|err| SelectionError::Match(last_line(&err.to_string())))
}

/// The line in which `regex` and `globset` say what is wrong; the ones before it draw a picture.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn is_empty<T: Ord>(min: Option<T>, max: Option<T>) -> bool {
    min.zip(max).is_some_and(|(min, max)| min > max)
}

#[cfg(test)]
mod tests;
