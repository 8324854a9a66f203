//! What cannot be read or named: entries that their owner has closed, and paths that are longer than there may be. Each is named and counted,
//! the rest arrives, and nothing is deleted for being absent from what could not be listed.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::{
    placement::{BOTH, Sides, Way},
    trees::{assert_same, set_mtime, snapshot},
    world::{World, summary},
};

/// An ordinary user, whom permission bits stop.
const NOBODY: u32 = 65_534;

fn failures(summary: &Value) -> Vec<(&str, &str)> {
    let failed = summary["failed"].as_array().unwrap().iter();
    let mut failed: Vec<_> =
        failed.map(|it| (it["path"].as_str().unwrap(), it["reason"].as_str().unwrap())).collect();
    failed.sort_unstable();
    failed
}

/// `swarm` for an ordinary user, with a home and a directory of his own. Root lends him the program, which may lie where he may not go.
struct Ordinary {
    temp: tempfile::TempDir,
}

impl Ordinary {
    fn new(world: &World, allow: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let it = Self { temp };
        fs::copy(env!("CARGO_BIN_EXE_swarm"), it.path("swarm")).unwrap();
        it.give(&it.path(""));
        it.swarm(&["join", &world.invite(allow), "--name", "gw"]).success();
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Makes `path` and all that is in it his.
    fn give(&self, path: &Path) {
        if !geteuid().is_root() {
            return;
        }
        for name in snapshot(path).keys() {
            let path = path.join(name);
            std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    fn swarm(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = Command::new(self.path("swarm"));
        command.args(arguments).env("SWARMWIRE_HOME", self.path("home")).current_dir(self.temp.path());
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        assert_cmd::Command::from_std(command).assert()
    }
}

/// `tree` with a closed directory, a closed file, and others.
fn plant(top: &Path) -> PathBuf {
    let tree = top.join("tree");
    fs::create_dir_all(tree.join("closed/inner")).unwrap();
    fs::create_dir(tree.join("open")).unwrap();
    for file in ["closed/a", "closed/inner/b", "open/c", "secret", "plain"] {
        fs::write(tree.join(file), file).unwrap();
    }
    tree
}

fn set_modes(tree: &Path, directory: u32, file: u32) {
    fs::set_permissions(tree.join("closed"), Permissions::from_mode(directory)).unwrap();
    if tree.join("secret").exists() {
        fs::set_permissions(tree.join("secret"), Permissions::from_mode(file)).unwrap();
    }
}

#[test]
fn what_is_closed_is_named_and_nothing_is_deleted_for_it() {
    let world = World::start();
    let ordinary = Ordinary::new(&world, "push,delete");
    let tree = plant(ordinary.temp.path());
    let place = world.root().join("tree");
    fs::create_dir_all(place.join("closed")).unwrap();
    fs::write(place.join("closed/a"), "old").unwrap();
    fs::write(place.join("extraneous"), "stays").unwrap();
    set_modes(&tree, 0o000, 0o000);
    ordinary.give(&tree);

    let told = summary(ordinary.swarm(&["sync", "tree", "gw:", "--delete", "--json"]), 3);
    assert_eq!(
        failures(&told),
        [
            (".", "nothing was deleted, because the source could not list everything"),
            ("closed", "the directory cannot be listed: permission denied"),
            ("secret", "cannot be read: permission denied"),
        ]
    );
    assert_eq!((&told["entries_failed"], &told["entries_deleted"]), (&json!(3), &json!(0)));
    // It has the mode of the one that could not be listed.
    set_modes(&place, 0o755, 0o644);
    assert_eq!(fs::read_to_string(place.join("closed/a")).unwrap(), "old");
    assert!(
        place.join("extraneous").exists() && place.join("open/c").exists() && place.join("plain").exists()
    );

    set_modes(&tree, 0o755, 0o644);
    let told = summary(ordinary.swarm(&["sync", "tree", "gw:", "--delete", "--json"]), 0);
    assert_eq!((&told["entries_deleted"], &told["files_sent"]), (&json!(1), &json!(3)));
    assert_same(&tree, &place);
}

/// A directory that may be listed and not entered: its names are known and nothing else.
#[test]
fn a_directory_that_may_be_listed_and_not_entered_deletes_nothing_either() {
    let world = World::start();
    let ordinary = Ordinary::new(&world, "push,delete");
    let tree = plant(ordinary.temp.path());
    fs::create_dir_all(world.root().join("tree/closed")).unwrap();
    fs::write(world.root().join("tree/closed/a"), "old").unwrap();
    set_modes(&tree, 0o444, 0o644);
    ordinary.give(&tree);
    let told = summary(ordinary.swarm(&["sync", "tree", "gw:", "--delete", "--json"]), 3);
    assert_eq!(failures(&told)[1], ("closed", "the directory cannot be listed: permission denied"));
    assert_eq!((&told["entries_failed"], &told["entries_deleted"]), (&json!(2), &json!(0)));
    for tree in [&tree, &world.root().join("tree")] {
        set_modes(tree, 0o755, 0o644);
    }
    assert_eq!(fs::read_to_string(world.root().join("tree/closed/a")).unwrap(), "old");
}

/// What an ordinary user may not write at his own side is named, too.
#[test]
fn what_may_not_be_written_is_named_and_the_rest_arrives() {
    let world = World::start();
    let ordinary = Ordinary::new(&world, "pull");
    let tree = plant(&world.root());
    set_mtime(&tree.join("closed"), 1);
    let place = ordinary.path("tree");
    fs::create_dir_all(place.join("closed")).unwrap();
    ordinary.give(&place);
    if geteuid().is_root() {
        // Somebody else's: he may not change its mode either.
        chown(place.join("closed"), Some(0), Some(0)).unwrap();
    } else {
        // His own directories are opened for him.
        fs::set_permissions(place.join("closed"), Permissions::from_mode(0o500)).unwrap();
        summary(ordinary.swarm(&["sync", "gw:tree", ".", "--json"]), 0);
        return assert_same(&tree, &place);
    }
    let told = summary(ordinary.swarm(&["sync", "gw:tree", ".", "--json"]), 3);
    let failed = failures(&told);
    let paths: Vec<_> = failed.iter().map(|(path, _)| *path).collect();
    assert_eq!(paths, ["closed", "closed/a", "closed/inner", "closed/inner/b"], "{told}");
    assert!(failed[1].1.contains("permission denied"), "{told}");
    assert!(place.join("open/c").exists() && place.join("plain").exists());
}

/// Below a gateway's root a path has at most 4,095 bytes, the destination's own included. A local destination that is there counts for nothing.
#[test]
fn a_path_that_becomes_too_long_is_named_and_the_rest_arrives() {
    for way in BOTH {
        let sides = Sides::allowed(way, "pull,push,delete");
        let name = "n".repeat(200);
        let deep = [&*name; 18].join("/");
        let src = sides.from().join("src");
        let longest = src.join([&*name; 3].join("/"));
        fs::create_dir_all(&longest).unwrap();
        fs::write(longest.join("below"), "x").unwrap();
        fs::write(src.join("fine"), "x").unwrap();
        fs::create_dir_all(sides.to().join(&deep)).unwrap();
        let told = sides.sync("src", &deep, &["--json"]);
        match way {
            Way::Push => {
                let told = summary(told, 3);
                let failed = failures(&told);
                assert_eq!(failed.len(), 2, "{told}");
                assert!(
                    failed[0].0.ends_with(&name)
                        && failed[0].1.contains("the path is longer than 4095 bytes"),
                    "{told}"
                );
                assert!(failed[1].0.ends_with("/below"), "{told}");
                assert_eq!(told["entries_failed"], 2);
            }
            Way::Pull => {
                assert_eq!(summary(told, 0)["files_sent"], 2);
            }
        }
        assert!(sides.to().join(&deep).join("src/fine").exists(), "{way:?}");
    }
}
