//! `cargo lab crowd`: what one gateway does with many controllers that push at once.
//!
//! Each controller is a process with an identity of its own, and pushes the same tree to a directory of its own; all are started together. What
//! counts is the time until the last has ended, how evenly the gateway has served them, and what each of them costs it.

use std::{
    fs,
    io::Write,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries::Binaries,
    compare::memory,
    figures::{Spread, megabytes, significant},
    gateway::{self, Gateway, State},
    ground::Ground,
    process::{Process, tree},
    verify::Snapshot,
    work::Work,
    workload::{Generated, Workload},
};

/// How long all pushes together may take. Chosen: a hundred take seconds.
const DEADLINE: Duration = Duration::from_secs(600);

/// How often the gateway's memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Numbers of controllers, one after the other.
    pub controllers: Vec<NonZeroU32>,
    /// What each of them pushes.
    pub workload: Workload,
    /// An existing directory for the trees.
    pub place: PathBuf,
    /// What the tree follows.
    pub seed: u64,
}

/// Measures, and writes a line for each number of controllers to `out`.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let most = options.controllers.iter().max().context("nobody pushes")?;
    let work = Work::begin(&options.place)?;
    work.expect_space(options.workload.bytes_max()? * (u64::from(most.get()) + 1))?;
    let binaries = Binaries::build(work.nursery())?;
    let ground = Ground::loopback(work.nursery())?;
    let source = work.path().join("tree");
    fs::create_dir(&source)?;
    let tree = options.workload.generate(&source, options.seed)?;
    let original = Snapshot::take(&source)?;
    writeln!(
        out,
        "{:>11}  {:>8}  {:>8}  {:>24}  {:>8}  {:>11}  {:>18}  {:>12}",
        "controllers", "s", "MB/s", "s of each", "fairness", "gateway", "gateway, of each", "CPU s/GB"
    )?;
    for &controllers in &options.controllers {
        let top = tempfile::tempdir_in(work.path())?;
        let scene =
            Scene { binaries: &binaries, ground: &ground, source: &source, top: top.path(), tree: &tree };
        let outcome = scene.measure(controllers.get())?;
        for directory in fs::read_dir(scene.root())? {
            let directory = directory?.path();
            if let Some(difference) = original.differences(&Snapshot::take(&directory)?).first() {
                bail!("what arrived in {} differs: {difference}", directory.display());
            }
        }
        writeln!(out, "{}", line(controllers.get(), &tree, &outcome)?)?;
    }
    Ok(())
}

/// One number of controllers.
struct Scene<'a> {
    binaries: &'a Binaries,
    ground: &'a Ground,
    source: &'a Path,
    top: &'a Path,
    tree: &'a Generated,
}

/// What they did.
#[derive(Debug)]
struct Outcome {
    /// Until the last has ended.
    wall: Duration,
    /// Seconds of each.
    each: Vec<f64>,
    /// CPU time of all.
    cpu: Duration,
    /// The gateway's memory before the first push.
    idle_bytes: u64,
    /// The most of it meanwhile.
    peak_bytes: u64,
}

impl Scene<'_> {
    fn root(&self) -> PathBuf {
        self.top.join("root")
    }

    fn measure(&self, controllers: u32) -> Result<Outcome> {
        fs::create_dir(self.root())?;
        let states: Vec<State> = (0..controllers).map(|number| self.state(number)).collect::<Result<_>>()?;
        let handlers = controllers.to_string();
        let gateway = Gateway::start_with(&states[0], self.ground, &self.root(), &["--handlers", &handlers])?;
        for state in &states[1..] {
            gateway.admit(state)?;
        }
        let gateway = gateway.into_process();
        let resident = || tree::resident_bytes(&tree::descendants(gateway.keeper_id()));
        memory::touch(self.tree.files * u64::from(controllers), self.tree.bytes * u64::from(controllers))?;
        let idle_bytes = resident();
        let mut peak_bytes = idle_bytes;
        let begin = Instant::now();
        let pushes: Vec<Process> = states
            .iter()
            .enumerate()
            .map(|(number, state)| self.push(state, number))
            .collect::<Result<_>>()?;
        for push in &pushes {
            while !push.ended_within(LOOK_INTERVAL)? {
                peak_bytes = peak_bytes.max(resident());
                if begin.elapsed() > DEADLINE {
                    bail!("the pushes did not end within {} s", DEADLINE.as_secs());
                }
            }
        }
        let wall = begin.elapsed();
        let mut each = Vec::new();
        let served = gateway.terminate()?.report;
        let mut cpu = served.user + served.system;
        for push in pushes {
            let push = push.finish()?;
            push.success()?;
            each.push(push.report.wall.as_secs_f64());
            cpu += push.report.user + push.report.system;
        }
        Ok(Outcome { wall, each, cpu, idle_bytes, peak_bytes: peak_bytes.max(served.peak_bytes) })
    }

    /// The gateway's state, with a controller of this number.
    fn state(&self, number: u32) -> Result<State> {
        let home = self.top.join("homes");
        fs::create_dir_all(&home)?;
        Ok(State::at(&home, self.binaries).with_controller(&format!("controller-{number}")))
    }

    fn push(&self, state: &State, number: usize) -> Result<Process> {
        let mut push = state.swarm();
        push.args(["sync", "--quiet", "--durability", "none", "--compress", "never"]);
        push.arg(format!("{}/", self.source.display())).arg(format!("{}:of-{number}/", gateway::NAME));
        self.ground.near().spawn(&push)
    }
}

fn line(controllers: u32, tree: &Generated, outcome: &Outcome) -> Result<String> {
    let bytes = tree.bytes as f64 * f64::from(controllers);
    let wall = outcome.wall.as_secs_f64();
    let each = Spread::of(&outcome.each).context("nobody has pushed")?;
    Ok(format!(
        "{controllers:>11}  {:>8}  {:>8}  {:>24}  {:>8.3}  {:>11}  {:>18}  {:>12}",
        significant(wall),
        significant(bytes / 1e6 / wall),
        each.text(),
        fairness(&outcome.each),
        megabytes(outcome.peak_bytes),
        megabytes((outcome.peak_bytes - outcome.idle_bytes) / u64::from(controllers)),
        significant(outcome.cpu.as_secs_f64() / bytes * 1e9),
    ))
}

/// Jain's index of the rates at which equal work was done in these times: 1 where all are equal, 1 / n where one has everything (Jain, Chiu
/// and Hawe, DEC-TR-301, 1984).
fn fairness(seconds: &[f64]) -> f64 {
    let rates = || seconds.iter().map(|seconds| 1.0 / seconds.max(1e-9));
    rates().sum::<f64>().powi(2) / (seconds.len() as f64 * rates().map(|rate| rate * rate).sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_where_all_are_equal_and_falls_with_their_differences() {
        assert!((fairness(&[2.0; 7]) - 1.0).abs() < 1e-12);
        // Rates of 1 and 3: 4² / (2 × 10).
        assert!((fairness(&[1.0, 1.0 / 3.0]) - 0.8).abs() < 1e-12);
        assert!(fairness(&[1e-9, 1e9, 1e9, 1e9]) < 0.26);
    }
}
