//! `--every`: round after round, a line for each that did something, until a signal comes or no further one could succeed.

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{NAMES, Scene, names, put, set};
use crate::world::text;

/// What is waited for at most before it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// One that looks again each tenth of a second.
fn spawn(scene: &Scene) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_swarm"))
        .args(["offload", "gw:logs", text(&scene.archive()), "--above", "75%", "--until", "25%"])
        .args(["--capacity", "10kB", "--every", "100ms", "--json", "--retry", "0s"])
        .env("SWARMWIRE_HOME", scene.home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    serde_json::from_str(&lines.next().expect("it has ended").unwrap()).unwrap()
}

#[test]
fn it_goes_on_until_a_signal_and_tells_of_rounds_that_did_something() {
    let scene = Scene::new();
    let (mut child, mut lines) = spawn(&scene);
    let first = next(&mut lines);
    assert_eq!((&first["event"], &first["files_moved"]), (&"round".into(), &8.into()), "{first}");
    assert_eq!(names(&scene.archive()), set(&NAMES[..8]));
    // Older than what was left, and enough for another one.
    let beside = scene.world.beside("more");
    for number in 0..7 {
        put(&beside, &format!("{number}"), 20 + number, 0);
    }
    fs::rename(&beside, scene.logs().join("more")).unwrap();
    let second = next(&mut lines);
    assert_eq!((&second["files_moved"], &second["state"]), (&7.into(), &"reached".into()), "{second}");
    assert!(second["round"].as_u64() > first["round"].as_u64());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let last = next(&mut lines);
    assert_eq!((&last["event"], &last["files_moved"]), (&"summary".into(), &15.into()), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Story: a disk ran full while its offload, which was to be quiet, failed round after round without a word.
#[test]
fn what_fails_is_told_on_standard_error_however_quiet_it_is() {
    let scene = Scene::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_swarm"))
        .args(["offload", "gw:nothing", text(&scene.archive()), "--above", "75%", "--until", "25%"])
        .args(["--every", "100ms", "--quiet"])
        .env("SWARMWIRE_HOME", scene.home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (sender, told) = mpsc::sync_channel(2);
    let reading = std::thread::spawn(move || lines.take(2).try_for_each(|line| sender.send(line.unwrap())));
    let heard: Result<Vec<_>, _> = (0..2).map(|_| told.recv_timeout(PATIENCE)).collect();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    reading.join().unwrap().unwrap();
    for line in heard.expect("nothing is told") {
        assert!(line.contains("`nothing` does not exist") && line.contains("again in 100ms"), "{line}");
    }
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(130), &b""[..]));
}

#[test]
fn what_stays_full_is_told_on_standard_error_however_quiet_it_is() {
    let scene = Scene::new();
    let told = scene.offload(&["--capacity", "10kB", "--older-than", "5000d", "--quiet"]).code(3);
    let output = told.get_output();
    assert_eq!(output.stdout, b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("nothing else may or can be moved"), "{told}");
    let output = scene.offload(&["--capacity", "10kB", "--quiet"]).code(0).get_output().clone();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b""[..], &b""[..]));
}

#[test]
fn an_outage_is_waited_out_and_a_revoked_grant_is_the_end() {
    let mut scene = Scene::new();
    let (mut child, mut lines) = spawn(&scene);
    assert_eq!(next(&mut lines)["files_moved"], 8);
    scene.world.stop();
    let outage = next(&mut lines);
    assert!(outage["event"] == "round" && outage["error"].is_string(), "{outage}");
    scene.world = scene.world.start_again();
    for number in 0..6 {
        put(&scene.logs(), &format!("again{number}"), 20 + number, 0);
    }
    let mut told = next(&mut lines);
    while told["error"].is_string() {
        told = next(&mut lines);
    }
    assert!(told["files_moved"].as_u64().unwrap() > 0, "{told}");
    scene.world.revoke_all();
    let last = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()).last().unwrap();
    assert_eq!(last["event"], "summary", "{last}");
    let status = child.wait().unwrap();
    assert!(matches!(status.code(), Some(4 | 5)), "{status:?}");
}
