//! `cargo demo [DIR]`: the whole product in one run, with nothing set up before.
//!
//! A gateway with a fresh identity starts on loopback, a controller is invited and joins, the directory goes up and comes back down, both copies are
//! compared with the original, and a second sync must move nothing. DIR is only read. Any difference is an error, and so is a gateway that does not
//! end well. The times shown are of the transfers alone, as the controller's summaries tell them.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries::Binaries,
    figures::{grouped, megabytes, per_second},
    gateway::{self, Gateway, State, Summary},
    ground::Ground,
    verify::Snapshot,
    work::Work,
    workload,
};

/// Files of the generated directory.
const GENERATED_FILES: u64 = 2000;

/// Seed of the generated directory: any number, always the same.
const GENERATED_SEED: u64 = 2;

/// Differences that the error lists.
const DIFFERENCES_SHOWN: usize = 10;

/// Metrics whose samples are shown, by the start of their lines.
const METRICS_SHOWN: [&str; 5] = [
    "swarmwire_bytes_total",
    "swarmwire_receipts_total",
    "swarmwire_connections_total",
    "swarmwire_handlers_limit",
    "process_resident_memory_bytes",
];

/// Runs the demonstration on `dir`, or on generated logs, and writes the account of it to `out`.
pub fn run(dir: Option<&Path>, out: &mut impl Write) -> Result<()> {
    let place = env::temp_dir();
    if let Some(dir) = dir {
        existing_directory(dir, &place)?;
    }
    let work = Work::begin(&place)?;
    let source = match dir {
        Some(dir) => existing_directory(dir, work.path())?,
        None => generated_directory(work.path())?,
    };
    let binaries = Binaries::build(work.nursery())?;
    let original = Snapshot::take(&source)?;
    writeln!(
        out,
        "{}: {} files, {}, in {} directories; {} symlinks",
        if dir.is_some() { source.display().to_string() } else { "generated logs".to_owned() },
        grouped(original.files()),
        megabytes(original.bytes()),
        grouped(original.directories()),
        grouped(original.symlinks()),
    )?;

    let root = work.path().join("root");
    fs::create_dir(&root)?;
    let ground = Ground::machine(work.nursery());
    let gateway = Gateway::start(&State::at(work.path(), &binaries), &ground, &root)?;
    writeln!(
        out,
        "gateway   {} with the fresh identity {}…",
        gateway.listen,
        gateway.fingerprint.get(..16).unwrap_or_default()
    )?;
    writeln!(out, "joined    with an invitation, as {:?}", gateway::NAME)?;

    // What generating and building have left to be written must not be charged to the first barrier of the first push.
    rustix::fs::syncfs(fs::File::open(&root)?)?;
    let trip = RoundTrip {
        gateway: &gateway,
        source: with_slash(&source),
        back: with_slash(&work.path().join("back")),
    };
    trip.first(out)?;
    for (copy, name) in
        [(root.join("demo"), "the gateway's copy"), (work.path().join("back"), "what came back")]
    {
        expect_same(&original, &copy, name)?;
    }
    writeln!(
        out,
        "verified  both copies: names, types, bytes (BLAKE3), times, modes and link targets are the same"
    )?;
    trip.second(&original, out)?;
    show_metrics(&gateway, out)?;
    gateway.stop()?;
    writeln!(out, "stopped   the gateway drained and ended")?;
    Ok(())
}

/// Up to the gateway and back down to another directory.
struct RoundTrip<'a> {
    gateway: &'a Gateway<'a>,
    source: OsString,
    back: OsString,
}

impl RoundTrip<'_> {
    const REMOTE: &'static str = "gw:demo/";

    fn push(&self) -> Result<Summary> {
        self.gateway.sync(&self.source, OsStr::new(Self::REMOTE))
    }

    fn pull(&self) -> Result<Summary> {
        self.gateway.sync(OsStr::new(Self::REMOTE), &self.back)
    }

    /// Moves everything, up and then down.
    fn first(&self, out: &mut impl Write) -> Result<()> {
        for (name, summary) in [("push", self.push()?), ("pull", self.pull()?)] {
            writeln!(
                out,
                "{name}      {} files, {} in {:.3} s: {:.0} files/s, {:.1} MB/s",
                grouped(summary.files_sent),
                megabytes(summary.bytes_sent),
                summary.time.as_secs_f64(),
                per_second(summary.files_sent, summary.time),
                per_second(summary.bytes_sent, summary.time) / 1e6,
            )?;
            if summary.entries_skipped > 0 {
                writeln!(
                    out,
                    "          {} devices, FIFOs or sockets were skipped",
                    grouped(summary.entries_skipped)
                )?;
            }
        }
        Ok(())
    }

    /// Does it again, and expects nothing to move.
    fn second(&self, original: &Snapshot, out: &mut impl Write) -> Result<()> {
        for (name, summary) in [("push", self.push()?), ("pull", self.pull()?)] {
            if (summary.files_sent, summary.bytes_sent) != (0, 0) {
                bail!(
                    "the second {name} of an unchanged tree moved {} files, {} bytes",
                    summary.files_sent,
                    summary.bytes_sent
                );
            }
            if summary.files_unchanged != original.files() {
                bail!(
                    "the second {name} found {} of {} files unchanged",
                    summary.files_unchanged,
                    original.files()
                );
            }
            writeln!(
                out,
                "{name}      again: 0 files, 0 bytes moved, in {:.3} s",
                summary.time.as_secs_f64()
            )?;
        }
        Ok(())
    }
}

/// The given directory's real path: absolute, so that no colon in a name makes it look remote.
fn existing_directory(dir: &Path, work: &Path) -> Result<PathBuf> {
    let path =
        dir.canonicalize().with_context(|| format!("failed to open the directory {}", dir.display()))?;
    fs::read_dir(&path).with_context(|| format!("failed to open the directory {}", dir.display()))?;
    if work.canonicalize()?.starts_with(&path) {
        bail!("{} holds the demonstration's own files; set TMPDIR to a place outside it", dir.display());
    }
    Ok(path)
}

fn generated_directory(work: &Path) -> Result<PathBuf> {
    let path = work.join("logs");
    fs::create_dir(&path)?;
    workload::fleet(&path, GENERATED_FILES, GENERATED_SEED)?;
    Ok(path)
}

/// A trailing slash says "the contents".
fn with_slash(path: &Path) -> OsString {
    let mut text = path.as_os_str().to_owned();
    text.push("/");
    text
}

fn expect_same(original: &Snapshot, copy: &Path, name: &str) -> Result<()> {
    let differences = original.differences(&Snapshot::take(copy)?);
    if differences.is_empty() {
        return Ok(());
    }
    let shown =
        differences.iter().take(DIFFERENCES_SHOWN).map(|line| format!("\n  {line}")).collect::<String>();
    bail!(
        "{name} differs from the original in {} places (did it change meanwhile?){shown}",
        differences.len()
    );
}

fn show_metrics(gateway: &Gateway<'_>, out: &mut impl Write) -> Result<()> {
    let text = gateway.http_get("/metrics")?;
    writeln!(out, "metrics   http://{}/metrics, among others:", gateway.metrics)?;
    for line in text.lines().filter(|line| METRICS_SHOWN.iter().any(|name| line.starts_with(name))) {
        writeln!(out, "          {line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_for(dir: &Path) -> String {
        let mut out = Vec::new();
        let error = run(Some(dir), &mut out).unwrap_err();
        assert!(out.is_empty(), "nothing is told before the directory is known to be good");
        format!("{error:#}")
    }

    #[test]
    fn a_directory_that_cannot_be_synced_is_named_before_anything_is_built() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"").unwrap();
        let missing = place.path().join("missing");
        for (dir, reason) in [(&missing, "No such file"), (&file, "Not a directory")] {
            let error = error_for(dir);
            assert!(error.contains(&dir.display().to_string()) && error.contains(reason), "{error}");
        }
        let error = error_for(&env::temp_dir());
        assert!(error.contains("set TMPDIR to a place outside it"), "{error}");
    }
}
