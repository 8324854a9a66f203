//! The report: a directory with the measured rows, and a summary and plots that are made from them.
//!
//! [`Directory`] keeps the rows while they are measured; [`write`] makes `summary.md` and the plots from the files in it alone, so that a
//! committed measurement can be shown anew, better, without measuring again; [`table`] shows rows on a terminal. The same rows always give
//! the same files. Nothing here measures.

mod calls;
mod cases;
mod directory;
#[cfg(test)]
mod fixture;
mod growth;
mod latency;
mod losses;
mod plots;
mod row;
pub(crate) mod sharing;
mod summary;
mod table;

use std::path::Path;

use anyhow::Result;

use summary::Rows;

pub use directory::{Appender, Directory};
pub use row::Row;
pub use table::table;

/// Makes `summary.md` and the plots of a report's directory (anew), with what a person wrote into its `why.md` beside the losses.
pub fn write(dir: &Path) -> Result<()> {
    let directory = Directory::open(dir)?;
    let rows = Rows {
        machine: directory.machine()?,
        runs: directory.rows()?,
        latency: directory.rows()?,
        growth: directory.rows()?,
        sharing: directory.rows()?,
        calls: directory.rows()?,
        why: directory.text("why.md")?,
    };
    let plots = plots::draw(&rows, &directory.rows()?)?;
    for plot in &plots {
        directory.write(&plot.file, &plot.svg)?;
    }
    directory.write("summary.md", &summary::summary(&rows, &plots))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory below `out` with the small set in it.
    fn report(out: &Path) -> Directory {
        let directory = Directory::create(out, "small", &fixture::machine()).unwrap();
        let (runs, latency, growth) = fixture::small();
        add(&directory, runs);
        add(&directory, latency);
        add(&directory, growth);
        fs::write(directory.path().join("why.md"), "Each round trip costs one more than it should.\n")
            .unwrap();
        directory
    }

    fn add<R: Row>(directory: &Directory, rows: Vec<R>) {
        let mut appender = directory.append().unwrap();
        for row in rows {
            appender.write(row).unwrap();
        }
    }

    #[test]
    fn the_summary_of_a_small_set_is_the_committed_one() {
        let out = tempfile::tempdir().unwrap();
        let directory = report(out.path());
        write(directory.path()).unwrap();
        assert_eq!(directory.text("summary.md").unwrap(), include_str!("report/golden/summary.md"));
    }

    #[test]
    fn the_terminal_table_of_a_small_set_is_the_committed_one() {
        let text = table(&fixture::small().0, None);
        assert_eq!(text, include_str!("report/golden/table.txt"));
        assert!(text.lines().all(|line| line.chars().count() <= 140));
        assert!(text.contains(" ratio "));
    }

    #[test]
    fn the_same_rows_give_the_same_files() {
        let out = tempfile::tempdir().unwrap();
        let directory = report(out.path());
        let files = || {
            let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
            let mut files: Vec<_> = names.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
            files.sort();
            files
        };
        write(directory.path()).unwrap();
        let first = files();
        write(directory.path()).unwrap();
        assert!(first == files());
    }

    #[test]
    fn the_plots_of_a_large_set_are_few_and_small_and_all_in_the_summary() {
        let (runs, progress, latency, growth) = fixture::large();
        let rows = Rows { machine: fixture::machine(), runs, latency, growth, ..Rows::default() };
        let plots = plots::draw(&rows, &progress).unwrap();
        let text = summary::summary(&rows, &plots);
        assert!(plots.len() <= 24, "{} plots", plots.len());
        for plot in &plots {
            assert!(plot.svg.len() <= 60_000, "{} has {} bytes", plot.file, plot.svg.len());
            assert!(text.contains(&format!("]({})", plot.file)), "{} is not shown", plot.file);
            assert_eq!(plots.iter().filter(|other| other.file == plot.file).count(), 1, "{}", plot.file);
        }
        let width = |line: &str| line.chars().count();
        assert!(table(&rows.runs, Some("rsync-ssh")).lines().all(|line| width(line) <= 140));
    }

    #[test]
    fn a_directory_that_is_no_report_is_left_alone() {
        let out = tempfile::tempdir().unwrap();
        assert!(write(out.path()).is_err());
        assert!(fs::read_dir(out.path()).unwrap().next().is_none());
    }
}
