//! Dashboards, rules and documentation under `grafana/` use the names that the gateway exports, and leave none out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use swarmwire_server::metrics;

fn grafana() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn exported() -> BTreeSet<&'static str> {
    metrics::NAMES.iter().map(|&(name, _)| name).collect()
}

/// Every `swarmwire_…` of lower-case letters and underscores; of a histogram's buckets, what they are of.
fn names_in(text: &str) -> BTreeSet<&str> {
    const PREFIX: &str = "swarmwire_";
    let names = text.match_indices(PREFIX).map(|(start, _)| {
        let name = &text[start..];
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let name = &name[..end.unwrap_or(name.len())];
        name.strip_suffix("_bucket").unwrap_or(name)
    });
    names.filter(|name| name.len() > PREFIX.len()).collect()
}

/// The first cells of the rows of the README's table of metrics.
fn documented(readme: &str) -> BTreeSet<&str> {
    let cells = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.filter(|cell| cell.starts_with("swarmwire_")).collect()
}

#[test]
fn everything_under_grafana_uses_names_that_the_gateway_exports() {
    let exported = exported();
    for entry in walkdir::WalkDir::new(grafana()) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let text = read(entry.path());
            let unknown: Vec<&str> =
                names_in(&text).into_iter().filter(|name| !exported.contains(name)).collect();
            assert_eq!(unknown, Vec::<&str>::new(), "in {}", entry.path().display());
        }
    }
}

#[test]
fn the_readme_documents_exactly_the_metrics_that_the_gateway_exports() {
    assert_eq!(documented(&read(&grafana().join("README.md"))), exported());
}

#[test]
fn the_dashboard_shows_every_metric_that_the_gateway_exports() {
    let dashboard = read(&grafana().join("dashboards/swarmwire.json"));
    serde_json::from_str::<serde_json::Value>(&dashboard).expect("the dashboard is JSON");
    assert_eq!(names_in(&dashboard), exported());
}
