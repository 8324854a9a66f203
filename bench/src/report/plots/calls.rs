//! Calls per second and their times over the size of what goes there and back, one at a time and many.

use anyhow::Result;

use super::{
    Plot, Section,
    axis::Scale,
    canvas::colour,
    chart::{self, Chart, Curve, Legend, Side, range, width_of},
};
use crate::{
    record::Call,
    report::calls::{Contest, contests},
};

/// The one picture, if calls were measured.
pub(super) fn draw(rows: &[Call]) -> Result<Option<Plot>> {
    let all = contests(rows);
    let mut counts: Vec<u64> =
        all.iter().filter(|one| one.work == "calls").map(|one| one.at_a_time).collect();
    counts.sort_unstable();
    counts.dedup();
    if counts.is_empty() {
        return Ok(None);
    }
    let charts: Vec<Chart> = counts
        .into_iter()
        .flat_map(|count| {
            let mine: Vec<&Contest> =
                all.iter().filter(|one| (one.work, one.at_a_time) == ("calls", count)).collect();
            let how = if count == 1 { "one at a time".to_owned() } else { format!("{count} at a time") };
            [
                chart_of(&mine, &format!("Calls, {how}"), "calls per second", Call::per_second),
                chart_of(&mine, &format!("99th percentile, {how}"), "microseconds", |run| {
                    run.p99_microseconds
                }),
            ]
        })
        .collect();
    let title = "Calls there and back on one connection".to_owned();
    let svg = chart::draw(&title, &charts, Legend::Shared)?;
    Ok(Some(Plot { file: "calls.svg".to_owned(), title, section: Section::Calls, svg }))
}

fn chart_of(contests: &[&Contest], title: &str, unit: &str, value: fn(&Call) -> f64) -> Chart {
    let mut peers: Vec<&str> = Vec::new();
    for entry in contests.iter().flat_map(|contest| &contest.entries) {
        if !peers.contains(&entry.peer) {
            peers.push(entry.peer);
        }
    }
    let curve = |peer: &str| {
        let mut points: Vec<(f64, f64)> = contests
            .iter()
            .filter_map(|contest| {
                let entry = contest.entries.iter().find(|entry| entry.peer == peer)?;
                Some((contest.bytes as f64, entry.median(value)))
            })
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Curve { name: peer.to_owned(), colour: colour(peer, ""), width: width_of(peer), points }
    };
    let curves: Vec<Curve> = peers.into_iter().map(curve).collect();
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let mut x = Side::new("bytes, logarithmic", Scale::Log, range(points().map(|point| point.0)));
    let ticks = contests.iter().map(|contest| (contest.bytes as f64, short(contest.bytes)));
    x.ticks = Some(ticks.collect());
    let y = Side::new(&format!("{unit}, logarithmic"), Scale::Log, range(points().map(|point| point.1)));
    Chart { title: title.to_owned(), x, y, curves, marked: true }
}

/// `64`, `4 Ki`, `1 Mi`.
fn short(bytes: u64) -> String {
    match bytes {
        1_048_576.. => format!("{} Mi", bytes >> 20),
        1024.. => format!("{} Ki", bytes >> 10),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_drawn_for_each_peer_and_nothing_where_nothing_was_called() {
        assert!(draw(&[]).unwrap().is_none());
        let rows: Vec<Call> = ["swarm", "tonic"]
            .into_iter()
            .flat_map(|peer| [64, 1 << 20].map(|bytes| (peer, bytes)))
            .map(|(peer, bytes)| Call {
                peer: peer.into(),
                work: "calls".into(),
                bytes,
                at_a_time: 1,
                run: 1,
                count: 1000,
                seconds: 1.0,
                p99_microseconds: 100.0,
                ..Call::default()
            })
            .collect();
        let plot = draw(&rows).unwrap().unwrap();
        assert!(["swarm", "tonic", "1 Mi", "64"].iter().all(|text| plot.svg.contains(text)), "{}", plot.svg);
    }
}
