//! Numbers with a unit, as `--link` writes them: `100ms`, `0.1%`, `1.5gbit`, `2mb`.
//!
//! A number is read exactly, as an integer of the smallest unit, and written with the largest unit that holds it exactly, so that what is
//! written reads back as the same value. Nothing is rounded: digits below the smallest unit are an error.

use anyhow::{Context, Result, bail, ensure};

/// A unit's name, and how many of the smallest unit it is.
type Unit = (&'static str, u64);

/// Decimals that a number may have: more than the smallest unit of any kind needs below the largest (nanoseconds below a second).
const FRACTION_DIGITS_MAX: usize = 12;

/// Units of time, in nanoseconds, the largest first.
pub(super) const TIME: &[Unit] = &[("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// Units of a share, in billionths.
pub(super) const SHARE: &[Unit] = &[("%", 10_000_000)];

/// Units of a rate, in bits per second: decimal, as networks are sold.
pub(super) const RATE: &[Unit] = &[("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];

/// Units of a size, in bytes; written in decimal ones.
pub(super) const SIZE: &[Unit] =
    &[("mb", 1_000_000), ("kb", 1_000), ("mib", 1 << 20), ("kib", 1 << 10), ("b", 1)];

/// Reads a number and its unit, in the smallest of `units`. A plain `0` needs no unit.
pub(super) fn parse(text: &str, units: &[Unit]) -> Result<u64> {
    let text = text.trim();
    if text == "0" {
        return Ok(0);
    }
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, name) = text.split_at(digits);
    let Some((_, scale)) = units.iter().find(|(unit, _)| *unit == name) else {
        let known = units.iter().map(|(unit, _)| *unit).collect::<Vec<_>>().join(", ");
        bail!("{text:?} needs a number and one of the units {known}");
    };
    scaled(number, *scale).with_context(|| format!("{text:?} is not a number that can be used"))
}

/// Writes `amount` with the largest of `units` that holds it exactly.
pub(super) fn show(amount: u64, units: &[Unit]) -> String {
    let exact = units.iter().find(|(_, scale)| amount > 0 && amount.is_multiple_of(*scale));
    match (exact, units.last()) {
        (Some((name, scale)), _) => format!("{}{name}", amount / scale),
        (None, Some((name, scale))) => format!("{}{name}", decimal(amount, *scale)),
        (None, None) => amount.to_string(),
    }
}

/// `number`, which may have a decimal point, times `scale`, exactly.
fn scaled(number: &str, scale: u64) -> Result<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    ensure!(!whole.is_empty(), "digits are missing before its unit");
    ensure!(fraction.len() <= FRACTION_DIGITS_MAX, "it has more than {FRACTION_DIGITS_MAX} decimals");
    let divisor = 10u128.pow(u32::try_from(fraction.len())?);
    let fraction: u64 = if fraction.is_empty() { 0 } else { fraction.parse()? };
    let fraction = u128::from(fraction) * u128::from(scale);
    ensure!(fraction.is_multiple_of(divisor), "it is finer than the smallest unit");
    let whole = whole.parse::<u64>()?.checked_mul(scale).context("it is too large")?;
    whole.checked_add(u64::try_from(fraction / divisor)?).context("it is too large")
}

/// `amount` in units of `scale`, a power of ten, without trailing zeros.
fn decimal(amount: u64, scale: u64) -> String {
    let width = scale.checked_ilog10().map_or(0, |digits| digits as usize);
    let text = format!("{}.{:0width$}", amount / scale, amount % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly_in_every_unit() {
        let cases = [
            ("100ms", TIME, 100_000_000),
            ("1.5s", TIME, 1_500_000_000),
            ("0", TIME, 0),
            ("0.1%", SHARE, 1_000_000),
            ("100%", SHARE, 1_000_000_000),
            ("1.25gbit", RATE, 1_250_000_000),
            ("64kbit", RATE, 64_000),
            ("2mb", SIZE, 2_000_000),
            ("0.5kib", SIZE, 512),
        ];
        for (text, units, expected) in cases {
            assert_eq!(parse(text, units).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_number() {
        for units in [TIME, SHARE, RATE, SIZE] {
            for amount in [0, 1, 512, 1_000, 1_024, 65_536, 1_000_001, 10_000_000, 15_000_000, 2_000_000_000]
            {
                let text = show(amount, units);
                assert_eq!(parse(&text, units).unwrap(), amount, "{text}");
            }
        }
    }

    #[test]
    fn the_largest_exact_unit_is_written() {
        assert_eq!(show(100_000_000, TIME), "100ms");
        assert_eq!(show(1_000_000, SHARE), "0.1%");
        assert_eq!(show(2_000_000, SIZE), "2mb");
        assert_eq!(show(1 << 20, SIZE), "1mib");
        assert_eq!(show(0, TIME), "0ns");
    }

    #[test]
    fn a_number_that_cannot_be_used_says_why() {
        let cases = [
            ("100", "needs a number and one of the units s, ms, us, ns"),
            ("5min", "needs a number and one of the units"),
            ("ms", "digits are missing"),
            ("1.2.3ms", "invalid digit"),
            ("0.1ns", "finer than the smallest unit"),
            ("99999999999999s", "too large"),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", parse(text, TIME).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
