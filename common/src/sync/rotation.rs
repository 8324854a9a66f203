//! What rotation calls a log next: `app.log.1` after `app.log`, `app.log.2` after that. Pure.

use std::collections::HashMap;

/// What rotation calls a log next.
pub(super) fn name_after(name: &[u8]) -> Vec<u8> {
    let (stem, number) = place(name);
    [&stem, (number + 1).to_string().as_bytes()].concat()
}

/// The names that rotation gives to some logs, one after the other.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// By what stands before the number, of which the least is known that has a log.
    least: HashMap<Vec<u8>, u32>,
}

impl Series {
    /// What comes after these names.
    pub(super) fn after(names: &[Vec<u8>]) -> Self {
        let mut series = Self::default();
        for name in names {
            let (stem, number) = place(name);
            let least = series.least.entry(stem).or_insert(number);
            *least = number.min(*least);
        }
        series
    }

    /// Whether rotation gives this name, sooner or later.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        let Some((stem, number)) = numbered(name) else { return false };
        let is_canonical = name.len() == stem.len() + number.to_string().len();
        is_canonical && self.least.get(stem).is_some_and(|&least| number > least)
    }
}

/// What stands before the number of the next name, and the number of this one.
fn place(name: &[u8]) -> (Vec<u8>, u32) {
    match numbered(name).filter(|(_, number)| *number < u32::MAX) {
        Some((stem, number)) => (stem.to_vec(), number),
        None => ([name, b"."].concat(), 0),
    }
}

/// A name that ends in a point and a number.
fn numbered(name: &[u8]) -> Option<(&[u8], u32)> {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (stem, number) = name.split_at(name.len() - digits);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    stem.ends_with(b".").then_some((stem, number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rotated_name_is_followed_by_the_next() {
        for (name, after) in [
            ("app.log", "app.log.1"),
            ("app.log.1", "app.log.2"),
            ("app.log.9", "app.log.10"),
            ("app", "app.1"),
            ("v2", "v2.1"),
            ("app.4294967295", "app.4294967295.1"),
        ] {
            assert_eq!(name_after(name.as_bytes()), after.as_bytes());
        }
    }

    #[test]
    fn only_what_comes_after_a_log_is_of_its_series() {
        let series = Series::after(&["app.log", "old.7", "old.5"].map(|name| name.as_bytes().to_vec()));
        for name in ["app.log.1", "app.log.12", "old.6", "old.7", "old.7000"] {
            assert!(series.has(name.as_bytes()), "{name}");
        }
        for name in [
            "app.log",
            "app.log.0",
            "app.log.01",
            "app.log.x",
            "app.log.1.gz",
            "app.1",
            "old.5",
            "old",
            "1",
            "",
        ] {
            assert!(!series.has(name.as_bytes()), "{name}");
        }
        assert!(!Series::default().has(b"app.log.1"));
    }

    proptest! {
        #[test]
        fn whatever_a_name_is_rotated_to_is_of_its_series(name in "[a.]{0,2}[.0-9]{0,10}", times in 1..5) {
            let series = Series::after(&[name.clone().into_bytes()]);
            let mut after = name.into_bytes();
            for _ in 0..times {
                after = name_after(&after);
                prop_assert!(series.has(&after) || after.ends_with(b".4294967295.1"), "{after:?}");
            }
        }
    }
}
