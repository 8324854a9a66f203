//! `swarm sync --backup-dir` from end to end: what is replaced or deleted is kept below the destination, in both directions.

use std::fs;

use crate::{
    placement::{BOTH, Sides, Way},
    trees::assert_no_leftovers,
    world::{refused, stdout, summary},
};

#[test]
fn old_versions_are_kept_below_the_destination() {
    for way in BOTH {
        let sides = Sides::allowed(way, "list,pull,push,delete");
        for (top, log) in [(sides.from(), "new version"), (sides.to(), "old")] {
            fs::create_dir_all(top.join("src/app")).unwrap();
            fs::write(top.join("src/app/log"), log).unwrap();
        }
        fs::write(sides.to().join("src/gone"), "gone").unwrap();
        let options = ["--delete", "--backup-dir", ".old/today", "--json"];
        let told = summary(sides.sync("src", ".", &options), 0);
        assert_eq!((&told["files_sent"], &told["entries_deleted"]), (&1.into(), &1.into()), "{told}");
        let read = |path: &str| fs::read_to_string(sides.to().join(path)).unwrap();
        assert_eq!(read("src/app/log"), "new version");
        assert_eq!(
            (read(".old/today/src/app/log"), read(".old/today/src/gone")),
            ("old".into(), "gone".into())
        );
        assert_no_leftovers(&sides.to());

        // Below what is mirrored it is left alone as well, and is no part of the tree when it is at the source.
        fs::create_dir_all(sides.from().join("src/old")).unwrap();
        fs::write(sides.from().join("src/old/own"), "not listed").unwrap();
        fs::write(sides.from().join("src/app/log"), "third version").unwrap();
        stdout(sides.sync("src/", "src", &["--delete", "--backup-dir", "old"]));
        assert_eq!(
            (read("src/app/log"), read("src/old/app/log")),
            ("third version".into(), "new version".into())
        );
        let again = stdout(sides.sync("src/", "src", &["--delete", "--backup-dir", "old", "-n"]));
        assert!(again.starts_with("dry run: 0 files to send; 1 unchanged\n"), "{again}");
        assert!(!sides.to().join("src/old/own").exists(), "{way:?}");
    }
}

#[test]
fn a_push_needs_no_more_than_it_would_without() {
    let sides = Sides::new(Way::Push);
    fs::create_dir(sides.from().join("src")).unwrap();
    fs::write(sides.from().join("src/a"), "new").unwrap();
    fs::create_dir(sides.to().join("src")).unwrap();
    fs::write(sides.to().join("src/a"), "older").unwrap();
    refused(sides.sync("src", ".", &["--backup-dir", "old", "--delete"]), 5, &["not granted `delete`"]);
    stdout(sides.sync("src", ".", &["--backup-dir", "old"]));
    assert_eq!(fs::read_to_string(sides.to().join("old/src/a")).unwrap(), "older");
}

#[test]
fn a_backup_directory_elsewhere_is_refused_by_name() {
    let sides = Sides::new(Way::Push);
    fs::create_dir(sides.from().join("src")).unwrap();
    for dir in ["/tmp", "../old", ".", ".swarmwire-x"] {
        refused(sides.sync("src", ".", &["--backup-dir", dir]), 2, &["--backup-dir", dir]);
    }
    refused(
        sides.sync("src", ".", &["--backup-dir", "src"]),
        1,
        &["`src` cannot be its own backup directory"],
    );
}
