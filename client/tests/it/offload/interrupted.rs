//! Killed at any moment, on either side: nothing is lost, nothing is there twice, and the next run ends where an uninterrupted one would have.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{GRANTS, NAMES, SIZE, Scene, counts, names, plant, put, set};
use crate::{
    examples::example,
    model::gateway::Running,
    relay::Relay,
    trees::{assert_no_leftovers, content, visible_files},
    world::{ControllerHome, World, stdout, summary, text},
};

/// What can be seen of how far it is: files that are in place, lines of the journal, files that are gone.
fn progress(archive: &Path, logs: &Path, home: &Path) -> usize {
    let journals = fs::read_dir(home.join("offload")).into_iter().flatten().filter_map(Result::ok);
    let lines = journals.map(|entry| fs::read(entry.path()).unwrap_or_default());
    let lines: usize = lines.map(|text| text.iter().filter(|&&byte| byte == b'\n').count()).sum();
    visible_files(archive).len() + lines + (NAMES.len() - visible_files(logs).len().min(NAMES.len()))
}

fn spawn(home: &ControllerHome, source: &str, destination: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_swarm"))
        .args(["offload", source, destination, "--above", "75%", "--until", "25%", "--capacity", "10kB"])
        .args(["--quiet", "--retry", "0s"])
        .env("SWARMWIRE_HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until so much is to be seen, or it has ended by itself.
fn wait_for(child: &mut Child, steps: usize, seen: impl Fn() -> usize) {
    while child.try_wait().unwrap().is_none() && seen() < steps {
        std::thread::yield_now();
    }
}

/// Every file is whole at one of the two places, or at both.
fn assert_nothing_lost(logs: &Path, archive: &Path) {
    for (number, name) in NAMES.iter().enumerate() {
        let there: Vec<_> = [logs, archive].iter().filter_map(|top| fs::read(top.join(name)).ok()).collect();
        assert!(!there.is_empty(), "{name} is lost");
        assert!(there.iter().all(|bytes| *bytes == content(number, SIZE)), "{name} is not whole");
    }
}

/// The steps at which something is killed; all that there are to see are 8 files, 8 removals and 11 lines.
const STEPS: [usize; 9] = [0, 1, 2, 5, 9, 12, 18, 22, 26];

fn assert_as_uninterrupted(logs: &Path, archive: &Path, home: &ControllerHome) {
    assert_eq!((names(archive), names(logs)), (set(&NAMES[..8]), set(&NAMES[8..])));
    assert_nothing_lost(logs, archive);
    assert_no_leftovers(archive);
    let journals = fs::read_dir(home.path().join("offload")).unwrap().map(|entry| entry.unwrap().path());
    let journal = journals.filter(|path| path.extension().is_some_and(|ext| ext == "journal"));
    let journal: String = journal.map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(journal.lines().last().unwrap().split(' ').nth(1), Some("end"), "{journal}");
}

#[test]
fn a_controller_that_is_killed_goes_on_with_its_next_run() {
    for steps in STEPS {
        let scene = Scene::new();
        let (archive, logs) = (scene.archive(), scene.logs());
        let mut child = spawn(&scene.home, "gw:logs", text(&archive));
        wait_for(&mut child, steps, || progress(&archive, &logs, &scene.home.path()));
        let _ = child.kill();
        child.wait().unwrap();
        assert_nothing_lost(&logs, &archive);
        // At once, while the gateway may not know yet that the other one is dead.
        summary(scene.offload(&["--capacity", "10kB", "--json"]), 0);
        assert_as_uninterrupted(&logs, &archive, &scene.home);
    }
}

#[test]
fn a_controller_that_is_killed_while_it_offloads_itself_goes_on_with_its_next_run() {
    for steps in STEPS {
        let world = World::start();
        let home = world.joined("push");
        let (here, old) = (world.beside("here"), world.root().join("old"));
        plant(&here);
        let mut child = spawn(&home, text(&here), "gw:old");
        wait_for(&mut child, steps, || progress(&old, &here, &home.path()));
        let _ = child.kill();
        child.wait().unwrap();
        assert_nothing_lost(&here, &old);
        let status = spawn(&home, text(&here), "gw:old").wait().unwrap();
        assert_eq!(status.code(), Some(0), "{steps}");
        assert_as_uninterrupted(&here, &old, &home);
    }
}

/// Story: what the gateway had received of one that was killed was put in place when it noticed that, over what the next one had put there, which was kept
/// as earlier files, or with files that were gone where they came from.
#[test]
fn what_a_killed_one_has_under_way_at_the_gateway_is_over_when_the_next_one_begins() {
    let mut world = World::start();
    let home = world.joined("push");
    let (here, old) = (world.beside("here"), world.root().join("old"));
    let name = |number: usize| format!("{number:04}");
    (0..1000).for_each(|number| put(&here, &name(number), number, number));
    // It is shut in the midst of them. To find out how large datagrams may be takes up to 300 kB.
    let relay = Relay::start(world.address, 700_000);
    home.pin("far", relay.address, world.fingerprint);
    let mut child = spawn(&home, text(&here), "far:old");
    relay.wait_until_shut();
    child.kill().unwrap();
    child.wait().unwrap();
    // The oldest of them is not there any longer, and may have been put in place before.
    fs::remove_file(here.join(name(0))).unwrap();
    let status = spawn(&home, text(&here), "gw:old").wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let moved = names(&old);
    let told = format!("{:?}", moved.iter().filter(|name| name.len() != 4).collect::<Vec<_>>());
    assert!((1..998).all(|number| moved.contains(&name(number))) && moved.len() <= 998, "{told}");
    assert_eq!(names(&here), (998..1000).map(name).collect());
    // Nothing comes afterwards.
    world.stop();
    assert!(names(&old) == moved, "something has come afterwards");
    assert_no_leftovers(&old);
}

/// A gateway in a process of its own, with the files in `logs`.
struct Killable {
    temp: tempfile::TempDir,
    home: ControllerHome,
    gateway: Running,
}

impl Killable {
    fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("root")).unwrap();
        let mut world = World::start();
        let home = world.joined(GRANTS);
        world.stop();
        // Whoever has joined the one is known to the other.
        let copied =
            Command::new("cp").arg("-a").arg(world.beside("state")).arg(temp.path().join("state")).status();
        assert!(copied.unwrap().success());
        plant(&temp.path().join("root/logs"));
        let gateway = Running::start(temp.path());
        home.pin("gw", gateway.address, gateway.fingerprint);
        Self { temp, home, gateway }
    }

    fn logs(&self) -> PathBuf {
        self.temp.path().join("root/logs")
    }

    fn archive(&self) -> PathBuf {
        self.temp.path().join("archive")
    }
}

#[test]
fn after_a_gateway_that_is_killed_the_next_run_goes_on() {
    for steps in STEPS {
        let mut scene = Killable::start();
        let (archive, logs) = (scene.archive(), scene.logs());
        let mut child = spawn(&scene.home, "gw:logs", text(&archive));
        wait_for(&mut child, steps, || progress(&archive, &logs, &scene.home.path()));
        scene.gateway.kill();
        // It is of no use to wait until it finds out.
        let _ = child.kill();
        child.wait().unwrap();
        assert_nothing_lost(&logs, &archive);
        let gateway = Running::start(scene.temp.path());
        scene.home.pin("gw", gateway.address, gateway.fingerprint);
        let status = spawn(&scene.home, "gw:logs", text(&archive)).wait().unwrap();
        assert_eq!(status.code(), Some(0), "{steps}");
        assert_as_uninterrupted(&logs, &archive, &scene.home);
    }
}

/// Story: an offload was killed at 60 %, which is not above 75 %, and no later one did anything about it.
#[test]
fn what_was_interrupted_goes_on_although_it_is_not_above_any_longer() {
    let scene = Scene::new();
    // Three have gone, and a fourth is safe here; then somebody pulled the plug.
    for (number, name) in NAMES[..4].iter().enumerate() {
        put(&scene.archive(), name, number, number);
    }
    NAMES[..3].iter().for_each(|name| fs::remove_file(scene.logs().join(name)).unwrap());
    let told = summary(scene.offload(&["--capacity", "10kB", "--json"]), 0);
    assert_eq!(counts(&told), ("not_due", 0, 0), "nobody has begun");
    let journal = fs::read_dir(scene.home.path().join("offload")).unwrap().map(|entry| entry.unwrap().path());
    let journal =
        journal.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "journal")).unwrap();
    let line = "2026-01-01T00:00:00.000Z safe size=1000 mtime=1.000000000 blake3=00 sub/deep/a.log\n";
    fs::write(&journal, line).unwrap();
    let told =
        super::told(&scene.offload(&["--capacity", "10kB", "-n", "--json"]).success().get_output().stdout);
    assert_eq!(told["files_to_move"], 5, "a dry run knows of it, too");
    let told = summary(scene.offload(&["--capacity", "10kB", "--json"]), 0);
    assert_eq!(counts(&told), ("reached", 5, 0));
    assert_as_uninterrupted(&scene.logs(), &scene.archive(), &scene.home);
}

/// Story: a run was killed when the largest file of its batch had gone, which was enough; the others stayed at both places for good.
#[test]
fn what_is_left_of_the_last_batch_is_moved_although_enough_has_gone() {
    let scene = Scene::new();
    scene.offload(&["--capacity", "100kB"]).success();
    // Three are safe here, and a fourth would have been next, in the batch of a fifth that has gone.
    NAMES[..3].iter().enumerate().for_each(|(number, name)| put(&scene.archive(), name, number, number));
    put(&scene.archive(), NAMES[4], 4, 4);
    fs::remove_file(scene.logs().join(NAMES[4])).unwrap();
    let journal = fs::read_dir(scene.home.path().join("offload")).unwrap().map(|entry| entry.unwrap().path());
    let journal =
        journal.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "journal")).unwrap();
    let last = data_encoding::HEXLOWER.encode(NAMES[4].as_bytes());
    let line = format!("2026-01-01T00:00:00.000Z batch mtime=1700000004.123456789 path={last}\n");
    fs::write(&journal, line).unwrap();
    let plan =
        super::told(&scene.offload(&["--capacity", "100kB", "-n", "--json"]).success().get_output().stdout);
    assert_eq!(plan["files_to_move"], 4, "{plan}");
    let told = summary(scene.offload(&["--capacity", "100kB", "--json"]), 0);
    assert_eq!(counts(&told), ("reached", 4, 0), "{told}");
    assert_eq!((names(&scene.archive()), names(&scene.logs())), (set(&NAMES[..5]), set(&NAMES[5..])));
    let told = summary(scene.offload(&["--capacity", "100kB", "--json"]), 0);
    assert_eq!(counts(&told), ("not_due", 0, 0), "{told}");
}

/// Story: a run was killed, and another one, that should only begin above 100 %, went on with it to its own end.
#[test]
fn what_was_interrupted_on_other_terms_is_left_to_them() {
    let scene = Scene::new();
    let mut child = spawn(&scene.home, "gw:logs", text(&scene.archive()));
    wait_for(&mut child, 5, || progress(&scene.archive(), &scene.logs(), &scene.home.path()));
    let _ = child.kill();
    child.wait().unwrap();
    let before = names(&scene.logs());
    let told = summary(scene.offload_within("100%", "1%", &["--capacity", "10kB", "--json"]), 0);
    assert_eq!(counts(&told), ("not_due", 0, 0), "{told}");
    assert_eq!(names(&scene.logs()), before);
    summary(scene.offload(&["--capacity", "10kB", "--json"]), 0);
    assert_as_uninterrupted(&scene.logs(), &scene.archive(), &scene.home);
}

#[test]
fn the_example_does_the_same_through_the_library() {
    let scene = Killable::start();
    let archive = scene.archive();
    let run = || {
        let places = ["gw", "logs", text(&archive), "10kB"];
        stdout(scene.home.program(example("conditional_backup"), places).assert())
    };
    let told = run();
    assert!(told.contains("8 files, 8000 bytes moved"), "{told}");
    assert_as_uninterrupted(&scene.logs(), &archive, &scene.home);
    let told = run();
    assert!(told.contains("0 files, 0 bytes moved"), "{told}");
}
