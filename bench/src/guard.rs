//! `cargo lab guard`: whether a change helped, in five minutes.
//!
//! The binaries of another revision are built from a scratch copy of its files and take turns with those of this tree, on a short set of cases.
//! Below 1, this tree is faster. Both builds share cargo's target directory, so that only the project's own crates are compiled twice.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries::{self, Binaries},
    compare::{Entrant, Lab, Options},
    figures::Spread,
    process,
    record::{Outcome, Run},
    work::Work,
};

/// How long git and tar may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name under which the other revision appears.
const BASE: &str = "base";

/// Measures both on the cases of `options`, whose peers are not asked, and prints the ratios.
pub fn run(revision: &str, options: &Options, out: &mut impl Write) -> Result<()> {
    let work = Work::begin(&options.place)?;
    let commit = commit_of(&work, revision)?;
    writeln!(out, "base is {revision}, {commit}")?;
    let other = build(&work, &commit)?;
    let own = Binaries::build(work.nursery())?;
    let contestant = options.peers.contestants(&[]).into_iter().next().context("nobody takes part")?;
    let entrants = vec![
        Entrant::new(contestant.clone(), &own),
        Entrant { name: BASE.to_owned(), ..Entrant::new(contestant, &other) },
    ];
    let options = Options { baseline: Some(BASE.to_owned()), ..options.clone() };
    let mut lab = Lab::open(&options, &work, entrants)?;
    for workload in &options.workloads {
        lab.workload(workload, out)?;
    }
    let runs = lab.close(out)?;
    writeln!(out, "this tree's time as a share of {BASE}'s, {} pairs each:", options.runs)?;
    for (case, ratios) in ratios(&runs) {
        match Spread::of(&ratios) {
            Some(Spread { median, least, most, .. }) => {
                writeln!(out, "  {case:<28} {median:.2} ({least:.2}–{most:.2})")?;
            }
            None => writeln!(out, "  {case:<28} no pair was completed")?,
        }
    }
    if runs.iter().any(|run| run.outcome != Outcome::Complete) {
        bail!("not every run was completed");
    }
    Ok(())
}

fn commit_of(work: &Work, revision: &str) -> Result<String> {
    let mut git = git();
    git.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]).arg(format!("{revision}^{{commit}}"));
    let commit = work.nursery().run(&git, None, PATIENCE)?.success();
    let commit = commit.map_err(|_| anyhow::anyhow!("{revision:?} is no revision of this repository"))?;
    Ok(commit.trim().to_owned())
}

fn git() -> std::process::Command {
    let mut git = process::command("git");
    git.current_dir(binaries::workspace());
    git
}

/// Builds the programs of `commit` from a copy of its files, and puts them beside that copy.
fn build(work: &Work, commit: &str) -> Result<Binaries> {
    let (archive, tree) = (work.path().join("base.tar"), work.path().join("base"));
    fs::create_dir(&tree)?;
    let mut export = git();
    export.args(["archive", "--format=tar", "--output"]).arg(&archive).arg(commit);
    work.nursery().run(&export, None, PATIENCE)?.success().context("failed to export the base")?;
    let mut unpack = process::command("tar");
    unpack.arg("-xf").arg(&archive).arg("-C").arg(&tree);
    work.nursery().run(&unpack, None, PATIENCE)?.success().context("failed to unpack the base")?;
    fs::remove_file(&archive)?;
    let built = Binaries::build_in(&tree, Some(&binaries::workspace().join("target")), work.nursery())
        .context("failed to build the base")?;
    // The next build puts its own programs into their places.
    let copy = |program: &Path, name: &str| -> Result<PathBuf> {
        let to = work.path().join(name);
        fs::copy(program, &to).with_context(|| format!("failed to copy {}", program.display()))?;
        Ok(to)
    };
    Ok(Binaries { swarmd: copy(&built.swarmd, "base-swarmd")?, swarm: copy(&built.swarm, "base-swarm")? })
}

/// The ratio of each round, case by case, in the order of the runs.
fn ratios(runs: &[Run]) -> Vec<(String, Vec<f64>)> {
    let mut cases: Vec<(String, Vec<f64>)> = vec![];
    let name = |run: &Run| format!("{} {} {}", run.workload, run.change, run.mode);
    let complete = |run: &&Run| run.outcome == Outcome::Complete;
    for run in runs.iter().filter(|run| run.peer != BASE) {
        let case = name(run);
        if cases.last().is_none_or(|(last, _)| *last != case) {
            cases.push((case.clone(), vec![]));
        }
        let base = runs
            .iter()
            .filter(complete)
            .find(|other| other.peer == BASE && other.run == run.run && name(other) == case);
        if let (Some(base), Some((_, ratios)), true) = (base, cases.last_mut(), complete(&run)) {
            ratios.push(run.wall_seconds / base.wall_seconds);
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round_and_incomplete_runs_are_left_out() {
        let run = |peer: &str, run, wall_seconds, outcome| Run {
            workload: "tiny".to_owned(),
            change: "fresh".to_owned(),
            mode: "push".to_owned(),
            peer: peer.to_owned(),
            run,
            wall_seconds,
            outcome,
            ..Run::default()
        };
        let runs = [
            run("swarm", 1, 1.0, Outcome::Complete),
            run(BASE, 1, 2.0, Outcome::Complete),
            run("swarm", 2, 3.0, Outcome::Complete),
            run(BASE, 2, 2.0, Outcome::Failed),
            run("swarm", 3, 3.0, Outcome::Complete),
            run(BASE, 3, 2.0, Outcome::Complete),
        ];
        assert_eq!(ratios(&runs), [("tiny fresh push".to_owned(), vec![0.5, 1.5])]);
    }
}
