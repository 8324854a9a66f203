//! What arrives is what was there: content by its hash, names as bytes, modes and times; and what a summary counts.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
};

use serde_json::{Value, json};

use crate::{
    placement::{BOTH, Sides, Way},
    trees::{assert_no_leftovers, assert_same, content, set_mtime, snapshot},
    world::{stdout, summary, text},
};

const SIZES: [usize; 5] = [0, 5, 1 << 20, (1 << 20) + 1, (5 << 20) + 3];

#[test]
fn hashes_that_are_listed_are_those_of_what_was_pushed() {
    let sides = Sides::new(Way::Push);
    fs::create_dir(sides.from().join("src")).unwrap();
    for size in SIZES {
        fs::write(sides.from().join(format!("src/{size}")), content(size, size)).unwrap();
    }
    sides.sync("src", ".", &[]).success();
    let listed = stdout(sides.home.swarm(["ls", "gw:src", "--json", "--hash"]));
    let entries: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), SIZES.len());
    for entry in entries {
        let size: usize = entry["path"].as_str().unwrap().parse().unwrap();
        assert_eq!(entry["blake3"], blake3::hash(&content(size, size)).to_hex().as_str(), "{size} bytes");
        assert_eq!(entry["size"], size);
    }
}

/// A tree with everything that is counted in another way.
fn plant(sides: &Sides) {
    let top = sides.from().join("src");
    fs::create_dir_all(top.join("sub/empty")).unwrap();
    for size in SIZES {
        fs::write(top.join(format!("sub/{size}")), content(size, size)).unwrap();
    }
    fs::write(top.join(OsStr::from_bytes(b"not\xffutf8\n")), "bytes").unwrap();
    std::os::unix::fs::symlink("/nowhere", top.join("link")).unwrap();
    fs::set_permissions(top.join("sub/5"), Permissions::from_mode(0o640)).unwrap();
    set_mtime(&top.join("sub/empty"), 3);
}

#[test]
fn a_summary_has_every_count_and_an_unchanged_tree_costs_nothing() {
    let bytes = SIZES.iter().sum::<usize>() + 5;
    for (way, direction) in BOTH.into_iter().zip(["push", "pull"]) {
        let sides = Sides::new(way);
        plant(&sides);
        let fifo = sides.from().join("src/sub/fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        let mut told = summary(sides.sync("src", ".", &["--json"]), 0);
        assert!(told["seconds"].as_f64().unwrap() > 0.0);
        let (sent, received) = match way {
            Way::Push => ("bytes_wire_sent", "bytes_wire_received"),
            Way::Pull => ("bytes_wire_received", "bytes_wire_sent"),
        };
        assert!(
            told[sent].as_u64().unwrap() > bytes as u64 && told[received].as_u64().unwrap() > 0,
            "{told}"
        );
        for varying in ["seconds", sent, received] {
            told.as_object_mut().unwrap().remove(varying);
        }
        let expected = json!({
            "event": "summary", "direction": direction, "entries_total": 11, "files_sent": 6, "files_unchanged": 0,
            "entries_failed": 0, "entries_skipped": 1, "entries_deleted": 0, "files_removed": 0, "bytes_total": bytes, "bytes_sent": bytes,
            "receipts": {"received": 6, "verified": 6, "durable": 6},
            "failed": [], "skipped": [{"path": "sub/fifo", "kind": "fifo"}],
        });
        assert_eq!(told, expected);
        assert!(!sides.to().join("src/sub/fifo").exists());
        // Taking the FIFO away has changed the time of its directory.
        let told = summary(sides.sync("src", ".", &["--json"]), 0);
        assert_eq!((&told["files_sent"], &told["bytes_sent"]), (&json!(0), &json!(0)));
        assert_eq!((&told["files_unchanged"], &told["entries_failed"]), (&json!(6), &json!(0)));
        fs::remove_file(fifo).unwrap();
        let told = summary(sides.sync("src", ".", &["--json", "--durability", "none"]), 0);
        assert_eq!(told["receipts"], json!({"received": 0, "verified": 0, "durable": 0}));
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
        assert_no_leftovers(&sides.to());
    }
}

#[test]
fn checksum_moves_what_differs_and_nothing_else() {
    for way in BOTH {
        let sides = Sides::new(way);
        plant(&sides);
        sides.sync("src", ".", &[]).success();
        let touched = sides.from().join("src/sub/1048577");
        set_mtime(&touched, 99);
        let told = summary(sides.sync("src", ".", &["--json", "--checksum"]), 0);
        assert_eq!((&told["files_sent"], &told["bytes_sent"]), (&json!(0), &json!(0)), "{told}");
        assert_same(&sides.from().join("src"), &sides.to().join("src"));

        // Another content under the same size and time, which only `--checksum` sees.
        let changed = sides.from().join("src/sub/5");
        let time = fs::metadata(&changed).unwrap().modified().unwrap();
        fs::write(&changed, "other").unwrap();
        File::open(&changed).unwrap().set_modified(time).unwrap();
        let told = summary(sides.sync("src", ".", &["--json"]), 0);
        assert_eq!(told["files_sent"], 0, "{told}");
        let told = summary(sides.sync("src", ".", &["--json", "--checksum"]), 0);
        assert_eq!((&told["files_sent"], &told["bytes_sent"]), (&json!(1), &json!(5)), "{told}");
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
    }
}

#[test]
fn directories_without_write_permission_arrive_and_can_be_updated() {
    for way in BOTH {
        let sides = Sides::new(way);
        let closed = sides.from().join("src/closed");
        fs::create_dir_all(closed.join("inner")).unwrap();
        fs::write(closed.join("inner/a"), "first").unwrap();
        let set = |mode| {
            for directory in [closed.join("inner"), closed.clone()] {
                fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
            }
        };
        set(0o555);
        sides.sync("src", ".", &[]).success();
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
        set(0o755);
        fs::write(closed.join("inner/a"), "the second").unwrap();
        fs::write(closed.join("inner/b"), "new").unwrap();
        set(0o555);
        sides.sync("src", ".", &[]).success();
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
        set(0o755);
        // So that an ordinary user can remove what the test has made.
        for directory in ["src/closed", "src/closed/inner"] {
            fs::set_permissions(sides.to().join(directory), Permissions::from_mode(0o755)).unwrap();
        }
    }
}

/// Story: root reads everything, and everybody else only what may be read.
#[test]
fn what_may_not_be_read_is_named_and_the_others_arrive() {
    for way in BOTH {
        let sides = Sides::new(way);
        let top = sides.from().join("src");
        fs::create_dir_all(top.join("closed")).unwrap();
        for name in ["a", "b", "c", "closed/inner"] {
            fs::write(top.join(name), name).unwrap();
        }
        fs::set_permissions(top.join("b"), Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(top.join("closed"), Permissions::from_mode(0o000)).unwrap();
        let assert = sides.sync("src", ".", &["--json"]);
        if rustix::process::geteuid().is_root() {
            assert_eq!(summary(assert, 0)["files_sent"], 4);
            assert_same(&top, &sides.to().join("src"));
            continue;
        }
        let told = summary(assert, 3);
        assert_eq!((&told["files_sent"], &told["entries_failed"]), (&json!(2), &json!(2)), "{told}");
        for (failure, path) in told["failed"].as_array().unwrap().iter().zip(["b", "closed"]) {
            assert_eq!(failure["path"], path);
            assert!(failure["reason"].as_str().unwrap().contains("permission denied"), "{told}");
        }
        for name in ["a", "c"] {
            assert_eq!(fs::read_to_string(sides.to().join("src").join(name)).unwrap(), name);
        }
        assert!(!sides.to().join("src/b").exists());
        for directory in [top.join("closed"), sides.to().join("src/closed")] {
            fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        }
    }
}

#[test]
fn names_that_are_no_text_arrive_as_they_are() {
    for way in BOTH {
        let sides = Sides::new(way);
        let top = sides.from().join("src");
        fs::create_dir(&top).unwrap();
        for name in
            [&b"\xff\xfe"[..], b"new\nline", b"\x1b[31m", b"-rf", b" ", b"...", b"a:b", "größe".as_bytes()]
        {
            fs::create_dir(top.join(OsStr::from_bytes(name))).unwrap();
            fs::write(top.join(OsStr::from_bytes(name)).join(OsStr::from_bytes(name)), name).unwrap();
        }
        sides.sync("src", ".", &[]).success();
        assert_same(&top, &sides.to().join("src"));
        assert_eq!(snapshot(&top).len(), 17);
        if matches!(way, Way::Push) {
            let mut raw = std::ffi::OsString::from("gw:src/");
            raw.push(OsStr::from_bytes(b"\xff\xfe"));
            let back = sides.world.beside("back");
            sides.home.swarm([OsStr::new("sync"), &raw, OsStr::new(text(&back))]).success();
            assert_eq!(snapshot(&back.join(OsStr::from_bytes(b"\xff\xfe"))).len(), 2);
        }
    }
}
