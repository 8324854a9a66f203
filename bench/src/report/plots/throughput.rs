//! What crossed the wire over time, one curve per peer: under its fastest congestion control, the run whose length is the median.
//!
//! The rate is what lies between two samples, both directions together; it shows start-up, steady state and pauses, where a mean shows none.

use anyhow::Result;

use super::{
    Group, Plot, Section,
    axis::Scale,
    canvas::colour,
    chart::{self, Chart, Curve, Legend, Side, range, width_of},
    file_name, panel_title,
};
use crate::{
    figures::{median, significant},
    record::Progress,
    report::cases::{Case, Entry},
};

/// Points of a curve: enough to see a start-up, few enough for small files.
const POINTS_MAX: usize = 40;

/// Of the median length of all curves, how much is shown: one slow peer must not squeeze the others into a corner.
const SHOWN_MEDIANS: f64 = 3.0;

/// One picture of a group, if the throughput of any of its cases was followed.
pub(super) fn draw(group: &Group, progress: &[Progress]) -> Result<Option<Plot>> {
    let charts: Vec<Chart> = group.cases.iter().filter_map(|case| chart_of(case, progress)).collect();
    if charts.is_empty() {
        return Ok(None);
    }
    let title = format!("Throughput over time: {}", group.title);
    let svg = chart::draw(&title, &charts, Legend::Shared)?;
    Ok(Some(Plot { file: file_name("throughput", &group.title), title, section: Section::Cases, svg }))
}

fn chart_of(case: &Case, progress: &[Progress]) -> Option<Chart> {
    let work = &case.work;
    let mine = |row: &&Progress| {
        (&row.workload, &row.change, &row.mode, &row.link)
            == (&work.workload, &work.change, &work.mode, &work.link)
    };
    let rows: Vec<&Progress> = progress.iter().filter(mine).collect();
    let is_fastest = |entry: &Entry| {
        case.fastest(|other| other.peer == entry.peer).is_some_and(|best| best.tcp == entry.tcp)
    };
    let curves: Vec<Curve> = case
        .entries
        .iter()
        .filter(|entry| is_fastest(entry))
        .filter_map(|entry| curve(&rows, entry))
        .collect();
    let ends: Vec<f64> = curves.iter().filter_map(|curve| curve.points.last()).map(|point| point.0).collect();
    if ends.is_empty() {
        return None;
    }
    let (_, longest) = range(ends.iter().copied());
    let shown = longest.min(median(&ends) * SHOWN_MEDIANS);
    let cut = if shown < longest {
        format!(" (cut: the longest took {} s)", significant(longest))
    } else {
        String::new()
    };
    let rates =
        curves.iter().flat_map(|curve| &curve.points).filter(|point| point.0 <= shown).map(|point| point.1);
    Some(Chart {
        title: panel_title(work),
        x: Side::new(&format!("seconds{cut}"), Scale::Linear, (0.0, shown)),
        y: Side::new("MB/s on the wire, both directions", Scale::Linear, range(rates)),
        curves,
        marked: false,
    })
}

fn curve(rows: &[&Progress], entry: &Entry) -> Option<Curve> {
    let mut runs: Vec<Vec<&Progress>> = Vec::new();
    for row in rows.iter().copied().filter(|row| (&row.peer, &row.tcp) == (&entry.peer, &entry.tcp)) {
        // Samples of a run stand together and rise; one that falls back begins another run, or the same one measured again.
        match runs
            .last_mut()
            .filter(|run| run.last().is_some_and(|last| last.run == row.run && last.seconds < row.seconds))
        {
            Some(run) => run.push(row),
            None => runs.push(vec![row]),
        }
    }
    runs.sort_by(|one, other| end(one).total_cmp(&end(other)));
    let points = rates(runs.get(runs.len().saturating_sub(1) / 2)?);
    let width = width_of(&entry.peer);
    (points.len() > 1).then(|| Curve {
        name: entry.name(),
        colour: colour(&entry.peer, &entry.tcp),
        width,
        points,
    })
}

fn end(run: &[&Progress]) -> f64 {
    run.last().map_or(0.0, |sample| sample.seconds)
}

/// Seconds and MB/s: the mean rate up to each of at most [`POINTS_MAX`] evenly chosen samples, from the one before it.
fn rates(run: &[&Progress]) -> Vec<(f64, f64)> {
    let stride = run.len().div_ceil(POINTS_MAX).max(1);
    let mut points = Vec::new();
    let (mut seconds, mut bytes) = (0.0, 0);
    let last = run.len().saturating_sub(1);
    for sample in run
        .iter()
        .enumerate()
        .filter(|(index, _)| (last - index).is_multiple_of(stride))
        .map(|(_, sample)| sample)
    {
        let elapsed = sample.seconds - seconds;
        if elapsed > 0.0 {
            points.push((sample.seconds, sample.wire_bytes.saturating_sub(bytes) as f64 / 1e6 / elapsed));
            (seconds, bytes) = (sample.seconds, sample.wire_bytes);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: u32) -> Vec<Progress> {
        let sample = |number| Progress {
            seconds: f64::from(number) * 0.5,
            wire_bytes: u64::from(number) * 1_000_000,
            ..Progress::default()
        };
        (1..=count).map(sample).collect()
    }

    #[test]
    fn a_steady_transfer_has_one_rate_however_many_samples_it_has() {
        for count in [1, 2, 39, 40, 41, 200] {
            let samples = samples(count);
            let points = rates(&samples.iter().collect::<Vec<_>>());
            assert!(points.len() <= POINTS_MAX);
            assert!(points.iter().all(|point| (point.1 - 2.0).abs() < 1e-9));
            assert_eq!(points.last().unwrap().0, f64::from(count) * 0.5);
        }
    }
}
