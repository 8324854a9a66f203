//! `swarm sync --delete` from end to end: what goes, what stays, and what it is told and ends with.

use std::{collections::BTreeSet, fs, os::fd::AsRawFd, path::Path};

use serde_json::{Value, json};

use crate::{
    placement::{BOTH, Sides, Way},
    trees::{assert_no_leftovers, assert_same, set_mtime, snapshot},
    world::{refused, stdout, summary},
};

/// `src` on both sides, with a file that both have and three entries that only the destination has.
fn plant(sides: &Sides) {
    fs::create_dir_all(sides.from().join("src/sub")).unwrap();
    fs::write(sides.from().join("src/sub/both"), "new").unwrap();
    fs::create_dir_all(sides.to().join("src/sub/old")).unwrap();
    fs::write(sides.to().join("src/sub/both"), "older").unwrap();
    set_mtime(&sides.to().join("src/sub/both"), 1);
    fs::write(sides.to().join("src/sub/old/file"), "x").unwrap();
    fs::write(sides.to().join("src/gone"), "x").unwrap();
    fs::write(sides.to().join("beside"), "x").unwrap();
}

#[test]
fn a_mirror_is_the_same_on_both_sides_and_says_what_was_deleted() {
    for way in BOTH {
        let sides = Sides::allowed(way, "list,pull,push,delete");
        plant(&sides);
        let told = summary(sides.sync("src", ".", &["--delete", "--json"]), 0);
        assert_eq!((&told["entries_deleted"], &told["files_sent"]), (&3.into(), &1.into()));
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
        assert!(sides.to().join("beside").exists(), "{way:?}");
        assert_no_leftovers(&sides.to());
        fs::write(sides.to().join("src/one more"), "x").unwrap();
        let told = stdout(sides.sync("src/", "src", &["--delete", "--max-delete", "1"]));
        assert!(told.contains("; 1 unchanged; 1 deleted"), "{told}");
    }
}

#[test]
fn what_is_left_for_the_limit_is_a_failure_that_is_told() {
    for way in BOTH {
        let sides = Sides::allowed(way, "list,pull,push,delete");
        plant(&sides);
        let assert = sides.sync("src", ".", &["--delete", "--max-delete", "1", "--json"]);
        let told = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert_eq!(
            told,
            "swarm: failed: .: 2 entries that the source does not have were left, because no more may be deleted\n"
        );
        let told = summary(assert, 3);
        assert_eq!((&told["entries_deleted"], &told["entries_failed"]), (&1.into(), &1.into()));
    }
}

#[test]
fn a_push_may_delete_only_with_the_grant_and_a_pull_needs_none() {
    for way in BOTH {
        let sides = Sides::new(way);
        plant(&sides);
        let assert = sides.sync("src", ".", &["--delete"]);
        match way {
            Way::Push => drop(refused(assert, 5, &["not granted `delete`"])),
            Way::Pull => drop(stdout(assert)),
        }
        assert_eq!(sides.to().join("src/gone").exists(), matches!(way, Way::Push));
    }
}

#[test]
fn a_source_of_which_something_cannot_be_listed_deletes_nothing() {
    let sides = Sides::allowed(Way::Push, "list,pull,push,delete");
    plant(&sides);
    // A path that is longer than any that may be named, which root cannot list either.
    let deep =
        std::iter::repeat_n("d".repeat(250), 15).fold(sides.from().join("src"), |path, name| path.join(name));
    fs::create_dir_all(&deep).unwrap();
    let dir = fs::File::open(&deep).unwrap();
    let longer = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), "e".repeat(250));
    fs::create_dir_all(Path::new(&longer).join("f".repeat(250))).unwrap();
    let told = summary(sides.sync("src", ".", &["--delete", "--json"]), 3);
    assert_eq!(told["entries_deleted"], 0);
    let reasons: Vec<_> = told["failed"].as_array().unwrap().iter().map(|failed| &failed["reason"]).collect();
    assert!(
        reasons.iter().any(|reason| reason.as_str().unwrap().starts_with("nothing was deleted")),
        "{told}"
    );
    assert!(sides.to().join("src/gone").exists() && sides.to().join("src/sub/old/file").exists());
}

#[test]
fn a_dry_run_says_what_a_run_then_does_and_does_nothing() {
    for way in BOTH {
        let sides = Sides::allowed(way, "list,pull,push,delete");
        plant(&sides);
        fs::write(sides.from().join("src/new\n"), "x").unwrap();
        let changes = "update  sub/both (size, time)\n";
        let before = snapshot(&sides.to());
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let told = stdout(sides.sync("src", ".", &["--delete", "--dry-run"]));
        assert!(
            told.contains(changes) && told.ends_with("\ndry run: 2 files to send; 3 to delete\n"),
            "{told}"
        );
        assert!(snapshot(&sides.to()) == before, "{way:?}");
        let done = stdout(sides.sync("src", ".", &["--delete", "-v"]));
        let without_summary = |text: &str| sorted(text.trim_end().rsplit_once('\n').unwrap().0);
        assert_eq!(without_summary(&told), without_summary(&done));
        assert_eq!(
            without_summary(&told),
            sorted(
                "create  new\\x0a\nupdate  sub/both (size, time)\ndelete  gone\ndelete  sub/old\ndelete  sub/old/file"
            )
        );
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
    }
}

#[test]
fn changes_are_objects_before_the_summary() {
    for way in BOTH {
        let sides = Sides::new(way);
        plant(&sides);
        for (options, counted) in [(&["--json", "-n"], "files_to_send"), (&["--json", "-v"], "files_sent")] {
            let told = stdout(sides.sync("src", ".", options));
            let events = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let lines: Vec<_> =
                events.filter(|event| event["event"] != "progress" && event["event"] != "started").collect();
            let change = json!({"event": "entry", "path": "sub/both", "action": "update", "reason": ["size", "mtime"]});
            assert_eq!((lines.len(), &lines[0], &lines[1][counted]), (2, &change, &1.into()));
        }
    }
}

#[test]
fn what_is_newer_or_there_at_all_is_left_alone_when_that_is_asked_for() {
    for way in BOTH {
        for (option, older) in [("--update", "source"), ("--ignore-existing", "before")] {
            let sides = Sides::new(way);
            for (side, content, times) in [(sides.from(), "source", [2, 2]), (sides.to(), "before", [1, 3])] {
                fs::create_dir(side.join("src")).unwrap();
                for (name, time) in ["older", "newer"].into_iter().zip(times) {
                    fs::write(side.join("src").join(name), content).unwrap();
                    set_mtime(&side.join("src").join(name), time);
                }
            }
            fs::write(sides.from().join("src/new"), "source").unwrap();
            stdout(sides.sync("src", ".", &[option]));
            let content = |name| fs::read_to_string(sides.to().join("src").join(name)).unwrap();
            assert_eq!(
                (content("older").as_str(), content("newer").as_str()),
                (older, "before"),
                "{way:?} {option}"
            );
            assert_eq!(content("new"), "source");
        }
    }
}
