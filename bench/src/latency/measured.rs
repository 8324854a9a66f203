//! One distribution with what it is a distribution of: as a line of the table, and as rows of the report.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    contender::Load,
    pinger::Sample,
    quantiles::{Distribution, GREATEST, MEDIAN, P99, P999},
};
use crate::{figures::grouped, record::Latency};

/// The times of one side, idle or loaded.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    link: String,
    peer: String,
    load: Load,
    distribution: Distribution,
    bulk_bytes_per_second: f64,
}

impl Measured {
    /// What `sample` says about `peer`.
    pub(super) fn new(link: &str, peer: &str, load: Load, sample: Sample) -> Result<Self> {
        let times = sample.nanoseconds.into_iter().map(Duration::from_nanos).collect();
        Ok(Self {
            link: link.to_owned(),
            peer: peer.to_owned(),
            load,
            distribution: Distribution::new(times).context("no ping was counted")?,
            bulk_bytes_per_second: sample.bulk_bytes as f64 / sample.seconds.max(f64::MIN_POSITIVE),
        })
    }

    /// Under [`heading`].
    pub(super) fn line(&self) -> String {
        let shown = [MEDIAN, P99, P999, GREATEST].map(|units| milliseconds(self.distribution.at(units)));
        let times: String = shown.iter().map(|time| format!("{time:>11}")).collect();
        let bulk = match self.load {
            Load::Idle => String::new(),
            Load::Bulk => format!("{:>10.1} MB/s", self.bulk_bytes_per_second / 1e6),
        };
        let (peer, load, pings) = (&self.peer, self.load, grouped(self.distribution.count()));
        format!("{peer:<12}{load:<6}{pings:>9}{times}{bulk}")
    }

    /// One for each kept quantile.
    pub(super) fn rows(&self) -> impl Iterator<Item = Latency> {
        self.distribution.points().map(|(quantile, time)| Latency {
            link: self.link.clone(),
            peer: self.peer.clone(),
            load: self.load.to_string(),
            pings: self.distribution.count(),
            quantile,
            microseconds: time.as_secs_f64() * 1e6,
            bulk_bytes_per_second: self.bulk_bytes_per_second,
        })
    }
}

/// What the columns are.
pub(super) fn heading() -> String {
    format!(
        "{:<12}{:<6}{:>9}{:>11}{:>11}{:>11}{:>11}{:>15}",
        "", "", "pings", "p50", "p99", "p99.9", "max", "bulk"
    )
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(load: Load) -> Measured {
        let nanoseconds = (1..=2000).map(|time| time * 1000).collect();
        let sample = Sample { nanoseconds, bulk_bytes: 26_000_000, seconds: 2.0 };
        Measured::new("loopback", "swarm", load, sample).unwrap()
    }

    #[test]
    fn a_line_stands_under_its_heading() {
        let expected = [
            "                      pings        p50        p99      p99.9        max           bulk",
            "swarm       bulk      2,000      1.000      1.980      1.998      2.000      13.0 MB/s",
            "swarm       idle      2,000      1.000      1.980      1.998      2.000",
        ];
        assert_eq!([heading(), measured(Load::Bulk).line(), measured(Load::Idle).line()], expected);
    }

    #[test]
    fn every_row_says_what_it_is_a_row_of() {
        let rows: Vec<Latency> = measured(Load::Bulk).rows().collect();
        let median = rows.iter().find(|row| row.quantile == 0.5).unwrap();
        let expected = Latency {
            link: "loopback".into(),
            peer: "swarm".into(),
            load: "bulk".into(),
            pings: 2000,
            quantile: 0.5,
            microseconds: 1000.0,
            bulk_bytes_per_second: 13e6,
        };
        assert_eq!(*median, expected);
    }

    #[test]
    fn a_sample_without_pings_is_an_error() {
        assert!(Measured::new("loopback", "ssh", Load::Idle, Sample::default()).is_err());
    }
}
