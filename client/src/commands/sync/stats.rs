//! What this side of a sync spent its time on (`--stats`), and which stage that names as the one to look at. Pure.
//!
//! Times are sums over threads that overlap, so they may exceed the wall clock. The peer's stages are its own to show: a gateway's
//! are in its metrics.

use std::{collections::BTreeMap, time::Duration};

use swarmwire_common::{sync::Stage, wire::sync::Direction};

use super::account::Account;

/// The table for people.
pub(super) fn lines(direction: Direction, account: &Account) -> Vec<String> {
    let wall = account.time.as_secs_f64();
    let mut lines = vec![format!("{:<14} {:>9} {:>10}", "stage (here)", "seconds", "of run")];
    for (stage, time) in stages(account).filter(|(_, time)| !time.is_zero()) {
        let seconds = time.as_secs_f64();
        let share = if wall > 0.0 { 100.0 * seconds / wall } else { 0.0 };
        lines.push(format!("{:<14} {seconds:>9.3} {share:>9.0}%", stage.as_str()));
    }
    lines.push(bottleneck(direction, account).to_owned());
    lines
}

/// Seconds by stage, for programs.
pub(super) fn seconds(account: &Account) -> BTreeMap<&'static str, f64> {
    stages(account).map(|(stage, time)| (stage.as_str(), time.as_secs_f64())).collect()
}

fn stages(account: &Account) -> impl Iterator<Item = (Stage, Duration)> {
    Stage::ALL.into_iter().zip(account.stages)
}

/// What to look at first, in words.
fn bottleneck(direction: Direction, account: &Account) -> &'static str {
    let longest = stages(account).max_by_key(|(_, time)| *time).filter(|(_, time)| !time.is_zero());
    match longest.map(|(stage, _)| stage) {
        None => "bottleneck: none on this side",
        Some(Stage::Scan) => "bottleneck: scan, listing the source",
        Some(Stage::Plan) => "bottleneck: plan, looking at what the destination has",
        Some(Stage::Read) => "bottleneck: read, the source's disk",
        Some(Stage::Hash) => "bottleneck: hash, this side's processor",
        Some(Stage::Compress) => {
            "bottleneck: compress, this side's processor (`--compress never` leaves it out)"
        }
        Some(Stage::WaitNetwork) => "bottleneck: wait_network, the network or the gateway behind it",
        Some(Stage::WaitDisk) if direction == Direction::Push => "bottleneck: wait_disk",
        Some(Stage::WaitDisk) => "bottleneck: wait_disk, this side's writers",
        Some(Stage::Write) => "bottleneck: write, this side's disk or file system",
        Some(Stage::Sync) => {
            "bottleneck: sync, this side's disk making things durable (`--durability` says how often)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_what_took_time_and_names_the_longest() {
        let mut account = Account { time: Duration::from_secs(2), ..Account::default() };
        assert_eq!(lines(Direction::Push, &account).last().unwrap(), "bottleneck: none on this side");
        for (stage, time) in Stage::ALL.into_iter().zip(&mut account.stages) {
            *time = match stage {
                Stage::Read => Duration::from_millis(500),
                Stage::WaitNetwork => Duration::from_millis(3000),
                _ => Duration::ZERO,
            };
        }
        assert_eq!(
            lines(Direction::Push, &account),
            [
                "stage (here)     seconds     of run",
                "read               0.500        25%",
                "wait_network       3.000       150%",
                "bottleneck: wait_network, the network or the gateway behind it",
            ]
        );
        assert_eq!((seconds(&account).len(), seconds(&account)["read"]), (Stage::ALL.len(), 0.5));
    }
}
