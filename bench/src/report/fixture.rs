//! Made-up measurements for tests: a small set whose summary can be read as a whole, and a large one with everything that a report meets.
//!
//! Deterministic, and plausible in shape alone: no figure here was measured.

use crate::record::{Growth, Latency, Machine, Outcome, Run};

/// A machine that asks for the given command.
pub(crate) fn machine() -> Machine {
    Machine {
        date: "2026-11-21".into(),
        revision: "0123456789ab+".into(),
        processor: "Example 3000".into(),
        cores: 2,
        memory_bytes: 24 << 30,
        kernel: "6.18".into(),
        tcp: "bbr".into(),
        peers: vec![("rsyncd".into(), "rsync 3.5.0".into()), ("sendme".into(), "not found".into())],
        command: "cargo lab compare --workload small".into(),
    }
}

/// A complete run of 20,000 files, `seconds` long, of which it computed as long.
pub(crate) fn run(peer: &str, number: u32, seconds: f64) -> Run {
    Run {
        workload: "small".into(),
        change: "fresh".into(),
        mode: "push".into(),
        link: "loopback".into(),
        fs: "tmpfs".into(),
        files: 20_000,
        bytes: 100_000_000,
        peer: peer.into(),
        run: number,
        wall_seconds: seconds,
        client_user_seconds: seconds * 0.5,
        client_system_seconds: seconds * 0.25,
        client_peak_bytes: 21_000_000,
        server_user_seconds: seconds * 0.5,
        server_system_seconds: seconds * 0.5,
        server_peak_bytes: 34_500_000,
        wire_bytes: Some(101_000_000),
        arrived_bytes: 100_000_000,
        ..Run::default()
    }
}

/// A small set: a win, a loss, the floor, a failure, a missing peer, a link with an unfinished run, latency and growth.
pub(crate) fn small() -> (Vec<Run>, Vec<Latency>, Vec<Growth>) {
    let mut runs = Vec::new();
    for number in 1..=3 {
        let late = f64::from(number) * 0.01;
        runs.push(run("swarm", number, 0.40 + late));
        runs.push(run("rsyncd", number, 0.50 - late));
        runs.push(run("cp", number, 0.25));
        let note = "directory times".to_owned();
        runs.push(Run { note, ..run("tar-ssh", number, 0.30 + late) });
    }
    let note = "exit status 1:\nfailed | to open".to_owned();
    runs.push(Run { outcome: Outcome::Failed, note, ..run("scp", 1, 2.0) });
    let note = "cargo install sendme".to_owned();
    runs.push(Run { outcome: Outcome::Missing, note, ..run("sendme", 0, 0.0) });
    runs.push(over_link(run("swarm", 1, 10.0), ""));
    runs.push(over_link(run("rsyncd", 1, 4.0), "bbr"));
    let stopped = Run { outcome: Outcome::Unfinished, arrived_bytes: 30_000_000, ..run("rsyncd", 1, 60.0) };
    runs.push(over_link(stopped, "cubic"));
    let latency = [("idle", 90.0), ("bulk", 300.0)]
        .into_iter()
        .flat_map(|(load, base)| distribution("swarm", load, base));
    (runs, latency.collect(), growth(&[1_000, 10_000]))
}

fn over_link(run: Run, tcp: &str) -> Run {
    Run {
        link: "rtt=100ms,loss=0.1%,rate=1gbit".into(),
        tcp: tcp.into(),
        wire_sent_bytes: Some(100_000_000),
        wire_received_bytes: Some(1_000_000),
        queue_drops: Some(50),
        random_losses: Some(70),
        packets: Some(80_000),
        ..run
    }
}

fn distribution(peer: &str, load: &str, base: f64) -> Vec<Latency> {
    let point = |quantile: f64| Latency {
        link: "loopback".into(),
        peer: peer.into(),
        load: load.into(),
        pings: 10_000,
        quantile,
        microseconds: base * (1.0 - quantile).max(1e-4).powf(-0.2),
        bulk_bytes_per_second: if load == "bulk" { 4e8 } else { 0.0 },
    };
    [0.5, 0.9, 0.99, 0.999, 1.0].map(point).to_vec()
}

fn growth(sizes: &[u64]) -> Vec<Growth> {
    let row = |files: u64, change: &str, mode: &str, scale: f64| {
        let thousands = files as f64 / 1000.0;
        Growth {
            files,
            bytes: files * 4200,
            change: change.into(),
            mode: mode.into(),
            run: 1,
            wall_seconds: scale * (0.08 + 0.012 * thousands.powf(1.02)),
            client_cpu_seconds: scale * 0.01 * thousands,
            server_cpu_seconds: scale * 0.015 * thousands,
            client_peak_bytes: 15_000_000 + files * 180,
            server_peak_bytes: 20_000_000 + files * 90,
        }
    };
    let kinds = [
        ("fresh", "push", 1.0),
        ("unchanged", "push", 0.25),
        ("fresh", "pull", 1.2),
        ("unchanged", "pull", 0.3),
    ];
    let rows = kinds
        .into_iter()
        .flat_map(|(change, mode, scale)| sizes.iter().map(move |files| (*files, change, mode, scale)));
    rows.map(|(files, change, mode, scale)| row(files, change, mode, scale)).collect()
}
