//! Latency distributions: which round trip the slowest tenth, hundredth, thousandth of the pings exceed, idle and beside a bulk transfer.

use anyhow::Result;

use super::{
    Plot, Section,
    axis::Scale,
    canvas::{colour, mixed},
    chart::{self, Chart, Curve, Legend, Side, range, width_of},
    line::Line,
};
use crate::{
    record::Latency,
    report::latency::{Distribution, distributions},
};
use plotters::prelude::{RGBColor, WHITE};

/// From how many microseconds on an axis counts in milliseconds.
const MILLISECONDS_FROM: f64 = 50_000.0;

/// The one picture, if anything was measured.
pub(super) fn draw(rows: &[Latency]) -> Result<Option<Plot>> {
    let all = distributions(rows);
    let mut links: Vec<&str> = Vec::new();
    for one in &all {
        if !links.contains(&one.link) {
            links.push(one.link);
        }
    }
    if links.is_empty() {
        return Ok(None);
    }
    let charts: Vec<Chart> = links.into_iter().map(|link| chart_of(link, &all)).collect();
    let title = "Round trip of a 64-byte ping, idle and beside a bulk transfer".to_owned();
    let svg = chart::draw(&title, &charts, Legend::Shared)?;
    Ok(Some(Plot { file: "latency.svg".to_owned(), title, section: Section::Latency, svg }))
}

fn chart_of(link: &str, all: &[Distribution]) -> Chart {
    let mine = || all.iter().filter(|one| one.link == link);
    let far = mine().flat_map(|one| &one.points).any(|point| point.1 >= MILLISECONDS_FROM);
    let divisor = if far { 1e3 } else { 1.0 };
    let curves: Vec<Curve> = mine().map(|one| curve(one, divisor)).collect();
    let odds = curves.iter().flat_map(|curve| &curve.points).map(|point| point.0).fold(10.0, f64::max);
    let times = range(curves.iter().flat_map(|curve| &curve.points).map(|point| point.1));
    let mut x = Side::new("share of the pings that took at most so long", Scale::Log, (1.0, odds));
    let shares = [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    let ticks = shares.map(|(share, name)| (1.0 / (1.0 - share), name.to_owned()));
    x.ticks = Some(ticks.into_iter().filter(|(tick, _)| *tick <= odds * 1.001).collect());
    let y = Side::new(
        if far { "milliseconds, logarithmic" } else { "microseconds, logarithmic" },
        Scale::Log,
        times,
    );
    Chart { title: Line::parse(link).text(), x, y, curves, marked: false }
}

/// ssh's colour under CUBIC.
const CUBIC: RGBColor = RGBColor(176, 134, 10);

/// Over the odds 1 / (1 − q), whose logarithm gives each nine the same room.
fn curve(one: &Distribution, divisor: f64) -> Curve {
    // The slowest of n pings is exceeded by fewer than one in n.
    let rest = |quantile: f64| (1.0 - quantile).max(1.0 / one.pings.max(2) as f64);
    let points = one.points.iter().map(|(quantile, time)| (1.0 / rest(*quantile), time / divisor)).collect();
    let idle = one.load == "idle";
    // Lightness tells idle from bulk, so congestion controls differ by hue.
    let (peer, tcp) = one.peer.split_once('/').unwrap_or((one.peer, ""));
    let base = if tcp.starts_with("cubic") { CUBIC } else { colour(peer, "") };
    Curve {
        name: format!("{}, {}", one.peer, one.load),
        colour: if idle { mixed(base, WHITE, 0.5) } else { base },
        width: if idle { 2 } else { width_of(one.peer) },
        points,
    }
}
