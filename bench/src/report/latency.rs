//! The table of round trips, idle and beside a bulk transfer.
//!
//! Only quantiles that were measured are shown: the nearest measured one at or above the asked one, since a distribution's rows are steps.

use crate::{figures::significant, record::Latency};

use super::{cases::SWARM, table::markdown_row};

/// The quantiles that stand for a distribution: p50, p99, p99.9.
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// Ping round trips of one program over one link.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution<'a> {
    pub(crate) link: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) load: &'a str,
    pub(crate) pings: u64,
    pub(crate) bulk_bytes_per_second: f64,
    /// Quantiles and microseconds, rising.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Distribution<'_> {
    /// The round trip that the given share of pings did not exceed.
    fn at(&self, quantile: f64) -> Option<f64> {
        // Half of the last kept digit: a quantile that was rounded down is still the asked one.
        self.points.iter().find(|(point, _)| *point >= quantile - 5e-7).map(|(_, microseconds)| *microseconds)
    }
}

/// The distributions in `rows`, in the order in which they first stand. A repeated quantile is the later one's.
pub(crate) fn distributions(rows: &[Latency]) -> Vec<Distribution<'_>> {
    let mut all: Vec<Distribution> = Vec::new();
    for row in rows {
        let (link, peer, load) = (row.link.as_str(), row.peer.as_str(), row.load.as_str());
        let position = all.iter().position(|one| (one.link, one.peer, one.load) == (link, peer, load));
        let position = position.unwrap_or_else(|| {
            all.push(Distribution {
                link,
                peer,
                load,
                pings: 0,
                bulk_bytes_per_second: 0.0,
                points: Vec::new(),
            });
            all.len() - 1
        });
        let distribution = &mut all[position];
        distribution.pings = row.pings;
        distribution.bulk_bytes_per_second = row.bulk_bytes_per_second;
        distribution.points.retain(|(quantile, _)| quantile.total_cmp(&row.quantile).is_ne());
        distribution.points.push((row.quantile, row.microseconds));
    }
    for distribution in &mut all {
        distribution.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    all
}

/// The section's text, without its heading.
pub(crate) fn section(rows: &[Latency]) -> String {
    let all = distributions(rows);
    let mut text = String::from(
        "Round trips of a 64-byte ping in microseconds; *added* is the difference between bulk and idle.\n\n",
    );
    text.push_str(&markdown_row(&["link", "peer", "load", "pings", "p50", "p99", "p99.9", "bulk MB/s"]));
    text.push_str(&markdown_row(&["---", "---", "---", "---:", "---:", "---:", "---:", "---:"]));
    for (position, one) in all.iter().enumerate() {
        text.push_str(&row(one));
        let same = |other: &&Distribution| (other.link, other.peer) == (one.link, one.peer);
        let is_last = !all[position + 1..].iter().any(|other| same(&other));
        let find = |load| all.iter().filter(same).find(|other| other.load == load);
        if let (true, Some(idle), Some(bulk)) = (is_last, find("idle"), find("bulk")) {
            text.push_str(&added(idle, bulk));
        }
    }
    text
}

/// Where Swarmwire's pings take longer than the quickest other's, the greatest difference first; empty if nowhere.
pub(crate) fn losses(rows: &[Latency]) -> String {
    let all = distributions(rows);
    let mut losses: Vec<(f64, String)> = vec![];
    for own in all.iter().filter(|one| one.peer == SWARM) {
        let others =
            || all.iter().filter(|one| one.peer != SWARM && (one.link, one.load) == (own.link, own.load));
        for (quantile, name) in QUANTILES.into_iter().zip(["p50", "p99", "p99.9"]) {
            let quickest = others()
                .filter_map(|one| Some((one.at(quantile)?, one.peer)))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((mine, (theirs, peer))) = own.at(quantile).zip(quickest) else { continue };
            if mine > theirs {
                let (times, mine, theirs) = (mine / theirs, significant(mine), significant(theirs));
                let (load, link) = (own.load, own.link);
                let line = format!(
                    "- {name} of a ping, {load}, over {link}: {mine} µs, {peer} {theirs} µs ({} times)\n",
                    significant(times)
                );
                losses.push((times, line));
            }
        }
    }
    losses.sort_by(|one, other| other.0.total_cmp(&one.0));
    losses.into_iter().map(|(_, line)| line).collect()
}

fn row(one: &Distribution) -> String {
    let at = QUANTILES.map(|quantile| one.at(quantile).map_or_else(|| "–".to_owned(), significant));
    let bulk = if one.bulk_bytes_per_second > 0.0 {
        significant(one.bulk_bytes_per_second / 1e6)
    } else {
        "–".to_owned()
    };
    let pings = crate::figures::grouped(one.pings);
    markdown_row(&[one.link, one.peer, one.load, &pings, &at[0], &at[1], &at[2], &bulk])
}

fn added(idle: &Distribution, bulk: &Distribution) -> String {
    let at = QUANTILES.map(|quantile| {
        let (idle, bulk) = (idle.at(quantile), bulk.at(quantile));
        idle.zip(bulk).map_or_else(|| "–".to_owned(), |(idle, bulk)| significant(bulk - idle))
    });
    markdown_row(&[idle.link, idle.peer, "*added*", "", &at[0], &at[1], &at[2], ""])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(load: &str, quantile: f64, microseconds: f64) -> Latency {
        Latency {
            link: "loopback".into(),
            peer: "swarm".into(),
            load: load.into(),
            pings: 10_000,
            quantile,
            microseconds,
            ..Latency::default()
        }
    }

    #[test]
    fn a_quantile_is_the_nearest_measured_one_at_or_above_it() {
        let rows = [point("idle", 0.9, 20.0), point("idle", 0.5, 10.0), point("idle", 0.995, 30.0)];
        let all = distributions(&rows);
        assert_eq!(
            [0.5, 0.6, 0.99, 0.999].map(|quantile| all[0].at(quantile)),
            [Some(10.0), Some(20.0), Some(30.0), None]
        );
    }

    #[test]
    fn a_ping_that_takes_longer_than_the_quickest_others_is_a_loss() {
        let of =
            |peer: &str, microseconds| Latency { peer: peer.into(), ..point("bulk", 0.99, microseconds) };
        let rows = [of("swarm", 300.0), of("ssh/cubic", 200.0), of("ssh/bbr", 100.0)];
        let text = losses(&rows);
        assert!(
            text.ends_with("- p99 of a ping, bulk, over loopback: 300 µs, ssh/bbr 100 µs (3.00 times)\n"),
            "{text}"
        );
        assert_eq!(losses(&[of("swarm", 90.0), of("ssh/bbr", 100.0)]), "");
    }

    #[test]
    fn what_the_bulk_transfer_adds_stands_below_both() {
        let rows: Vec<Latency> = [("idle", 90.0), ("bulk", 400.0)]
            .into_iter()
            .flat_map(|(load, base)| {
                [0.5, 0.99, 0.999].map(|quantile| point(load, quantile, base * (1.0 + quantile)))
            })
            .collect();
        let text = section(&rows);
        let added = "| loopback | swarm | *added* |  | 465 | 617 | 620 |  |\n";
        assert!(text.ends_with(added), "{text}");
    }
}
