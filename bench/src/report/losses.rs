//! Where Swarmwire loses: what a reader must see first, worked out from the rows so that nobody can forget a case.
//!
//! A loss is a peer whose median time is shorter than Swarmwire's on the same work. A run that was stopped counts with the rate that it
//! reached, if its destination was empty, and else with the time at which it was stopped. The local copy is the floor, not a rival.

use crate::{
    figures::{Spread, pairwise, significant},
    record::Outcome,
};

use super::{
    cases::{Case, Entry, FLOOR, SWARM, encrypted},
    table::{markdown_row, note},
};

/// One peer that was faster at one piece of work.
#[derive(Clone, Debug)]
struct Loss<'a> {
    case: &'a Case,
    swarm: &'a Entry,
    peer: &'a Entry,
    /// Swarmwire's time by the peer's.
    times: Times,
}

/// How many times as long Swarmwire took.
#[derive(Clone, Copy, Debug)]
enum Times {
    /// Both completed; with how many of the pairs say the same.
    Paired(Spread, usize),
    /// One was stopped or both were: from the rates that they reached.
    Reached(f64),
    /// Swarmwire was stopped, at a time that says nothing about when it would have ended.
    AtLeast(f64),
}

impl Times {
    fn size(self) -> f64 {
        match self {
            Self::Paired(spread, _) => spread.median,
            Self::Reached(times) | Self::AtLeast(times) => times,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Paired(spread, _) => spread.text(),
            Self::Reached(times) => format!("{}, by the rates reached", significant(times)),
            Self::AtLeast(times) => format!("at least {}", significant(times)),
        }
    }

    fn pairs(self) -> String {
        match self {
            Self::Paired(spread, slower) => format!("{slower} of {}", spread.count),
            Self::Reached(_) | Self::AtLeast(_) => "–".to_owned(),
        }
    }
}

/// The section's text, without its heading.
pub(crate) fn section(cases: &[Case]) -> String {
    let mut text = incomplete(cases);
    let mut losses: Vec<Loss> = cases.iter().flat_map(losses_of).collect();
    losses.sort_by(|one, other| other.times.size().total_cmp(&one.times.size()));
    if losses.is_empty() {
        text.push_str(nothing(cases));
    } else {
        text.push_str(&list(&losses));
    }
    if let Some(floor) = floor(cases) {
        text.push_str(&format!("\n{floor}\n"));
    }
    text
}

fn nothing(cases: &[Case]) -> &'static str {
    let compared = cases.iter().any(|case| {
        case.swarm().is_some()
            && case.entries.iter().any(|entry| entry.peer != SWARM && entry.peer != FLOOR && entry.ran())
    });
    if compared {
        "Nowhere in these measurements: no peer's median time is shorter than Swarmwire's.\n"
    } else {
        "These measurements have no peer to compare with.\n"
    }
}

/// What Swarmwire itself did not complete, which is worse than being slow.
fn incomplete(cases: &[Case]) -> String {
    let mut text = String::new();
    let entries = cases.iter().flat_map(|case| case.entries.iter().map(move |entry| (case, entry)));
    for (case, entry) in entries.filter(|(_, entry)| entry.peer == SWARM) {
        for (outcome, name) in [(Outcome::Failed, "failed"), (Outcome::Unfinished, "unfinished")] {
            let count = entry.ended(outcome).count();
            if count > 0 {
                let note = note(entry, outcome).map_or_else(String::new, |note| format!(": {note}"));
                text.push_str(&format!(
                    "- **{}: {count} of {} runs {name}**{note}\n",
                    case.work.title(),
                    entry.runs.len()
                ));
            }
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn losses_of(case: &Case) -> Vec<Loss<'_>> {
    let Some(swarm) = case.swarm() else { return Vec::new() };
    let rivals = case.entries.iter().filter(|entry| entry.peer != SWARM && entry.peer != FLOOR);
    rivals.filter_map(|peer| Some(Loss { case, swarm, peer, times: compare(case, swarm, peer)? })).collect()
}

/// How many times as long Swarmwire took, if it took longer.
fn compare(case: &Case, swarm: &Entry, peer: &Entry) -> Option<Times> {
    if let (Some(mine), Some(theirs)) = (swarm.wall(), peer.wall()) {
        let ratio = swarm.ratio(peer)?;
        let slower = pairwise(&swarm.walls(), &peer.walls()).iter().filter(|ratio| **ratio > 1.0).count();
        return (mine.median > theirs.median).then_some(Times::Paired(ratio, slower));
    }
    if !case.work.is_fresh() {
        let stopped = swarm.ended(Outcome::Unfinished).map(|run| run.wall_seconds).reduce(f64::min)?;
        let times = stopped / peer.wall()?.median;
        return (times > 1.0).then_some(Times::AtLeast(times));
    }
    let rate =
        |entry: &Entry| entry.wall().map(|wall| case.bytes as f64 / wall.median).or_else(|| entry.reached());
    let times = rate(peer)? / rate(swarm)?.max(1.0);
    (times > 1.0).then_some(Times::Reached(times))
}

fn list(losses: &[Loss]) -> String {
    let mut text = String::from(
        "Sorted by how many times as long Swarmwire took; *slower in* counts the pairs of runs. A ratio whose range reaches below 1 is \
         within what runs differ by.\n\n",
    );
    text.push_str(&markdown_row(&[
        "time of swarm by the peer's",
        "slower in",
        "work",
        "peer",
        "encrypted",
        "swarm s",
        "peer s",
    ]));
    text.push_str(&markdown_row(&["---:", "---:", "---", "---", "---", "---:", "---:"]));
    let seconds =
        |entry: &Entry| entry.wall().map_or_else(|| "unfinished".to_owned(), |wall| significant(wall.median));
    for loss in losses {
        text.push_str(&markdown_row(&[
            &loss.times.text(),
            &loss.times.pairs(),
            &loss.case.work.title(),
            &loss.peer.name(),
            encrypted(&loss.peer.peer),
            &seconds(loss.swarm),
            &seconds(loss.peer),
        ]));
    }
    text
}

/// How far Swarmwire is from a copy without any network.
fn floor(cases: &[Case]) -> Option<String> {
    let ratio = |case: &Case| {
        let floor = case.entries.iter().find(|entry| entry.peer == FLOOR)?;
        Some(case.swarm()?.ratio(floor)?.median)
    };
    let range = Spread::of(&cases.iter().filter_map(ratio).collect::<Vec<_>>())?;
    let (range, works) = if range.count == 1 {
        (significant(range.median), "the one piece of work")
    } else {
        (format!("{} to {}", significant(range.least), significant(range.most)), "the pieces of work")
    };
    Some(format!(
        "Not counted: `cp -a`, which uses no network and is the floor. On {works} that it did too, Swarmwire took {range} times as long."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::Run,
        report::{cases::cases, fixture::run},
    };

    /// The rows of the list of losses: what follows its head.
    fn losses(runs: &[Run]) -> Vec<String> {
        let text = section(&cases(runs));
        let rows = text.lines().filter(|line| line.starts_with('|')).skip(2);
        rows.map(str::to_owned).collect()
    }

    fn stopped(run: Run, arrived_bytes: u64) -> Run {
        Run { outcome: Outcome::Unfinished, arrived_bytes, ..run }
    }

    #[test]
    fn losses_are_sorted_by_size_and_the_floor_is_not_among_them() {
        let runs = [
            run(SWARM, 1, 2.0),
            run("scp", 1, 1.6),
            run("rsyncd", 1, 1.0),
            run("rclone", 1, 3.0),
            run(FLOOR, 1, 0.5),
        ];
        let losses = losses(&runs);
        assert_eq!(losses.len(), 2);
        assert!(
            losses[0].starts_with("| 2.00 | 1 of 1 |") && losses[0].contains("| rsyncd | no |"),
            "{}",
            losses[0]
        );
        assert!(
            losses[1].starts_with("| 1.25 | 1 of 1 |") && losses[1].contains("| scp | yes |"),
            "{}",
            losses[1]
        );
        assert!(section(&cases(&runs)).contains("Swarmwire took 4.00 times as long"));
    }

    #[test]
    fn a_stopped_run_loses_to_one_that_completed() {
        let losses = losses(&[stopped(run(SWARM, 1, 60.0), 50_000_000), run("scp", 1, 30.0)]);
        assert!(losses[0].starts_with("| 4.00, by the rates reached |"), "{}", losses[0]);
    }

    #[test]
    fn of_two_stopped_runs_the_one_that_got_less_far_loses() {
        let (mine, theirs) = (stopped(run(SWARM, 1, 60.0), 10), stopped(run("scp", 1, 60.0), 20_000));
        assert_eq!(losses(&[mine.clone(), theirs.clone()]).len(), 1);
        let swapped = [Run { peer: "scp".into(), ..mine }, Run { peer: SWARM.into(), ..theirs }];
        assert!(losses(&swapped).is_empty());
    }

    #[test]
    fn a_stopped_run_into_a_full_destination_is_only_a_lower_bound() {
        let changed = |run: Run| Run { change: "append".into(), ..run };
        let losses =
            losses(&[changed(stopped(run(SWARM, 1, 60.0), 99_000_000)), changed(run("scp", 1, 30.0))]);
        assert!(losses[0].starts_with("| at least 2.00 |"), "{}", losses[0]);
    }

    #[test]
    fn runs_of_ours_that_did_not_complete_come_before_everything() {
        let failed = Run { outcome: Outcome::Failed, note: "the link broke".into(), ..run(SWARM, 2, 1.0) };
        let text = section(&cases(&[run(SWARM, 1, 1.0), failed, run("scp", 1, 0.5)]));
        let first = "- **push small, fresh, over loopback, on tmpfs: 1 of 2 runs failed**: the link broke\n";
        assert!(text.starts_with(first), "{text}");
    }

    #[test]
    fn no_loss_is_said_and_so_is_that_there_was_nobody_to_lose_to() {
        let winning = [run(SWARM, 1, 1.0), run("scp", 1, 2.0)];
        assert!(section(&cases(&winning)).starts_with("Nowhere in these measurements"));
        assert!(section(&cases(&winning[..1])).starts_with("These measurements have no peer"));
    }
}
