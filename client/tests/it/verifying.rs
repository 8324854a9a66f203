//! `swarm verify` from end to end: what it finds, what it says and ends with, and who may.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use serde_json::{Value, json};

use crate::{
    placement::{BOTH, Sides, Way},
    trees::{set_mtime, snapshot},
    world::{last_event, refused, stdout},
};

fn plant(sides: &Sides) {
    fs::create_dir_all(sides.from().join("src/sub")).unwrap();
    fs::write(sides.from().join("src/a"), "A").unwrap();
    fs::write(sides.from().join("src/sub/large"), vec![b'x'; 5_000_000]).unwrap();
    fs::write(sides.from().join("src/empty"), "").unwrap();
    Command::new("cp").arg("-a").arg(sides.from().join("src")).arg(sides.to()).status().unwrap();
}

#[test]
fn identical_trees_are_told_so_and_differences_one_by_one() {
    for way in BOTH {
        let sides = Sides::allowed(way, "pull");
        plant(&sides);
        let told = stdout(sides.verify("src", ".", &[]));
        assert!(told.starts_with("identical: 3 files the same; "), "{told}");

        let place = sides.to().join("src");
        let time = fs::metadata(place.join("sub/large")).unwrap().modified().unwrap();
        let mut content = vec![b'x'; 5_000_000];
        content[4_999_999] = b'y';
        fs::write(place.join("sub/large"), content).unwrap();
        fs::File::open(place.join("sub/large")).unwrap().set_modified(time).unwrap();
        fs::set_permissions(place.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(place.join("empty")).unwrap();
        fs::write(place.join("more"), "x").unwrap();
        set_mtime(&sides.from().join("src"), 1);
        let before = [snapshot(&sides.from()), snapshot(&sides.to())];
        let assert = sides.verify("src", ".", &[]).code(3);
        let told = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        let mut lines: Vec<_> = told.lines().collect();
        let last = lines.pop().unwrap();
        assert!(
            last.starts_with("not identical: 1 file the same; 1 missing; 1 extra; 3 different; "),
            "{told}"
        );
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "differs  . (time)",
                "differs  a (mode)",
                "differs  sub/large (content)",
                "extra  more",
                "missing  empty"
            ]
        );
        let assert =
            sides.verify("src/", "src", &["--json", "--exclude", "more", "--exclude", "empty"]).code(3);
        let events = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        let differences = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let differences: Vec<_> = differences.filter(|event| event["event"] == "entry").collect();
        assert!(differences.contains(&json!({
            "event": "entry", "path": "sub/large", "action": "differs", "reason": ["content"]
        })));
        let summary = last_event(events.as_bytes());
        assert_eq!((&summary["identical"], &summary["extra"]), (&false.into(), &0.into()), "{summary}");
        assert_eq!((&summary["differing"], &summary["missing"]), (&3.into(), &0.into()), "{summary}");
        let silent = sides.verify("src", ".", &["-q"]).code(3);
        assert!(silent.get_output().stdout.is_empty() && silent.get_output().stderr.is_empty());
        assert!(before == [snapshot(&sides.from()), snapshot(&sides.to())], "{way:?}");
    }
}

#[test]
fn what_cannot_be_read_or_is_not_there_is_no_match() {
    for way in BOTH {
        let sides = Sides::allowed(way, "pull");
        plant(&sides);
        let told = sides.verify("src", "elsewhere", &["--json"]).code(3);
        let summary = last_event(&told.get_output().stdout);
        assert_eq!((&summary["missing"], &summary["files_identical"]), (&5.into(), &0.into()), "{summary}");
        assert!(!sides.to().join("elsewhere").exists());
        refused(sides.verify("nothing", ".", &[]), 1, &["nothing` does not exist"]);
        let told = stdout(sides.verify("src/a", "src/a", &[]));
        assert!(told.starts_with("identical: 1 file the same"), "{told}");
    }
}

/// Whoever could compare without being allowed to read could find out what is in a file.
#[test]
fn only_who_may_pull_may_compare() {
    for way in BOTH {
        let sides = Sides::allowed(way, "list,push,delete");
        plant(&sides);
        refused(sides.verify("src", ".", &[]), 5, &["not granted `pull`"]);
    }
    let sides = Sides::allowed(Way::Push, "list,push");
    plant(&sides);
    let dry = stdout(sides.sync("src", ".", &["-n", "--checksum"]));
    assert!(dry.starts_with("dry run: 0 files to send; 3 unchanged"), "{dry}");
}
