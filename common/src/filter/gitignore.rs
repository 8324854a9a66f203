//! A file of rules, as git reads `.gitignore`: comments, `!`, and the last rule that fits decides.

use super::{SelectionError, rules::glob};
use crate::wire::sync::Rule;

/// Reads a file of rules; gives them in the order of [`Rule`]s, of which the first that fits decides.
pub fn parse_rules(text: &[u8]) -> Result<Vec<Rule>, RuleFileError> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut rules = Vec::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let fail = |reason| RuleFileError { line: number + 1, reason };
        let line = std::str::from_utf8(line).map_err(|_| fail("it is not UTF-8".to_owned()))?;
        if let Some(rule) = rule(line) {
            glob(&rule.pattern).map_err(|err: SelectionError| fail(err.to_string()))?;
            rules.push(rule);
        }
    }
    rules.reverse();
    Ok(rules)
}

fn rule(line: &str) -> Option<Rule> {
    let line = trim(line.strip_suffix('\r').unwrap_or(line));
    if line.starts_with('#') {
        return None;
    }
    let (takes, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
    (!pattern.is_empty()).then(|| Rule { takes, pattern: pattern.to_owned() })
}

/// Without the spaces at the end, unless a backslash keeps them.
fn trim(line: &str) -> &str {
    let trimmed = line.trim_end_matches(' ');
    let backslashes = trimmed.len() - trimmed.trim_end_matches('\\').len();
    let is_kept = backslashes % 2 == 1 && trimmed.len() < line.len();
    if is_kept { &line[..=trimmed.len()] } else { trimmed }
}

/// Why a file of rules cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RuleFileError {
    /// From 1 on.
    pub line: usize,
    /// Why.
    pub reason: String,
}
