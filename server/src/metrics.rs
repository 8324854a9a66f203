//! What the gateway counts, and its names: one registry per gateway.
//!
//! Base units, `_total` on counters, no rates; no label has a value that a peer chooses. Every series is there from the start with
//! the value 0, so that a rate over it is right from the first event on. [`NAMES`] is what dashboards and documentation are held
//! against. Gauges that follow something else are set when the metrics are read ([`Metrics::render`]).

mod path;
mod sync;

use std::time::Duration;

use prometheus::{
    CounterVec, Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector, process_collector::ProcessCollector,
};
use swarmwire_common::{sync::Stage, wire::status::Status};

pub(crate) use self::{path::Paths, sync::SyncMeter};
use crate::{handshake::Failure, pool::Pool, service, subroutines::Subroutines};

/// A metric's name and its help.
pub type Name = (&'static str, &'static str);

const BYTES: Name = (
    "swarmwire_bytes_total",
    "Bytes of file content moved, by service and direction as the gateway sees it, before encryption.",
);
const ENTRIES: Name = (
    "swarmwire_entries_total",
    "Entries of syncs by what became of them: committed and unchanged count regular files, failed and skipped any entry.",
);
const RECEIPTS: Name = ("swarmwire_receipts_total", "Files by what the destination has promised about them.");
const STAGE_SECONDS: Name = (
    "swarmwire_stage_seconds_total",
    "Seconds that this side's threads and streams spent in each stage of syncs; stages overlap.",
);
const QUEUE_BYTES: Name =
    ("swarmwire_queue_bytes", "Bytes of running syncs that wait between threads and streams of this side.");
const HANDLERS_LIMIT: Name = ("swarmwire_handlers_limit", "Channels that can be served at the same time.");
const HANDLERS_IN_USE: Name = ("swarmwire_handlers_in_use", "Channels being served by a handler.");
const HANDLERS_REFUSED: Name =
    ("swarmwire_handlers_refused_total", "Channels that were answered busy because no handler was free.");
const CONNECTIONS_OPEN: Name = ("swarmwire_connections_open", "Connections after their handshake.");
const CONNECTIONS: Name = ("swarmwire_connections_total", "Connections that got through their handshake.");
const HANDSHAKES_FAILED: Name =
    ("swarmwire_handshakes_failed_total", "Connection attempts that did not get through, by reason.");
const CHANNELS: Name =
    ("swarmwire_channels_total", "Channels that have ended, by service and the status they ended with.");
const JOINS: Name = ("swarmwire_joins_total", "Attempts to join, by result.");
const PATH_RTT: Name = (
    "swarmwire_path_rtt_seconds",
    "Round-trip time of the open connections, as QUIC estimates it: greatest and mean.",
);
const PATH_WINDOW: Name =
    ("swarmwire_path_congestion_window_bytes", "Congestion windows of the open connections, summed.");
const PATH_LOST: Name = ("swarmwire_path_lost_packets_total", "Packets of all connections that were lost.");
const PATH_DATAGRAM: Name = (
    "swarmwire_path_datagram_bytes_min",
    "Smallest UDP payload size among the open connections; 0 without any.",
);
const PATH_UDP: Name =
    ("swarmwire_path_udp_bytes_total", "Bytes of UDP payload of all connections, by direction.");
const CALLS: Name = (
    "swarmwire_calls_total",
    "Calls of subroutines that have ended, by name and the status they ended with.",
);
const CALL_SECONDS: Name =
    ("swarmwire_call_seconds", "Seconds from a call's request to the end of its answer, by name.");
const WORKERS: Name = ("swarmwire_workers", "Worker processes of subroutines that live, by name.");
const WORKER_RESTARTS: Name = (
    "swarmwire_worker_restarts_total",
    "Worker processes that died, or were ended for what they did, and have to be started again, by name.",
);
const BUILD: Name = ("swarmwire_build_info", "1, with the version of the gateway as a label.");

/// Every metric of ours, with its help. `process_*` comes beside them.
pub const NAMES: &[Name] = &[
    BYTES,
    ENTRIES,
    RECEIPTS,
    STAGE_SECONDS,
    QUEUE_BYTES,
    HANDLERS_LIMIT,
    HANDLERS_IN_USE,
    HANDLERS_REFUSED,
    CONNECTIONS_OPEN,
    CONNECTIONS,
    HANDSHAKES_FAILED,
    CHANNELS,
    JOINS,
    PATH_RTT,
    PATH_WINDOW,
    PATH_LOST,
    PATH_DATAGRAM,
    PATH_UDP,
    CALLS,
    CALL_SECONDS,
    WORKERS,
    WORKER_RESTARTS,
    BUILD,
];

/// The value of `service` where none was reached.
pub(crate) const NO_SERVICE: &str = "none";

/// How an attempt to join ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinResult {
    Accepted,
    Refused,
    Limited,
    Failed,
}

impl JoinResult {
    const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Limited, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }
}

/// The counts of one gateway.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    bytes: IntCounterVec,
    entries: IntCounterVec,
    receipts: IntCounterVec,
    stage_seconds: CounterVec,
    queue_bytes: IntGauge,
    handlers_limit: IntGauge,
    handlers_in_use: IntGauge,
    pub(crate) handlers_refused: IntCounter,
    connections_open: IntGauge,
    pub(crate) connections: IntCounter,
    handshakes_failed: IntCounterVec,
    channels: IntCounterVec,
    joins: IntCounterVec,
    path_rtt: prometheus::GaugeVec,
    path_window: IntGauge,
    path_lost: IntCounter,
    path_datagram: IntGauge,
    path_udp: IntCounterVec,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    workers: IntGaugeVec,
    worker_restarts: IntCounterVec,
    pub(crate) paths: Paths,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::new(),
            bytes: counters(BYTES, &["service", "direction"]),
            entries: counters(ENTRIES, &["service", "direction", "result"]),
            receipts: counters(RECEIPTS, &["level"]),
            stage_seconds: valid(CounterVec::new(opts(STAGE_SECONDS), &["stage", "side"])),
            queue_bytes: gauge(QUEUE_BYTES),
            handlers_limit: gauge(HANDLERS_LIMIT),
            handlers_in_use: gauge(HANDLERS_IN_USE),
            handlers_refused: counter(HANDLERS_REFUSED),
            connections_open: gauge(CONNECTIONS_OPEN),
            connections: counter(CONNECTIONS),
            handshakes_failed: counters(HANDSHAKES_FAILED, &["reason"]),
            channels: counters(CHANNELS, &["service", "status"]),
            joins: counters(JOINS, &["result"]),
            path_rtt: valid(prometheus::GaugeVec::new(opts(PATH_RTT), &["of"])),
            path_window: gauge(PATH_WINDOW),
            path_lost: counter(PATH_LOST),
            path_datagram: gauge(PATH_DATAGRAM),
            path_udp: counters(PATH_UDP, &["direction"]),
            calls: counters(CALLS, &["name", "status"]),
            call_seconds: valid(HistogramVec::new(opts(CALL_SECONDS).into(), &["name"])),
            workers: valid(IntGaugeVec::new(opts(WORKERS), &["name"])),
            worker_restarts: counters(WORKER_RESTARTS, &["name"]),
            paths: Paths::default(),
        };
        metrics.register();
        metrics.start_at_zero();
        metrics
    }

    fn register(&self) {
        let build = valid(IntGaugeVec::new(opts(BUILD), &["version"]));
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let collectors: [Box<dyn Collector>; 24] = [
            Box::new(self.bytes.clone()),
            Box::new(self.entries.clone()),
            Box::new(self.receipts.clone()),
            Box::new(self.stage_seconds.clone()),
            Box::new(self.queue_bytes.clone()),
            Box::new(self.handlers_limit.clone()),
            Box::new(self.handlers_in_use.clone()),
            Box::new(self.handlers_refused.clone()),
            Box::new(self.connections_open.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.handshakes_failed.clone()),
            Box::new(self.channels.clone()),
            Box::new(self.joins.clone()),
            Box::new(self.path_rtt.clone()),
            Box::new(self.path_window.clone()),
            Box::new(self.path_lost.clone()),
            Box::new(self.path_datagram.clone()),
            Box::new(self.path_udp.clone()),
            Box::new(self.calls.clone()),
            Box::new(self.call_seconds.clone()),
            Box::new(self.workers.clone()),
            Box::new(self.worker_restarts.clone()),
            Box::new(build),
            Box::new(ProcessCollector::for_self()),
        ];
        for collector in collectors {
            self.registry.register(collector).expect("the names are constants and differ");
        }
    }

    fn start_at_zero(&self) {
        for direction in ["in", "out"] {
            self.bytes.with_label_values(&["sync", direction]);
            self.path_udp.with_label_values(&[direction]);
            for result in sync::RESULTS {
                self.entries.with_label_values(&["sync", direction, result]);
            }
        }
        for level in sync::LEVELS {
            self.receipts.with_label_values(&[level]);
        }
        for side in ["source", "destination"] {
            for stage in Stage::ALL {
                self.stage_seconds.with_label_values(&[stage.as_str(), side]);
            }
        }
        for failure in Failure::ALL {
            self.handshakes_failed.with_label_values(&[failure.as_str()]);
        }
        for result in JoinResult::ALL {
            self.joins.with_label_values(&[result.as_str()]);
        }
        for service in service::names() {
            self.channels.with_label_values(&[service, Status::Ok.as_str()]);
        }
        for of in ["max", "mean"] {
            self.path_rtt.with_label_values(&[of]);
        }
    }

    /// A connection attempt did not get through.
    pub(crate) fn handshake_failed(&self, failure: Failure) {
        self.handshakes_failed.with_label_values(&[failure.as_str()]).inc();
    }

    /// A channel has ended. `service` is one of the table, or [`NO_SERVICE`].
    pub(crate) fn channel_ended(&self, service: &'static str, status: Status) {
        self.channels.with_label_values(&[service, status.as_str()]).inc();
    }

    /// A call has ended. `name` is one that the operator has registered.
    pub(crate) fn call_ended(&self, name: &str, status: Status, time: Duration) {
        self.calls.with_label_values(&[name, status.as_str()]).inc();
        self.call_seconds.with_label_values(&[name]).observe(time.as_secs_f64());
    }

    /// An attempt to join has ended.
    pub(crate) fn join_ended(&self, result: JoinResult) {
        self.joins.with_label_values(&[result.as_str()]).inc();
    }

    /// All metrics in Prometheus's text format. Of `subroutines` there are series from the start.
    pub(crate) fn render(&self, pool: &Pool, subroutines: &Subroutines) -> Result<String, prometheus::Error> {
        for name in &subroutines.names() {
            self.calls.with_label_values(&[name, Status::Ok.as_str()]);
            self.call_seconds.with_label_values(&[name]);
        }
        // Those of a subroutine that is gone have ended.
        self.workers.reset();
        for (name, workers) in subroutines.workers() {
            self.workers.with_label_values(&[&*name]).set(saturating(workers.living));
            self.worker_restarts.with_label_values(&[&*name]).inc_by(workers.newly_failed);
        }
        self.handlers_limit.set(saturating(pool.limit()));
        self.handlers_in_use.set(saturating(pool.in_use()));
        self.set_paths();
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn set_paths(&self) {
        let seen = self.paths.look();
        self.connections_open.set(saturating(seen.connections));
        let rtt: [(&str, Gauge); 2] = ["max", "mean"].map(|of| (of, self.path_rtt.with_label_values(&[of])));
        for (of, gauge) in rtt {
            gauge.set(if of == "max" { seen.rtt_max } else { seen.rtt_mean }.as_secs_f64());
        }
        self.path_window.set(i64::try_from(seen.window_bytes).unwrap_or(i64::MAX));
        self.path_datagram.set(i64::from(seen.datagram_bytes_min));
        self.path_lost.inc_by(seen.new.lost_packets);
        self.path_udp.with_label_values(&["in"]).inc_by(seen.new.udp_bytes_in);
        self.path_udp.with_label_values(&["out"]).inc_by(seen.new.udp_bytes_out);
    }
}

fn saturating(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn opts((name, help): Name) -> Opts {
    Opts::new(name, help)
}

fn counter((name, help): Name) -> IntCounter {
    valid(IntCounter::new(name, help))
}

fn gauge((name, help): Name) -> IntGauge {
    valid(IntGauge::new(name, help))
}

fn counters(name: Name, labels: &[&str]) -> IntCounterVec {
    valid(IntCounterVec::new(opts(name), labels))
}

fn valid<T>(metric: Result<T, prometheus::Error>) -> T {
    metric.expect("names and labels are constants that Prometheus takes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use swarmwire_common::wire::call::CallKind;

    use super::{Metrics, NAMES};
    use crate::{
        pool::Pool,
        subroutines::{
            Subroutine, Subroutines,
            command::{CommandOptions, WorkerOptions},
        },
    };

    #[test]
    fn every_name_is_there_before_anything_has_happened_and_no_other() {
        let workers = WorkerOptions { min: 1, max: 1, idle: Duration::ZERO };
        let options =
            CommandOptions { workers: Some(workers), ..CommandOptions::new(["sum"], CallKind::Batch) };
        let subroutines = Subroutines::new();
        subroutines.register("sum", Subroutine::command(options).unwrap()).unwrap();
        let text = Metrics::new().render(&Pool::new(1), &subroutines).unwrap();
        for (name, help) in NAMES {
            assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name} is not shown");
        }
        let shown = text.lines().filter(|line| line.starts_with("# HELP swarmwire_")).count();
        assert_eq!(shown, NAMES.len());
        assert!(text.contains("# HELP process_resident_memory_bytes"));
    }
}
