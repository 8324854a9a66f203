//! Times as bars, one panel per case: the median, whiskers from the least to the most, the fastest first.
//!
//! A peer without a time still has its row, with the reason instead of a bar. An axis is logarithmic only if the slowest takes many times as
//! long as the fastest, and then says so.

use anyhow::Result;
use plotters::prelude::BLACK;

use super::{
    Group, Plot, Section,
    axis::{Axis, Scale, label},
    canvas::{Anchor, Canvas, GRID, Letters, Point, colour, picture, shortened, spaced},
    file_name, panel_title,
};
use crate::{
    figures::{grouped, megabytes, significant},
    record::Outcome,
    report::cases::{Case, Entry, FRESH, SWARM},
};

/// Pixels of a panel's width, of which the names take the left part.
const PANEL_WIDTH: i32 = 480;
const NAMES_WIDTH: i32 = 152;

/// Pixels at the right for a bar's figure.
const FIGURES_WIDTH: i32 = 116;

/// Pixels from one bar to the next, and of a bar.
const ROW: i32 = 20;
const BAR: i32 = 13;

/// Pixels of a panel above and below its bars: its title, and its axis.
const ABOVE: i32 = 44;
const BELOW: i32 = 46;

/// Pixels above all panels, for the picture's title.
const TOP: i32 = 40;

/// From which slowest to fastest a linear axis would show the fast ones as nothing.
const LOG_FROM: f64 = 25.0;

/// One picture of a group.
pub(super) fn draw(group: &Group) -> Result<Plot> {
    let columns = if group.cases.len() == 1 { 1 } else { 2 };
    let rows: Vec<&[&Case]> = group.cases.chunks(columns).collect();
    let heights: Vec<i32> =
        rows.iter().map(|row| row.iter().map(|case| height(case)).max().unwrap_or(0)).collect();
    let width = if columns == 1 { PANEL_WIDTH * 3 / 2 } else { PANEL_WIDTH * 2 };
    let title = format!("Time: {}", group.title);
    let svg = picture(width, TOP + heights.iter().sum::<i32>(), |canvas| {
        canvas.text((16, 22), &title, Letters::new(Anchor::Left).height(16).bold_if(true))?;
        let mut top = TOP;
        for (row, height) in rows.iter().zip(&heights) {
            let mut left = 0;
            for case in *row {
                panel(canvas, case, (left, top), if columns == 1 { width } else { PANEL_WIDTH })?;
                left += PANEL_WIDTH;
            }
            top += height;
        }
        Ok(())
    })?;
    Ok(Plot { file: file_name("time", &group.title), title, section: Section::Cases, svg })
}

fn height(case: &Case) -> i32 {
    ABOVE + BELOW + ROW * i32::try_from(case.entries.len()).unwrap_or(0)
}

fn panel(canvas: &Canvas, case: &Case, (left, top): Point, width: i32) -> Result<()> {
    let title = shortened(&panel_title(&case.work), 40);
    let start = left + NAMES_WIDTH;
    canvas.text((left + 16, top + 14), &title, Letters::new(Anchor::Left).height(14).bold_if(true))?;
    let size = format!("{} files, {}", grouped(case.files), megabytes(case.bytes));
    canvas.text((left + 16, top + 31), &size, Letters::new(Anchor::Left).grey())?;
    let axis = axis(case, (start, left + width - FIGURES_WIDTH));
    let bottom = top + height(case) - BELOW;
    draw_axis(canvas, &axis, (top + ABOVE, bottom))?;
    let mut entries: Vec<&Entry> = case.entries.iter().collect();
    entries.sort_by(|one, other| rank(one).total_cmp(&rank(other)));
    for (entry, middle) in entries.into_iter().zip(spaced(top + ABOVE + ROW / 2, ROW)) {
        let name = Letters::new(Anchor::Right).bold_if(entry.peer == SWARM);
        canvas.text((start - 6, middle), &shortened(&entry.name(), 20), name)?;
        bar(canvas, entry, &axis, (start, middle))?;
    }
    canvas.line(&[(start, top + ABOVE), (start, bottom)], BLACK, 1)
}

/// The median, for sorting; what has none comes last, the unfinished before the failed before the missing.
fn rank(entry: &Entry) -> f64 {
    let without = if entry.ended(Outcome::Unfinished).next().is_some() {
        1e30
    } else if entry.ran() {
        1e31
    } else {
        1e32
    };
    entry.wall().map_or(without, |wall| wall.median)
}

fn axis(case: &Case, pixels: (i32, i32)) -> Axis {
    let walls: Vec<_> = case.entries.iter().filter_map(Entry::wall).collect();
    let most = walls.iter().map(|wall| wall.most).fold(0.0, f64::max);
    let least = walls.iter().map(|wall| wall.least).fold(f64::INFINITY, f64::min);
    if least.is_finite() && most / least.max(1e-9) > LOG_FROM {
        return Axis::log(least / 2.0, most, pixels);
    }
    Axis::linear(most, pixels)
}

fn draw_axis(canvas: &Canvas, axis: &Axis, (top, bottom): (i32, i32)) -> Result<()> {
    for tick in axis.ticks() {
        canvas.line(&[(axis.at(tick), top), (axis.at(tick), bottom)], GRID, 1)?;
        canvas.text((axis.at(tick), bottom + 11), &label(tick), Letters::new(Anchor::Centre).grey())?;
    }
    let unit = if axis.scale() == Scale::Log { "seconds, logarithmic" } else { "seconds" };
    let ends = (axis.at(0.0), axis.at(f64::MAX));
    canvas.text((i32::midpoint(ends.0, ends.1), bottom + 27), unit, Letters::new(Anchor::Centre).grey())
}

fn bar(canvas: &Canvas, entry: &Entry, axis: &Axis, (start, middle): Point) -> Result<()> {
    let Some(wall) = entry.wall() else {
        return canvas.text((start + 6, middle), &without_time(entry), Letters::new(Anchor::Left).grey());
    };
    let end = axis.at(wall.median);
    canvas.filled([(start, middle - BAR / 2), (end, middle + BAR / 2)], colour(&entry.peer, &entry.tcp))?;
    let (least, most) = (axis.at(wall.least), axis.at(wall.most));
    if wall.count > 1 && most > least {
        canvas.line(&[(least, middle), (most, middle)], BLACK, 1)?;
        for whisker in [least, most] {
            canvas.line(&[(whisker, middle - 3), (whisker, middle + 3)], BLACK, 1)?;
        }
    }
    let part = if wall.count == entry.runs.len() {
        String::new()
    } else {
        format!(" ({} of {})", wall.count, entry.runs.len())
    };
    let figure = format!("{} s{part}", significant(wall.median));
    canvas.text((most.max(end) + 6, middle), &figure, Letters::new(Anchor::Left).bold_if(entry.peer == SWARM))
}

fn without_time(entry: &Entry) -> String {
    let Some(stopped) = entry.ended(Outcome::Unfinished).next() else {
        return if entry.ran() { "failed".to_owned() } else { "not installed".to_owned() };
    };
    let rate = entry.reached().filter(|_| stopped.change == FRESH);
    let rate = rate.map_or_else(String::new, |rate| format!(", at {} MB/s", significant(rate / 1e6)));
    format!("unfinished after {} s{rate}", significant(stopped.wall_seconds))
}
