//! Made-up measurements for tests: a small set whose summary can be read as a whole, and a large one with everything that a report meets.
//!
//! Deterministic, and plausible in shape alone: no figure here was measured.

use crate::record::{Growth, Latency, Machine, Outcome, Progress, Run};

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
        let note = "did not keep directory times".to_owned();
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

/// Everything at once: 11 peers, TCP under three congestion controls, 6 links, changes, failures, what is unfinished and what is missing.
pub(crate) fn large() -> (Vec<Run>, Vec<Progress>, Vec<Latency>, Vec<Growth>) {
    let mut runs = Vec::new();
    for mode in ["push", "pull"] {
        for (workload, files, bytes) in WORKLOADS {
            let work = Run { workload: workload.into(), mode: mode.into(), files, bytes, ..run("", 0, 0.0) };
            runs.extend(on_loopback(&work, 5));
        }
    }
    for change in ["none", "append", "rotate", "touch", "rename", "edit", "delete"] {
        runs.extend(on_loopback(&Run { change: change.into(), bytes: 30_000_000, ..run("", 0, 0.0) }, 3));
    }
    for (workload, files, bytes) in &WORKLOADS[..3] {
        for (rtt, loss) in [
            ("20ms", "0%"),
            ("20ms", "0.1%"),
            ("20ms", "1%"),
            ("100ms", "0%"),
            ("100ms", "0.1%"),
            ("100ms", "1%"),
        ] {
            let link = format!("rtt={rtt},loss={loss},rate=1gbit,queue=2mb");
            let work =
                Run { workload: (*workload).into(), files: *files, bytes: *bytes, link, ..run("", 0, 0.0) };
            runs.extend(on_link(&work));
        }
    }
    let progress =
        runs.iter().filter(|run| run.change == "fresh" && run.wall_seconds > 0.0).flat_map(curve).collect();
    let loads =
        [("swarm", "idle", 88.0), ("swarm", "bulk", 310.0), ("ssh", "idle", 140.0), ("ssh", "bulk", 2900.0)];
    let loopback = loads.into_iter().flat_map(|(peer, load, base)| distribution(peer, load, base));
    let far =
        loads.into_iter().flat_map(|(peer, load, base)| distribution(peer, load, 100_000.0 + 30.0 * base));
    let far = far.map(|row| Latency { link: "rtt=100ms,rate=1gbit".into(), ..row });
    (runs, progress, loopback.chain(far).collect(), growth(&[1_000, 10_000, 100_000, 1_000_000]))
}

/// Name, files and bytes.
const WORKLOADS: [(&str, u64, u64); 6] = [
    ("small", 20_000, 102_000_000),
    ("medium", 2_000, 628_000_000),
    ("large", 4, 2_147_483_648),
    ("tiny", 1_008, 20_900_000),
    ("hundredk", 100_000, 420_000_000),
    ("rotated", 2_000, 310_000_000),
];

/// Seconds per file and per byte of each peer.
const PEERS: [(&str, f64, f64); 11] = [
    ("swarm", 1.5e-5, 1.0e-9),
    ("rsyncd", 2.1e-5, 0.8e-9),
    ("rsync-ssh", 4.0e-5, 1.9e-9),
    ("tar-ssh", 2.8e-5, 1.7e-9),
    ("scp", 6.2e-4, 2.5e-9),
    ("rclone", 2.0e-4, 2.2e-9),
    ("cp", 1.2e-5, 0.4e-9),
    ("sparsync", 3.1e-5, 1.5e-9),
    ("syq", 3.5e-5, 1.4e-9),
    ("qcp", 9.0e-4, 2.0e-9),
    ("sendme", 9.0e-5, 2.6e-9),
];

fn on_loopback(work: &Run, runs: u32) -> Vec<Run> {
    let one = |(peer, per_file, per_byte): (&str, f64, f64), number: u32| {
        let wall = 0.03 + work.files as f64 * per_file + work.bytes as f64 * per_byte;
        let run = timed(work, peer, number, wall * noise(number, peer.len()));
        match peer {
            "sendme" => Run {
                outcome: Outcome::Missing,
                note: "cargo install sendme".into(),
                ..timed(work, peer, 0, 0.0)
            },
            "qcp" if number == 2 => Run { outcome: Outcome::Failed, note: "exit status 3".into(), ..run },
            "syq" if work.workload == "large" => {
                Run { outcome: Outcome::Failed, note: "no space".into(), ..run }
            }
            "scp" => Run { note: "did not keep directory times".into(), ..run },
            _ => run,
        }
    };
    (1..=runs).flat_map(|number| PEERS.map(|peer| one(peer, number))).collect()
}

fn on_link(work: &Run) -> Vec<Run> {
    let is_far = work.link.contains("100ms");
    let loss = if work.link.contains("loss=1%") {
        1.0
    } else if work.link.contains("0.1%") {
        0.1
    } else {
        0.0
    };
    let mut runs = Vec::new();
    for (peer, per_file, _) in PEERS.into_iter().filter(|(peer, ..)| *peer != "cp" && *peer != "sendme") {
        let controls: &[&str] =
            if ["swarm", "qcp", "syq"].contains(&peer) { &[""] } else { &["cubic", "bbr", "bbr+large"] };
        for tcp in controls {
            let lossy = if tcp.starts_with("cubic") { 1.0 + loss * 300.0 } else { 1.3 + loss };
            let far = if is_far { 2.5 } else { 1.0 };
            let wall = 0.3 * far + work.files as f64 * per_file + work.bytes as f64 * 9e-9 * lossy * far;
            let complete = timed(&Run { tcp: (*tcp).into(), ..work.clone() }, peer, 1, wall.min(60.0));
            let arrived_bytes = whole(work.bytes as f64 * 60.0 / wall.max(60.0));
            let outcome = if wall > 60.0 { Outcome::Unfinished } else { Outcome::Complete };
            runs.push(Run {
                outcome,
                arrived_bytes,
                queue_drops: Some(120),
                packets: Some(90_000),
                ..complete
            });
        }
    }
    runs
}

fn timed(work: &Run, peer: &str, number: u32, seconds: f64) -> Run {
    let (user, system) = (seconds * 0.6, seconds * 0.3);
    Run {
        peer: peer.into(),
        run: number,
        wall_seconds: seconds,
        client_user_seconds: user,
        client_system_seconds: system,
        server_user_seconds: user,
        server_system_seconds: system,
        arrived_bytes: work.bytes,
        wire_bytes: Some(work.bytes + work.bytes / 50),
        ..work.clone()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes of files that nobody has")]
fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}

/// A few percent, the same each time.
fn noise(number: u32, salt: usize) -> f64 {
    1.0 + 0.08 * (f64::from(number) * 2.7 + salt as f64 * 1.3).sin()
}

/// A start-up, a steady state with some unrest, and an end.
fn curve(run: &Run) -> Vec<Progress> {
    let mut wire_bytes = 0.0;
    let sample = |step: u32| {
        let share = f64::from(step) / 200.0;
        let rate = (share * 12.0).min(1.0) * (1.0 + 0.2 * (share * 40.0 + run.peer.len() as f64).sin());
        wire_bytes += rate * run.arrived_bytes as f64 / 200.0;
        Progress::of(run, share * run.wall_seconds, whole(wire_bytes))
    };
    (1..=200).map(sample).collect()
}
