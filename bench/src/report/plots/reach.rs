//! How much of a line's rate each peer reached, as a table whose cells are the darker the more it was: loss and length over peers.
//!
//! The share is of the tree's bytes, start-up and end included, so that it is what a user gets. A run that was stopped counts with the rate
//! that it reached until then, and is marked.

use anyhow::Result;
use plotters::prelude::{BLACK, RGBColor, WHITE};

use super::{
    Plot, Section,
    canvas::{Anchor, Canvas, Letters, Point, mixed, picture, shortened, spaced},
    file_name,
    line::Line,
};
use crate::report::cases::{Case, Entry, FLOOR, SWARM};

/// Pixels of a cell, of the names before the cells, and of the headings above them.
const CELL: Point = (72, 26);
const NAMES_WIDTH: i32 = 156;
const HEADINGS: i32 = 62;

/// Pixels from the top of the headings to the middle of each of their three lines.
const HEADING_ROWS: [i32; 3] = [12, 29, 46];

/// Pixels above the table for the title, and below it for the note.
const TOP: i32 = 40;
const BOTTOM: i32 = 40;

/// Pixels that the title and the note need.
const WIDTH_MIN: i32 = 600;

/// The colour of the whole rate.
const FULL: RGBColor = RGBColor(20, 90, 140);

/// From which share the ground is too dark for black letters.
const DARK_FROM: f64 = 0.55;

/// One table: a workload over several links.
struct Table<'a> {
    title: String,
    links: Vec<Line>,
    cases: Vec<&'a Case>,
}

/// One picture per workload and direction, if anything went over a line with a rate.
pub(super) fn draw(cases: &[Case]) -> Result<Vec<Plot>> {
    tables(cases.iter().filter(|case| is_over_line(case))).iter().map(picture_of).collect()
}

fn is_over_line(case: &Case) -> bool {
    case.work.is_fresh() && Line::parse(&case.work.link).rate.is_some()
}

fn picture_of(table: &Table) -> Result<Plot> {
    let peers = table.peers();
    let bottom = TOP + HEADINGS + CELL.1 * i32::try_from(peers.len())?;
    let width = NAMES_WIDTH + CELL.0 * i32::try_from(table.links.len())? + 24;
    let title = format!("Share of the line's rate in percent: {}", table.title);
    let svg = picture(width.max(WIDTH_MIN), bottom + BOTTOM, |canvas| {
        canvas.text((16, 22), &title, Letters::new(Anchor::Left).height(16).bold_if(true))?;
        table.draw(canvas, &peers)?;
        let note =
            "Bytes of the tree by the whole time. * unfinished: the rate reached until it was stopped.";
        canvas.text((16, bottom + 22), note, Letters::new(Anchor::Left).grey().height(11))
    })?;
    Ok(Plot { file: file_name("links", &table.title), title, section: Section::Links, svg })
}

/// A table per workload, direction and file system; links from the short to the long.
fn tables<'a>(cases: impl Iterator<Item = &'a Case>) -> Vec<Table<'a>> {
    let mut tables: Vec<Table> = Vec::new();
    for case in cases {
        let durable = if case.work.durable { ", with syncfs" } else { "" };
        let title = format!("{} {}, on {}{durable}", case.work.mode, case.work.workload, case.work.fs);
        match tables.iter_mut().find(|table| table.title == title) {
            Some(table) => table.cases.push(case),
            None => tables.push(Table { title, links: Vec::new(), cases: vec![case] }),
        }
    }
    for table in &mut tables {
        table
            .cases
            .sort_by(|one, other| Line::parse(&one.work.link).by_length(&Line::parse(&other.work.link)));
        table.links = table.cases.iter().map(|case| Line::parse(&case.work.link)).collect();
    }
    tables
}

impl Table<'_> {
    /// The peers, Swarmwire first, then by how much they reached over all links.
    fn peers(&self) -> Vec<&Entry> {
        let mut peers: Vec<&Entry> = Vec::new();
        for entry in self.cases.iter().flat_map(|case| &case.entries).filter(|entry| entry.peer != FLOOR) {
            if !peers.iter().any(|known| known.name() == entry.name()) {
                peers.push(entry);
            }
        }
        let reached = |entry: &Entry| -> f64 {
            let shares = self
                .cases
                .iter()
                .zip(&self.links)
                .filter_map(|(case, line)| share(case, line, &entry.name()));
            shares.map(|(share, _)| share).sum()
        };
        let rank = |entry: &Entry| if entry.peer == SWARM { f64::INFINITY } else { reached(entry) };
        peers.sort_by(|one, other| rank(other).total_cmp(&rank(one)));
        peers
    }

    fn draw(&self, canvas: &Canvas, peers: &[&Entry]) -> Result<()> {
        let small = Letters::new(Anchor::Centre).grey();
        for (name, row) in ["rate", "round trip", "loss"].into_iter().zip(HEADING_ROWS) {
            canvas.text((NAMES_WIDTH - 8, TOP + row), name, Letters { anchor: Anchor::Right, ..small })?;
        }
        for (middle, line) in spaced(NAMES_WIDTH + CELL.0 / 2, CELL.0).zip(&self.links) {
            for (text, row) in
                [line.rate_text(), line.rtt_text(), line.loss_text()].into_iter().zip(HEADING_ROWS)
            {
                canvas.text((middle, TOP + row), &text, small)?;
            }
        }
        for (upper, peer) in spaced(TOP + HEADINGS, CELL.1).zip(peers) {
            let name = Letters::new(Anchor::Right).bold_if(peer.peer == SWARM);
            canvas.text((NAMES_WIDTH - 8, upper + CELL.1 / 2), &shortened(&peer.name(), 20), name)?;
            let cells =
                self.cases.iter().zip(&self.links).map(|(case, line)| share(case, line, &peer.name()));
            for (left, share) in spaced(NAMES_WIDTH, CELL.0).zip(cells) {
                cell(canvas, (left, upper), share)?;
            }
        }
        Ok(())
    }
}

/// The share of the line's rate that a peer reached, and whether it completed; nothing if it did not run or failed.
fn share(case: &Case, line: &Line, name: &str) -> Option<(f64, bool)> {
    let entry = case.entries.iter().find(|entry| entry.name() == name)?;
    let whole = entry.wall().map(|wall| (case.bytes as f64 / wall.median.max(1e-9), true));
    let (rate, complete) = whole.or_else(|| Some((entry.reached()?, false)))?;
    Some((rate * 8.0 / line.rate?, complete))
}

fn cell(canvas: &Canvas, (left, upper): Point, share: Option<(f64, bool)>) -> Result<()> {
    let (ground, text, colour) = match share {
        None => (RGBColor(240, 240, 240), "–".to_owned(), BLACK),
        Some((share, complete)) => {
            let letters = if share >= DARK_FROM { WHITE } else { BLACK };
            (mixed(WHITE, FULL, share.clamp(0.0, 1.0)), percent(share, complete), letters)
        }
    };
    canvas.filled([(left + 1, upper + 1), (left + CELL.0 - 1, upper + CELL.1 - 1)], ground)?;
    let letters = Letters { colour, ..Letters::new(Anchor::Centre) };
    canvas.text((left + CELL.0 / 2, upper + CELL.1 / 2), &text, letters)
}

fn percent(share: f64, complete: bool) -> String {
    let mark = if complete { "" } else { " *" };
    if share < 0.1 { format!("{:.1}{mark}", share * 100.0) } else { format!("{:.0}{mark}", share * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Outcome, Run},
        report::cases::cases,
    };

    #[test]
    fn a_stopped_run_counts_with_the_rate_that_it_reached() {
        let run = Run { peer: "scp".into(), run: 1, bytes: 100_000_000, wall_seconds: 2.0, ..Run::default() };
        let stopped = Run {
            peer: "rclone".into(),
            outcome: Outcome::Unfinished,
            arrived_bytes: 25_000_000,
            ..run.clone()
        };
        let (line, cases) = (Line::parse("rate=1gbit"), cases(&[run, stopped]));
        assert_eq!(share(&cases[0], &line, "scp"), Some((0.4, true)));
        assert_eq!(share(&cases[0], &line, "rclone"), Some((0.1, false)));
        assert_eq!(share(&cases[0], &line, "syq"), None);
        assert_eq!([percent(0.4, true), percent(0.012, false)], ["40", "1.2 *"]);
    }
}
