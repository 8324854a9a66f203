//! What Linux lets a program be given: how long its words and its environment may be. Pure, but for the limit of this process.
//!
//! The kernel says only that it is too much (`E2BIG`). Who is told depends on whose words they are: the caller's, or the operator's.

use std::collections::BTreeMap;

use rustix::process::{Resource, getrlimit};

use super::launch::ENVIRONMENT_KEPT;

/// Bytes of one word, or of a variable with its name, the NUL at its end among them: `MAX_ARG_STRLEN` with pages of 4 KiB, execve(2).
const WORD_BYTES_MAX: usize = 128 * 1024;

/// Bytes of all of them that are taken whatever the stack's limit: `ARG_MAX`.
const ALL_BYTES_MIN: u64 = 128 * 1024;

/// Bytes of all of them that are taken at most: three quarters of the usual stack's limit (fs/exec.c).
const ALL_BYTES_MAX: u64 = 6 * 1024 * 1024;

/// What tells of a call in the environment of its program: two names, a fingerprint and a number.
const CALL_BYTES: [usize; 2] = ["SWARMWIRE_CALLER=".len() + 64, "SWARMWIRE_CALL_ID=".len() + 20];

/// Whether words of these lengths and this environment, with what a program gets besides, could be given to it.
pub(super) fn is_taken(words: &[usize], environment: &BTreeMap<String, String>) -> bool {
    let variable = |name: &str, bytes: usize| name.len() + 1 + bytes;
    let kept = ENVIRONMENT_KEPT.iter().filter(|name| !environment.contains_key(**name));
    let kept = kept.filter_map(|name| Some(variable(name, std::env::var_os(name)?.len())));
    let own = environment.iter().map(|(name, value)| variable(name, value.len()));
    let strings: Vec<_> = words.iter().copied().chain(kept).chain(own).chain(CALL_BYTES).collect();
    fits(&strings, getrlimit(Resource::Stack).current)
}

/// Whether strings of these lengths fit into a quarter of the stack, with a pointer to each.
fn fits(strings: &[usize], stack: Option<u64>) -> bool {
    let most = (stack.unwrap_or(u64::MAX) / 4).clamp(ALL_BYTES_MIN, ALL_BYTES_MAX);
    let taken = strings.iter().fold(0_usize, |sum, bytes| sum.saturating_add(bytes + 1 + size_of::<usize>()));
    strings.iter().all(|&bytes| bytes < WORD_BYTES_MAX)
        && u64::try_from(taken).is_ok_and(|taken| taken <= most)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_word_and_all_of_them_have_a_limit() {
        let stack = Some(8 * 1024 * 1024);
        assert!(fits(&[WORD_BYTES_MAX - 1], stack) && !fits(&[WORD_BYTES_MAX], stack));
        let each = 100_000 - 1 - size_of::<usize>();
        for (stack, most) in [(stack, 20), (Some(0), 1), (Some(1 << 40), 62), (None, 62)] {
            assert!(fits(&vec![each; most], stack) && !fits(&vec![each; most + 1], stack), "{stack:?}");
        }
    }

    #[test]
    fn the_kernel_agrees() {
        let is_started = |environment: &BTreeMap<String, String>| {
            Command::new("true").env_clear().envs(environment).output().is_ok()
        };
        let of = |count: usize, bytes: usize| -> BTreeMap<_, _> {
            (0..count).map(|number| (format!("V{number}"), "x".repeat(bytes))).collect()
        };
        // Whatever the limit of the stack is here.
        for (environment, expected) in
            [(of(1, 100_000), true), (of(1, WORD_BYTES_MAX), false), (of(80, 100_000), false)]
        {
            assert_eq!(is_taken(&["true".len()], &environment), expected);
            assert_eq!(is_started(&environment), expected);
        }
    }
}
