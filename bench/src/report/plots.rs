//! The pictures of a report, as SVG, drawn from the rows alone.
//!
//! Pure: rows go in, texts of files come out. Panels that belong together share a file (all workloads over loopback, all links for a workload),
//! so that the number of files stays small however much was measured. A peer has the same colour in all of them.

mod axis;
mod bars;
mod calls;
mod canvas;
mod chart;
mod growth;
mod latency;
mod line;
mod reach;
mod sharing;
mod throughput;

use anyhow::Result;

use super::{
    cases::{Case, Work, cases},
    summary::Rows,
};
use crate::record::Progress;
use line::Line;

/// Panels of a file: more are legible, but the file would be larger than a picture needs to be.
const PANELS_MAX: usize = 8;

/// One picture.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Its file's name.
    pub(crate) file: String,
    /// What it shows.
    pub(crate) title: String,
    /// The section of the summary that shows it.
    pub(crate) section: Section,
    /// The file's text.
    pub(crate) svg: String,
}

/// A section of the summary with pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// The share of the line's rate that was reached.
    Links,
    /// Times and throughput.
    Cases,
    /// Round trips.
    Latency,
    /// What two on one queue send.
    Sharing,
    /// Time and memory by number of files.
    Growth,
    /// Calls of subroutines.
    Calls,
}

/// All pictures of a report.
pub(crate) fn draw(rows: &Rows, progress: &[Progress]) -> Result<Vec<Plot>> {
    let cases = cases(&rows.runs);
    let mut plots = Vec::new();
    plots.extend(reach::draw(&cases)?);
    for group in groups(&cases) {
        plots.push(bars::draw(&group)?);
        plots.extend(throughput::draw(&group, progress)?);
    }
    plots.extend(latency::draw(&rows.latency)?);
    plots.extend(sharing::draw(&rows.sharing)?);
    plots.extend(growth::draw(&rows.growth)?);
    plots.extend(calls::draw(&rows.calls)?);
    Ok(plots)
}

/// Cases that share a picture.
#[derive(Clone, Debug)]
struct Group<'a> {
    /// What they have in common, in words: `push over loopback, on tmpfs`.
    title: String,
    cases: Vec<&'a Case>,
}

/// A file's name for a picture of the given kind: its title in lower case, with `-` for whatever is neither a letter nor a digit.
fn file_name(kind: &str, title: &str) -> String {
    let mut name = format!("{kind}-");
    for letter in title.chars() {
        match letter {
            letter if letter.is_ascii_alphanumeric() => name.push(letter.to_ascii_lowercase()),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    format!("{}.svg", name.trim_end_matches('-'))
}

/// The cases as they share pictures, each group in the order in which its first case stands, links from the good to the bad.
fn groups(cases: &[Case]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for case in cases {
        let title = shared(&case.work);
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => group.cases.push(case),
            None => groups.push(Group { title, cases: vec![case] }),
        }
    }
    for group in &mut groups {
        group.cases.sort_by(|one, other| Line::parse(&one.work.link).by_loss(&Line::parse(&other.work.link)));
    }
    groups.into_iter().flat_map(|group| split(&group)).collect()
}

fn shared(work: &Work) -> String {
    let durable = if work.durable { ", with syncfs" } else { "" };
    if Line::parse(&work.link).is_emulated() {
        return format!(
            "{} {}, {}, over links, on {}{durable}",
            work.mode, work.workload, work.change, work.fs
        );
    }
    let kind = if work.is_fresh() { "into an empty place" } else { "of changes" };
    format!("{} {kind} over {}, on {}{durable}", work.mode, work.link, work.fs)
}

fn split<'a>(group: &Group<'a>) -> Vec<Group<'a>> {
    let count = group.cases.len().div_ceil(PANELS_MAX);
    let part = |(number, cases): (usize, &[&'a Case])| Group {
        title: if count == 1 {
            group.title.clone()
        } else {
            format!("{} ({} of {count})", group.title, number + 1)
        },
        cases: Vec::from(cases),
    };
    group.cases.chunks(PANELS_MAX).enumerate().map(part).collect()
}

/// What sets a case apart from the others of its group.
fn panel_title(work: &Work) -> String {
    match Line::parse(&work.link) {
        line if line.is_emulated() => line.text(),
        _ if work.is_fresh() => work.workload.clone(),
        _ => format!("{}, {}", work.workload, work.change),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Run, report::fixture::run};

    fn titles(runs: &[Run]) -> Vec<(String, usize)> {
        let cases = cases(runs);
        groups(&cases).iter().map(|group| (group.title.clone(), group.cases.len())).collect()
    }

    #[test]
    fn workloads_over_loopback_share_a_picture_and_changes_have_their_own() {
        let other = Run { workload: "medium".into(), ..run("cp", 1, 1.0) };
        let change = Run { change: "append".into(), ..run("cp", 1, 1.0) };
        let titles = titles(&[run("cp", 1, 1.0), other, change]);
        assert_eq!(
            titles,
            [
                ("push into an empty place over loopback, on tmpfs".to_owned(), 2),
                ("push of changes over loopback, on tmpfs".to_owned(), 1)
            ]
        );
    }

    #[test]
    fn the_links_of_a_workload_share_a_picture_until_it_is_full() {
        let over = |loss: u32| Run { link: format!("rtt=20ms,loss={loss}%,rate=1gbit"), ..run("cp", 1, 1.0) };
        let titles = titles(&(0..10).map(over).collect::<Vec<_>>());
        assert_eq!(
            titles,
            [
                ("push small, fresh, over links, on tmpfs (1 of 2)".to_owned(), 8),
                ("push small, fresh, over links, on tmpfs (2 of 2)".to_owned(), 2)
            ]
        );
    }

    #[test]
    fn a_files_name_has_letters_digits_and_hyphens() {
        assert_eq!(file_name("time", "Push dir:/srv/Logs (1 of 2)"), "time-push-dir-srv-logs-1-of-2.svg");
    }
}
