//! What a run has shown, as a row: what it cost, and whether its result is what it should be.

use super::trial::Trial;
use crate::{
    record::{Outcome, Run},
    verify::Comparison,
};

/// Takes over what was measured.
pub(super) fn fill(run: &mut Run, trial: &Trial) {
    run.wall_seconds = trial.wall.as_secs_f64();
    run.client_user_seconds = trial.client.user.as_secs_f64();
    run.client_system_seconds = trial.client.system.as_secs_f64();
    run.client_peak_bytes = trial.client.peak_bytes;
    run.server_user_seconds = trial.server.user.as_secs_f64();
    run.server_system_seconds = trial.server.system.as_secs_f64();
    run.server_peak_bytes = trial.server.peak_bytes;
    run.wire_sent_bytes = trial.crossed.sent;
    run.wire_received_bytes = trial.crossed.received;
    run.wire_bytes = Some(trial.crossed.bytes);
    run.packets = trial.crossed.packets;
    run.queue_drops = trial.crossed.queue_drops;
    run.random_losses = trial.crossed.random_losses;
}

/// Whether the result is what it should be, and what it lacks.
pub(super) fn judge(run: &mut Run, comparison: &Comparison) {
    if let Some(wrong) = comparison.wrong.first() {
        run.outcome = Outcome::Failed;
        run.note = format!("the result is wrong in {} places: {wrong}", comparison.wrong.len());
        return;
    }
    let mut notes: Vec<String> = vec![];
    if !comparison.lost.is_empty() {
        let lost: Vec<String> = comparison.lost.iter().map(ToString::to_string).collect();
        notes.push(format!("did not keep {}", lost.join(", ")));
    }
    if !comparison.extra.is_empty() {
        notes.push(format!("left {} old names", comparison.extra.len()));
    }
    run.note = notes.join("; ");
}

/// One run as a line.
pub(super) fn line(run: &Run) -> String {
    let name = if run.tcp.is_empty() { run.peer.clone() } else { format!("{}/{}", run.peer, run.tcp) };
    let what = match run.outcome {
        Outcome::Complete => format!("{:8.3} s", run.wall_seconds),
        Outcome::Unfinished => format!("unfinished after {:.0} s", run.wall_seconds),
        Outcome::Failed => "failed".to_owned(),
        Outcome::Missing => "missing".to_owned(),
    };
    let note = if run.note.is_empty() { String::new() } else { format!("  ({})", run.note) };
    format!("run {} {name:<16} {what}{note}", run.run)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::verify::Lost;

    #[test]
    fn what_is_lost_is_noted_and_what_is_wrong_is_a_failure() {
        let mut run = Run::default();
        let lost = BTreeSet::from([Lost::Modes, Lost::DirectoryTimes]);
        let comparison = Comparison { wrong: vec![], lost, extra: vec!["\"old\"".to_owned()] };
        judge(&mut run, &comparison);
        assert_eq!(run.outcome, Outcome::Complete);
        assert_eq!(run.note, "did not keep modes, directory times; left 1 old names");

        judge(&mut run, &Comparison { wrong: vec!["\"a\" is missing".to_owned()], ..comparison });
        assert_eq!(run.outcome, Outcome::Failed);
        assert_eq!(run.note, "the result is wrong in 1 places: \"a\" is missing");
    }
}
