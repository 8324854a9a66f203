//! Metrics of one run for node_exporter's textfile collector.
//!
//! Names and labels are the gateway's where they mean the same, seen from the controller: what a push moves goes `out`. Values
//! are of one run, since the process ends with it. The file is replaced whole, so that the collector never reads half of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};
use swarmwire_common::{
    sync::{Report, Stage},
    wire::sync::Direction,
};

use crate::exit::Failure;

/// What there is to tell of one run.
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) direction: Direction,
    pub(crate) report: &'a Report,
    pub(crate) stages: &'a [Duration; Stage::ALL.len()],
    pub(crate) bytes_wire_sent: u64,
    pub(crate) bytes_wire_received: u64,
    pub(crate) path: PathSample,
    pub(crate) time: Duration,
    pub(crate) success: bool,
}

/// What QUIC knows of the way to the gateway.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathSample {
    pub(crate) rtt: Duration,
    pub(crate) congestion_window_bytes: u64,
    pub(crate) lost_packets: u64,
    pub(crate) datagram_bytes: u64,
}

/// Where the metrics go.
#[derive(Clone, Debug)]
pub(crate) struct MetricsFile {
    path: PathBuf,
    temporary: PathBuf,
}

impl MetricsFile {
    /// Checks that there is a directory for the file, so that a wrong path is told before the transfer.
    pub(crate) fn new(path: &Path) -> Result<Self, Failure> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Some(name) = path.file_name().filter(|_| parent.is_dir() && !path.is_dir()) else {
            let message =
                format!("--metrics-file: `{}` is not a file in a directory that exists", path.display());
            return Err(Failure::usage(message));
        };
        // The collector reads `*.prom` alone.
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        Ok(Self { path: path.to_owned(), temporary: parent.join(hidden) })
    }

    /// What replaces the file with this sample. That blocks.
    pub(crate) fn writing(
        &self,
        sample: &Sample<'_>,
        now: SystemTime,
    ) -> anyhow::Result<impl FnOnce() -> anyhow::Result<()> + Send + 'static> {
        let (file, text) = (self.clone(), render(sample, now)?);
        Ok(move || file.replace(&text))
    }

    fn replace(&self, text: &[u8]) -> anyhow::Result<()> {
        let written = fs::write(&self.temporary, text).and_then(|()| fs::rename(&self.temporary, &self.path));
        if written.is_err() {
            discard(&self.temporary);
        }
        written.with_context(|| format!("failed to write the metrics to `{}`", self.path.display()))
    }
}

fn discard(path: &Path) {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%err, path = %path.display(), "a temporary file stays behind");
        }
        _ => {}
    }
}

fn render(sample: &Sample<'_>, now: SystemTime) -> Result<Vec<u8>, prometheus::Error> {
    let registry = Registry::new();
    add_counts(&registry, sample)?;
    add_stages(&registry, sample)?;
    add_path(&registry, sample)?;
    let run = Run { registry: &registry, direction: direction(sample.direction) };
    run.add("duration_seconds", "Wall time of the last run.", sample.time.as_secs_f64())?;
    run.add(
        "success",
        "1 if the last run put every entry in place, else 0.",
        f64::from(u8::from(sample.success)),
    )?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    run.add("timestamp_seconds", "When the last run ended, in seconds since 1970.", now)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Push => "out",
        Direction::Pull => "in",
    }
}

fn add_counts(registry: &Registry, sample: &Sample<'_>) -> Result<(), prometheus::Error> {
    let (direction, report) = (direction(sample.direction), sample.report);
    let bytes = Opts::new("swarmwire_bytes_total", "Bytes of file content moved.");
    let bytes = IntCounterVec::new(bytes, &["service", "direction"])?;
    bytes.with_label_values(&["sync", direction]).inc_by(report.bytes_sent);
    registry.register(Box::new(bytes))?;

    let entries = Opts::new("swarmwire_entries_total", "Entries dealt with, by result.");
    let entries = IntCounterVec::new(entries, &["service", "direction", "result"])?;
    for (result, count) in [
        ("committed", report.files_sent),
        ("unchanged", report.files_unchanged),
        ("failed", report.entries_failed),
        ("skipped", report.entries_skipped),
        ("deleted", report.entries_deleted),
    ] {
        entries.with_label_values(&["sync", direction, result]).inc_by(count);
    }
    registry.register(Box::new(entries))?;

    let receipts = Opts::new("swarmwire_receipts_total", "Promises about files, by level.");
    let receipts = IntCounterVec::new(receipts, &["level"])?;
    for (level, count) in
        [("received", report.received), ("verified", report.verified), ("durable", report.durable)]
    {
        receipts.with_label_values(&[level]).inc_by(count);
    }
    registry.register(Box::new(receipts))
}

fn add_stages(registry: &Registry, sample: &Sample<'_>) -> Result<(), prometheus::Error> {
    let side = match sample.direction {
        Direction::Push => "source",
        Direction::Pull => "destination",
    };
    let stages = Opts::new("swarmwire_stage_seconds_total", "Time spent, by stage; stages overlap.");
    let stages = CounterVec::new(stages, &["stage", "side"])?;
    for (stage, time) in Stage::ALL.iter().zip(sample.stages) {
        stages.with_label_values(&[stage.as_str(), side]).inc_by(time.as_secs_f64());
    }
    registry.register(Box::new(stages))
}

fn add_path(registry: &Registry, sample: &Sample<'_>) -> Result<(), prometheus::Error> {
    let path = &sample.path;
    let rtt =
        Opts::new("swarmwire_path_rtt_seconds", "Round-trip time to the gateway, as QUIC estimates it.");
    let rtt = GaugeVec::new(rtt, &["of"])?;
    // One connection is its own mean and its own greatest.
    for of in ["max", "mean"] {
        rtt.with_label_values(&[of]).set(path.rtt.as_secs_f64());
    }
    registry.register(Box::new(rtt))?;

    for (name, help, value) in [
        (
            "swarmwire_path_congestion_window_bytes",
            "Congestion window of the connection.",
            path.congestion_window_bytes as f64,
        ),
        (
            "swarmwire_path_datagram_bytes_min",
            "UDP payload size of the connection.",
            path.datagram_bytes as f64,
        ),
    ] {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        registry.register(Box::new(gauge))?;
    }

    let lost = IntCounter::new("swarmwire_path_lost_packets_total", "Packets that were lost.")?;
    lost.inc_by(path.lost_packets);
    registry.register(Box::new(lost))?;

    let udp = Opts::new("swarmwire_path_udp_bytes_total", "Bytes of UDP payload, by direction.");
    let udp = IntCounterVec::new(udp, &["direction"])?;
    udp.with_label_values(&["out"]).inc_by(sample.bytes_wire_sent);
    udp.with_label_values(&["in"]).inc_by(sample.bytes_wire_received);
    registry.register(Box::new(udp))
}

/// The metrics that only a run has.
struct Run<'a> {
    registry: &'a Registry,
    direction: &'static str,
}

impl Run<'_> {
    fn add(&self, name: &str, help: &str, value: f64) -> Result<(), prometheus::Error> {
        let opts = Opts::new(format!("swarmwire_sync_last_run_{name}"), help);
        let gauge = GaugeVec::new(opts, &["direction"])?;
        gauge.with_label_values(&[self.direction]).set(value);
        self.registry.register(Box::new(gauge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'a>(report: &'a Report, stages: &'a [Duration; Stage::ALL.len()]) -> Sample<'a> {
        Sample {
            direction: Direction::Push,
            report,
            stages,
            bytes_wire_sent: 2000,
            bytes_wire_received: 100,
            path: PathSample::default(),
            time: Duration::from_millis(1500),
            success: true,
        }
    }

    #[test]
    fn a_run_is_told_under_the_gateways_names() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("swarm.prom");
        fs::write(&path, "old").unwrap();
        let report = Report { bytes_sent: 1234, files_sent: 3, durable: 3, ..Report::default() };
        let stages = [Duration::from_millis(250); Stage::ALL.len()];
        let now = UNIX_EPOCH + Duration::from_secs(7);
        MetricsFile::new(&path).unwrap().writing(&sample(&report, &stages), now).unwrap()().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for line in [
            "swarmwire_bytes_total{direction=\"out\",service=\"sync\"} 1234",
            "swarmwire_entries_total{direction=\"out\",result=\"committed\",service=\"sync\"} 3",
            "swarmwire_receipts_total{level=\"durable\"} 3",
            "swarmwire_stage_seconds_total{side=\"source\",stage=\"read\"} 0.25",
            "swarmwire_sync_last_run_duration_seconds{direction=\"out\"} 1.5",
            "swarmwire_sync_last_run_success{direction=\"out\"} 1",
            "swarmwire_sync_last_run_timestamp_seconds{direction=\"out\"} 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "nothing else stays behind");
    }

    #[test]
    fn a_path_that_cannot_be_is_told_before_the_transfer() {
        let temp = tempfile::tempdir().unwrap();
        for bad in [temp.path().to_owned(), temp.path().join("no/where.prom"), PathBuf::from("/")] {
            let told = MetricsFile::new(&bad).unwrap_err().to_string();
            assert!(told.starts_with("--metrics-file: `"), "{told}");
        }
    }
}
