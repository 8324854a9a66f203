//! A directory that is offloaded to itself, or into itself, by way of a gateway: nothing is moved, however the two sides see it.

use std::{collections::BTreeSet, fs, path::Path};

use super::{NAMES, Scene, names, plant, set};
use crate::{
    trees::set_mtime,
    world::{World, refused, summary, text},
};

const PARTS: [&str; 2] = ["SRC and DST are one directory", "write another DST"];

fn offload(places: [&str; 2]) -> Vec<String> {
    let options = ["--above", "75%", "--until", "25%", "--capacity", "10kB"];
    [&["offload"], &places[..], &options[..]].concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_directory_of_the_gateway_is_not_moved_onto_or_into_itself() {
    let scene = Scene::new();
    for below in ["", "sub", "sub/deep/new/archive"] {
        let destination = scene.logs().join(below);
        refused(scene.home.swarm(offload(["gw:logs", text(&destination)])), 2, &PARTS);
        assert_eq!(names(&scene.logs()), set(&NAMES), "{below:?}");
        assert!(!scene.logs().join("sub/deep/new").exists());
    }
}

#[test]
fn a_directory_here_is_not_moved_onto_or_into_itself() {
    for grants in ["push", GRANTS_OF_MORE] {
        let world = World::start();
        let home = world.joined(grants);
        let logs = world.root().join("logs");
        plant(&logs);
        for there in ["gw:logs", "gw:logs/sub", "gw:logs/sub/deep/new/archive"] {
            refused(home.swarm(offload([text(&logs), there])), 2, &PARTS);
            assert_eq!(names(&logs), set(&NAMES), "{there}");
            assert!(!logs.join("sub/deep/new").exists());
        }
    }
}

/// Story: a run that was killed while it looked left its empty file there for ever, or the next one moved it to the gateway.
#[test]
fn what_killed_runs_have_left_is_no_file_and_is_removed() {
    let probe = |digit: char| format!(".offload-probe-{}", digit.to_string().repeat(32));
    let [old, new, full, other] = [probe('0'), probe('f'), probe('a'), ".offload-probe-mine".to_owned()];
    // Begin with what tells this machine, since it was started.
    let id = blake3::hash(&fs::read("/proc/sys/kernel/random/boot_id").unwrap()).to_hex();
    let [left, used] =
        ['1', '2'].map(|digit| format!(".offload-probe-{}{}", &id[..16], digit.to_string().repeat(16)));
    let leave = |dir: &Path| {
        fs::create_dir_all(dir).unwrap();
        for (name, text) in
            [(&old, ""), (&new, ""), (&full, "something"), (&other, ""), (&left, ""), (&used, "")]
        {
            fs::write(dir.join(name), text).unwrap();
        }
        [&old, &full, &other].iter().for_each(|name| set_mtime(&dir.join(name), 100));
        // As by the process that looks for it.
        let used = fs::File::open(dir.join(&used)).unwrap();
        used.lock().unwrap();
        used
    };
    let rest: BTreeSet<_> = [&new, &full, &other, &used].map(Clone::clone).into();
    let scene = Scene::new();
    let archive = scene.archive();
    let locked = leave(&archive);
    // Where one looks whose destination is still to be made.
    let above = archive.parent().unwrap().join(&old);
    fs::write(&above, "").unwrap();
    set_mtime(&above, 0);
    scene.offload(&["--capacity", "10kB"]).success();
    assert_eq!(names(&archive), &set(&NAMES[..8]) | &rest);
    assert!(!above.exists());
    drop(locked);
    let world = World::start();
    let (home, here) = (world.joined("push"), world.beside("here"));
    plant(&here);
    let _locked = leave(&here);
    home.swarm(offload([text(&here), "gw:old"])).success();
    assert_eq!(names(&here), &set(&NAMES[8..]) | &rest, "what is no probe is younger");
    assert_eq!(names(&world.root().join("old")), set(&NAMES[..8]));
}

const GRANTS_OF_MORE: &str = "list,push,delete";

/// The other way round is harmless: what is moved out of a directory into the one that it is in.
#[test]
fn a_directory_may_be_moved_into_the_one_that_it_is_in() {
    let check = |logs: &Path, above: &Path| {
        let told = names(above);
        assert!(NAMES[..8].iter().all(|name| told.contains(*name)), "{told:?}");
        assert_eq!(names(logs), set(&NAMES[8..]));
    };
    let scene = Scene::new();
    let root = scene.world.root();
    let arguments = [offload(["gw:logs", text(&root)]), vec!["--json".to_owned()]].concat();
    assert_eq!(summary(scene.home.swarm(arguments), 0)["files_moved"], 8);
    check(&scene.logs(), &root);
    let world = World::start();
    let home = world.joined(GRANTS_OF_MORE);
    let logs = world.root().join("logs");
    plant(&logs);
    let arguments = [offload([text(&logs), "gw:"]), vec!["--json".to_owned()]].concat();
    assert_eq!(summary(home.swarm(arguments), 0)["files_moved"], 8);
    check(&logs, &world.root());
}
