//! What both sides of a sync spent their time on (`--stats`), and what that names as the thing to look at. Pure.
//!
//! Times are sums over threads that overlap, so they may exceed the wall clock. The peer tells its own when all is done.

use std::{collections::BTreeMap, time::Duration};

use swarmwire_common::{sync::Stage, wire::sync::Direction};

use super::account::{Account, StageTimes};

/// The table for people.
pub(super) fn lines(direction: Direction, account: &Account) -> Vec<String> {
    let wall = account.time.as_secs_f64();
    let share = |time: Duration| if wall > 0.0 { 100.0 * time.as_secs_f64() / wall } else { 0.0 };
    let mut lines = vec![format!("{:<14} {:>16} {:>16}", "stage", "here", "gateway")];
    for ((stage, here), there) in Stage::ALL.into_iter().zip(account.stages).zip(account.peer_stages) {
        if here.is_zero() && there.is_zero() {
            continue;
        }
        let cell = |time: Duration| match time.is_zero() {
            true => "-".to_owned(),
            false => format!("{:.3} s {:>4.0}%", time.as_secs_f64(), share(time)),
        };
        lines.push(format!("{:<14} {:>16} {:>16}", stage.as_str(), cell(here), cell(there)));
    }
    lines.push(bottleneck(direction, account));
    lines
}

/// Seconds by stage, for programs.
pub(super) fn seconds(stages: &StageTimes) -> BTreeMap<&'static str, f64> {
    Stage::ALL.into_iter().zip(stages).map(|(stage, time)| (stage.as_str(), time.as_secs_f64())).collect()
}

/// What to look at first, in words. Who waits names the one that is waited for.
fn bottleneck(direction: Direction, account: &Account) -> String {
    let (here, there) = ((&account.stages, "here"), (&account.peer_stages, "at the gateway"));
    let (source, destination) = match direction {
        Direction::Push => (here, there),
        Direction::Pull => (there, here),
    };
    let ((stage, time), side) = match (longest(source.0), longest(destination.0)) {
        (ours, theirs) if ours.1 >= theirs.1 => (ours, source.1),
        (_, theirs) => (theirs, destination.1),
    };
    let waited_for = slot(destination.0, Stage::WaitDisk);
    let (stage, side) = match stage {
        _ if time.is_zero() => return "bottleneck: none".to_owned(),
        // The destination's writers were behind, so the network had to wait for them.
        Stage::WaitNetwork if waited_for * 2 >= time => (work(destination.0), destination.1),
        Stage::WaitNetwork => (stage, "between the two"),
        Stage::WaitDisk => (work(destination.0), destination.1),
        stage => (stage, side),
    };
    format!("bottleneck: {} {side}: {}", stage.as_str(), meaning(stage))
}

fn slot(stages: &StageTimes, wanted: Stage) -> Duration {
    Stage::ALL.into_iter().zip(stages).find(|(stage, _)| *stage == wanted).map_or(Duration::ZERO, |at| *at.1)
}

fn longest(stages: &StageTimes) -> (Stage, Duration) {
    let longest = Stage::ALL.into_iter().zip(*stages).max_by_key(|(_, time)| *time);
    longest.unwrap_or((Stage::Scan, Duration::ZERO))
}

/// The longest stage that does something.
fn work(stages: &StageTimes) -> Stage {
    let works = |stage: &Stage| !matches!(stage, Stage::WaitNetwork | Stage::WaitDisk);
    let longest = Stage::ALL.into_iter().zip(stages).filter(|(stage, _)| works(stage)).max_by_key(|at| at.1);
    longest.map_or(Stage::Write, |(stage, _)| stage)
}

fn meaning(stage: Stage) -> &'static str {
    match stage {
        Stage::Scan => "listing the source",
        Stage::Plan => "looking at what the destination has",
        Stage::Read => "the disk that is read from",
        Stage::Hash => "the processor",
        Stage::Compress => "the processor (`--compress never` leaves it out)",
        Stage::WaitNetwork => "the network, or the limit on it",
        Stage::WaitDisk => "the writers",
        Stage::Write => "the disk or the file system",
        Stage::Sync => "the disk making things durable (`--durability` says how often)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(of: &[(Stage, u64)]) -> StageTimes {
        Stage::ALL.map(|stage| {
            let found = of.iter().find(|(named, _)| *named == stage);
            Duration::from_millis(found.map_or(0, |(_, time)| *time))
        })
    }

    #[test]
    fn the_table_has_what_took_time_at_both_sides() {
        let mut account = Account { time: Duration::from_secs(2), ..Account::default() };
        assert_eq!(lines(Direction::Push, &account).last().unwrap(), "bottleneck: none");
        account.stages = times(&[(Stage::Read, 500), (Stage::WaitNetwork, 3000)]);
        account.peer_stages = times(&[(Stage::Write, 1000), (Stage::Read, 20)]);
        assert_eq!(
            lines(Direction::Push, &account),
            [
                "stage                      here          gateway",
                "read              0.500 s   25%    0.020 s    1%",
                "wait_network      3.000 s  150%                -",
                "write                         -    1.000 s   50%",
                "bottleneck: wait_network between the two: the network, or the limit on it",
            ]
        );
        assert_eq!(
            (seconds(&account.stages).len(), seconds(&account.stages)["read"]),
            (Stage::ALL.len(), 0.5)
        );
    }

    #[test]
    fn who_waits_names_the_one_that_is_waited_for() {
        let waits: &[(Stage, u64)] = &[(Stage::WaitNetwork, 900), (Stage::Read, 100)];
        let behind: &[(Stage, u64)] = &[(Stage::WaitDisk, 800), (Stage::Sync, 400), (Stage::Write, 100)];
        for (direction, here, there, expected) in [
            (Direction::Push, waits, behind, "sync at the gateway"),
            (Direction::Pull, behind, waits, "sync here"),
            (Direction::Push, waits, &[(Stage::Write, 100)][..], "wait_network between the two"),
            (Direction::Pull, &[(Stage::Write, 10)], &[(Stage::Read, 100)], "read at the gateway"),
            (Direction::Push, &[(Stage::Hash, 100)], &[(Stage::Hash, 90)], "hash here"),
        ] {
            let account = Account { stages: times(here), peer_stages: times(there), ..Account::default() };
            let told = bottleneck(direction, &account);
            assert!(told.starts_with(&format!("bottleneck: {expected}: ")), "{told}");
        }
    }
}
