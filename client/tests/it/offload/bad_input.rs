//! What makes no sense, and what is not there: refused by name, with nothing moved, and the next run works.

use std::fs;

use super::{GRANTS, NAMES, Scene, names, plant, set};
use crate::{
    disks::Disk,
    world::{World, refused, text},
};

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let scene = Scene::new();
    for (options, parts) in [
        (&["--above", "25%", "--until", "75%"][..], &["`--above 25%` must be more than `--until 75%`"][..]),
        (&["--above", "50%", "--until", "50%"], &["must be more"]),
        (&["--above", "101%", "--until", "5%"], &["--above", "`101%` is no percentage", "75%"]),
        (&["--above", "-1%", "--until", "5%"], &["-1"]),
        (&["--above", "half", "--until", "5%"], &["`half` is no percentage"]),
        (&["--above", "75%"], &["--until"]),
        (&["--above", "75%", "--until", "5%", "--capacity", "0"], &["a capacity of 0 leaves no room"]),
        (&["--above", "75%", "--until", "5%", "--capacity", "many"], &["--capacity", "whole number"]),
        (&["--above", "75%", "--until", "5%", "--match", "("], &["--match"]),
        (&["--above", "75%", "--until", "5%", "--older-than", "long"], &["--older-than", "30s"]),
        (&["--above", "75%", "--until", "5%", "--every", "0s"], &["--every", "10m"]),
        // Nothing that the clock cannot count.
        (&["--above", "75%", "--until", "5%", "--every", "500000000000years"], &["--every", "ten years"]),
        (&["--above", "75%", "--until", "5%", "--every", "1s", "-n"], &["--every", "--dry-run"]),
    ] {
        let archive = scene.archive();
        let assert = scene.home.command(["offload", "gw:logs", text(&archive)]).args(options).assert();
        refused(assert, 2, parts);
    }
    let here = scene.world.beside("here");
    let all = ["--above", "75%", "--until", "25%", "--capacity", "10kB"];
    for (places, code, parts) in [
        (["gw:a", "gw:b"], 2, &["both SRC `gw:a` and DST `gw:b`"][..]),
        (["a", "b"], 2, &["neither SRC `a` nor DST `b`"]),
        (["a", "b"], 2, &["GW:PATH"]),
        (["gw:/etc", "b"], 2, &["absolute"]),
        (["other:a", "b"], 2, &["SRC: there is no gateway called `other`"]),
        (["b", "other:a"], 2, &["DST: there is no gateway called `other`"]),
        (["gw:nothing", "b"], 1, &["`nothing` does not exist"]),
        (["gw:logs/z.log", "b"], 1, &["`logs/z.log` is not a directory"]),
        ([text(&here), "gw:logs"], 1, &["here` cannot be opened: no such file"]),
    ] {
        refused(scene.home.command(["offload"]).args(places).args(all).assert(), code, parts);
    }
    fs::write(scene.archive(), "a file").unwrap();
    refused(scene.offload(&["--capacity", "10kB"]), 1, &["archive` cannot be written to: not a directory"]);
    assert_eq!(names(&scene.logs()), set(&NAMES));
    fs::remove_file(scene.archive()).unwrap();
    scene.offload(&["--capacity", "10kB"]).success();
    assert_eq!(names(&scene.archive()), set(&NAMES[..8]));
}

/// Story: a gateway's own directory was offloaded to itself. What is the same there was the same file.
#[test]
fn a_directory_is_not_offloaded_to_itself() {
    let scene = Scene::new();
    let logs = scene.logs();
    let places =
        ["offload", "gw:logs", text(&logs), "--above", "75%", "--until", "25%", "--capacity", "10kB"];
    refused(scene.home.swarm(places), 2, &["SRC and DST are one directory"]);
    assert_eq!(names(&logs), set(&NAMES));
    for (number, name) in NAMES.iter().enumerate() {
        assert_eq!(fs::read(logs.join(name)).unwrap(), crate::trees::content(number, super::SIZE));
    }
    plant(&logs);
}

/// Story: each of the files was sent, or told to have failed, one by one.
#[test]
fn where_nothing_can_be_written_or_removed_it_is_said_once() {
    let terms = ["--above", "75%", "--until", "25%", "--capacity", "10kB"];
    // The kernel's own: nothing can be made there by anybody.
    let world = World::start_with(|options| options.root = "/proc/sys".into());
    let (home, here) = (world.joined("push"), world.beside("here"));
    plant(&here);
    let assert = home.swarm([&["offload", text(&here), "gw:new"], &terms[..]].concat());
    refused(assert, 1, &["swarm: unavailable: `new` cannot be written to: permission denied\n"]);
    assert_eq!(names(&here), set(&NAMES));
    let Some(mut disk) = Disk::mount("size=1m") else { return };
    plant(disk.path());
    disk.remount("ro");
    let world = World::start_with(|options| options.root = disk.path().to_owned());
    let (home, archive) = (world.joined(GRANTS), world.beside("archive"));
    let assert = home.swarm([&["offload", "gw:", text(&archive)], &terms[..]].concat());
    refused(assert, 1, &["swarm: unavailable: nothing can be removed from `.`: read-only file system\n"]);
    assert!(!archive.exists());
    let assert = home.swarm([&["offload", text(disk.path()), "gw:"], &terms[..]].concat());
    refused(assert, 1, &["` cannot be written to: read-only file system\n"]);
}
