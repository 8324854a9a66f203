//! `summary.md`: what a reader needs, losses first, computed from the rows alone.
//!
//! Pure: rows go in, text comes out, and the same rows give the same text. Plots are referred to by name; drawing them is not done here.

use crate::{
    figures::grouped,
    record::{Call, Growth, Latency, Machine, Outcome, Run, Sharing},
};

use super::{
    calls,
    cases::{Case, SWARM, cases},
    growth, latency, losses,
    plots::{Plot, Section},
    sharing,
    table::{markdown, markdown_row, note, subject},
};

/// Everything that a report is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) machine: Machine,
    pub(crate) runs: Vec<Run>,
    pub(crate) latency: Vec<Latency>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) sharing: Vec<Sharing>,
    pub(crate) calls: Vec<Call>,
    /// What a person wrote about the causes of losses.
    pub(crate) why: String,
}

/// The whole file; `plots` are those that lie beside it.
pub(crate) fn summary(rows: &Rows, plots: &[Plot]) -> String {
    let cases = cases(&rows.runs);
    let mut text = head(&rows.machine, &cases);
    if !(cases.is_empty() && rows.latency.is_empty() && rows.calls.is_empty()) {
        text.push_str(&format!("\n## Where Swarmwire loses\n\n{}", lost(rows, &cases)));
    }
    let sections = [
        (Section::Links, "Share of the line's rate", String::new(), true),
        (Section::Cases, "Runs", case_tables(&cases), !cases.is_empty()),
        (Section::Latency, "Latency under load", latency::section(&rows.latency), !rows.latency.is_empty()),
        (Section::Sharing, "Sharing a queue", sharing::section(&rows.sharing), !rows.sharing.is_empty()),
        (Section::Calls, "Calls", calls::section(&rows.calls), !rows.calls.is_empty()),
        (Section::Growth, "Growth", growth::section(&rows.growth), !rows.growth.is_empty()),
    ];
    for (section, title, body, applies) in sections {
        let pictures = pictures(plots, section);
        if applies && !(body.is_empty() && pictures.is_empty()) {
            text.push_str(&format!("\n## {title}\n{pictures}"));
            if !body.is_empty() {
                text.push_str(&format!("\n{body}"));
            }
        }
    }
    text
}

/// What is lost in time and in round trips, and why.
fn lost(rows: &Rows, cases: &[Case]) -> String {
    let time = if cases.is_empty() { String::new() } else { losses::section(cases) };
    let latency = match latency::losses(&rows.latency) {
        none if none.is_empty() && rows.latency.iter().any(|row| row.peer != SWARM) => {
            "No round trip takes longer than another program's.\n".to_owned()
        }
        losses => losses,
    };
    let calls = match calls::losses(&rows.calls) {
        none if none.is_empty() && rows.calls.iter().any(|row| row.peer != SWARM) => {
            "No call is slower than another program's.\n".to_owned()
        }
        losses => losses,
    };
    let why = rows.why.trim();
    let why = if why.is_empty() { String::new() } else { format!("{why}\n") };
    let parts = [time, latency, calls, why];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn head(machine: &Machine, cases: &[Case]) -> String {
    let mut text = format!("# Measurements of {}\n\n", machine.date);
    text.push_str(&markdown_row(&["machine", ""]));
    text.push_str(&markdown_row(&["---", "---"]));
    let memory = format!("{:.1} GiB", machine.memory_bytes as f64 / f64::from(1 << 30));
    for (name, value) in [
        ("Swarmwire", machine.revision.as_str()),
        ("processor", &machine.processor),
        ("processors online", &grouped(machine.cores)),
        ("memory", &memory),
        ("Linux", &machine.kernel),
        ("TCP congestion control, where none is named", &machine.tcp),
    ] {
        text.push_str(&markdown_row(&[name, value]));
    }
    for (peer, version) in &machine.peers {
        text.push_str(&markdown_row(&[peer, version]));
    }
    text.push_str(&format!("\n```console\n{}\n```\n", machine.command.trim()));
    let missing = missing(cases);
    if !missing.is_empty() {
        text.push_str(&format!("\nNot installed, so not measured: {}.\n", missing.join("; ")));
    }
    text
}

/// Peers that were asked for and are not installed, each once, with how to install them if a row says so.
fn missing(cases: &[Case]) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    for entry in cases.iter().flat_map(|case| &case.entries) {
        if entry.ended(Outcome::Missing).next().is_some() {
            let how = note(entry, Outcome::Missing).map_or_else(String::new, |note| format!(" ({note})"));
            let text = format!("{}{how}", entry.peer);
            if !missing.contains(&text) {
                missing.push(text);
            }
        }
    }
    missing
}

fn case_tables(cases: &[Case]) -> String {
    if cases.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "Medians of complete runs, with the least and the most. Ratios are taken pair by pair: below 1, the peer was faster than the \
         baseline. Rates count the whole tree, changed or not. CPU is of both ends; memory is the most that any run had resident; the wire counts IP packets, sent by \
         the client and received by it.\n",
    );
    for case in cases {
        let (title, subject, table) = (case.work.title(), subject(case, None), markdown(case, None));
        text.push_str(&format!("\n### {title}\n\n{subject}.\n\n{table}"));
    }
    text
}

fn pictures(plots: &[Plot], section: Section) -> String {
    let mine = plots.iter().filter(|plot| plot.section == section);
    mine.map(|plot| format!("\n![{}]({})\n", plot.title, plot.file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::machine;

    #[test]
    fn a_report_without_rows_is_its_head_alone() {
        let text = summary(&Rows { machine: machine(), ..Rows::default() }, &[]);
        assert!(text.starts_with("# Measurements of 2026-11-21\n") && !text.contains("\n## "), "{text}");
    }
}
