//! When a directory is offloaded, how far, and which of its files may go. Pure.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use swarmwire_common::{
    entry::Timestamp,
    filter::{Selection, SelectionError, Subject},
    path::RelPath,
    root::Space,
    wire::sync::Selection as WireSelection,
};

/// A part of a whole, from 0 to 100 %, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

impl Percent {
    const WHOLE: u32 = 10_000;

    /// The part of `total`, rounded down.
    fn of(self, total: u64) -> u64 {
        let part = u128::from(total) * u128::from(self.0) / u128::from(Self::WHOLE);
        u64::try_from(part).expect("no more than the whole")
    }
}

impl FromStr for Percent {
    type Err = BadTerms;

    /// Reads `75%` or `75.25%`. The sign is needed, since `0.75` would be three quarters as well as less than one percent.
    fn from_str(text: &str) -> Result<Self, BadTerms> {
        let bad = || BadTerms::Percent(text.to_owned());
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) {
            return Err(bad());
        }
        if number == text {
            return Err(BadTerms::NoSign(text.to_owned()));
        }
        if part.len() > 2 {
            return Err(BadTerms::Decimals(text.to_owned()));
        }
        let whole: u32 = whole.parse().map_err(|_| bad())?;
        let part: u32 = format!("{part:0<2}").parse().map_err(|_| bad())?;
        let hundredths = whole.checked_mul(100).and_then(|whole| whole.checked_add(part));
        hundredths.filter(|&hundredths| hundredths <= Self::WHOLE).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) => write!(f, "{whole}.{part:02}%"),
        }
    }
}

/// How much of something is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that there are for use: of a file system what is used and what is available, of a quota all of it.
    pub total: u64,
}

impl Usage {
    /// Of a file system, as df counts it; none where that has no size.
    pub(super) fn of(space: &Space) -> Option<Self> {
        let total = space.used.saturating_add(space.available);
        (total > 0).then_some(Self { used: space.used, total })
    }

    /// Whether it is fuller than that.
    pub(super) fn is_above(self, limit: Percent) -> bool {
        self.excess(limit) > 0
    }

    /// Bytes that must go until it is not.
    pub(super) fn excess(self, limit: Percent) -> u64 {
        self.used.saturating_sub(limit.of(self.total))
    }
}

/// When, how far, and which files. By default every file may go.
#[derive(Clone, Debug)]
pub struct Terms {
    pub(super) above: Percent,
    pub(super) until: Percent,
    pub(super) capacity: Option<u64>,
    pub(super) keep_newest: usize,
    older_than: Option<Duration>,
    selection: Selection,
}

/// A regular file that may be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Below the directory that is offloaded.
    pub path: RelPath,
    /// Bytes of content.
    pub size: u64,
    /// Time of the last modification, by which the oldest goes first.
    pub mtime: Timestamp,
}

impl Terms {
    /// Files go when the disk is fuller than `above`, until it is not fuller than `until`.
    pub fn new(above: Percent, until: Percent) -> Result<Self, BadTerms> {
        if above <= until {
            return Err(BadTerms::Order { above, until });
        }
        let selection = Selection::default();
        Ok(Self { above, until, capacity: None, keep_newest: 0, older_than: None, selection })
    }

    /// Counts the sizes of all files against `bytes`, and not the blocks of the disk.
    pub fn with_capacity(self, bytes: u64) -> Result<Self, BadTerms> {
        if bytes == 0 {
            return Err(BadTerms::NoCapacity);
        }
        Ok(Self { capacity: Some(bytes), ..self })
    }

    /// Only files in whose path the regular expression is found.
    pub fn matching(self, expression: &str) -> Result<Self, BadTerms> {
        let asked = WireSelection { matching: Some(expression.to_owned()), ..WireSelection::default() };
        Ok(Self { selection: Selection::from_wire(asked)?, ..self })
    }

    /// Only files that were modified at least so long ago.
    pub fn older_than(self, age: Duration) -> Self {
        Self { older_than: Some(age), ..self }
    }

    /// Not the newest `count` files of those that match.
    pub fn keeping_newest(self, count: usize) -> Self {
        Self { keep_newest: count, ..self }
    }

    /// How full it may be.
    pub fn until(&self) -> Percent {
        self.until
    }

    /// All of it, in words that no other terms have.
    pub(super) fn key(&self) -> String {
        let Self { above, until, capacity, keep_newest, older_than, selection } = self;
        let matching = selection.to_wire().matching;
        format!("{above} {until} {capacity:?} {keep_newest} {older_than:?} {matching:?}")
    }

    /// How full it is, with `files` in it.
    pub(super) fn usage(&self, files: &[Candidate], space: &Space) -> Option<Usage> {
        match self.capacity {
            None => Usage::of(space),
            Some(total) => {
                let used = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
                Some(Usage { used, total })
            }
        }
    }

    /// Those that may go, the oldest first.
    pub(super) fn eligible(&self, mut files: Vec<Candidate>, now: SystemTime) -> Vec<Candidate> {
        let taken = |file: &Candidate| {
            let subject = Subject::File { size: file.size, mtime: file.mtime };
            self.selection.decide(&file.path, subject) == swarmwire_common::filter::Verdict::Take
        };
        files.retain(taken);
        files.sort_unstable_by(|one, other| (one.mtime, &one.path).cmp(&(other.mtime, &other.path)));
        files.truncate(files.len().saturating_sub(self.keep_newest));
        if let Some(age) = self.older_than {
            // Nothing is older than the beginning of time.
            let latest = now.checked_sub(age).map(Timestamp::from);
            files.retain(|file| latest.is_some_and(|latest| file.mtime <= latest));
        }
        files
    }

    /// Bytes that are won with a file: of a disk whole blocks. A file of which there are other names, or that has holes, may give less; the next
    /// measurement shows that.
    pub(super) fn worth(&self, size: u64, block: u64) -> u64 {
        match self.capacity {
            Some(_) => size,
            None => size.checked_next_multiple_of(block.max(1)).unwrap_or(size),
        }
    }
}

/// Why terms make no sense.
#[derive(Debug, thiserror::Error)]
pub enum BadTerms {
    /// No percentage.
    #[error("`{0}` is no percentage; write one from 0% to 100%, like `75%`")]
    Percent(String),
    /// A number alone.
    #[error("`{0}` has no `%`; write it with its sign, like `75%`")]
    NoSign(String),
    /// Finer than a percentage is kept.
    #[error("`{0}` has too many decimals; there are at most two, like `7.25%`")]
    Decimals(String),
    /// The end would be before the beginning.
    #[error(
        "`--above {above}` must be more than `--until {until}`: files go when it is fuller than the first, until it is not fuller than the second"
    )]
    Order {
        /// When.
        above: Percent,
        /// How far.
        until: Percent,
    },
    /// Nothing fits into nothing.
    #[error(
        "a capacity of 0 leaves no room for anything; write how much the directory may hold, like `50GB`"
    )]
    NoCapacity,
    /// The regular expression.
    #[error(transparent)]
    Match(#[from] SelectionError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> Percent {
        text.parse().unwrap()
    }

    fn file(path: &str, size: u64, seconds: i64) -> Candidate {
        let path = RelPath::parse(path.as_bytes()).unwrap();
        Candidate { path, size, mtime: Timestamp { seconds, nanoseconds: 0 } }
    }

    fn names(files: &[Candidate]) -> Vec<String> {
        files.iter().map(|file| file.path.to_string()).collect()
    }

    #[test]
    fn a_percentage_is_read_as_it_is_shown() {
        for (typed, shown) in
            [("75%", "75%"), ("0%", "0%"), ("100%", "100%"), ("7.5%", "7.50%"), ("99.99%", "99.99%")]
        {
            assert_eq!(percent(typed).to_string(), shown);
        }
        for bad in ["", "%", "-1%", "100.01%", "101%", "x%", "7.%", ".5%", "half", "99999999999%", "+5%"] {
            let told = bad.parse::<Percent>().unwrap_err().to_string();
            assert!(told.contains("no percentage"), "{bad:?}: {told}");
        }
        for (bad, mended) in [
            ("75", "with its sign, like `75%`"),
            ("0.75", "with its sign, like `75%`"),
            ("0.001%", "at most two"),
            ("7.555%", "at most two"),
        ] {
            let told = bad.parse::<Percent>().unwrap_err().to_string();
            assert!(told.contains(mended), "{bad:?}: {told}");
        }
    }

    #[test]
    fn what_is_exactly_at_the_limit_is_not_above_it() {
        let usage = |used| Usage { used, total: 1000 };
        assert!(!usage(750).is_above(percent("75%")) && usage(751).is_above(percent("75%")));
        assert_eq!(usage(751).excess(percent("25%")), 501);
        assert_eq!(Usage { used: u64::MAX, total: u64::MAX }.excess(percent("0%")), u64::MAX);
        let space = Space { total: 100, used: 60, available: 20, block: 4 };
        assert_eq!(Usage::of(&space), Some(Usage { used: 60, total: 80 }), "as df counts it");
        assert_eq!(Usage::of(&Space::default()), None);
    }

    #[test]
    fn the_oldest_go_first_and_the_newest_that_match_stay() {
        let terms = || Terms::new(percent("75%"), percent("25%")).unwrap();
        let files = || {
            vec![
                file("b.log", 1, 5),
                file("a.log", 1, 5),
                file("sub/c.log", 1, -3),
                file("d.txt", 1, 9),
                file("e.log", 1, 7),
            ]
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let left = |terms: Terms| names(&terms.eligible(files(), now));
        assert_eq!(left(terms()), ["sub/c.log", "a.log", "b.log", "e.log", "d.txt"]);
        assert_eq!(left(terms().matching(r"\.log$").unwrap()), ["sub/c.log", "a.log", "b.log", "e.log"]);
        assert_eq!(left(terms().matching("^sub/").unwrap()), ["sub/c.log"]);
        let newest = terms().matching(r"\.log$").unwrap().keeping_newest(2);
        assert_eq!(left(newest), ["sub/c.log", "a.log"]);
        assert_eq!(left(terms().keeping_newest(9)), [""; 0]);
        assert_eq!(left(terms().older_than(Duration::from_secs(5))), ["sub/c.log", "a.log", "b.log"]);
        let old = terms().older_than(Duration::from_secs(4)).keeping_newest(1);
        assert_eq!(left(old), ["sub/c.log", "a.log", "b.log"], "the newest of all, not of the old ones");
        assert_eq!(left(terms().older_than(Duration::MAX)), [""; 0]);
    }

    #[test]
    fn a_file_of_a_disk_is_worth_its_blocks() {
        let terms = Terms::new(percent("75%"), percent("25%")).unwrap();
        assert_eq!((terms.worth(1, 4096), terms.worth(4096, 4096), terms.worth(0, 4096)), (4096, 4096, 0));
        assert_eq!((terms.worth(7, 0), terms.worth(u64::MAX, 4096)), (7, u64::MAX));
        assert_eq!(terms.with_capacity(10).unwrap().worth(1, 4096), 1);
    }

    #[test]
    fn terms_that_make_no_sense_are_refused() {
        for (above, until) in [("25%", "75%"), ("50%", "50%"), ("0%", "0%")] {
            let told = Terms::new(percent(above), percent(until)).unwrap_err().to_string();
            assert!(told.contains(&format!("`--above {above}` must be more")), "{told}");
        }
        let terms = Terms::new(percent("75%"), percent("25%")).unwrap();
        assert!(terms.clone().with_capacity(0).is_err() && terms.matching("(").is_err());
    }
}
