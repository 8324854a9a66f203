//! How time and memory grow with the number of files: a table, and the exponents of both.
//!
//! An exponent is the slope of the logarithms by least squares: 1 is proportional, 0 is constant. Small trees are mostly start-up, so the
//! exponent of the last step alone stands beside that of all of them: it is the one that goes on.

use crate::{
    figures::{Spread, exponent, grouped, median, significant},
    record::Growth,
};

use super::table::markdown_row;

/// One change and direction, over all sizes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curve {
    pub(crate) change: String,
    pub(crate) mode: String,
    /// From the smallest tree to the largest.
    pub(crate) steps: Vec<Step>,
}

/// All runs of one size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) files: u64,
    pub(crate) wall: Spread,
    pub(crate) cpu_seconds: f64,
    pub(crate) client_peak_bytes: u64,
    pub(crate) server_peak_bytes: u64,
}

impl Curve {
    /// In words: `push, unchanged`.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.mode, self.change)
    }

    /// Files, and what `value` says of each step.
    pub(crate) fn points(&self, value: impl Fn(&Step) -> f64) -> Vec<(f64, f64)> {
        self.steps.iter().map(|step| (step.files as f64, value(step))).collect()
    }
}

/// The curves in `rows`, in the order in which they first stand. A repeated run replaces the earlier one.
pub(crate) fn curves(rows: &[Growth]) -> Vec<Curve> {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let name = (row.change.as_str(), row.mode.as_str());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let curve = |(change, mode): (&str, &str)| {
        let mine: Vec<&Growth> =
            rows.iter().filter(|row| (row.change.as_str(), row.mode.as_str()) == (change, mode)).collect();
        Curve { change: change.to_owned(), mode: mode.to_owned(), steps: steps(&mine) }
    };
    names.into_iter().map(curve).collect()
}

fn steps(rows: &[&Growth]) -> Vec<Step> {
    let mut sizes: Vec<u64> = rows.iter().map(|row| row.files).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.into_iter().filter_map(|files| step(files, rows)).collect()
}

fn step(files: u64, rows: &[&Growth]) -> Option<Step> {
    let mut runs: Vec<&Growth> = Vec::new();
    for row in rows.iter().filter(|row| row.files == files) {
        runs.retain(|earlier| earlier.run != row.run);
        runs.push(row);
    }
    let values = |value: fn(&Growth) -> f64| runs.iter().map(|run| value(run)).collect::<Vec<_>>();
    Some(Step {
        files,
        wall: Spread::of(&values(|run| run.wall_seconds))?,
        cpu_seconds: median(&values(|run| run.client_cpu_seconds + run.server_cpu_seconds)),
        client_peak_bytes: runs.iter().map(|run| run.client_peak_bytes).max()?,
        server_peak_bytes: runs.iter().map(|run| run.server_peak_bytes).max()?,
    })
}

/// The section's text, without its heading.
pub(crate) fn section(rows: &[Growth]) -> String {
    let curves = curves(rows);
    let mut text = curves.iter().map(sentence).collect::<String>();
    text.push('\n');
    text.push_str(&markdown_row(&[
        "sync",
        "files",
        "median s (min–max)",
        "files/s",
        "CPU s",
        "peak MB client",
        "peak MB server",
    ]));
    text.push_str(&markdown_row(&["---", "---:", "---:", "---:", "---:", "---:", "---:"]));
    for curve in &curves {
        for step in &curve.steps {
            text.push_str(&markdown_row(&[
                &curve.name(),
                &grouped(step.files),
                &step.wall.text(),
                &significant(step.files as f64 / step.wall.median.max(1e-9)),
                &significant(step.cpu_seconds),
                &significant(step.client_peak_bytes as f64 / 1e6),
                &significant(step.server_peak_bytes as f64 / 1e6),
            ]));
        }
    }
    text
}

/// `- push, fresh: time grows with the number of files to the power 1.02 …`, or that one size has no growth.
fn sentence(curve: &Curve) -> String {
    let parts = [
        ("time grows with the number of files", curve.points(|step| step.wall.median)),
        ("the client's memory", curve.points(|step| step.client_peak_bytes as f64)),
        ("the server's memory", curve.points(|step| step.server_peak_bytes as f64)),
    ]
    .into_iter()
    .filter_map(|(what, points)| {
        let last = exponent(&points[points.len().saturating_sub(2)..])?;
        Some(format!("{what} to the power {:.2} (last step {last:.2})", exponent(&points)?))
    })
    .collect::<Vec<_>>();
    if parts.is_empty() {
        return format!("- {}: one size alone shows no growth.\n", curve.name());
    }
    format!("- {}: {}.\n", curve.name(), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(files: u64, run: u32, seconds: f64, peak: u64) -> Growth {
        Growth {
            files,
            run,
            change: "fresh".into(),
            mode: "push".into(),
            wall_seconds: seconds,
            client_peak_bytes: peak,
            server_peak_bytes: peak,
            ..Growth::default()
        }
    }

    #[test]
    fn time_in_proportion_has_the_power_one_and_constant_memory_the_power_zero() {
        let rows = [row(1000, 1, 0.1, 5), row(100_000, 1, 10.0, 5), row(10_000, 1, 1.0, 5)];
        assert_eq!(
            sentence(&curves(&rows)[0]),
            "- push, fresh: time grows with the number of files to the power 1.00 (last step 1.00), the client's memory to the power \
             0.00 (last step 0.00), the server's memory to the power 0.00 (last step 0.00).\n"
        );
    }

    #[test]
    fn the_last_step_is_told_apart_from_all_of_them() {
        let rows = [row(1000, 1, 1.0, 5), row(10_000, 1, 1.0, 5), row(100_000, 1, 10.0, 5)];
        assert!(sentence(&curves(&rows)[0]).contains("to the power 0.50 (last step 1.00)"));
    }

    #[test]
    fn one_size_alone_shows_no_growth() {
        assert_eq!(
            sentence(&curves(&[row(1000, 1, 1.0, 5)])[0]),
            "- push, fresh: one size alone shows no growth.\n"
        );
    }

    #[test]
    fn several_runs_of_a_size_are_one_step() {
        let curves = curves(&[row(1000, 1, 1.0, 5), row(1000, 2, 3.0, 9), row(1000, 1, 2.0, 6)]);
        let step = &curves[0].steps[0];
        assert_eq!(
            (curves[0].steps.len(), step.wall.median, step.wall.count, step.client_peak_bytes),
            (1, 2.5, 2, 9)
        );
    }
}
