//! What a measurement leaves behind: flat rows, one per run, that go to `raw.csv` and come back from it unchanged.
//!
//! Everything that a report shows is computed from these rows, so that it can be made again, better, from a committed file. Names of
//! columns are the names of the fields; units come last in a name.

use serde::{Deserialize, Serialize};

/// One run of one peer on one piece of work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The tree: `small`, `medium`, …
    pub workload: String,
    /// What happened to the tree after it was synced, or `fresh` if the destination was empty.
    pub change: String,
    /// `push` or `pull`.
    pub mode: String,
    /// `loopback`, or the link as it was asked for.
    pub link: String,
    /// Where the trees were: `tmpfs`, `disk`.
    pub fs: String,
    /// Whether the time includes a `syncfs` of the destination.
    pub durable: bool,
    /// Regular files of the tree, after its change.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Who moved it: `swarm`, `rsync-ssh`, …
    pub peer: String,
    /// TCP's congestion control, with `+large` if its buffers were raised; empty where the peer does not use TCP or the system's was left.
    pub tcp: String,
    /// Number of the run, from 1; 0 for a row that stands for no run (a peer that is missing).
    pub run: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not complete, or what the result lacks (`did not keep modes, directory times`); else empty.
    pub note: String,
    /// Wall time of the client's whole process, and of the `syncfs` if `durable`.
    pub wall_seconds: f64,
    /// CPU time of the client's processes.
    pub client_user_seconds: f64,
    /// The kernel's part of the same.
    pub client_system_seconds: f64,
    /// Most memory that the client's processes had resident together.
    pub client_peak_bytes: u64,
    /// CPU time of the server's processes, its start and end included.
    pub server_user_seconds: f64,
    /// The kernel's part of the same.
    pub server_system_seconds: f64,
    /// Most memory that the server's processes had resident together.
    pub server_peak_bytes: u64,
    /// Bytes of IP packets that the client's end sent; unknown on loopback, where the kernel counts both directions together.
    pub wire_sent_bytes: Option<u64>,
    /// Bytes of IP packets that the client's end received; unknown on loopback.
    pub wire_received_bytes: Option<u64>,
    /// Both directions together; none for a peer that uses no network.
    pub wire_bytes: Option<u64>,
    /// Packets that the link dropped because its queue was full, both directions.
    pub queue_drops: Option<u64>,
    /// Packets that the link lost at random, as it was told to, both directions.
    pub random_losses: Option<u64>,
    /// Packets that the link was given, both directions.
    pub packets: Option<u64>,
    /// Bytes that lay at the destination when the run ended.
    pub arrived_bytes: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The result was compared with the source and is the same.
    #[default]
    Complete,
    /// It was stopped at its deadline.
    Unfinished,
    /// The peer failed, or its result was wrong.
    Failed,
    /// The peer is not installed.
    Missing,
}

/// What had crossed the wire at one moment of a run: the points of a throughput curve, at most 200 for a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// As in [`Run`].
    pub workload: String,
    /// As in [`Run`].
    pub change: String,
    /// As in [`Run`].
    pub mode: String,
    /// As in [`Run`].
    pub link: String,
    /// As in [`Run`].
    pub peer: String,
    /// As in [`Run`].
    pub tcp: String,
    /// As in [`Run`].
    pub run: u32,
    /// Since the client was started.
    pub seconds: f64,
    /// Both directions together, since the client was started.
    pub wire_bytes: u64,
}

impl Progress {
    /// A point of the curve of `run`.
    pub(crate) fn of(run: &Run, seconds: f64, wire_bytes: u64) -> Self {
        Self {
            workload: run.workload.clone(),
            change: run.change.clone(),
            mode: run.mode.clone(),
            link: run.link.clone(),
            peer: run.peer.clone(),
            tcp: run.tcp.clone(),
            run: run.run,
            seconds,
            wire_bytes,
        }
    }
}

/// One point of a latency distribution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// `loopback`, or the link as it was asked for.
    pub link: String,
    /// Who was asked: `swarm`, `ssh`.
    pub peer: String,
    /// `idle`, or `bulk` for beside a bulk transfer on the same connection.
    pub load: String,
    /// Pings of this distribution.
    pub pings: u64,
    /// From 0 to 1: the share of pings that took at most `microseconds`.
    pub quantile: f64,
    /// The round trip.
    pub microseconds: f64,
    /// What the bulk transfer moved meanwhile, per second; 0 when idle.
    pub bulk_bytes_per_second: f64,
}

/// One run of one peer that calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Who called: `swarm`, `tonic`, …
    pub peer: String,
    /// `calls`, `items` of one stream, `idle` for streams that are open and give nothing, `beside` for calls on the connection of a sync.
    pub work: String,
    /// Bytes there and back, or of an item.
    pub bytes: u64,
    /// Calls at a time, or idle streams.
    pub at_a_time: u64,
    /// Number of the run, from 1.
    pub run: u32,
    /// Calls that were made, items that came, streams that were opened.
    pub count: u64,
    /// In how long.
    pub seconds: f64,
    /// What half of the calls took at most; 0 where calls are not timed, as the two below.
    pub p50_microseconds: f64,
    /// 99 %.
    pub p99_microseconds: f64,
    /// 99.9 %.
    pub p999_microseconds: f64,
    /// CPU time of the client meanwhile.
    pub client_cpu_seconds: f64,
    /// CPU time of the server meanwhile.
    pub server_cpu_seconds: f64,
    /// Memory that the server had resident before.
    pub server_before_bytes: u64,
    /// And after, with its streams still open.
    pub server_after_bytes: u64,
    /// What the sync moved meanwhile, per second; 0 where there is none.
    pub bulk_bytes_per_second: f64,
}

impl Call {
    /// Calls, items or streams in a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds.max(1e-9)
    }

    /// CPU time of both ends for 100,000 of them.
    pub(crate) fn cpu_seconds_of_100k(&self) -> f64 {
        (self.client_cpu_seconds + self.server_cpu_seconds) / self.count.max(1) as f64 * 1e5
    }
}

/// What a push and a TCP connection had put onto the link that they share, at one moment. Counted from when the push began, at the entry to the link,
/// whose headers and retransmissions are in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sharing {
    /// The link as it was asked for.
    pub link: String,
    /// The push's congestion control.
    pub congestion: String,
    /// The TCP connection's.
    pub beside: String,
    /// Since the push began.
    pub seconds: f64,
    /// Packets that the push sent.
    pub swarm_packets: u64,
    /// Of these, those that the queue dropped.
    pub swarm_drops: u64,
    /// Bytes of those that got through.
    pub swarm_bytes: u64,
    /// Packets that the TCP connection sent.
    pub tcp_packets: u64,
    /// Of these, those that the queue dropped.
    pub tcp_drops: u64,
    /// Bytes of those that got through.
    pub tcp_bytes: u64,
}

/// One sync of a tree of a given size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Files in the tree.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// `fresh` or `unchanged`.
    pub change: String,
    /// `push` or `pull`.
    pub mode: String,
    /// Number of the run, from 1.
    pub run: u32,
    /// Wall time of the client's whole process.
    pub wall_seconds: f64,
    /// CPU time of the client.
    pub client_cpu_seconds: f64,
    /// CPU time of the server.
    pub server_cpu_seconds: f64,
    /// Most memory that the client had resident.
    pub client_peak_bytes: u64,
    /// Most memory that the server had resident.
    pub server_peak_bytes: u64,
}

/// The machine and the programs that a report is about: `machine.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Day of the measurement, `2026-11-21`.
    pub date: String,
    /// Commit of the measured Swarmwire, with `+` if the tree had changes.
    pub revision: String,
    /// The processor's name as the kernel tells it.
    pub processor: String,
    /// Processors that are online.
    pub cores: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// The kernel's version, `6.18`.
    pub kernel: String,
    /// The TCP congestion control that is in force where no other is named.
    pub tcp: String,
    /// Each peer's program and version, or that it was not found: `("rsyncd", "rsync 3.5.0")`.
    pub peers: Vec<(String, String)>,
    /// The command that was run.
    pub command: String,
}
