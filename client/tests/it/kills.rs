//! `swarm` killed without a word in the middle of a sync, both ways: what stands under a final name is whole at every moment, the
//! next run completes the tree, and the gateway gets its handlers back.

use std::{
    fs,
    io::PipeWriter,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::RecvTimeoutError,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};
use serde_json::json;
use swarmwire_common::limits;

use crate::{
    placement::{Sides, Way},
    trees::{PLANTED_FILES, assert_no_leftovers, assert_same, plant, visible_files, whole_files},
    world::{ControllerHome, World, summary, text},
};

const HANDLERS_IN_USE: &str = "swarmwire_handlers_in_use";

fn spawn(home: &ControllerHome, source: &str, destination: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_swarm"))
        // Without barriers files take their names one by one, so that there are moments to choose from.
        .args(["sync", "--compress", "never", source, destination, "--durability", "none", "--quiet"])
        .env("SWARMWIRE_HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills once so many files are visible, or work has begun where that is none; gives how many were visible afterwards.
fn kill_at(mut child: Child, files: usize, place: &Path, original: &Path) -> usize {
    let has_begun = || files > 0 || fs::read_dir(place).is_ok_and(|mut names| names.next().is_some());
    while child.try_wait().unwrap().is_none() && (visible_files(place).len() < files || !has_begun()) {
        std::thread::yield_now();
    }
    // It may have ended by itself, a moment ago.
    let _ = child.kill();
    child.wait().unwrap();
    whole_files(place, original)
}

fn kill_at_several_moments_then_complete(way: Way) {
    let world = World::start_with(|options| options.metrics = Some(([127, 0, 0, 1], 0).into()));
    let home = world.joined("pull,push");
    let (from, to) = match way {
        Way::Push => (world.beside("local/tree"), world.root()),
        Way::Pull => (world.root().join("tree"), world.beside("local")),
    };
    fs::create_dir_all(&from).unwrap();
    fs::create_dir_all(&to).unwrap();
    plant(&from);
    let (source, destination) = match way {
        Way::Push => (text(&from), "gw:"),
        Way::Pull => ("gw:tree", text(&to)),
    };
    let place = to.join("tree");
    let mut was_partial = false;
    for files in [0, 1, 40, 150, 299] {
        let visible = kill_at(spawn(&home, source, destination), files, &place, &from);
        was_partial |= visible > 0 && visible < PLANTED_FILES;
    }
    assert!(was_partial, "no moment was in the middle");
    home.swarm(["sync", "--compress", "never", source, destination]).success();
    assert_eq!(whole_files(&place, &from), PLANTED_FILES);
    // A killed controller's handler may be at its last files still, in a directory that has its time already.
    world.wait_for(HANDLERS_IN_USE, limits::IDLE_TIMEOUT + Duration::from_secs(5), |in_use| in_use == 0.0);
    let told = summary(home.swarm(["sync", "--compress", "never", source, destination, "--json"]), 0);
    assert_eq!((&told["files_sent"], &told["bytes_sent"]), (&json!(0), &json!(0)), "{told}");
    assert_same(&from, &place);
    assert_no_leftovers(&to);
}

/// Story: the goodbye was held back while much was on its way, and the gateway kept the handler until its idle timeout.
#[test]
fn a_sync_that_is_interrupted_frees_its_handler_at_once() {
    let world = World::start_with(|options| options.metrics = Some(([127, 0, 0, 1], 0).into()));
    let home = world.joined("push");
    let tree = world.beside("tree");
    fs::create_dir(&tree).unwrap();
    for (round, signal) in [Signal::INT, Signal::TERM, Signal::INT, Signal::TERM].into_iter().enumerate() {
        // Another name each time, so that nothing is left to go on with.
        let large = tree.join(format!("large{round}"));
        fs::File::create(&large).unwrap().set_len(4 << 30).unwrap();
        let mut child = spawn(&home, text(&tree), "gw:");
        let series = r#"swarmwire_bytes_total{direction="in",service="sync"}"#;
        let before = world.metric(series);
        world.wait_for(series, limits::IDLE_TIMEOUT, |bytes| bytes > before);
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        world.wait_for(HANDLERS_IN_USE, limits::IDLE_TIMEOUT / 3, |in_use| in_use == 0.0);
        fs::remove_file(&large).unwrap();
    }
    assert!(visible_files(&world.root()).is_empty());
}

#[test]
fn a_push_that_is_killed_leaves_whole_files_and_frees_its_handler() {
    kill_at_several_moments_then_complete(Way::Push);
}

#[test]
fn a_pull_that_is_killed_leaves_whole_files_and_frees_its_handler() {
    kill_at_several_moments_then_complete(Way::Pull);
}

/// Whether a pipe is not full.
fn has_room(writer: &PipeWriter) -> bool {
    let mut polled = [PollFd::new(writer, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    polled[0].revents().contains(PollFlags::OUT)
}

/// Longer than any of it takes; then it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Story: a pager that was left at its first page kept the connection from being alive, and any signal from being heard.
#[test]
fn a_reader_who_stalls_does_not_keep_a_signal_from_being_heard() {
    for (way, options) in [(Way::Push, &["-v"][..]), (Way::Pull, &["-v"]), (Way::Pull, &["-v", "--json"])] {
        let sides = Sides::new(way);
        let (from, to) = (sides.from().join("src"), sides.to());
        fs::create_dir(&from).unwrap();
        for number in 0..2000 {
            fs::write(from.join(format!("{number}{}", "long".repeat(50))), b"").unwrap();
        }
        let places = match way {
            Way::Push => [text(&from), "gw:"],
            Way::Pull => ["gw:src", text(&to)],
        };
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_swarm"))
            .arg("sync")
            .args(places)
            .args(options)
            .env("SWARMWIRE_HOME", sides.home.path())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while has_room(&writer) {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            std::thread::yield_now();
        }
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::INT).unwrap();
        let (ended, has_ended) = std::sync::mpsc::sync_channel::<()>(1);
        let watch = std::thread::spawn(move || {
            let hangs = has_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            if hangs {
                let _ = kill_process(pid, Signal::KILL);
            }
            hangs
        });
        let status = child.wait().unwrap();
        drop(ended);
        assert!(!watch.join().unwrap(), "it hangs");
        assert_eq!(status.code(), Some(130), "{way:?} {options:?}");
    }
}
