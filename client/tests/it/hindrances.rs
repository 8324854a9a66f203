//! What stands in the way of a sync, on either side: things of the wrong kind, disks that are full or read-only, paths that are
//! not granted. Each is named, the rest arrives, and what was there is lost in no case.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    disks::{Disk, with_small_files},
    placement::{BOTH, Sides, Way},
    trees::{assert_no_leftovers, assert_same, content, set_mtime, snapshot, visible_files, whole_files},
    world::{World, last_event, refused, summary, text},
};

/// The reason that a summary gives for one path.
fn reason<'a>(summary: &'a Value, path: &str) -> &'a str {
    let failed = summary["failed"].as_array().unwrap();
    let failure = failed.iter().find(|failure| failure["path"] == path);
    failure.unwrap_or_else(|| panic!("{path} is not in {summary}"))["reason"].as_str().unwrap()
}

#[test]
fn a_source_that_is_missing_is_named_and_nothing_is_made() {
    for way in BOTH {
        let sides = Sides::new(way);
        for destination in ["new", "new/", "."] {
            let told = refused(sides.sync("nothing", destination, &[]), 1, &["`nothing` does not exist"]);
            assert_eq!(told.lines().count(), 1, "{told}");
            refused(sides.sync("no/thing/", destination, &[]), 1, &["does not exist"]);
        }
        assert_eq!(fs::read_dir(sides.to()).unwrap().count(), 0, "{way:?}");
    }
}

#[test]
fn things_of_the_wrong_kind_are_named_and_left_alone_while_the_rest_arrives() {
    for way in BOTH {
        let sides = Sides::new(way);
        for path in ["src/dir/below", "src/file", "src/fine", "src/link"] {
            fs::create_dir_all(sides.from().join(path).parent().unwrap()).unwrap();
            fs::write(sides.from().join(path), path).unwrap();
        }
        fs::remove_file(sides.from().join("src/link")).unwrap();
        std::os::unix::fs::symlink("fine", sides.from().join("src/link")).unwrap();
        fs::create_dir_all(sides.to().join("src/file/in the way")).unwrap();
        fs::create_dir_all(sides.to().join("src/link/too")).unwrap();
        fs::write(sides.to().join("src/dir"), "a file of that name").unwrap();

        let assert = sides.sync("src", ".", &["--json"]);
        let told = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(told.contains("swarm: failed: dir: a file is in the way of the directory\n"), "{told}");
        let told = summary(assert, 3);
        assert_eq!(reason(&told, "file"), "a directory is in the way of the file");
        assert_eq!(reason(&told, "link"), "a directory is in the way of the link");
        assert_eq!(reason(&told, "dir"), "a file is in the way of the directory");
        assert_eq!(reason(&told, "dir/below"), "its directory is not in place");
        assert_eq!((&told["entries_failed"], &told["files_sent"]), (&json!(4), &json!(1)));
        assert_eq!(fs::read_to_string(sides.to().join("src/dir")).unwrap(), "a file of that name");
        assert!(sides.to().join("src/file/in the way").is_dir() && sides.to().join("src/link/too").is_dir());
        assert_eq!(fs::read_to_string(sides.to().join("src/fine")).unwrap(), "src/fine");

        for path in ["src/file", "src/link"] {
            fs::remove_dir_all(sides.to().join(path)).unwrap();
        }
        fs::remove_file(sides.to().join("src/dir")).unwrap();
        sides.sync("src", ".", &[]).success();
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
    }
}

#[test]
fn a_destination_of_the_wrong_kind_is_named_and_left_alone() {
    for way in BOTH {
        let sides = Sides::new(way);
        fs::create_dir_all(sides.from().join("src")).unwrap();
        fs::write(sides.from().join("src/a"), "new").unwrap();
        fs::create_dir_all(sides.to().join("a")).unwrap();
        fs::write(sides.to().join("file"), "old").unwrap();
        let before = snapshot(&sides.to());
        for (source, destination, code, part) in [
            ("src", "file/", 1, "`file` is not a directory"),
            ("src/a", "file/", 1, "`file` is not a directory"),
            ("src/a", "file/below", 1, "not a directory"),
            ("src/", "file", 3, "a file is in the way of the directory"),
            ("src/a", ".", 3, "a directory is in the way of the file"),
        ] {
            let told = refused(sides.sync(source, destination, &[]), code, &[part]);
            assert!(snapshot(&sides.to()) == before, "{way:?} {source} {destination}: {told}");
        }
    }
}

/// Story: the planner found the file in the way and ended the sync, and the listing that went on met a closed queue, so that the
/// source was told of a breach of the protocol instead of the file.
#[test]
fn a_file_where_the_directory_should_land_is_what_is_told() {
    for way in BOTH {
        let sides = Sides::new(way);
        for number in 0..2000 {
            let directory = sides.from().join(format!("src/{}", number % 40));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(number.to_string()), "").unwrap();
        }
        fs::write(sides.to().join("file"), "old").unwrap();
        for _ in 0..5 {
            let told = refused(sides.sync("src", "file", &[]), 1, &["`file", "not a directory"]);
            assert!(!told.contains("protocol"), "{told}");
        }
        assert_eq!(fs::read_to_string(sides.to().join("file")).unwrap(), "old");
    }
}

#[test]
fn names_cannot_touch_the_terminal_when_they_fail_or_are_skipped() {
    for way in BOTH {
        let sides = Sides::new(way);
        let evil = OsStr::from_bytes(b"evil\x1b[2J\xff");
        fs::create_dir_all(sides.from().join("src")).unwrap();
        fs::write(sides.from().join("src").join(evil), "x").unwrap();
        let fifo = sides.from().join("src/fifo\x1b]0;x\x07");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        fs::create_dir_all(sides.to().join("src").join(evil).join("in the way")).unwrap();
        let assert = sides.sync("src", ".", &[]).code(3);
        let output = assert.get_output();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(err.contains("swarm: failed: evil\\x1b[2J\\xff: a directory is in the way"), "{err}");
        assert!(out.contains("skipped: fifo\\x1b]0;x\\x07 (FIFO)"), "{out}");
        assert!(!out.contains('\x1b') && !err.contains('\x1b'));
        let told = summary(sides.sync("src", ".", &["--json"]), 3);
        assert_eq!(told["failed"][0]["path_base64"], "ZXZpbBtbMkr/");
    }
}

/// Two states of a tree, `old` and `new`, that have no file in common: small ones, and large ones that a small disk does not take, one
/// of which was there before and smaller.
struct Growth {
    temp: tempfile::TempDir,
}

impl Growth {
    fn plant() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for (tree, number, large) in [("old", 0, 300 * 1024), ("new", 1, 3 << 20)] {
            let top = temp.path().join(tree);
            fs::create_dir_all(top.join("sub")).unwrap();
            let write = |name: &str, size: usize| {
                fs::write(top.join(name), content(size + number, size)).unwrap();
                set_mtime(&top.join(name), number);
            };
            (0..20).for_each(|at| write(&format!("{at:02}"), 1000 + at));
            write("10-large", large);
            write("sub/small", 10);
            if tree == "new" {
                write("11-large", 5 << 20);
            }
        }
        Self { temp }
    }

    fn tree(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// What must hold where `new` was synced over `old` and large files did not fit: what failed is as it was, all else is new, and
    /// nothing is in between. Gives what failed.
    fn assert_rest_arrived(&self, told: &Value, place: &Path, why: &str) -> BTreeSet<String> {
        assert!(told.get("error").is_none(), "{told}");
        let failed = told["failed"].as_array().unwrap();
        assert!(failed.iter().all(|failure| failure["reason"].as_str().unwrap().contains(why)), "{told}");
        let failed: BTreeSet<_> =
            failed.iter().map(|failure| failure["path"].as_str().unwrap().to_owned()).collect();
        for path in visible_files(&self.tree("new")) {
            let name = path.strip_prefix(self.tree("new")).unwrap().to_str().unwrap();
            let tree = if failed.contains(name) { "old" } else { "new" };
            let (found, expected) =
                (fs::read(place.join(name)).ok(), fs::read(self.tree(tree).join(name)).ok());
            assert!(found == expected, "{name} is not that of {tree}: {told}");
        }
        assert!(failed.contains("11-large"), "{told}");
        assert_eq!((&told["entries_failed"], &told["entries_total"]), (&json!(failed.len()), &json!(25)));
        assert_no_leftovers(place);
        failed
    }
}

/// The file system itself is full, which takes a file system of our own. What arrives while a large file takes up the last of it may
/// fail with it.
#[test]
fn a_disk_that_is_full_costs_the_files_that_do_not_fit_and_a_second_run_completes() {
    let growth = Growth::plant();
    for way in BOTH {
        let Some(mut disk) = Disk::mount("size=2m") else {
            // Nobody may mount here: what can be had is a system that takes no large file.
            return assert_large_files_fail_where_they_are_limited(&growth);
        };
        let place = disk.path().join("place");
        let world = match way {
            Way::Push => World::start_with(|options| options.root = disk.path().to_owned()),
            Way::Pull => World::start_with(|options| options.root = growth.temp.path().to_owned()),
        };
        let home = world.joined("pull,push");
        let sync = |tree: &str, code: i32| {
            let (source, destination) = match way {
                Way::Push => (format!("{}/", text(&growth.tree(tree))), "gw:place".to_owned()),
                Way::Pull => (format!("gw:{tree}/"), text(&place).to_owned()),
            };
            summary(home.swarm(["sync", &source, &destination, "--json"]), code)
        };
        sync("old", 0);
        let failed = growth.assert_rest_arrived(&sync("new", 3), &place, "no space left on device");
        disk.remount("size=32m");
        assert_eq!(sync("new", 0)["files_sent"], failed.len());
        assert_same(&growth.tree("new"), &place);
    }
}

/// As a full disk, where nothing can be mounted: a process that may make no large file.
#[test]
fn files_that_the_system_does_not_take_are_named_and_a_second_run_completes() {
    assert_large_files_fail_where_they_are_limited(&Growth::plant());
}

fn assert_large_files_fail_where_they_are_limited(growth: &Growth) {
    let world = World::start_with(|options| options.root = growth.temp.path().to_owned());
    let (home, place) = (world.joined("pull"), world.beside("place"));
    let pull = |tree: &str| home.command(["sync", &format!("gw:{tree}/"), text(&place), "--json"]);
    summary(pull("old").assert(), 0);
    let output = with_small_files(env!("CARGO_BIN_EXE_swarm"), 1024)
        .args(["sync", "gw:new/", text(&place), "--json"])
        .env("SWARMWIRE_HOME", home.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told = last_event(&output.stdout);
    let failed = growth.assert_rest_arrived(&told, &place, "file too large");
    assert_eq!(failed.into_iter().collect::<Vec<_>>(), ["10-large", "11-large"]);
    assert_eq!(summary(pull("new").assert(), 0)["files_sent"], 2);
    assert_same(&growth.tree("new"), &place);
}

/// A directory into which nobody can write, not even root, with what its owner needs to hold on to.
fn unwritable() -> Vec<(PathBuf, Option<Disk>)> {
    // The kernel's own: nothing can be made there by anybody.
    let mut places = vec![(PathBuf::from("/proc/sys"), None)];
    if let Some(mut disk) = Disk::mount("size=1m") {
        fs::write(disk.path().join("a"), "old").unwrap();
        disk.remount("ro");
        places.push((disk.path().to_owned(), Some(disk)));
    }
    places
}

#[test]
fn a_destination_that_cannot_be_written_is_told_for_each_entry() {
    for (place, disk) in unwritable() {
        let before = disk.as_ref().map(|_| snapshot(&place));
        for way in BOTH {
            let sides = match way {
                Way::Push => World::start_with(|options| options.root.clone_from(&place)),
                Way::Pull => World::start(),
            };
            let home = sides.joined("pull,push");
            let from = match way {
                Way::Push => sides.beside("local"),
                Way::Pull => sides.root(),
            };
            fs::create_dir_all(from.join("src/sub")).unwrap();
            fs::write(from.join("src/a"), "new").unwrap();
            let sync = |source: &str, below: &str| match way {
                Way::Push => {
                    home.swarm(["sync", &format!("{}/{source}", text(&from)), &format!("gw:{below}")])
                }
                Way::Pull => {
                    home.swarm(["sync", &format!("gw:{source}"), &format!("{}/{below}", text(&place))])
                }
            };
            for (source, below, code, part) in [
                ("src", "", 3, "swarm: failed: .: the directory cannot be made"),
                ("src/", "", 3, "swarm: failed: a: cannot be written"),
                ("src/a", "", 3, "swarm: failed: .: cannot be written"),
                ("src", "new/deep", 1, "`new/deep` cannot be made"),
            ] {
                let told = refused(sync(source, below), code, &[part]);
                assert!(disk.is_none() || told.contains("read-only"), "{told}");
            }
        }
        assert!(before.is_none_or(|before| snapshot(&place) == before));
    }
}

#[test]
fn a_directory_without_permission_is_told_and_root_needs_none() {
    for way in BOTH {
        let sides = Sides::new(way);
        fs::create_dir(sides.from().join("src")).unwrap();
        fs::write(sides.from().join("src/a"), "new").unwrap();
        fs::create_dir(sides.to().join("closed")).unwrap();
        fs::set_permissions(sides.to().join("closed"), Permissions::from_mode(0o555)).unwrap();
        let assert = sides.sync("src", "closed", &[]);
        if rustix::process::geteuid().is_root() {
            assert.success();
            assert_same(&sides.from().join("src"), &sides.to().join("closed/src"));
        } else {
            refused(assert, 3, &["failed: .: the directory cannot be made: permission denied"]);
            assert_eq!(fs::read_dir(sides.to().join("closed")).unwrap().count(), 0);
        }
    }
}

#[test]
fn what_lies_outside_the_grant_is_denied_and_untouched() {
    let world = World::start();
    fs::create_dir_all(world.root().join("other")).unwrap();
    fs::write(world.root().join("other/a"), "old").unwrap();
    fs::create_dir(world.root().join("logs")).unwrap();
    let home = world.joined_below("list,pull,push", "logs");
    let (tree, new) = (world.beside("tree"), world.beside("new"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a"), "new").unwrap();
    let before = snapshot(&world.root());
    for path in ["", "other", "other/", "logs2", "log"] {
        let remote = format!("gw:{path}");
        let told = ["denied", "outside `logs`"];
        refused(home.swarm(["sync", &format!("{}/", text(&tree)), &remote]), 5, &told);
        refused(home.swarm(["sync", text(&tree), &remote]), 5, &told);
        refused(home.swarm(["sync", &remote, text(&new)]), 5, &told);
        refused(home.swarm(["ls", &remote]), 5, &told);
    }
    for path in ["..", "../x", "logs/../other", "/etc", "logs/.."] {
        let remote = format!("gw:{path}");
        refused(
            home.swarm(["sync", text(&tree), &remote]),
            2,
            &["DST", &format!("`{remote}` cannot be used")],
        );
        refused(
            home.swarm(["sync", &remote, text(&new)]),
            2,
            &["SRC", &format!("`{remote}` cannot be used")],
        );
        refused(home.swarm(["ls", &remote]), 2, &["GW:PATH", &format!("`{remote}` cannot be used")]);
    }
    assert!(snapshot(&world.root()) == before && !new.exists());
    home.swarm(["sync", text(&tree), "gw:logs"]).success();
    assert_eq!(whole_files(&world.root().join("logs/tree"), &tree), 1);
}
