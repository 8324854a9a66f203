//! How time and memory grow with the number of files, on logarithmic axes, where a power is a straight line and its exponent the slope.

use anyhow::Result;
use plotters::prelude::RGBColor;

use super::{
    Plot, Section,
    axis::Scale,
    chart::{self, Chart, Curve, Legend, Side, range},
};
use crate::{
    figures::exponent,
    record::Growth,
    report::growth::{Step, curves},
};

/// Of the kinds of sync, in the order in which they were measured.
const COLOURS: [RGBColor; 4] =
    [RGBColor(214, 40, 20), RGBColor(24, 72, 128), RGBColor(240, 150, 40), RGBColor(78, 150, 214)];

/// The one picture, if anything was measured.
pub(super) fn draw(rows: &[Growth]) -> Result<Option<Plot>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let charts = [
        chart_of(rows, "Time", "seconds", |step| step.wall.median),
        chart_of(rows, "CPU time of both ends", "CPU seconds", |step| step.cpu_seconds),
        chart_of(rows, "Peak memory of the client", "MB", |step| step.client_peak_bytes as f64 / 1e6),
        chart_of(rows, "Peak memory of the server", "MB", |step| step.server_peak_bytes as f64 / 1e6),
    ];
    let title = "Growth with the number of files".to_owned();
    let svg = chart::draw(&title, &charts, Legend::Each)?;
    Ok(Some(Plot { file: "growth.svg".to_owned(), title, section: Section::Growth, svg }))
}

fn chart_of(rows: &[Growth], title: &str, unit: &str, value: fn(&Step) -> f64) -> Chart {
    let kinds = curves(rows);
    let kinds = kinds.iter().zip(COLOURS.into_iter().cycle());
    let curves: Vec<Curve> = kinds
        .map(|(kind, colour)| {
            let points = kind.points(value);
            let last = exponent(&points[points.len().saturating_sub(2)..]);
            let powers = exponent(&points).zip(last);
            let powers = powers
                .map_or_else(String::new, |(all, last)| format!(": power {all:.2}, last step {last:.2}"));
            Curve { name: format!("{}{powers}", kind.name()), colour, width: 2, points }
        })
        .collect();
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let mut x = Side::new("files, logarithmic", Scale::Log, range(points().map(|point| point.0)));
    x.ticks = Some(
        (0..=8)
            .map(|power| 10_u64.pow(power))
            .map(|count| (count as f64, short(count)))
            .filter(|tick| fits(&x, tick.0))
            .collect(),
    );
    Chart {
        title: title.to_owned(),
        x,
        y: Side::new(&format!("{unit}, logarithmic"), Scale::Log, range(points().map(|point| point.1))),
        curves,
        marked: true,
    }
}

fn fits(side: &Side, tick: f64) -> bool {
    (side.range.0..=side.range.1).contains(&tick)
}

/// `10 k`, `1 M`.
fn short(count: u64) -> String {
    match count {
        1_000_000.. => format!("{} M", count / 1_000_000),
        1_000.. => format!("{} k", count / 1_000),
        _ => count.to_string(),
    }
}
