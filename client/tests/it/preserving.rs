//! `swarm sync --owner --xattrs --hard-links --sparse --special-bits` from end to end, in both directions: what arrives, what is told, what is
//! refused.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::{fs::XattrFlags, io::Errno};

use crate::{
    placement::{BOTH, Sides, Way},
    trees::assert_same,
    world::{refused, stdout, summary},
};

/// Whoever may set owners and setuid files rules the machine.
const EVERYTHING: &str = "list,pull,push,delete,admin";

const MIB: u64 = 1024 * 1024;

fn set_xattr(path: &Path, name: &str, value: &str) -> Result<(), Errno> {
    rustix::fs::setxattr(path, name, value.as_bytes(), XattrFlags::empty())
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let size = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(size);
    Some(value)
}

#[expect(clippy::print_stderr, reason = "what is not tested should be seen")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped("only root may do this");
    }
    is_root
}

#[test]
fn hard_links_and_holes_arrive_as_such_and_cost_what_they_hold() {
    for way in BOTH {
        let sides = Sides::new(way);
        let (from, to) = (sides.from().join("src"), sides.to().join("src"));
        fs::create_dir(&from).unwrap();
        let image = File::create(from.join("image")).unwrap();
        image.set_len(64 * MIB).unwrap();
        image.write_all_at(&[7; 100_000], 33_333_333).unwrap();
        fs::write(from.join("a"), vec![9; 1_000_000]).unwrap();
        for name in ["b", "c"] {
            fs::hard_link(from.join("a"), from.join(name)).unwrap();
        }
        let told = summary(sides.sync("src", ".", &["--hard-links", "--sparse", "--json"]), 0);
        let sent = told["bytes_sent"].as_u64().unwrap();
        assert!((1_100_000..1_300_000).contains(&sent), "{told}");
        assert_same(&from, &to);
        assert_eq!(fs::metadata(to.join("c")).unwrap().nlink(), 3, "{way:?}");
        let blocks = fs::metadata(to.join("image")).unwrap().blocks();
        assert!(blocks < 1000, "{way:?}: {blocks} blocks");

        // Told when it is only rehearsed as when it is done: the second is a file of its own by now.
        fs::write(to.join("b.new"), fs::read(to.join("b")).unwrap()).unwrap();
        let time = fs::metadata(to.join("b")).unwrap().modified().unwrap();
        File::options().write(true).open(to.join("b.new")).unwrap().set_modified(time).unwrap();
        fs::rename(to.join("b.new"), to.join("b")).unwrap();
        fs::remove_file(to.join("c")).unwrap();
        for option in ["--dry-run", "--verbose"] {
            let told = stdout(sides.sync("src/", "src", &["--hard-links", option]));
            assert!(told.starts_with("metadata  b\ncreate  c\n"), "{way:?} {option}: {told}");
        }
        let told = stdout(sides.sync("src/", "src", &["--hard-links", "--sparse", "-v"]));
        assert!(told.starts_with(&format!("{} 0 files (0 B) ", word(way))), "{told}");
        assert!(told.ends_with("; 4 unchanged\n"), "{told}");
    }
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Push => "sent",
        Way::Pull => "received",
    }
}

#[test]
fn attributes_and_special_bits_are_told_as_metadata() {
    for way in BOTH {
        let sides = Sides::allowed(way, EVERYTHING);
        let (from, to) = (sides.from().join("src"), sides.to().join("src"));
        fs::create_dir_all(from.join("dir")).unwrap();
        fs::write(from.join("file"), "x").unwrap();
        if set_xattr(&from.join("file"), "user.a", "1").is_err() {
            return skipped("`user.a` cannot be set here");
        }
        let options = ["--xattrs", "--special-bits"];
        stdout(sides.sync("src", ".", &options));
        assert_eq!(xattr(&to.join("file"), "user.a"), Some(b"1".to_vec()));
        set_xattr(&from.join("file"), "user.a", "2").unwrap();
        fs::set_permissions(from.join("dir"), Permissions::from_mode(0o1777)).unwrap();
        for option in ["-n", "-v"] {
            let told = stdout(sides.sync("src/", "src", &[&options[..], &[option]].concat()));
            assert!(told.starts_with("metadata  dir\nmetadata  file\n"), "{way:?} {option}: {told}");
        }
        assert_eq!(xattr(&to.join("file"), "user.a"), Some(b"2".to_vec()));
        assert_eq!(fs::metadata(to.join("dir")).unwrap().mode() & 0o7777, 0o1777);
        let told = stdout(sides.sync("src/", "src", &["--xattrs", "--special-bits", "-v"]));
        assert!(told.starts_with(word(way)), "{told}");
    }
}

#[test]
fn a_push_sets_owners_and_special_bits_only_with_admin_and_a_pull_needs_nothing() {
    for way in BOTH {
        for option in ["--owner", "--special-bits"] {
            let sides = Sides::new(way);
            fs::write(sides.from().join("file"), "x").unwrap();
            fs::set_permissions(sides.from().join("file"), Permissions::from_mode(0o4755)).unwrap();
            let assert = sides.sync("file", "there", &[option]);
            match way {
                Way::Push => {
                    refused(assert, 5, &["not granted `admin`"]);
                    assert!(!sides.to().join("there").exists());
                }
                Way::Pull => {
                    stdout(assert);
                    let mode = if option == "--special-bits" { 0o4755 } else { 0o755 };
                    assert_eq!(fs::metadata(sides.to().join("there")).unwrap().mode() & 0o7777, mode);
                }
            }
        }
    }
}

#[test]
fn a_gateway_gives_and_takes_privileged_attributes_only_with_admin() {
    if !is_root() {
        return;
    }
    for way in BOTH {
        for (grant, is_kept) in [("list,pull,push", false), (EVERYTHING, true)] {
            let sides = Sides::allowed(way, grant);
            let file = sides.from().join("file");
            fs::write(&file, "x").unwrap();
            set_xattr(&file, "user.a", "1").unwrap();
            if set_xattr(&file, "trusted.a", "1").is_err() {
                return skipped("`trusted.a` cannot be set here");
            }
            stdout(sides.sync("file", "there", &["--xattrs"]));
            assert_eq!(xattr(&sides.to().join("there"), "user.a"), Some(b"1".to_vec()));
            assert_eq!(xattr(&sides.to().join("there"), "trusted.a").is_some(), is_kept, "{way:?} {grant}");
        }
    }
}

#[test]
fn owners_arrive_where_root_sets_them() {
    if !is_root() {
        return;
    }
    for way in BOTH {
        let sides = Sides::allowed(way, EVERYTHING);
        let (from, to) = (sides.from().join("src"), sides.to().join("src"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "x").unwrap();
        std::os::unix::fs::chown(&from, Some(4001), Some(4002)).unwrap();
        std::os::unix::fs::chown(from.join("file"), Some(4003), Some(4004)).unwrap();
        stdout(sides.sync("src", ".", &["--owner"]));
        let owner = |path: &Path| (fs::metadata(path).unwrap().uid(), fs::metadata(path).unwrap().gid());
        assert_eq!((owner(&to), owner(&to.join("file"))), ((4001, 4002), (4003, 4004)));
        std::os::unix::fs::chown(from.join("file"), Some(5), Some(6)).unwrap();
        let told = stdout(sides.sync("src", ".", &["--owner", "-v"]));
        assert!(told.starts_with("metadata  file\n"), "{told}");
        assert_eq!(owner(&to.join("file")), (5, 6));
    }
}
