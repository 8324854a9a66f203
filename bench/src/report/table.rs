//! One table per case, in two forms from the same cells: Markdown for the summary, aligned text for a terminal.
//!
//! A column that applies to nobody is left out. In a terminal columns go, the least telling first, before any number is cut. What needs a
//! sentence (a failure, what a peer does not keep) stands below the text table and inside the other one.

mod column;

use super::cases::{Case, Entry, cases};
use crate::{
    figures::{grouped, megabytes},
    record::Run,
};
use column::{Column, NONE, remarks};

pub(crate) use column::note;

/// Columns of the widest line for a terminal.
const WIDTH_MAX: usize = 140;

/// The tables of all cases in `rows` for a terminal, of at most 140 columns. Ratios are to the named peer (`rsyncd`, `rsyncd/bbr`), or to the
/// rsync daemon or the first other peer; below 1 is faster.
pub fn table(rows: &[Run], baseline: Option<&str>) -> String {
    cases(rows).iter().map(|case| text(case, baseline)).collect::<Vec<_>>().join("\n")
}

/// One case as aligned text.
fn text(case: &Case, asked: Option<&str>) -> String {
    let baseline = case.baseline(asked);
    let mut columns = columns(case, baseline);
    columns.retain(|(column, _)| *column != Column::Remarks);
    let lines = loop {
        let lines = aligned(&columns);
        let fits = lines.iter().all(|line| line.chars().count() <= WIDTH_MAX);
        let position = |one: &Column| columns.iter().position(|(column, _)| column == one);
        match Column::DISPENSABLE.iter().find_map(position) {
            Some(position) if !fits => columns.remove(position),
            _ => break lines,
        };
    };
    let mut text = format!("{}\n{}\n", case.work.title(), subject(case, asked));
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for entry in &case.entries {
        if let Some(remarks) = remarks(entry) {
            text.push_str(&format!("  {}: {remarks}\n", entry.name()));
        }
    }
    text
}

/// One case as Markdown, without its title.
pub(crate) fn markdown(case: &Case, asked: Option<&str>) -> String {
    let columns = columns(case, case.baseline(asked));
    let headings: Vec<&str> = columns.iter().map(|(column, _)| column.heading()).collect();
    let rules = columns.iter().map(|(column, _)| if column.is_words() { "---" } else { "---:" });
    let mut text = markdown_row(&headings);
    text.push_str(&markdown_row(&rules.collect::<Vec<_>>()));
    for row in 0..case.entries.len() {
        text.push_str(&markdown_row(
            &columns.iter().map(|(_, cells)| cells[row].as_str()).collect::<Vec<_>>(),
        ));
    }
    text
}

/// One row of a Markdown table; what would end a cell is escaped.
pub(crate) fn markdown_row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// How much a case moves, and what its ratios mean.
pub(crate) fn subject(case: &Case, asked: Option<&str>) -> String {
    let ratio = case.baseline(asked).map_or_else(String::new, |baseline| {
        format!("; ratio: its time by that of {}, below 1 is faster", baseline.name())
    });
    format!("{} files, {}{ratio}", grouped(case.files), megabytes(case.bytes))
}

/// The columns that apply to anybody, with their cells.
fn columns(case: &Case, baseline: Option<&Entry>) -> Vec<(Column, Vec<String>)> {
    let cells =
        |column: Column| case.entries.iter().map(|entry| column.cell(case, entry, baseline)).collect();
    let columns = Column::ALL.into_iter().map(|column| (column, cells(column)));
    // The ratio stays even without a baseline: whoever reads the table by its headings finds it.
    columns
        .filter(|(column, cells): &(_, Vec<String>)| {
            *column == Column::Ratio || cells.iter().any(|cell| cell != NONE)
        })
        .collect()
}

fn aligned(columns: &[(Column, Vec<String>)]) -> Vec<String> {
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    let mut lines = vec![String::new(); rows + 1];
    for (column, cells) in columns {
        let cells: Vec<&str> =
            std::iter::once(column.brief()).chain(cells.iter().map(String::as_str)).collect();
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        for (line, cell) in lines.iter_mut().zip(cells) {
            let padding = " ".repeat(width - cell.chars().count());
            let gap = if line.is_empty() { "" } else { "  " };
            let (before, after) =
                if column.is_words() { ("", padding.as_str()) } else { (padding.as_str(), "") };
            line.push_str(&[gap, before, cell, after].concat());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::run;

    #[test]
    fn a_terminal_gets_fewer_columns_before_any_number_is_cut() {
        let peer = "a-peer-with-a-name-that-takes-a-third-of-the-line";
        let link = Run { wire_sent_bytes: Some(1), wire_received_bytes: Some(2), ..run(peer, 1, 12.345) };
        let text = table(&[link.clone(), Run { run: 2, wall_seconds: 23.456, ..link }], None);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH_MAX), "{text}");
        assert!(!text.contains("sent / received") && text.contains("17.9 (12.3–23.5)"), "{text}");
        assert!(text.contains("ratio (min–max)"), "{text}");
    }

    #[test]
    fn a_bar_in_a_cell_does_not_end_it() {
        assert_eq!(markdown_row(&["a|b", "c"]), "| a\\|b | c |\n");
    }
}
