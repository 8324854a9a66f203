//! The points of a latency distribution that a report keeps: enough for a percentile plot, however many pings there were.
//!
//! A quantile is a measured time (nearest rank), never a mean of two: the share `q` of the pings took at most that long. Nothing is measured here.

use std::time::Duration;

/// Quantiles are counted in units of this: a ten-thousandth.
const UNITS: u32 = 10_000;

/// What half of the pings took at most, in ten-thousandths as the three below: the quantiles that tables show.
pub(crate) const MEDIAN: u32 = 5000;

/// 99 %.
pub(crate) const P99: u32 = 9900;

/// 99.9 %.
pub(crate) const P999: u32 = 9990;

/// All of them.
pub(crate) const GREATEST: u32 = UNITS;

/// The times of some pings, sorted. There is at least one.
#[derive(Clone, Debug)]
pub(crate) struct Distribution(Vec<Duration>);

impl Distribution {
    /// Sorts `times`; nothing if there are none.
    pub(crate) fn new(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        (!times.is_empty()).then_some(Self(times))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The least time within which `units` ten-thousandths of the pings came back; for 0, the least of all.
    pub(crate) fn at(&self, units: u32) -> Duration {
        let rank = (self.count() * u64::from(units)).div_ceil(u64::from(UNITS)).clamp(1, self.count());
        self.0[usize::try_from(rank - 1).expect("it is an index")]
    }

    /// Every point that a report keeps: the quantile, from 0 to 1, and the time.
    pub(crate) fn points(&self) -> impl Iterator<Item = (f64, Duration)> {
        kept().map(|units| (f64::from(units) / f64::from(UNITS), self.at(units)))
    }
}

/// 65 quantiles: wide steps below 90 %, then nine for each further digit, as the tail is what differs.
fn kept() -> impl Iterator<Item = u32> {
    let start = [0, 100, 200, 500].into_iter();
    let body = (1000..9000).step_by(250);
    let tail = (9000..9900).step_by(100).chain((9900..9990).step_by(10)).chain(9990..=UNITS);
    start.chain(body).chain(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(times: impl IntoIterator<Item = u64>) -> Distribution {
        Distribution::new(times.into_iter().map(Duration::from_millis).collect()).unwrap()
    }

    #[test]
    fn a_quantile_is_the_least_time_within_which_that_share_came_back() {
        let distribution = milliseconds((1..=1000).rev());
        let cases = [(0, 1), (1, 1), (10, 1), (11, 2), (MEDIAN, 500), (P99, 990), (P999, 999), (9991, 1000)];
        for (units, expected) in cases {
            assert_eq!(distribution.at(units), Duration::from_millis(expected), "{units}");
        }
        assert_eq!(distribution.at(GREATEST), Duration::from_secs(1));
    }

    #[test]
    fn few_pings_have_all_quantiles_too_and_none_have_no_distribution() {
        let distribution = milliseconds([7]);
        assert!(distribution.points().all(|(_, time)| time == Duration::from_millis(7)));
        assert!(Distribution::new(vec![]).is_none());
    }

    #[test]
    fn the_points_rise_from_nothing_to_everything_and_hold_what_tables_show() {
        let points: Vec<(f64, Duration)> = milliseconds(1..=20_000).points().collect();
        assert_eq!(points.len(), 65);
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        for shown in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
            assert!(points.iter().any(|(quantile, _)| *quantile == shown), "{shown}");
        }
    }
}
