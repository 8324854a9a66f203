//! Damage that others have done: to what is kept where files are staged, to the files of the state, to the clock. Nothing of it stands in
//! the way of a sync for longer than it must, and what does is named with the file and what to do.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, Instant, UNIX_EPOCH},
};

use crate::{
    placement::{BOTH, Sides},
    trees::{assert_same, content, set_mtime, snapshot},
    world::{World, refused, stdout, summary},
};

const LARGE_BYTES: usize = 3 << 20;

const SOON: Duration = Duration::from_secs(30);

/// What may lie where an interrupted sync leaves what it has of a large file.
const UNFINISHED: [&str; 8] =
    ["garbage", "old", "empty", "longer", "directory", "link", "closed", "of the future"];

/// Puts one of [`UNFINISHED`] there, with `old` as an older version of the file.
fn leave(what: &str, place: &Path, old: &[u8], outside: &Path) {
    match what {
        "garbage" => fs::write(place, vec![7; LARGE_BYTES]).unwrap(),
        "old" => fs::write(place, old).unwrap(),
        "empty" => fs::write(place, "").unwrap(),
        "longer" => fs::write(place, content(3, 2 * LARGE_BYTES)).unwrap(),
        "directory" => fs::create_dir_all(place.join("full")).unwrap(),
        "link" => symlink(outside, place).unwrap(),
        "closed" => {
            fs::write(place, old).unwrap();
            fs::set_permissions(place, Permissions::from_mode(0o000)).unwrap();
        }
        _ => {
            fs::write(place, old).unwrap();
            let time = UNIX_EPOCH + Duration::from_secs(9_000_000_000);
            File::open(place).unwrap().set_modified(time).unwrap();
        }
    }
}

#[test]
fn whatever_lies_under_reserved_names_does_not_stand_in_the_way() {
    for way in BOTH {
        for what in UNFINISHED {
            let sides = Sides::new(way);
            let outside = sides.world.beside("outside");
            fs::write(&outside, content(5, LARGE_BYTES)).unwrap();
            let from = sides.from().join("src");
            fs::create_dir_all(from.join("sub")).unwrap();
            fs::write(from.join("large"), content(1, LARGE_BYTES)).unwrap();
            fs::write(from.join("sub/small"), "small").unwrap();
            let old = &content(1, LARGE_BYTES)[..LARGE_BYTES / 2];
            // A push stages at the top of the root, a pull in the directory where it lands.
            fs::create_dir(sides.to().join("src")).unwrap();
            for staging in [sides.to(), sides.to().join("src")] {
                fs::write(staging.join(".swarmwire-0123456789abcdef"), "a file").unwrap();
                fs::create_dir_all(staging.join(".swarmwire-0123456789abcdee/with/more")).unwrap();
                symlink(&outside, staging.join(".swarmwire-0123456789abcded")).unwrap();
                let closed = staging.join(".swarmwire-0123456789abcdec");
                fs::create_dir(&closed).unwrap();
                fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
                let key = &blake3::hash(b"src/large").to_hex()[..15];
                leave(what, &staging.join(format!(".swarmwire-part-{key}")), old, &outside);
            }
            let told = summary(sides.sync("src", ".", &["--json"]), 0);
            assert_eq!((&told["files_sent"], &told["entries_failed"]), (&2.into(), &0.into()), "{what}");
            for file in ["large", "sub/small"] {
                assert_same(&from.join(file), &sides.to().join("src").join(file));
            }
            assert!(fs::read(&outside).unwrap() == content(5, LARGE_BYTES), "{way:?} {what}");
            let told = summary(sides.sync("src", ".", &["--json"]), 0);
            assert_eq!(told["bytes_sent"], 0, "{what}: {told}");
        }
    }
}

/// Times that the destination's file system may not hold are set as far as it can, and cost no content when they are compared again.
#[test]
fn times_before_and_long_after_ours_arrive() {
    for way in BOTH {
        let sides = Sides::new(way);
        let from = sides.from().join("src");
        fs::create_dir_all(from.join("dir")).unwrap();
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        for (name, time) in [
            ("future", UNIX_EPOCH + 100 * year),
            ("far future", UNIX_EPOCH + 540 * year),
            ("past", UNIX_EPOCH - year / 2),
            ("far past", UNIX_EPOCH - 200 * year),
        ] {
            for (name, size) in [(name.to_owned(), 5), (format!("{name}, large"), LARGE_BYTES)] {
                fs::write(from.join(&name), content(size, size)).unwrap();
                File::open(from.join(name)).unwrap().set_modified(time).unwrap();
            }
        }
        File::open(from.join("dir")).unwrap().set_modified(UNIX_EPOCH - year).unwrap();
        summary(sides.sync("src", ".", &["--json"]), 0);
        assert_same(&from, &sides.to().join("src"));
        let told = summary(sides.sync("src", ".", &["--json"]), 0);
        assert_eq!((&told["files_sent"], &told["bytes_sent"]), (&0.into(), &0.into()), "{told}");
    }
}

#[test]
fn a_damaged_list_of_gateways_is_named_with_what_to_do_and_left_as_it_is() {
    let world = World::start();
    let home = world.joined("list,pull,push");
    let path = home.path().join("gateways.toml");
    let good = fs::read(&path).unwrap();
    let uri = world.invite("list");
    for (damage, part) in [
        (&b"garbage {{"[..], "is damaged: "),
        (b"\xff\xfe\x00", "is damaged: "),
        (b"[gateways.gw]\nhost = 'x'\n", "missing field `port`"),
        (&good[..good.len() / 2], "is damaged: "),
    ] {
        fs::write(&path, damage).unwrap();
        for arguments in
            [&["gateways"][..], &["ls", "gw:"], &["sync", "gw:x", "y"], &["ping", "gw"], &["join", &uri]]
        {
            let told =
                refused(home.swarm(arguments), 1, &[path.to_str().unwrap(), part, "remove it and join"]);
            assert_eq!(told.lines().count(), 1, "{told}");
        }
        assert_eq!(fs::read(&path).unwrap(), damage);
    }
    fs::remove_file(&path).unwrap();
    // The invitation has not been used up by what failed.
    home.swarm(["join", &uri, "--name", "gw"]).success();
    stdout(home.swarm(["ls", "gw:"]));
}

/// Whoever is not let in any more is told where to look.
#[test]
fn a_damaged_list_of_clients_is_no_reason_to_join_again() {
    let world = World::start();
    let home = world.joined("list");
    let path = world.beside("state/clients.toml");
    let good = fs::read(&path).unwrap();
    let until = |part: &str| {
        let start = Instant::now();
        loop {
            let output = home.command(["ls", "gw:"]).output().unwrap();
            let told = format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stderr));
            if told.contains(part) {
                return told;
            }
            // The gateway looks at the file four times a second.
            assert!(start.elapsed() < SOON, "{part:?} is not in {told:?}");
        }
    };
    fs::write(&path, "garbage {{").unwrap();
    let told = until("the log of the gateway");
    assert!(told.starts_with("Some(4) swarm: unknown_identity: "), "{told}");
    fs::write(&path, good).unwrap();
    until("Some(0)");
}

#[test]
fn a_file_with_no_permission_at_all_is_updated_and_gets_its_new_mode() {
    for way in BOTH {
        let sides = Sides::new(way);
        for (side, mode) in [(sides.from(), 0o644), (sides.to(), 0o000)] {
            fs::create_dir(side.join("src")).unwrap();
            for (name, text) in [("same", "same"), ("other", if mode == 0o000 { "before" } else { "after" })]
            {
                let path = side.join("src").join(name);
                fs::write(&path, text).unwrap();
                set_mtime(&path, 1);
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            }
        }
        summary(sides.sync("src", ".", &["--json"]), 0);
        assert!(
            snapshot(&sides.from().join("src/same")) == snapshot(&sides.to().join("src/same")),
            "{way:?}"
        );
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
    }
}
