//! Many logs that are written, rotated and removed while they are watched.
//!
//! A few of them for a few seconds, unless `SWARMWIRE_WATCH_LOGS` and `SWARMWIRE_WATCH_SECONDS` say more, as
//! `SWARMWIRE_WATCH_LOGS=10000 SWARMWIRE_WATCH_SECONDS=300 cargo test -p swarmwire-client --release --test it logs -- --nocapture`.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Signal, Watched, Way, assert_no_leftovers, assert_same, write};
use crate::trees::content;

/// Logs in one directory.
const LOGS_PER_DIRECTORY: usize = 100;

/// What of the appended bytes may cross.
const SENT_MAX: f64 = 1.2;

/// Resident bytes of a process at most, in kibibytes.
const MEMORY_KIB_MAX: u64 = 250 * 1024;

struct Scale {
    logs: usize,
    time: Duration,
}

impl Scale {
    fn from_environment() -> Self {
        let number = |name, otherwise| {
            std::env::var(name).map_or(otherwise, |text| text.parse().expect("it is a number"))
        };
        let seconds = u64::try_from(number("SWARMWIRE_WATCH_SECONDS", 4)).unwrap();
        Self { logs: number("SWARMWIRE_WATCH_LOGS", 40), time: Duration::from_secs(seconds) }
    }

    fn is_full(&self) -> bool {
        self.logs > 1000
    }
}

/// Programs that write logs, and what rotates them.
struct Generator {
    top: PathBuf,
    logs: usize,
    turn: usize,
    appended: u64,
}

impl Generator {
    fn log(&self, number: usize) -> PathBuf {
        self.top.join(format!("app{:03}/{number:05}.log", number / LOGS_PER_DIRECTORY))
    }

    /// Appends a line that nothing else has to a log, which may just have been rotated away.
    fn append(&mut self, number: usize) {
        let path = self.log(number);
        let line = format!("{:?}\n", content(self.turn * self.logs + number, 32));
        let mut log = OpenOptions::new().create(true).append(true).open(path).unwrap();
        log.write_all(line.as_bytes()).unwrap();
        self.appended += u64::try_from(line.len()).unwrap();
    }

    /// By renaming, or by copying and truncating, as logrotate does.
    fn rotate(&self, number: usize) {
        let log = self.log(number);
        let old = |age: usize| PathBuf::from(format!("{}.{age}", log.display()));
        for age in (1..3).rev() {
            if old(age).exists() {
                fs::rename(old(age), old(age + 1)).unwrap();
            }
        }
        if number.is_multiple_of(2) {
            fs::rename(&log, old(1)).unwrap();
            File::create(&log).unwrap();
        } else {
            fs::copy(&log, old(1)).unwrap();
            File::create(&log).unwrap();
        }
    }

    /// A tenth of the logs get a line, some are rotated, and a directory comes and another goes.
    fn turn(&mut self) {
        self.turn += 1;
        for number in (self.turn % 10..self.logs).step_by(10) {
            self.append(number);
        }
        if self.turn.is_multiple_of(10) {
            let step = self.logs / 20 + 1;
            for number in (self.turn / 10 % step..self.logs).step_by(step) {
                self.rotate(number);
            }
        }
        let session = |turn: usize| self.top.join(format!("session{turn}"));
        let line = format!("{:?}", content(self.turn, 32));
        write(&session(self.turn).join("deep/file"), &line);
        self.appended += u64::try_from(line.len()).unwrap();
        if let Some(before) = self.turn.checked_sub(5)
            && before > 0
        {
            fs::remove_dir_all(session(before)).unwrap();
        }
    }
}

fn memory_kib(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn cpu_seconds(process: &Child) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // After the name and the state (proc_pid_stat(5)): utime is the 11th number, stime the 12th; a tick is a hundredth.
    (fields[10] + fields[11]) / 100.0
}

/// What was seen of the watch.
#[derive(Default)]
struct Seen {
    /// From a file's making to its arrival.
    latencies: Vec<Duration>,
    rounds: u64,
    longest_round: f64,
}

impl Seen {
    fn take(&mut self, at: Instant, event: &Value, probes: &[Instant]) {
        if event["event"] == "round" {
            self.rounds += 1;
            self.longest_round = self.longest_round.max(event["seconds"].as_f64().unwrap());
        }
        let path = event["path"].as_str().unwrap_or_default();
        if let Some(probe) = path.strip_prefix("probe").and_then(|number| number.parse::<usize>().ok())
            && event["action"] == "create"
        {
            self.latencies.push(at - probes[probe]);
        }
    }
}

fn logs_are_followed(way: Way) {
    let scale = Scale::from_environment();
    let mut generator = Generator { top: PathBuf::new(), logs: scale.logs, turn: 0, appended: 0 };
    let mut watched = Watched::start(way, &["--delete"], |top| {
        top.clone_into(&mut generator.top);
        for number in 0..scale.logs {
            write(&generator.log(number), &format!("{:?}\n", content(number, 500)));
        }
    });
    let start = Instant::now();
    let (mut seen, mut probes) = (Seen::default(), Vec::new());
    while start.elapsed() < scale.time {
        generator.turn();
        if generator.turn.is_multiple_of(10) {
            probes.push(Instant::now());
            write(&generator.top.join(format!("probe{}", probes.len() - 1)), "");
        }
        // The next turn comes with the next tenth of a second, and what is told is taken meanwhile.
        let until = start + Duration::from_millis(100) * u32::try_from(generator.turn).unwrap();
        // Also when there is no time left: a watch that nobody listens to waits.
        while let Ok((at, event)) =
            watched.events.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            seen.take(at, &event, &probes);
        }
    }
    let stopped = Instant::now();
    while seen.latencies.len() < probes.len() {
        assert!(stopped.elapsed() < super::PATIENCE, "a probe does not arrive");
        let (at, event) = watched.events.recv_timeout(super::PATIENCE).expect("no event comes");
        seen.take(at, &event, &probes);
    }
    let last = watched.catch_up();
    let caught_up = stopped.elapsed();
    // The comparison takes more than the gateway.
    let gateway_memory = memory_kib("self");
    assert_same(&watched.from(), &watched.to());
    let (memory, cpu) = (memory_kib(&watched.child.id().to_string()), cpu_seconds(&watched.child));
    let (world, told, _) = watched.end(Signal::INT);
    assert_no_leftovers(&world.root());
    report(&scale, (&generator, &told), &mut seen, (memory, gateway_memory, cpu, caught_up));

    assert_eq!(told["entries_failed"], 0, "{told}");
    assert_eq!(last["entries_failed"], 0, "{last}");
    let initial = u64::try_from(scale.logs).unwrap() * initial_bytes(&generator);
    let sent = told["bytes_sent"].as_u64().unwrap() - initial;
    let ratio = precise(sent) / precise(generator.appended);
    assert!(ratio < SENT_MAX, "{way:?}: {sent} bytes were sent where {} were appended", generator.appended);
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
    if scale.is_full() {
        assert!(gateway_memory < MEMORY_KIB_MAX, "{gateway_memory} KiB");
    }
}

/// Mean bytes of a log at the start, rounded down: they are sent in any case.
fn initial_bytes(generator: &Generator) -> u64 {
    let total: usize = (0..generator.logs).map(|number| format!("{:?}\n", content(number, 500)).len()).sum();
    u64::try_from(total / generator.logs).unwrap()
}

fn precise(number: u64) -> f64 {
    f64::from(u32::try_from(number).expect("a few gigabytes at most"))
}

fn report(
    scale: &Scale,
    (generator, told): (&Generator, &Value),
    seen: &mut Seen,
    (memory, gateway_memory, cpu, caught_up): (u64, u64, f64, Duration),
) {
    if !scale.is_full() {
        return;
    }
    seen.latencies.sort_unstable();
    let median = seen.latencies[seen.latencies.len() / 2];
    let text = format!(
        "{} logs, {:?}: {} bytes appended, {} turns\nlatency: median {median:?}, max {:?}; caught up {caught_up:?} after the end\n\
         rounds: {}, longest {:.2} s\ncontroller: {memory} KiB at most, {cpu:.1} s of CPU; gateway and generator: {gateway_memory} KiB\n{told}\n",
        scale.logs,
        scale.time,
        generator.appended,
        generator.turn,
        seen.latencies.last().unwrap(),
        seen.rounds,
        seen.longest_round,
    );
    let mut stderr = std::io::stderr();
    stderr.write_all(text.as_bytes()).unwrap();
}

#[test]
fn logs_that_are_pushed_arrive_and_cost_what_is_new_of_them() {
    logs_are_followed(Way::Push);
}

#[test]
fn logs_that_are_pulled_arrive_and_cost_what_is_new_of_them() {
    logs_are_followed(Way::Pull);
}
