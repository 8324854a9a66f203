//! Numbers as people read them, and the statistics that stand for several runs: medians, spreads, ratios pair by pair, exponents.
//!
//! Pure arithmetic and formatting: nothing here knows what was measured. A figure is never shown with more digits than a run repeats.

use std::time::Duration;

/// Significant digits of a figure in a table: a run on a quiet machine repeats to within about 1 %.
const DIGITS_SHOWN: i32 = 3;

/// Significant digits of a float in a committed file: a nanosecond in a millisecond, a millisecond in a quarter of an hour.
const DIGITS_KEPT: i32 = 6;

/// A count with thousands separated: `12,345`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in decimal megabytes, as disks and networks are sold: `12.3 MB`.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// How often `count` fits into each second of `time`.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// A figure with three significant digits, zeros after them: `0.0123`, `1.23`, `12,300`.
pub(crate) fn significant(value: f64) -> String {
    let value = rounded_to(value, DIGITS_SHOWN);
    let magnitude = value.abs();
    if magnitude >= 100.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", separated(&format!("{magnitude:.0}")));
    }
    let decimals = if magnitude == 0.0 { 0 } else { DIGITS_SHOWN - 1 - exponent_of_ten(magnitude) };
    format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))
}

/// A float as it is kept in a file: six significant digits.
pub(crate) fn kept(value: f64) -> f64 {
    rounded_to(value, DIGITS_KEPT)
}

/// The middle of `values`, or the mean of the two middle ones. There must be at least one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// What stands for several runs: the median, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The median.
    pub(crate) median: f64,
    /// The least.
    pub(crate) least: f64,
    /// The most.
    pub(crate) most: f64,
    /// How many there were.
    pub(crate) count: usize,
}

impl Spread {
    /// Of `values`, or nothing if there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        let most = values.iter().copied().max_by(f64::total_cmp)?;
        Some(Self { median: median(values), least, most, count: values.len() })
    }

    /// The median with the extremes behind it, which a single run does not have: `1.23 (1.20–1.31)`.
    pub(crate) fn text(self) -> String {
        if self.count < 2 {
            significant(self.median)
        } else {
            format!("{} ({})", significant(self.median), self.range())
        }
    }

    /// The extremes: `1.20–1.31`.
    pub(crate) fn range(self) -> String {
        format!("{}–{}", significant(self.least), significant(self.most))
    }
}

/// `above` by `below`, for each run number that both have, in the order of `above`.
pub(crate) fn pairwise(above: &[(u32, f64)], below: &[(u32, f64)]) -> Vec<f64> {
    let partner = |run| below.iter().find(|(other, value)| *other == run && *value > 0.0);
    above.iter().filter_map(|(run, value)| Some(value / partner(*run)?.1)).collect()
}

/// The power of x with which y grows: the slope, by least squares, of log y over log x. Needs two different x; points that are not
/// positive have no logarithm and are left out.
pub(crate) fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> =
        points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let (mean_x, mean_y) =
        (logs.iter().map(|(x, _)| x).sum::<f64>() / count, logs.iter().map(|(_, y)| y).sum::<f64>() / count);
    let covariance: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    (variance > 0.0).then(|| covariance / variance)
}

fn exponent_of_ten(magnitude: f64) -> i32 {
    // Through the text, which is exact where a logarithm is off by one at a power of ten.
    format!("{magnitude:e}").split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

fn rounded_to(value: f64, digits: i32) -> f64 {
    let decimals = usize::try_from(digits - 1).unwrap_or(0);
    format!("{value:.decimals$e}").parse().unwrap_or(value)
}

fn separated(digits: &str) -> String {
    digits.parse().map_or_else(|_| digits.to_owned(), grouped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")];
        for (count, text) in cases {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middle_values() {
        assert_eq!(
            [median(&[3.0]), median(&[9.0, 1.0, 5.0]), median(&[4.0, 1.0, 2.0, 9.0])],
            [3.0, 5.0, 3.0]
        );
    }

    #[test]
    fn a_figure_has_three_significant_digits() {
        let cases = [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.999_6, "1.00"),
            (1.0, "1.00"),
            (9.996, "10.0"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.0, "1,230"),
            (-0.5, "-0.500"),
            (-1234.0, "-1,230"),
        ];
        for (value, text) in cases {
            assert_eq!(significant(value), text, "{value}");
        }
    }

    #[test]
    fn a_kept_float_has_six_significant_digits() {
        assert_eq!([kept(0.123_456_789), kept(1_234_567.0), kept(0.0)], [0.123_457, 1_234_570.0, 0.0]);
    }

    #[test]
    fn a_single_run_has_no_spread_to_show() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.5]).unwrap().text(), "1.50");
        assert_eq!(Spread::of(&[1.5, 1.0, 3.0]).unwrap().text(), "1.50 (1.00–3.00)");
    }

    #[test]
    fn ratios_are_taken_between_runs_of_the_same_number() {
        assert_eq!(pairwise(&[(1, 2.0), (2, 9.0), (4, 5.0)], &[(4, 10.0), (1, 1.0), (3, 1.0)]), [2.0, 0.5]);
        assert_eq!(pairwise(&[(1, 2.0)], &[(1, 0.0)]), [0.0; 0]);
    }

    #[test]
    fn the_exponent_of_a_power_law_is_its_power() {
        let square: Vec<(f64, f64)> = [1.0, 10.0, 100.0].map(|x: f64| (x, 3.0 * x * x)).to_vec();
        assert!((exponent(&square).unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(exponent(&[(10.0, 1.0)]), None);
        assert_eq!(exponent(&[(10.0, 1.0), (10.0, 2.0)]), None);
        assert_eq!(exponent(&[(10.0, 1.0), (0.0, 2.0)]), None);
    }
}
