//! Patterns in an order, of which the first that fits decides. Their syntax is that of `.gitignore`.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use super::{SelectionError, last_line};
use crate::{limits, path::RelPath, wire::sync::Rule};

/// Compiled rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// In the order of precedence, like the globs.
    effects: Vec<Effect>,
    globs: GlobSet,
}

#[derive(Clone, Copy, Debug)]
struct Effect {
    takes: bool,
    directories_only: bool,
}

impl Rules {
    pub(super) fn compile(rules: &[Rule]) -> Result<Self, SelectionError> {
        let bytes: usize = rules.iter().map(|rule| rule.pattern.len()).sum();
        if rules.len() > limits::PATTERNS_MAX || bytes > limits::PATTERN_BYTES_MAX {
            return Err(SelectionError::TooManyPatterns);
        }
        let mut globs = GlobSetBuilder::new();
        let mut effects = Vec::with_capacity(rules.len());
        for rule in rules {
            globs.add(glob(&rule.pattern)?);
            effects.push(Effect { takes: rule.takes, directories_only: rule.pattern.ends_with('/') });
        }
        // Each has compiled alone, so this is about all of them together.
        let globs = globs.build().map_err(|_| SelectionError::TooManyPatterns)?;
        Ok(Self { effects, globs })
    }

    /// Whether the first rule that fits takes the entry; `None` where none fits.
    pub(super) fn decide(&self, path: &RelPath, is_directory: bool) -> Option<bool> {
        self.decide_bytes(path.as_bytes(), is_directory)
    }

    /// Whether a rule leaves out the entry, or a directory above it.
    pub(super) fn leave_out(&self, path: &RelPath, is_directory: bool) -> bool {
        let bytes = path.as_bytes();
        let above = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &bytes[..at]);
        above
            .map(|above| (above, true))
            .chain([(bytes, is_directory)])
            .any(|(path, is_directory)| self.decide_bytes(path, is_directory) == Some(false))
    }

    fn decide_bytes(&self, path: &[u8], is_directory: bool) -> Option<bool> {
        if self.effects.is_empty() {
            return None;
        }
        let candidate = Candidate::from_bytes(path);
        let fitting = self.globs.matches_candidate(&candidate);
        let effects = fitting.into_iter().map(|at| (at, self.effects[at]));
        let (_, first) =
            effects.filter(|(_, it)| is_directory || !it.directories_only).min_by_key(|(at, _)| *at)?;
        Some(first.takes)
    }
}

/// One pattern as a glob on the whole path.
pub(super) fn glob(pattern: &str) -> Result<globset::Glob, SelectionError> {
    let fail = |reason: String| SelectionError::Pattern { pattern: pattern.to_owned(), reason };
    if pattern.len() > limits::PATH_BYTES_MAX {
        return Err(fail("is longer than any path".to_owned()));
    }
    let body = pattern.strip_suffix('/').unwrap_or(pattern);
    let is_anchored = body.contains('/');
    let body = body.strip_prefix('/').unwrap_or(body);
    if body.is_empty() {
        return Err(fail("names nothing".to_owned()));
    }
    let anywhere = if is_anchored || body.starts_with("**/") { "" } else { "**/" };
    // `a/**` is what is in `a`, and not `a` itself.
    let within = if body.ends_with("/**") { "/*" } else { "" };
    GlobBuilder::new(&format!("{anywhere}{}{within}", without_alternatives(body)))
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|err| fail(format!("cannot be read: {}", last_line(&err.kind().to_string()))))
}

/// Braces stand for themselves in `.gitignore`, and for alternatives in `globset`.
fn without_alternatives(body: &str) -> String {
    let mut escaped = String::with_capacity(body.len());
    let mut in_class = false;
    let mut chars = body.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if !in_class => {
                escaped.push(char);
                escaped.extend(chars.next());
                continue;
            }
            '{' | '}' if !in_class => escaped.push('\\'),
            '[' if !in_class => {
                in_class = true;
                escaped.push(char);
                // What comes first belongs to the class, even if it is a bracket.
                escaped.extend(chars.next_if(|next| matches!(next, '!' | '^')));
                escaped.extend(chars.next_if_eq(&']'));
                continue;
            }
            ']' => in_class = false,
            _ => {}
        }
        escaped.push(char);
    }
    escaped
}
