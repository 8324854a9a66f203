//! What the check found, as an aligned table. Pure, apart from writing it.

use std::{
    io::{Result, Write},
    iter,
};

/// What was measured at one point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) asked: String,
    pub(super) measured: String,
    pub(super) error: String,
    pub(super) verdict: Verdict,
}

/// Whether the emulator did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Failed,
}

impl Verdict {
    /// `Ok` if `held`.
    pub(super) fn of(held: bool) -> Self {
        if held { Self::Ok } else { Self::Failed }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
        }
    }
}

impl Row {
    /// An amount that may be off by `tolerance` times what was asked. `show` writes an amount.
    pub(super) fn relative(
        what: &str,
        asked: f64,
        measured: f64,
        tolerance: f64,
        show: impl Fn(f64) -> String,
    ) -> Self {
        let error = measured / asked - 1.0;
        Self {
            what: what.to_owned(),
            asked: show(asked),
            measured: show(measured),
            error: format!("{:+.2} %", error * 100.0),
            verdict: Verdict::of(error.abs() <= tolerance),
        }
    }

    /// A time in milliseconds that may be off by `tolerance_ms`; `spread` is said beside it.
    pub(super) fn time(what: &str, asked_ms: f64, measured_ms: f64, tolerance_ms: f64, spread: &str) -> Self {
        let error = measured_ms - asked_ms;
        Self {
            what: what.to_owned(),
            asked: format!("{asked_ms:.0} ms"),
            measured: format!("{measured_ms:.3} ms{spread}"),
            error: format!("{error:+.3} ms"),
            verdict: Verdict::of(error.abs() <= tolerance_ms),
        }
    }

    fn cells(&self) -> [&str; 5] {
        [&self.what, &self.asked, &self.measured, &self.error, self.verdict.word()]
    }
}

/// Writes `rows` under a heading, in columns.
pub(super) fn write(rows: &[Row], out: &mut impl Write) -> Result<()> {
    let lines: Vec<[&str; 5]> =
        iter::once(["what", "asked", "measured", "error", ""]).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 4] = [width(0), width(1), width(2), width(3)];
    for [what, asked, measured, error, verdict] in lines {
        let [first, second, third, fourth] = widths;
        let line =
            format!("{what:first$}  {asked:>second$}  {measured:>third$}  {error:>fourth$}  {verdict}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What of `rows` failed, in one line; empty if nothing did.
pub(super) fn failures(rows: &[Row]) -> String {
    let failed = rows.iter().filter(|row| row.verdict == Verdict::Failed);
    let said = failed.map(|row| format!("{}: asked {}, measured {}", row.what, row.asked, row.measured));
    said.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let percent = |value: f64| format!("{value:.1} %");
        vec![
            Row::relative("loss", 1.0, 1.05, 0.1, percent),
            Row::relative("loss", 1.0, 0.8, 0.1, percent),
            Row::time("round trip", 100.0, 101.5, 1.0, " (p99 102)"),
        ]
    }

    #[test]
    fn an_amount_is_judged_by_its_tolerance() {
        let verdicts: Vec<_> = rows().iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Failed, Verdict::Failed]);
    }

    #[test]
    fn the_columns_of_the_table_are_aligned() {
        let mut out = Vec::new();
        write(&rows(), &mut out).unwrap();
        let expected = "\
what         asked              measured      error
loss         1.0 %                 1.1 %    +5.00 %  ok
loss         1.0 %                 0.8 %   -20.00 %  FAILED
round trip  100 ms  101.500 ms (p99 102)  +1.500 ms  FAILED
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_failures_are_named_with_what_was_asked() {
        let expected =
            "loss: asked 1.0 %, measured 0.8 %; round trip: asked 100 ms, measured 101.500 ms (p99 102)";
        assert_eq!(failures(&rows()), expected);
        assert_eq!(failures(&rows()[..1]), "");
    }
}
