//! The rows of `raw.csv` put together: one case per piece of work, one entry per peer in it.
//!
//! A row that repeats an earlier one (same case, peer and run number) replaces it, so that work can be measured again into the same
//! directory. Medians are taken of complete runs only; what did not complete is never left out, it is said beside them.

use crate::{
    figures::{Spread, median, pairwise},
    peer::{self, Transport},
    record::{Outcome, Run},
};

/// The measured program.
pub(crate) const SWARM: &str = "swarm";

/// The peer that ratios are taken to if no other is asked for: the strongest one that everybody has.
const BASELINE: &str = "rsyncd";

/// The local copy, which uses no network: not a rival, but the floor.
pub(crate) const FLOOR: &str = "cp";

/// The change's name for an empty destination.
pub(crate) const FRESH: &str = "fresh";

/// Whether what a peer sends is encrypted, as a table shows it. Who is no peer is another build of Swarmwire.
pub(crate) fn encrypted(id: &str) -> &'static str {
    match peer::ALL.iter().find(|peer| peer.id == id) {
        Some(peer) if peer.transport == Transport::Local => "local",
        Some(peer) if !peer.encrypted => "no",
        _ => "yes",
    }
}

/// What was to be done, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) workload: String,
    pub(crate) change: String,
    pub(crate) mode: String,
    pub(crate) link: String,
    pub(crate) fs: String,
    pub(crate) durable: bool,
}

impl Work {
    fn of(run: &Run) -> Self {
        Self {
            workload: run.workload.clone(),
            change: run.change.clone(),
            mode: run.mode.clone(),
            link: run.link.clone(),
            fs: run.fs.clone(),
            durable: run.durable,
        }
    }

    /// In words: `push small, append, over loopback, on tmpfs`.
    pub(crate) fn title(&self) -> String {
        let durable = if self.durable { ", with syncfs" } else { "" };
        format!(
            "{} {}, {}, over {}, on {}{durable}",
            self.mode, self.workload, self.change, self.link, self.fs
        )
    }

    /// Whether the destination was empty, so that what lies there at the end has arrived.
    pub(crate) fn is_fresh(&self) -> bool {
        self.change == FRESH
    }
}

/// One piece of work, and everybody who did it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) work: Work,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// In the order of all peers, then in which they first ran.
    pub(crate) entries: Vec<Entry>,
}

impl Case {
    /// The entry that ratios are taken to, which has completed: of the named peer (`rsyncd`, `rsyncd/bbr`), else of the rsync daemon, else of
    /// the first other that is not Swarmwire. Where it ran with several congestion controls, its fastest.
    pub(crate) fn baseline(&self, asked: Option<&str>) -> Option<&Entry> {
        let has_completed = |entry: &Entry| entry.wall().is_some();
        let named = |name: &str| {
            self.fastest(|entry| has_completed(entry) && (entry.name() == name || entry.peer == name))
        };
        let other = || self.entries.iter().find(|entry| entry.peer != SWARM && has_completed(entry));
        asked.and_then(named).or_else(|| named(BASELINE)).or_else(|| named(&other()?.peer))
    }

    /// Swarmwire's own entry.
    pub(crate) fn swarm(&self) -> Option<&Entry> {
        self.fastest(|entry| entry.peer == SWARM)
    }

    /// Of the wanted entries that ran, the one that took the least time; if none completed, the one that got furthest.
    pub(crate) fn fastest(&self, wanted: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let rank = |entry: &Entry| {
            let seconds = entry.wall().map_or(f64::INFINITY, |wall| wall.median);
            (seconds, -entry.reached().unwrap_or(0.0))
        };
        let order = |one: &Entry, other: &Entry| {
            let (one, other) = (rank(one), rank(other));
            one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1))
        };
        self.entries
            .iter()
            .filter(|entry| entry.ran() && wanted(entry))
            .min_by(|one, other| order(one, other))
    }
}

/// One peer's runs of one case.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) peer: String,
    pub(crate) tcp: String,
    /// In the order in which they ran.
    pub(crate) runs: Vec<Run>,
}

impl Entry {
    /// The peer, with its congestion control if one was set: `rsyncd/bbr`.
    pub(crate) fn name(&self) -> String {
        if self.tcp.is_empty() { self.peer.clone() } else { format!("{}/{}", self.peer, self.tcp) }
    }

    /// Whether it ran at all.
    pub(crate) fn ran(&self) -> bool {
        self.runs.iter().any(|run| run.outcome != Outcome::Missing)
    }

    /// The runs that ended so.
    pub(crate) fn ended(&self, outcome: Outcome) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.outcome == outcome)
    }

    /// The runs that say what the work costs: the complete ones, or what there is of unfinished ones if none is complete.
    pub(crate) fn telling(&self) -> Vec<&Run> {
        let complete: Vec<&Run> = self.ended(Outcome::Complete).collect();
        if complete.is_empty() { self.ended(Outcome::Unfinished).collect() } else { complete }
    }

    /// Run numbers and times of complete runs.
    pub(crate) fn walls(&self) -> Vec<(u32, f64)> {
        self.ended(Outcome::Complete).map(|run| (run.run, run.wall_seconds)).collect()
    }

    /// The time of complete runs.
    pub(crate) fn wall(&self) -> Option<Spread> {
        self.spread(Outcome::Complete, |run| run.wall_seconds)
    }

    /// Bytes per second that unfinished runs reached.
    pub(crate) fn reached(&self) -> Option<f64> {
        let rate = |run: &Run| run.arrived_bytes as f64 / run.wall_seconds.max(1e-9);
        self.spread(Outcome::Unfinished, rate).map(|rate| rate.median)
    }

    /// This entry's time by the other's, pair by pair; by the medians if no run number is common.
    pub(crate) fn ratio(&self, other: &Self) -> Option<Spread> {
        let (mine, theirs) = (self.wall()?.median, other.wall()?.median);
        Spread::of(&pairwise(&self.walls(), &other.walls())).or_else(|| Spread::of(&[mine / theirs]))
    }

    fn spread(&self, outcome: Outcome, value: impl Fn(&Run) -> f64) -> Option<Spread> {
        Spread::of(&self.ended(outcome).map(value).collect::<Vec<_>>())
    }
}

/// The median over `runs` of what each of them tells; nothing if one of them does not tell it.
pub(crate) fn median_of(runs: &[&Run], value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let values: Option<Vec<f64>> = runs.iter().map(|run| value(run)).collect();
    values.filter(|values| !values.is_empty()).map(|values| median(&values))
}

/// All cases, in the order in which their first rows stand.
pub(crate) fn cases(rows: &[Run]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for run in rows {
        let work = Work::of(run);
        let position = cases.iter().position(|case| case.work == work).unwrap_or_else(|| {
            cases.push(Case { work, files: 0, bytes: 0, entries: Vec::new() });
            cases.len() - 1
        });
        add(&mut cases[position], run);
    }
    for case in &mut cases {
        case.entries.sort_by_key(|entry| place(&entry.peer));
    }
    cases
}

/// Where a peer stands among all; others come last.
fn place(id: &str) -> usize {
    peer::ALL.iter().position(|peer| peer.id == id).unwrap_or(peer::ALL.len())
}

fn add(case: &mut Case, run: &Run) {
    case.files = case.files.max(run.files);
    case.bytes = case.bytes.max(run.bytes);
    let same = |entry: &Entry| entry.peer == run.peer && entry.tcp == run.tcp;
    let Some(entry) = case.entries.iter_mut().find(|entry| same(entry)) else {
        case.entries.push(Entry { peer: run.peer.clone(), tcp: run.tcp.clone(), runs: vec![run.clone()] });
        return;
    };
    // A peer that was missing once and has been installed since is no longer missing.
    entry.runs.retain(|earlier| earlier.run != run.run && earlier.outcome != Outcome::Missing);
    entry.runs.push(run.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(peer: &str, tcp: &str, number: u32, seconds: f64) -> Run {
        Run {
            workload: "small".into(),
            peer: peer.into(),
            tcp: tcp.into(),
            run: number,
            wall_seconds: seconds,
            ..Run::default()
        }
    }

    #[test]
    fn a_repeated_run_replaces_the_earlier_one() {
        let cases = cases(&[run("cp", "", 1, 1.0), run("cp", "", 2, 2.0), run("cp", "", 1, 3.0)]);
        assert_eq!(cases[0].entries[0].walls(), [(2, 2.0), (1, 3.0)]);
    }

    #[test]
    fn a_peer_that_was_missing_and_then_ran_is_not_missing() {
        let missing = Run { outcome: Outcome::Missing, ..run("scp", "", 0, 0.0) };
        let cases = cases(&[missing, run("scp", "", 1, 1.0)]);
        assert_eq!(cases[0].entries[0].walls(), [(1, 1.0)]);
        assert!(cases[0].entries[0].ended(Outcome::Missing).next().is_none());
    }

    #[test]
    fn the_baseline_is_the_rsync_daemon_at_its_fastest_unless_another_is_asked_for() {
        let rows = [
            run(SWARM, "", 1, 1.0),
            run("scp", "", 1, 9.0),
            run("rsyncd", "cubic", 1, 5.0),
            run("rsyncd", "bbr", 1, 2.0),
        ];
        let case = &cases(&rows)[0];
        let name = |asked| case.baseline(asked).map(Entry::name).unwrap();
        assert_eq!(
            [name(None), name(Some("rsyncd/cubic")), name(Some("scp"))],
            ["rsyncd/bbr", "rsyncd/cubic", "scp"]
        );
        assert_eq!(cases(&rows[..2])[0].baseline(None).unwrap().name(), "scp");
        assert!(cases(&rows[..1])[0].baseline(None).is_none());
    }

    #[test]
    fn a_ratio_without_common_runs_is_that_of_the_medians() {
        let cases = cases(&[run(SWARM, "", 1, 3.0), run("scp", "", 2, 2.0)]);
        let ratio = cases[0].entries[0].ratio(&cases[0].entries[1]).unwrap();
        assert_eq!((ratio.median, ratio.count), (1.5, 1));
    }
}
