//! A sync that does not run to its end at once: interrupted, or its gateway goes away, for a while or for good. Whatever happens,
//! no file at the destination is ever half there.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    relay::Relay,
    world::{ControllerHome, World, last_event, refused, text},
};

const FILES: usize = 64;
const FILE_BYTES: usize = 512 * 1024;

/// Enough that files are in place, and far from all of them.
const PASSING_BYTES: u64 = (FILES * FILE_BYTES) as u64 / 3;

/// A gateway behind a relay that will shut, and a tree to push there.
fn world_behind_relay() -> (World, Relay, ControllerHome) {
    let world = World::start();
    let home = world.joined("push");
    let relay = Relay::start(world.address, PASSING_BYTES);
    home.pin("far", relay.address, world.fingerprint);
    fs::create_dir(world.beside("tree")).unwrap();
    for number in 0..FILES {
        let content = vec![u8::try_from(number).unwrap(); FILE_BYTES];
        fs::write(world.beside("tree").join(format!("{number:02}")), content).unwrap();
    }
    (world, relay, home)
}

fn push(world: &World, home: &ControllerHome, retry: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_swarm"))
        .args([
            "sync",
            // What passes the relay is counted in bytes.
            "--compress",
            "never",
            text(&world.beside("tree")),
            "far:",
            "--json",
            "--durability",
            "none",
            "--retry",
            retry,
        ])
        .env("SWARMWIRE_HOME", home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: Child) -> (Option<i32>, Value, String) {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), last_event(&output.stdout), stderr)
}

/// Every file under its final name is whole; gives their number.
fn whole_files(root: &Path) -> usize {
    let Ok(names) = fs::read_dir(root.join("tree")) else { return 0 };
    let files: Vec<_> = names.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    for file in &files {
        let number: u8 = file.file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert!(fs::read(file).unwrap() == vec![number; FILE_BYTES], "{} is not whole", file.display());
    }
    files.len()
}

fn inodes(root: &Path) -> BTreeMap<OsString, u64> {
    let entries = fs::read_dir(root.join("tree")).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().ino())).collect()
}

#[test]
fn an_interrupted_sync_sums_up_and_leaves_whole_files() {
    for signal in [Signal::INT, Signal::TERM] {
        let (mut world, relay, home) = world_behind_relay();
        let child = push(&world, &home, "30s");
        relay.wait_until_shut();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (code, summary, stderr) = ended(child);
        assert_eq!((code, &summary["error"]), (Some(130), &"interrupted".into()), "{stderr}");
        assert!(summary["files_sent"].as_u64().unwrap() < FILES as u64);
        world.stop();
        assert!(whole_files(&world.root()) < FILES);
    }
}

#[test]
fn a_gateway_that_comes_back_gets_the_rest_and_nothing_twice() {
    let (mut world, relay, home) = world_behind_relay();
    let child = push(&world, &home, "30s");
    relay.wait_until_shut();
    // The old gateway's goodbye passes, and the rest of the files does not.
    relay.open_back();
    world.stop();
    let before = inodes(&world.root());
    assert!(!before.is_empty() && before.len() < FILES, "{}", before.len());
    let world = world.restart();
    relay.open_to(world.address);
    let (code, summary, stderr) = ended(child);
    assert_eq!((code, summary.get("error")), (Some(0), None), "{stderr}");
    assert_eq!(whole_files(&world.root()), FILES);
    let after = inodes(&world.root());
    assert!(
        before.iter().all(|(name, inode)| after.get(name) == Some(inode)),
        "what was in place is left alone"
    );
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("files_sent") + count("files_unchanged"), FILES as u64);
    assert_eq!((count("entries_total"), count("entries_failed")), (FILES as u64 + 1, 0));
    assert!(stderr.is_empty(), "{stderr}");
}

#[test]
fn a_gateway_that_is_gone_for_good_is_given_up_after_the_summary() {
    let (mut world, relay, home) = world_behind_relay();
    let child = push(&world, &home, "1s");
    relay.wait_until_shut();
    // The goodbye passes, and then nothing answers.
    relay.open_back();
    world.stop();
    let (code, summary, stderr) = ended(child);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(summary["error"].as_str().unwrap().starts_with("gave up after 1s: no answer from "), "{summary}");
    assert!(stderr.starts_with("swarm: gave up after 1s: no answer from "), "{stderr}");
    assert!(whole_files(&world.root()) < FILES);
}

/// The oldest of what interrupted syncs have left goes first, and a gateway's limit is its own.
#[test]
fn unfinished_files_are_kept_as_far_as_there_is_room_for_them() {
    const PARTS: [&str; 2] = [".swarmwire-part-000000000000001", ".swarmwire-part-000000000000002"];
    let plant = |top: &Path| {
        for (part, hours) in PARTS.iter().zip([2, 1]) {
            fs::write(top.join(part), "0123456789").unwrap();
            let file = fs::File::open(top.join(part)).unwrap();
            let age = std::time::Duration::from_secs(3600 * hours);
            file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
        }
    };
    let left = |top: &Path| PARTS.map(|part| top.join(part).exists());
    for (limit, expected) in [(20, [true, true]), (19, [false, true]), (0, [false, false])] {
        let world = World::start_with(|options| options.partial_bytes_max = limit);
        let home = world.joined("list,pull,push");
        let here = world.beside("here");
        fs::create_dir_all(&here).unwrap();
        fs::write(world.beside("file"), "x").unwrap();
        plant(&world.root());
        home.swarm(["sync", text(&world.beside("file")), "gw:"]).success();
        assert_eq!(left(&world.root()), expected, "{limit}");
        plant(&here);
        let option = ["--partial-limit", &limit.to_string()];
        home.swarm(["sync", "gw:file", text(&here)].into_iter().chain(option)).success();
        assert_eq!(left(&here), expected, "{limit}");
        let push = ["sync", text(&here), "gw:"].into_iter().chain(option);
        refused(home.swarm(push), 2, &["--partial-limit", "swarmd --partial-limit"]);
    }
}
