//! `swarm sync --remove-source-files` from end to end: what goes, what it is told, and who may.

use std::{fs, io::Write};

use crate::{
    placement::{BOTH, Sides, Way},
    trees::{assert_no_leftovers, assert_same, visible_files},
    world::{refused, stdout, summary},
};

fn plant(sides: &Sides) {
    fs::create_dir_all(sides.from().join("src/sub")).unwrap();
    fs::write(sides.from().join("src/a"), "A").unwrap();
    fs::write(sides.from().join("src/sub/large"), vec![b'x'; 3_000_000]).unwrap();
}

#[test]
fn files_are_moved_and_both_directions_say_so() {
    for way in BOTH {
        let sides = Sides::allowed(way, "list,pull,push,delete");
        plant(&sides);
        let copy = sides.world.beside("copy");
        std::process::Command::new("cp").arg("-a").arg(sides.from().join("src")).arg(&copy).status().unwrap();
        let dry = stdout(sides.sync("src", ".", &["--remove-source-files", "-n"]));
        assert!(dry.ends_with("dry run: 2 files to send\n"), "{dry}");
        let told = summary(sides.sync("src", ".", &["--remove-source-files", "--json"]), 0);
        assert_eq!((&told["files_sent"], &told["files_removed"]), (&2.into(), &2.into()), "{way:?}");
        assert_same(&copy.join("sub"), &sides.to().join("src/sub"));
        assert!(visible_files(&sides.from()).is_empty() && sides.from().join("src/sub").is_dir());
        assert_no_leftovers(&sides.to());
        fs::write(sides.from().join("src/b"), "B").unwrap();
        let told = stdout(sides.sync("src/b", "new", &["--remove-source-files", "--durability", "file"]));
        assert!(told.contains("; 1 removed at the source"), "{told}");
        assert!(!sides.from().join("src/b").exists() && sides.to().join("new").is_file());
    }
}

/// Story: a log that is appended to all the time is never the file that was sent.
#[test]
fn a_file_that_is_written_to_all_along_stays_and_is_named() {
    for way in BOTH {
        let sides = Sides::allowed(way, "list,pull,push,delete");
        plant(&sides);
        let mut log = fs::File::options().append(true).open(sides.from().join("src/a")).unwrap();
        let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
        let writing = std::thread::spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                log.write_all(b"more").unwrap();
            }
        });
        let told = summary(sides.sync("src", ".", &["--remove-source-files", "--json"]), 3);
        drop(stop);
        writing.join().unwrap();
        assert_eq!((&told["files_removed"], &told["failed"][0]["path"]), (&1.into(), &"a".into()), "{told}");
        assert!(sides.from().join("src/a").exists(), "{way:?}");
    }
}

#[test]
fn the_gateway_removes_only_for_those_who_may_delete() {
    for way in BOTH {
        let sides = Sides::new(way);
        plant(&sides);
        let assert = sides.sync("src", ".", &["--remove-source-files"]);
        match way {
            Way::Push => drop(stdout(assert)),
            Way::Pull => drop(refused(assert, 5, &["not granted `delete`"])),
        }
        assert_eq!(sides.from().join("src/a").exists(), matches!(way, Way::Pull));
    }
}

#[test]
fn what_cannot_go_with_it_is_refused_by_name() {
    let sides = Sides::new(Way::Push);
    plant(&sides);
    for (option, named) in [
        (&["--delete"][..], "--delete"),
        (&["--copy-links"], "--copy-links"),
        (&["--durability", "none"], "--durability none"),
    ] {
        let options = [&["--remove-source-files"], option].concat();
        refused(sides.sync("src", ".", &options), 2, &["--remove-source-files", named]);
    }
    assert!(sides.from().join("src/a").exists());
}

/// Story: a gateway's own directory was moved to itself. What is the same there was the same file, and it was removed.
#[test]
fn a_directory_is_not_moved_onto_itself() {
    for way in BOTH {
        let sides = Sides::allowed(way, "list,pull,push,delete");
        let own = sides.world.root().join("src");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("a"), "the only one").unwrap();
        let own = own.to_str().unwrap();
        for (from, to) in match way {
            Way::Push => {
                [(format!("{own}/"), "gw:src".to_owned()), (format!("{own}/a"), "gw:src/".to_owned())]
            }
            Way::Pull => [("gw:src/".to_owned(), own.to_owned()), ("gw:src/a".to_owned(), own.to_owned())],
        } {
            let assert = sides.home.swarm(["sync", &from, &to, "--remove-source-files"]).failure();
            let told = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
            assert!(told.contains("are the same directory"), "{told}");
            assert_eq!(fs::read_to_string(format!("{own}/a")).unwrap(), "the only one");
        }
    }
}
