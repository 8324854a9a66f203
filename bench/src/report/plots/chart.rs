//! Panels of curves over two axes, with a legend: what throughput, latency and growth are drawn with.
//!
//! Legends stand below what they explain and never over it; a curve that is to stand out is drawn last and thicker.

use anyhow::Result;
use plotters::prelude::{BLACK, RGBColor};

use super::{
    axis::{Axis, Scale, label},
    canvas::{Anchor, Canvas, GRID, Letters, Point, picture, shortened, spaced, text_width},
};
use crate::report::cases::SWARM;

/// Pixels of a panel: its width beside another one and alone, and its height.
const WIDTH: i32 = 480;
const WIDTH_ALONE: i32 = 720;
const HEIGHT: i32 = 300;

/// Pixels of a panel around the field of its curves: left, right, above, below.
const MARGINS: [i32; 4] = [64, 32, 52, 48];

/// Pixels above all panels, for the picture's title.
const TOP: i32 = 40;

/// Pixels of one line of a legend, and of the sample of a curve before its name.
const LEGEND_ROW: i32 = 20;
const SAMPLE: i32 = 26;

/// Pixels of the thick line that stands out, and of the others.
const THICK: u32 = 4;
const THIN: u32 = 2;

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) colour: RGBColor,
    pub(super) width: u32,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// What an axis shows.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) unit: String,
    pub(super) scale: Scale,
    /// Least and most that must fit.
    pub(super) range: (f64, f64),
    /// Values to name, with their names, if they are not the round ones.
    pub(super) ticks: Option<Vec<(f64, String)>>,
}

impl Side {
    pub(super) fn new(unit: &str, scale: Scale, range: (f64, f64)) -> Self {
        Self { unit: unit.to_owned(), scale, range, ticks: None }
    }

    fn axis(&self, pixels: (i32, i32)) -> Axis {
        match self.scale {
            Scale::Linear => Axis::linear(self.range.1, pixels),
            Scale::Log => Axis::log(self.range.0, self.range.1, pixels),
        }
    }

    fn named(&self, axis: &Axis) -> Vec<(f64, String)> {
        let round = || axis.ticks().into_iter().map(|tick| (tick, label(tick))).collect();
        self.ticks.clone().unwrap_or_else(round)
    }
}

/// One panel.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Side,
    pub(super) y: Side,
    pub(super) curves: Vec<Curve>,
    /// Whether measured points are marked on the curves.
    pub(super) marked: bool,
}

/// Where the names of the curves stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Legend {
    /// Below all panels, for all of them.
    Shared,
    /// Below each panel, one line per curve.
    Each,
}

/// How thick a peer's line is: Swarmwire's stands out.
pub(super) fn width_of(peer: &str) -> u32 {
    if peer == SWARM { THICK } else { THIN }
}

/// The least and the most of some values that are above zero.
pub(super) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let positive = values.filter(|value| *value > 0.0);
    positive.fold((f64::INFINITY, 0.0), |(least, most), value| (least.min(value), f64::max(most, value)))
}

/// A picture of panels, two abreast.
pub(super) fn draw(title: &str, charts: &[Chart], legend: Legend) -> Result<String> {
    let (columns, panel_width, width) =
        if charts.len() == 1 { (1, WIDTH_ALONE, WIDTH_ALONE) } else { (2, WIDTH, 2 * WIDTH) };
    let own_rows = charts.iter().map(|chart| chart.curves.len()).max().unwrap_or(0);
    let panel_height = HEIGHT + if legend == Legend::Each { rows_height(own_rows) } else { 0 };
    let panels_height = panel_height * i32::try_from(charts.len().div_ceil(columns))?;
    let names = if legend == Legend::Shared { wrapped(charts, width) } else { Vec::new() };
    picture(width, TOP + panels_height + rows_height(names.len()), |canvas| {
        canvas.text((16, 22), title, Letters::new(Anchor::Left).height(16).bold_if(true))?;
        for (row, charts) in (0..).zip(charts.chunks(columns)) {
            for (column, chart) in (0..).zip(charts) {
                let place = (column * panel_width, TOP + row * panel_height);
                panel(canvas, chart, place, panel_width)?;
                if legend == Legend::Each {
                    let rows: Vec<Vec<&Curve>> = chart.curves.iter().map(|curve| vec![curve]).collect();
                    write_legend(canvas, &rows, (place.0 + MARGINS[0], place.1 + HEIGHT))?;
                }
            }
        }
        write_legend(canvas, &names, (16, TOP + panels_height))
    })
}

fn panel(canvas: &Canvas, chart: &Chart, (left, top): Point, width: i32) -> Result<()> {
    let upper = (left + MARGINS[0], top + MARGINS[2]);
    let lower = (left + width - MARGINS[1], top + HEIGHT - MARGINS[3]);
    canvas.text(
        (left + 16, top + 14),
        &shortened(&chart.title, 52),
        Letters::new(Anchor::Left).height(14).bold_if(true),
    )?;
    let (x, y) = (chart.x.axis((upper.0, lower.0)), chart.y.axis((lower.1, upper.1)));
    let small = |anchor| Letters::new(anchor).grey();
    for (tick, name) in chart.x.named(&x) {
        canvas.line(&[(x.at(tick), upper.1), (x.at(tick), lower.1)], GRID, 1)?;
        canvas.text((x.at(tick), lower.1 + 12), &name, small(Anchor::Centre))?;
    }
    for (tick, name) in chart.y.named(&y) {
        canvas.line(&[(upper.0, y.at(tick)), (lower.0, y.at(tick))], GRID, 1)?;
        canvas.text((upper.0 - 6, y.at(tick)), &name, small(Anchor::Right))?;
    }
    canvas.text((left + 16, top + 36), &chart.y.unit, small(Anchor::Left))?;
    canvas.text((i32::midpoint(upper.0, lower.0), lower.1 + 30), &chart.x.unit, small(Anchor::Centre))?;
    canvas.line(&[upper, (upper.0, lower.1), lower], BLACK, 1)?;
    let mut curves: Vec<&Curve> = chart.curves.iter().collect();
    curves.sort_by_key(|curve| curve.width);
    for curve in curves {
        let points: Vec<Point> = curve
            .points
            .iter()
            .filter(|point| point.0 <= chart.x.range.1)
            .map(|point| (x.at(point.0), y.at(point.1)))
            .collect();
        canvas.line(&points, curve.colour, curve.width)?;
        for (x, y) in points.into_iter().filter(|_| chart.marked) {
            canvas.filled([(x - 3, y - 3), (x + 3, y + 3)], curve.colour)?;
        }
    }
    Ok(())
}

fn rows_height(rows: usize) -> i32 {
    let rows = i32::try_from(rows).unwrap_or(0);
    if rows == 0 { 0 } else { rows * LEGEND_ROW + 12 }
}

/// The curves of all charts, each name once, as many to a line as there is room for.
fn wrapped(charts: &[Chart], width: i32) -> Vec<Vec<&Curve>> {
    let mut curves: Vec<&Curve> = Vec::new();
    for curve in charts.iter().flat_map(|chart| &chart.curves) {
        if !curves.iter().any(|known| known.name == curve.name) {
            curves.push(curve);
        }
    }
    let mut rows: Vec<Vec<&Curve>> = Vec::new();
    let mut used = width;
    for curve in curves {
        let needed = name_width(curve);
        if used + needed > width - 32 {
            rows.push(Vec::new());
            used = 0;
        }
        used += needed;
        rows.last_mut().expect("a row was just begun if there was none").push(curve);
    }
    rows
}

fn name_width(curve: &Curve) -> i32 {
    SAMPLE + 6 + text_width(&curve.name) + 18
}

fn write_legend(canvas: &Canvas, rows: &[Vec<&Curve>], (left, top): Point) -> Result<()> {
    for (row, middle) in rows.iter().zip(spaced(top + LEGEND_ROW / 2, LEGEND_ROW)) {
        let mut left = left;
        for curve in row {
            canvas.line(&[(left, middle), (left + SAMPLE, middle)], curve.colour, curve.width)?;
            let letters = Letters::new(Anchor::Left).bold_if(curve.width == THICK);
            canvas.text((left + SAMPLE + 6, middle), &curve.name, letters)?;
            left += name_width(curve);
        }
    }
    Ok(())
}
