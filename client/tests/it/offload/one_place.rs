//! A directory that is offloaded to itself, or into itself, by way of a gateway: nothing is moved, however the two sides see it.

use std::{fs, path::Path};

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

/// Story: a run that was killed while it looked left its empty file there for ever.
#[test]
fn what_killed_runs_have_left_is_removed_once_it_is_old() {
    let scene = Scene::new();
    let archive = scene.archive();
    fs::create_dir(&archive).unwrap();
    let [old, new, full] = ["old", "new", "full"].map(|name| format!(".offload-probe-{name}"));
    for (name, text) in [(&old, ""), (&new, ""), (&full, "something")] {
        fs::write(archive.join(name), text).unwrap();
    }
    [&old, &full].iter().for_each(|name| set_mtime(&archive.join(name), 0));
    scene.offload(&["--capacity", "10kB"]).success();
    assert_eq!(names(&archive), &set(&NAMES[..8]) | &[new, full].into());
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
