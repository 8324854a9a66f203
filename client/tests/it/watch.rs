//! `swarm sync --watch`: what changes arrives within a moment, both ways, and goes on arriving after an outage.
//!
//! Nothing sleeps: a test writes something last and waits for the round that brings it. What was changed before was heard of before.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    placement::{BOTH, Way},
    trees::{assert_no_leftovers, assert_same},
    world::{ControllerHome, World, refused, text},
};

mod logs;

/// What has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watch under way, from `src` to `copy`.
struct Watched {
    world: World,
    _home: ControllerHome,
    way: Way,
    child: Child,
    events: Receiver<(Instant, Value)>,
    told: JoinHandle<String>,
    markers: usize,
}

impl Watched {
    fn start(way: Way, options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let world = World::start();
        let home = world.joined("pull,push,delete");
        fs::create_dir(world.beside("local")).unwrap();
        let source = source(&world, way);
        fs::create_dir(&source).unwrap();
        prepare(&source);
        Self::run(world, home, way, options)
    }

    fn run(world: World, home: ControllerHome, way: Way, options: &[&str]) -> Self {
        let (from, to) = match way {
            Way::Push => ("src/", "gw:copy"),
            Way::Pull => ("gw:src/", "copy"),
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_swarm"))
            .args(["sync", "--watch", "--json", "--verbose", "--compress", "never", from, to])
            .args(options)
            .current_dir(world.beside("local"))
            .env("SWARMWIRE_HOME", home.path())
            .env_remove("SWARMWIRE_RETRY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, events) = sync_channel(1024);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send((Instant::now(), serde_json::from_str(&line).unwrap())).is_err() {
                    return;
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let told = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let mut watched = Self { world, _home: home, way, child, events, told, markers: 0 };
        watched.round();
        watched
    }

    fn from(&self) -> PathBuf {
        source(&self.world, self.way)
    }

    fn to(&self) -> PathBuf {
        match self.way {
            Way::Push => self.world.root().join("copy"),
            Way::Pull => self.world.beside("local/copy"),
        }
    }

    fn next(&mut self) -> Value {
        self.events.recv_timeout(PATIENCE).expect("no event comes").1
    }

    /// The next event that is wanted.
    fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next();
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits for the end of a round.
    fn round(&mut self) -> Value {
        self.wait_for(|event| event["event"] == "round")
    }

    /// Waits until all that was changed so far is there.
    fn catch_up(&mut self) -> Value {
        let marker = format!("marker{}", self.markers);
        self.markers += 1;
        fs::write(self.from().join(&marker), &marker).unwrap();
        self.wait_for(|event| event["event"] == "entry" && event["path"] == *marker);
        self.round()
    }

    /// Ends the watch with a signal; gives its summary and what it said on standard error.
    fn end(self, signal: Signal) -> (World, Value, String) {
        let Self { world, mut child, events, told, .. } = self;
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut last = Value::Null;
        while let Ok((_, event)) = events.recv_timeout(PATIENCE) {
            last = event;
        }
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(last["event"], "summary");
        (world, last, told.join().unwrap())
    }
}

fn source(world: &World, way: Way) -> PathBuf {
    match way {
        Way::Push => world.beside("local/src"),
        Way::Pull => world.root().join("src"),
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn what_is_written_renamed_and_moved_in_arrives() {
    for way in BOTH {
        let mut watched = Watched::start(way, &[], |src| write(&src.join("old/a"), "a"));
        let (from, to) = (watched.from(), watched.to());
        assert_same(&from, &to);
        write(&from.join("new/deep/er/b"), "b");
        fs::OpenOptions::new().append(true).open(from.join("old/a")).unwrap();
        write(&from.join("old/a"), "other");
        std::os::unix::fs::symlink("/etc", from.join("link")).unwrap();
        watched.catch_up();
        assert_same(&from, &to);
        // All of a tree that is moved in, and what is written to it afterwards.
        let elsewhere = watched.world.beside("elsewhere");
        for number in 0..50 {
            write(&elsewhere.join(format!("{}/{number}", number % 7)), &number.to_string());
        }
        fs::rename(&elsewhere, from.join("moved")).unwrap();
        watched.catch_up();
        assert_same(&from, &to);
        write(&from.join("moved/3/later"), "later");
        write(&from.join("moved/8/9/later"), "later");
        watched.catch_up();
        assert_same(&from, &to);
        let (world, told, _) = watched.end(Signal::INT);
        assert_eq!((&told["entries_failed"], &told["error"]), (&json!(0), &json!("interrupted")), "{told}");
        assert_no_leftovers(&world.root());
        drop(world);
    }
}

#[test]
fn what_is_removed_stays_unless_deleting_was_asked_for() {
    for way in BOTH {
        for delete in [false, true] {
            let options: &[&str] = if delete { &["--delete"] } else { &[] };
            let mut watched = Watched::start(way, options, |src| {
                write(&src.join("d/e/file"), "x");
                write(&src.join("d/stays"), "x");
                write(&src.join("file"), "x");
                write(&src.join("kind"), "x");
            });
            let (from, to) = (watched.from(), watched.to());
            // Nobody told of it, so that a round has no business with it.
            write(&to.join("d/extra"), "x");
            fs::remove_file(from.join("file")).unwrap();
            fs::remove_dir_all(from.join("d/e")).unwrap();
            fs::remove_file(from.join("kind")).unwrap();
            watched.catch_up();
            for path in ["file", "d/e/file", "kind"] {
                assert_eq!(to.join(path).exists(), !delete, "{way:?} {path}");
            }
            assert!(to.join("d/stays").exists() && to.join("d/extra").exists());
            if delete {
                fs::create_dir_all(from.join("kind/of")).unwrap();
                watched.catch_up();
                assert!(to.join("kind/of").is_dir());
                fs::remove_file(to.join("d/extra")).unwrap();
                write(&from.join("d/stays"), "again");
                watched.catch_up();
                assert_same(&from, &to);
            }
            let (_world, told, _) = watched.end(Signal::TERM);
            assert_eq!(told["entries_failed"], 0, "{told}");
            assert_eq!(told["entries_deleted"].as_u64().unwrap(), if delete { 4 } else { 0 }, "{told}");
        }
    }
}

#[test]
fn more_paths_than_fit_the_request_are_deleted_too() {
    let mut watched = Watched::start(Way::Push, &["--delete"], |src| {
        for number in 0..1000 {
            write(&src.join(format!("some/rather/long/directory/name/{number:050}")), "");
        }
    });
    let (from, to) = (watched.from(), watched.to());
    for number in 0..1000 {
        let path = from.join(format!("some/rather/long/directory/name/{number:050}"));
        if number % 2 == 0 { fs::remove_file(path).unwrap() } else { fs::write(path, "new").unwrap() }
    }
    watched.catch_up();
    assert_same(&from, &to);
    let (_world, told, _) = watched.end(Signal::INT);
    assert_eq!(told["entries_deleted"], 500, "{told}");
}

#[test]
fn a_gateway_that_restarts_is_found_again() {
    for way in BOTH {
        let mut watched = Watched::start(way, &["--delete"], |src| write(&src.join("gone"), "x"));
        let (from, to) = (watched.from(), watched.to());
        watched.world.stop();
        write(&from.join("meanwhile/file"), "x");
        fs::remove_file(from.join("gone")).unwrap();
        watched.world = watched.world.start_again();
        watched.wait_for(|event| event["event"] == "round" && event["kind"] == "full");
        assert_same(&from, &to);
        write(&from.join("after"), "x");
        watched.catch_up();
        assert_same(&from, &to);
        let (_world, told, _) = watched.end(Signal::INT);
        assert_eq!(told["error"], "interrupted", "{told}");
    }
}

#[test]
fn what_nobody_tells_of_is_found_by_the_next_look_at_everything() {
    for way in BOTH {
        let metrics = tempfile::tempdir().unwrap();
        let file = metrics.path().join("swarm.prom");
        let options = ["--rescan", "300ms", "--delete", "--metrics-file", text(&file)];
        let mut watched = Watched::start(way, &options, |src| write(&src.join("a"), "a"));
        assert!(fs::read_to_string(&file).unwrap().contains("swarmwire_sync_last_run_success"));
        write(&watched.to().join("extra"), "x");
        fs::remove_file(watched.to().join("a")).unwrap();
        watched.wait_for(|event| event["event"] == "entry" && event["path"] == "extra");
        assert_eq!(watched.round()["kind"], "full");
        assert_same(&watched.from(), &watched.to());
        watched.end(Signal::INT);
    }
}

#[test]
fn what_is_left_out_is_left_out_of_every_round() {
    for way in BOTH {
        let options = ["--delete", "--exclude", "*.tmp", "--exclude", "cache/", "--max-size", "10"];
        let mut watched = Watched::start(way, &options, |src| write(&src.join("a"), "a"));
        let (from, to) = (watched.from(), watched.to());
        for path in ["x.tmp", "cache/x", "d/y.tmp"] {
            write(&from.join(path), "x");
        }
        write(&from.join("large"), "12345678901");
        write(&from.join("d/small"), "1234567890");
        watched.catch_up();
        for path in ["x.tmp", "cache", "d/y.tmp", "large"] {
            assert!(!to.join(path).exists(), "{path}");
        }
        assert!(to.join("d/small").exists());
        watched.end(Signal::INT);
    }
}

#[test]
fn only_listed_paths_are_watched_where_there_is_a_list() {
    for way in BOTH {
        let temp = tempfile::tempdir().unwrap();
        let list = temp.path().join("list");
        fs::write(&list, "marker0\nd/e\nlater/in\n").unwrap();
        let mut watched =
            Watched::start(way, &["--files-from", text(&list)], |src| write(&src.join("d/e/f"), ""));
        let (from, to) = (watched.from(), watched.to());
        write(&from.join("other"), "x");
        write(&from.join("d/other"), "x");
        write(&from.join("d/e/new"), "x");
        write(&from.join("later/in/deep"), "x");
        write(&from.join("later/out"), "x");
        watched.catch_up();
        for (path, exists) in [
            ("other", false),
            ("d/other", false),
            ("d/e/new", true),
            ("later/in/deep", true),
            ("later/out", false),
        ] {
            assert_eq!(to.join(path).exists(), exists, "{way:?} {path}");
        }
        let (_world, told, _) = watched.end(Signal::INT);
        assert_eq!(told["entries_failed"], 0, "{told}");
    }
}

#[test]
fn what_fails_is_named_once_and_stands_until_it_is_in_place() {
    for way in BOTH {
        let mut watched = Watched::start(way, &[], |_| {});
        let (from, to) = (watched.from(), watched.to());
        write(&to.join("a/in the way"), "x");
        write(&to.join("b/in the way"), "x");
        write(&from.join("a"), "a");
        write(&from.join("b"), "b");
        let failed = |event: &Value| event["event"] == "round" && event["entries_failed"] == 2;
        watched.wait_for(failed);
        watched.wait_for(failed);
        fs::remove_dir_all(to.join("b")).unwrap();
        write(&from.join("b"), "bb");
        watched.wait_for(|event| event["event"] == "entry" && event["path"] == "b");
        watched.catch_up();
        let (_world, told, said) = watched.end(Signal::INT);
        let reason = "a directory is in the way of the file";
        assert_eq!(told["failed"], json!([{ "path": "a", "reason": reason }]), "{told}");
        // As it stood out, and at the end.
        assert_eq!(said.matches(&format!("failed: a: {reason}")).count(), 2, "{said}");
        assert_eq!(said.matches(&format!("failed: b: {reason}")).count(), 1, "{said}");
    }
}

#[test]
fn a_single_file_is_watched_too() {
    for way in BOTH {
        let world = World::start();
        let home = world.joined("pull,push");
        fs::create_dir(world.beside("local")).unwrap();
        let (log, place) = match way {
            Way::Push => (world.beside("local/src/"), world.root().join("copy")),
            Way::Pull => (world.root().join("src/"), world.beside("local/copy")),
        };
        let log = PathBuf::from(text(&log).trim_end_matches('/'));
        fs::write(&log, "one\n").unwrap();
        // `Watched` says `src/`, and a file has no contents.
        let (from, to) = match way {
            Way::Push => ("src", "gw:copy"),
            Way::Pull => ("gw:src", "copy"),
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_swarm"))
            .args(["sync", "--watch", "--json", from, to])
            .current_dir(world.beside("local"))
            .env("SWARMWIRE_HOME", home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut rounds = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
            .filter(|event| event["event"] == "round");
        rounds.next().unwrap();
        fs::write(&log, "one\ntwo\n").unwrap();
        rounds.next().unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "one\ntwo\n", "{way:?}");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}

#[test]
fn a_source_that_is_removed_ends_the_watch_and_deletes_nothing_more() {
    let mut watched = Watched::start(Way::Push, &["--delete"], |src| write(&src.join("a"), "a"));
    let aside = watched.world.beside("aside");
    fs::rename(watched.from(), aside).unwrap();
    let last = watched.wait_for(|event| event["event"] == "summary");
    assert!(last["error"].as_str().unwrap().contains("does not exist"), "{last}");
    assert_eq!(watched.child.wait().unwrap().code(), Some(1));
    assert!(watched.to().join("a").exists());
}

#[test]
fn a_source_that_is_exchanged_is_looked_at_and_watched_anew() {
    let mut watched = Watched::start(Way::Push, &["--delete"], |src| write(&src.join("a"), "a"));
    let (from, to) = (watched.from(), watched.to());
    let other = watched.world.beside("other");
    write(&other.join("b"), "b");
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        &other,
        rustix::fs::CWD,
        &from,
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    watched.wait_for(|event| event["event"] == "round" && event["kind"] == "full");
    assert_same(&from, &to);
    write(&from.join("c"), "c");
    watched.catch_up();
    assert_same(&from, &to);
    watched.end(Signal::INT);
}

#[test]
fn what_makes_no_sense_with_a_watch_is_refused_by_name() {
    let home = ControllerHome::new();
    refused(home.swarm(["sync", "--watch", "--dry-run", "a", "gw:b"]), 2, &["--watch", "--dry-run"]);
    refused(home.swarm(["sync", "--rescan", "1m", "a", "gw:b"]), 2, &["--watch"]);
}

#[test]
fn a_first_sync_that_may_not_be_ends_with_its_reason() {
    let world = World::start();
    let home = world.joined("list,push");
    refused(home.swarm(["sync", "--watch", "gw:", text(&world.beside("copy"))]), 5, &["pull"]);
    refused(home.swarm(["sync", "--watch", text(&world.beside("nothing")), "gw:"]), 1, &["does not exist"]);
}
