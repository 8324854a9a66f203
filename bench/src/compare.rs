//! Push and pull side by side with an rsync daemon (no encryption) on the same tree.
//!
//! Fair by construction: the programs take turns (A B A B), each into a fresh destination on the same file system; the time is the wall time of
//! the whole client process; memory is touched before each run, because a virtual machine's first touch of a page costs several times more; every
//! result is compared with the source; the first round is not counted. rsync never syncs to disk; what Swarmwire promises meanwhile is said in the heading.
//! Ratios are taken pair by pair: below 1, Swarmwire was faster.

mod rsync;

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries::Binaries,
    figures::{grouped, median, megabytes, per_second},
    gateway::{self, Gateway},
    verify::Snapshot,
    workload::{Generated, Workload},
};
use rsync::Daemon;

/// Seed of every workload.
const SEED: u64 = 3;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tree.
    pub workload: Workload,
    /// Counted runs of each program in each direction.
    pub runs: usize,
    /// Where a temporary directory for the trees is made.
    pub dir: PathBuf,
    /// `swarm sync --durability`.
    pub durability: String,
}

/// Measures, and writes the table to `out`.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let work = tempfile::Builder::new()
        .prefix("swarmwire-compare-")
        .tempdir_in(&options.dir)
        .with_context(|| format!("failed to make a directory in {}", options.dir.display()))?;
    expect_space(work.path(), options.workload.bytes_max()?)?;
    let binaries = Binaries::build()?;
    let bench = Bench::start(work.path(), binaries, options)?;
    writeln!(
        out,
        "{} files, {}, in {}; {} runs each; swarm --durability {}, rsync syncs nothing",
        grouped(bench.tree.files),
        megabytes(bench.tree.bytes),
        options.dir.display(),
        options.runs,
        options.durability,
    )?;
    let mut pairs: [Vec<Pair>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=options.runs {
        for (direction, pairs) in [Direction::Push, Direction::Pull].into_iter().zip(&mut pairs) {
            let pair = Pair { swarm: bench.swarm(direction)?, rsync: bench.rsync(direction)? };
            if round > 0 {
                pairs.push(pair);
            }
        }
    }
    write_table(&bench, &pairs, out)?;
    bench.gateway.stop()
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Push,
    Pull,
}

/// One run of one program.
#[derive(Clone, Copy, Debug)]
struct Run {
    wall: Duration,
    client_peak_bytes: u64,
}

/// The two programs, one straight after the other.
#[derive(Clone, Copy, Debug)]
struct Pair {
    swarm: Run,
    rsync: Run,
}

/// Both servers over one root, and the tree in it.
struct Bench {
    gateway: Gateway,
    daemon: Daemon,
    root: PathBuf,
    work: PathBuf,
    durability: String,
    tree: Generated,
    original: Snapshot,
}

impl Bench {
    const SOURCE: &'static str = "source";
    const ARRIVED: &'static str = "arrived";

    fn start(work: &Path, binaries: Binaries, options: &Options) -> Result<Self> {
        let root = work.join("root");
        let source = root.join(Self::SOURCE);
        fs::create_dir_all(&source)?;
        let tree = options.workload.generate(&source, SEED)?;
        let gateway = Gateway::start(binaries, &root, work)?;
        gateway.join()?;
        Ok(Self {
            gateway,
            daemon: Daemon::start(&root, work)?,
            original: Snapshot::take(&source)?,
            root,
            work: work.to_owned(),
            durability: options.durability.clone(),
            tree,
        })
    }

    fn swarm(&self, direction: Direction) -> Result<Run> {
        let remote = |name: &str| OsString::from(format!("{}:{name}/", gateway::NAME));
        self.timed(direction, |local, name| {
            let options = ["--durability", self.durability.as_str(), "--quiet"];
            let synced = match direction {
                Direction::Push => self.gateway.sync(local, &remote(name), &options)?,
                Direction::Pull => self.gateway.sync(&remote(name), local, &options)?,
            };
            Ok(Run { wall: synced.finished.wall, client_peak_bytes: synced.finished.peak_bytes })
        })
    }

    fn rsync(&self, direction: Direction) -> Result<Run> {
        let remote = |name: &str| OsString::from(self.daemon.place(name));
        self.timed(direction, |local, name| {
            let finished = match direction {
                Direction::Push => rsync::transfer(local, &remote(name))?,
                Direction::Pull => rsync::transfer(&remote(name), local)?,
            };
            Ok(Run { wall: finished.wall, client_peak_bytes: finished.peak_bytes })
        })
    }

    /// Prepares one run, does it between the local place and the name below the root, compares the result, and removes it.
    fn timed(
        &self,
        direction: Direction,
        transfer: impl FnOnce(&OsString, &str) -> Result<Run>,
    ) -> Result<Run> {
        let (local, name, result) = match direction {
            Direction::Push => (self.root.join(Self::SOURCE), Self::ARRIVED, self.root.join(Self::ARRIVED)),
            Direction::Pull => (self.work.join("pulled"), Self::SOURCE, self.work.join("pulled")),
        };
        let mut local = local.into_os_string();
        local.push("/");
        touch_memory(&self.work, self.tree.bytes)?;
        let run = transfer(&local, name)?;
        if let Some(difference) = self.original.differences(&Snapshot::take(&result)?).first() {
            bail!("the result of a {direction:?} is not the source: {difference}");
        }
        fs::remove_dir_all(&result)?;
        Ok(run)
    }
}

/// Writes and removes as many bytes as a run will, so that the run finds its pages in the guest.
fn touch_memory(dir: &Path, bytes: u64) -> Result<()> {
    let path = dir.join("touch");
    let mut file = File::create(&path)?;
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..bytes.div_ceil(zeros.len() as u64) {
        file.write_all(&zeros)?;
    }
    drop(file);
    fs::remove_file(&path)?;
    Ok(())
}

/// The source and one more copy must fit, and small files take whole pages.
fn expect_space(dir: &Path, bytes: u64) -> Result<()> {
    let space = rustix::fs::statvfs(dir)?;
    let (free, needed) = (space.f_bavail * space.f_frsize, bytes * 5 / 2);
    if free < needed {
        bail!("{} has {} free, and this takes {}", dir.display(), megabytes(free), megabytes(needed));
    }
    Ok(())
}

fn write_table(bench: &Bench, pairs: &[Vec<Pair>; 2], out: &mut impl Write) -> Result<()> {
    writeln!(out, "            median s    min    max   files/s     MB/s   client peak   ratio (min–max)")?;
    for (direction, pairs) in ["push", "pull"].into_iter().zip(pairs) {
        let ratios: Vec<f64> =
            pairs.iter().map(|pair| pair.swarm.wall.as_secs_f64() / pair.rsync.wall.as_secs_f64()).collect();
        let (least, most) = spread(&ratios);
        let swarm: Vec<Run> = pairs.iter().map(|pair| pair.swarm).collect();
        let rsync: Vec<Run> = pairs.iter().map(|pair| pair.rsync).collect();
        writeln!(
            out,
            "{direction} swarm  {}   {:.2} ({least:.2}–{most:.2})",
            row(bench.tree, &swarm),
            median(&ratios)
        )?;
        writeln!(out, "{direction} rsync  {}", row(bench.tree, &rsync))?;
    }
    writeln!(
        out,
        "the gateway's peak: {}; rsync's client counts its first process alone",
        megabytes(bench.gateway.peak_bytes())
    )?;
    Ok(())
}

fn row(tree: Generated, runs: &[Run]) -> String {
    let seconds: Vec<f64> = runs.iter().map(|run| run.wall.as_secs_f64()).collect();
    let (middle, (least, most)) = (median(&seconds), spread(&seconds));
    let time = Duration::from_secs_f64(middle);
    let peak = runs.iter().map(|run| run.client_peak_bytes).max().unwrap_or(0);
    format!(
        "{middle:8.3} {least:6.3} {most:6.3} {:9.0} {:8.1} {:>13}",
        per_second(tree.files, time),
        per_second(tree.bytes, time) / 1e6,
        megabytes(peak),
    )
}

fn spread(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(0.0, f64::max))
}
