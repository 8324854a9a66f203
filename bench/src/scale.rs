//! `cargo lab scale`: how time and memory of both ends grow with the number of files, fresh and unchanged.
//!
//! The files have 1 KiB each, so that a million of them fit into memory twice and what is measured is the cost of an entry. Each size is synced
//! into an empty destination, compared, and synced again.

use std::{
    fs,
    io::Write,
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries::Binaries,
    compare::trial::{self, Ending, Trial},
    figures::{grouped, megabytes},
    ground::Ground,
    peer::{Description, Mode, Site, Transfer},
    record::Growth,
    report::{self, Directory},
    verify::Snapshot,
    work::Work,
    workload::{Generated, Workload},
};

/// How long one sync may take. Chosen: a million files take about ten seconds.
const DEADLINE: Duration = Duration::from_secs(600);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Numbers of files.
    pub sizes: Vec<NonZeroU64>,
    /// Which ways.
    pub modes: Vec<Mode>,
    /// Runs of each size.
    pub runs: u32,
    /// An existing directory for the trees.
    pub place: PathBuf,
    /// The report's name and the directory for reports; nothing prints only.
    pub report: Option<(String, PathBuf)>,
    /// What the trees follow.
    pub seed: u64,
    /// The command line, for the report.
    pub command: String,
}

/// Measures, prints a line for each sync, and writes the report.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let work = Work::begin(&options.place)?;
    for size in &options.sizes {
        work.expect_space(Workload::Files(*size).bytes_max()? * 2)
            .with_context(|| format!("failed to make room for {} files", grouped(size.get())))?;
    }
    let binaries = Binaries::build(work.nursery())?;
    let directory = Directory::asked_for(options.report.as_ref(), &options.command)?;
    let mut rows = directory.as_ref().map(Directory::append).transpose()?;
    let ground = Ground::loopback(work.nursery())?;
    writeln!(out, "{:>9} {:>9} {:>4}  {:>8}  {:>10}  {:>10}", "files", "", "", "s", "client", "server")?;
    for &mode in &options.modes {
        for &size in &options.sizes {
            let scene = Scene::set(&work, &ground, &binaries, (size, mode), options.seed)?;
            for number in 1..=options.runs {
                for growth in scene.measure(number)? {
                    writeln!(out, "{}", line(&growth))?;
                    if let Some(rows) = &mut rows {
                        rows.write(growth)?;
                    }
                }
            }
            scene.strike()?;
        }
    }
    if let Some(directory) = directory {
        report::write(directory.path())?;
        writeln!(out, "report: {}", directory.path().join("summary.md").display())?;
    }
    Ok(())
}

/// One tree, and one way for it to go.
struct Scene<'a> {
    ground: &'a Ground,
    binaries: &'a Binaries,
    top: PathBuf,
    home: PathBuf,
    transfer: Transfer,
    tree: Generated,
    original: Snapshot,
}

impl<'a> Scene<'a> {
    fn set(
        work: &Work,
        ground: &'a Ground,
        binaries: &'a Binaries,
        (files, mode): (NonZeroU64, Mode),
        seed: u64,
    ) -> Result<Self> {
        let (top, home) = (work.path().join("trees"), work.path().join("home"));
        let (near, far) = (top.join("near/tree"), top.join("far/tree"));
        let transfer = Transfer { mode, near, far, mirror: false, durable: false };
        for directory in ["near", "far"] {
            fs::create_dir_all(top.join(directory))?;
        }
        fs::create_dir_all(&home)?;
        fs::create_dir(transfer.source())?;
        let tree = Workload::Files(files).generate(transfer.source(), seed)?;
        let original = Snapshot::take(transfer.source())?;
        Ok(Self { ground, binaries, top, home, transfer, tree, original })
    }

    /// A fresh sync, the comparison of what it gave, and a sync of the same again.
    fn measure(&self, number: u32) -> Result<[Growth; 2]> {
        let destination = self.transfer.destination();
        if destination.exists() {
            fs::remove_dir_all(destination)?;
        }
        let fresh = self.sync()?;
        let differences = self.original.differences(&Snapshot::take(destination)?);
        if let Some(difference) = differences.first() {
            bail!("the result differs in {} places: {difference}", differences.len());
        }
        let unchanged = self.sync()?;
        Ok([self.growth("fresh", &fresh, number), self.growth("unchanged", &unchanged, number)])
    }

    fn sync(&self) -> Result<Trial> {
        let peer = Description::of_id("swarm")?;
        let far: &Path = &self.top.join("far");
        let site = Site { ground: self.ground, home: &self.home, root: far, binaries: self.binaries };
        let prepared = (peer.prepare)(&site, &self.transfer)?;
        let trial = trial::run(self.ground, prepared, &self.transfer, DEADLINE, false)?;
        match &trial.ending {
            Ending::Succeeded => Ok(trial),
            Ending::TimedOut => bail!("a sync did not end within {} s", DEADLINE.as_secs()),
            Ending::Failed(reason) => bail!("{reason}"),
        }
    }

    fn growth(&self, change: &str, trial: &Trial, run: u32) -> Growth {
        Growth {
            files: self.tree.files,
            bytes: self.tree.bytes,
            change: change.to_owned(),
            mode: self.transfer.mode.to_string(),
            run,
            wall_seconds: trial.wall.as_secs_f64(),
            client_cpu_seconds: trial.client.cpu().as_secs_f64(),
            server_cpu_seconds: trial.server.cpu().as_secs_f64(),
            client_peak_bytes: trial.client.peak_bytes,
            server_peak_bytes: trial.server.peak_bytes,
        }
    }

    fn strike(self) -> Result<()> {
        fs::remove_dir_all(&self.top).context("failed to remove the trees")
    }
}

fn line(growth: &Growth) -> String {
    format!(
        "{:>9} {:>9} {:>4}  {:>8.3}  {:>10}  {:>10}",
        grouped(growth.files),
        growth.change,
        growth.mode,
        growth.wall_seconds,
        megabytes(growth.client_peak_bytes),
        megabytes(growth.server_peak_bytes),
    )
}
