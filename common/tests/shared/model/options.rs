//! The options of a sync: how they are drawn, and which entries they mean.
//!
//! Which entries take part is decided here once more, from the README and without the code of `common`. A new option gets a field, a line in
//! [`Options::random`], its meaning in `expect`, and a line where each of the tests makes of it what it needs: the command line or a message.

use super::tree::{Kind, Node, Tree, parent};

#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) checksum: bool,
    pub(super) delete: bool,
    pub(super) max_delete: Option<u64>,
    pub(super) keep: Keep,
    pub(super) dry_run: bool,
    pub(super) backup: Option<&'static str>,
    pub(super) remove_source: bool,
    pub(super) rules: Vec<(bool, Pattern)>,
    pub(super) matching: Option<&'static str>,
    pub(super) listed: Option<Vec<String>>,
    pub(super) min_size: Option<u64>,
    pub(super) max_size: Option<u64>,
    pub(super) age: Option<Age>,
    pub(super) preserve: Preserve,
    pub(super) manner: Manner,
}

/// What is kept beside content, permission bits and times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Preserve {
    pub(super) owner: bool,
    pub(super) xattrs: bool,
    pub(super) hard_links: bool,
    pub(super) special_bits: bool,
}

/// A bound on the age. The trees have times of now, and others that are years away from [`AGE_BOUND`] in the one or other direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Older,
    Newer,
}

/// Seconds since the epoch: in July 2024.
pub(super) const AGE_BOUND: i64 = 1_720_000_000;

/// How it is done, which changes nothing of what is done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// 0 is never.
    pub(super) compress: Option<u8>,
    pub(super) jobs: Option<u8>,
    pub(super) durability: Option<Durability>,
    pub(super) sparse: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Durability {
    None,
    Batch,
    File,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Keep {
    #[default]
    Nothing,
    Newer,
    Existing,
}

/// The forms of patterns that are drawn, with the text of which each is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern {
    /// `*.log`
    Ending(&'static str),
    /// `/name`
    Anchored(&'static str),
    /// `name/`
    DirectoryName(&'static str),
    /// `name`
    Name(&'static str),
}

impl Pattern {
    fn random(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(..4) {
            0 => Self::Ending(pick(rng, &[".log", ".1", "e"])),
            1 => Self::Anchored(pick(rng, &["a", "lib", "app.log"])),
            2 => Self::DirectoryName(pick(rng, &["lib", "d", "a"])),
            _ => Self::Name(pick(rng, &["b", "lib", "app.log.1"])),
        }
    }

    /// As it is typed.
    pub(super) fn typed(self) -> String {
        match self {
            Self::Ending(text) => format!("*{text}"),
            Self::Anchored(text) => format!("/{text}"),
            Self::DirectoryName(text) => format!("{text}/"),
            Self::Name(text) => text.to_owned(),
        }
    }

    fn fits(self, path: &str, is_directory: bool) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        match self {
            Self::Ending(text) => name.ends_with(text),
            Self::Anchored(text) => path == text,
            Self::DirectoryName(text) => is_directory && name == text,
            Self::Name(text) => name == text,
        }
    }
}

impl Preserve {
    /// Nothing as often as not: only then are listings compared by their digests.
    fn random(rng: &mut fastrand::Rng) -> Self {
        if one_in(rng, 2) {
            return Self::default();
        }
        Self {
            owner: rustix::process::geteuid().is_root() && one_in(rng, 2),
            xattrs: one_in(rng, 2),
            hard_links: one_in(rng, 2),
            special_bits: one_in(rng, 2),
        }
    }
}

pub(super) fn pick<T: Copy>(rng: &mut fastrand::Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}

/// One time in `n`.
pub(super) fn one_in(rng: &mut fastrand::Rng, n: u32) -> bool {
    rng.u32(..n) == 0
}

impl Options {
    /// Options for a sync of `source` to `destination`.
    pub(super) fn random(rng: &mut fastrand::Rng, (source, destination): (&Tree, &Tree)) -> Self {
        let delete = one_in(rng, 2);
        let dry_run = one_in(rng, 8);
        let mut options = Self {
            checksum: one_in(rng, 4),
            delete,
            max_delete: (delete && one_in(rng, 4)).then(|| rng.u64(..8)),
            dry_run,
            ..Self::with_manner(rng)
        };
        if one_in(rng, 5) {
            options.keep = pick(rng, &[Keep::Newer, Keep::Existing]);
        }
        if one_in(rng, 4) {
            options.rules = (0..rng.usize(1..4)).map(|_| (one_in(rng, 3), Pattern::random(rng))).collect();
        }
        if one_in(rng, 10) {
            options.matching = Some(pick(rng, &["a", "log", "lib"]));
        }
        if one_in(rng, 6) {
            options.listed = Some(listed(rng, source));
        }
        if one_in(rng, 8) {
            options.min_size = Some(pick(rng, &[0, 1, 4096]));
        }
        if one_in(rng, 8) {
            options.max_size = Some(pick(rng, &[4096, 1 << 20, 2 << 20]));
        }
        if one_in(rng, 12) {
            options.age = Some(pick(rng, &[Age::Older, Age::Newer]));
        }
        if one_in(rng, 4) {
            options.backup = Some(pick(rng, &BACKUP_DIRS)).filter(|dir| can_keep(dir, (source, destination)));
        }
        let can_remove = !delete && !matches!(options.manner.durability, Some(Durability::None));
        options.remove_source = can_remove && one_in(rng, 3);
        options
    }

    /// A mirror, done in any manner.
    pub(super) fn mirror(rng: &mut fastrand::Rng) -> Self {
        Self { delete: true, ..Self::with_manner(rng) }
    }

    fn with_manner(rng: &mut fastrand::Rng) -> Self {
        let manner = Manner {
            compress: one_in(rng, 2).then(|| pick(rng, &[0, 1, 3, 7])),
            jobs: one_in(rng, 2).then(|| pick(rng, &[1, 2, 3, 8])),
            durability: one_in(rng, 2)
                .then(|| pick(rng, &[Durability::None, Durability::Batch, Durability::File])),
            sparse: one_in(rng, 3),
        };
        Self { manner, preserve: Preserve::random(rng), ..Self::default() }
    }

    /// Whether an entry takes part whose directory does.
    pub(super) fn takes(&self, path: &str, node: &Node) -> bool {
        let is_directory = node.is_directory();
        let is_old = node.mtime < i128::from(AGE_BOUND) * 1_000_000_000;
        let in_bounds = node.size().is_none_or(|size| {
            self.min_size.is_none_or(|min| size >= min)
                && self.max_size.is_none_or(|max| size <= max)
                && self.age.is_none_or(|age| (age == Age::Older) == is_old)
        });
        self.backup != Some(path)
            && self.rule(path, is_directory) != Some(false)
            && (self.covers(path) || is_directory && self.leads_to(path))
            && (is_directory || self.matches(path))
            && in_bounds
    }

    /// Whether something at the destination that was not listed must stay, since the source may have left it out.
    pub(super) fn protects(&self, path: &str, node: &Node) -> bool {
        let is_directory = node.is_directory();
        let has_bounds = self.min_size.or(self.max_size).is_some() || self.age.is_some();
        let is_bounded = has_bounds && !is_directory;
        self.keeps_in(path)
            || is_bounded
            || !self.covers(path)
            || !is_directory && !self.matches(path)
            || self.rules_leave_out(path, is_directory)
    }

    /// Whether a path is in the directory for old versions, or is that.
    pub(super) fn keeps_in(&self, path: &str) -> bool {
        self.backup.is_some_and(|dir| is_at_or_below(path, dir))
    }

    /// Whether a directory is above the one for old versions.
    pub(super) fn leads_to_kept(&self, path: &str) -> bool {
        self.backup.is_some_and(|dir| dir != path && is_at_or_below(dir, path))
    }

    /// Whether a rule leaves out the path or a directory above it, or one of these is where old versions go.
    pub(super) fn leaves_out(&self, path: &str, is_directory: bool) -> bool {
        self.keeps_in(path) || self.rules_leave_out(path, is_directory)
    }

    fn rules_leave_out(&self, path: &str, is_directory: bool) -> bool {
        let above = std::iter::successors(parent(path), |path| parent(path)).filter(|path| !path.is_empty());
        self.rule(path, is_directory) == Some(false)
            || above.into_iter().any(|path| self.rule(path, true) == Some(false))
    }

    fn rule(&self, path: &str, is_directory: bool) -> Option<bool> {
        self.rules.iter().find(|(_, pattern)| pattern.fits(path, is_directory)).map(|(takes, _)| *takes)
    }

    fn matches(&self, path: &str) -> bool {
        self.matching.is_none_or(|matching| path.contains(matching))
    }

    fn covers(&self, path: &str) -> bool {
        let Some(listed) = &self.listed else { return true };
        let mut at_or_above = std::iter::successors(Some(path), |path| parent(path));
        at_or_above.any(|path| listed.iter().any(|listed| listed == path))
    }

    fn leads_to(&self, path: &str) -> bool {
        self.listed.iter().flatten().any(|listed| listed.starts_with(&format!("{path}/")))
    }
}

/// A few of the source's paths, and sometimes one that is not there.
fn listed(rng: &mut fastrand::Rng, source: &Tree) -> Vec<String> {
    let paths: Vec<_> = source.keys().filter(|path| !path.is_empty()).collect();
    let mut listed: Vec<String> = (0..rng.usize(1..4))
        .filter(|_| !paths.is_empty())
        .map(|_| paths[rng.usize(..paths.len())].clone())
        .collect();
    if listed.is_empty() || one_in(rng, 4) {
        listed.push(pick(rng, &["nothing", "lib/nothing", "a/b/c"]).to_owned());
    }
    listed
}

/// Whether `path` is `directory`, or below it.
pub(super) fn is_at_or_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| directory.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// Where old versions go: beside the tree, into a directory that may be part of it, and into one that other syncs take for any other.
const BACKUP_DIRS: [&str; 3] = [".old", "d/.old", "lib"];

/// Whether `dir` can be made at the destination, whatever the sync does before: nothing is in its way, and nothing takes the place of what it lies in.
fn can_keep(dir: &str, (source, destination): (&Tree, &Tree)) -> bool {
    let is_fit = |path: &str| match destination.get(path) {
        Some(node) => node.is_directory() && source.get(path).is_none_or(Node::is_directory),
        None => path == dir || !source.contains_key(path),
    };
    std::iter::successors(Some(dir), |path| parent(path)).all(is_fit)
}

/// Whether a node is of a type that is only named.
pub(super) fn is_skipped(node: &Node) -> bool {
    node.kind == Kind::Special
}
