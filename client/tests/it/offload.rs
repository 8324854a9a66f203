//! `swarm offload` from end to end: which files go, what stays, what is told, and who may.

mod bad_input;
mod holding;
mod hostile;
mod interrupted;
mod one_place;
mod repeating;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use assert_cmd::assert::Assert;
use serde_json::Value;

use crate::{
    disks::Disk,
    trees::{assert_no_leftovers, content, set_mtime, visible_files},
    world::{ControllerHome, World, last_event, refused, stdout, summary, text},
};

/// What an offload from a gateway needs.
const GRANTS: &str = "list,pull,delete";

/// Bytes of each file of [`plant`].
const SIZE: usize = 1000;

/// In the order of their age, which is that of no name.
const NAMES: [&str; 10] = [
    "z.log",
    "sub/m.log",
    "b.log",
    "sub/deep/a.log",
    "c.txt",
    "q.log",
    "a.log",
    "sub/n.log",
    "d.txt",
    "e.log",
];

/// Ten files of a thousand bytes, each with content of its own.
fn plant(top: &Path) {
    for (number, name) in NAMES.iter().enumerate() {
        put(top, name, number, number);
    }
}

/// A file whose content and time are told by numbers.
fn put(top: &Path, name: &str, seed: usize, age: usize) {
    let path = top.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content(seed, SIZE)).unwrap();
    set_mtime(&path, age);
}

fn names(top: &Path) -> BTreeSet<String> {
    let name = |path: PathBuf| path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
    visible_files(top).into_iter().map(name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A gateway that has the planted files in `logs`, who may offload it, and an archive that is not there yet.
struct Scene {
    world: World,
    home: ControllerHome,
}

impl Scene {
    fn new() -> Self {
        Self::allowed(GRANTS)
    }

    fn allowed(grants: &str) -> Self {
        let world = World::start();
        let home = world.joined(grants);
        plant(&world.root().join("logs"));
        Self { world, home }
    }

    fn logs(&self) -> PathBuf {
        self.world.root().join("logs")
    }

    fn archive(&self) -> PathBuf {
        self.world.beside("archive")
    }

    /// From the gateway, above 75 % and until 25 %.
    fn offload(&self, options: &[&str]) -> Assert {
        self.offload_within("75%", "25%", options)
    }

    fn offload_within(&self, above: &str, until: &str, options: &[&str]) -> Assert {
        let archive = self.archive();
        let mut command = self.home.command(["offload", "gw:logs", text(&archive)]);
        command.args(["--above", above, "--until", until]).args(options).assert()
    }

    /// The journal's text; there is one.
    fn journal(&self) -> String {
        let dir = fs::read_dir(self.home.path().join("offload")).unwrap();
        let paths = dir.map(|entry| entry.unwrap().path());
        let journal = paths.filter(|path| path.extension().is_some_and(|ext| ext == "journal"));
        journal.map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}

fn counts(told: &Value) -> (&str, u64, u64) {
    let number = |name: &str| told[name].as_u64().unwrap();
    (told["state"].as_str().unwrap(), number("files_moved"), number("entries_failed"))
}

#[test]
fn the_oldest_go_first_and_exactly_those_that_are_needed() {
    let scene = Scene::new();
    fs::create_dir(scene.archive()).unwrap();
    fs::set_permissions(scene.archive(), fs::Permissions::from_mode(0o700)).unwrap();
    let told = summary(scene.offload(&["--capacity", "10kB", "--json"]), 0);
    assert_eq!(counts(&told), ("reached", 8, 0));
    assert_eq!((&told["used_before"], &told["used_after"]), (&10_000.into(), &2000.into()), "{told}");
    assert_eq!((&told["capacity"], &told["bytes_moved"]), (&10_000.into(), &8000.into()));
    assert_eq!(names(&scene.archive()), set(&NAMES[..8]));
    assert_eq!(names(&scene.logs()), set(&NAMES[8..]));
    for (number, name) in NAMES[..8].iter().enumerate() {
        let path = scene.archive().join(name);
        assert_eq!(fs::read(&path).unwrap(), content(number, SIZE), "{name}");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        set_mtime(&path, number);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), modified, "{name}");
    }
    assert_no_leftovers(&scene.archive());
    assert_no_leftovers(&scene.world.root());
    let mode = fs::metadata(scene.archive()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the archive is not the directory that was offloaded");
    let journal = scene.journal();
    let words: Vec<_> = journal.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(words, [&["offload", "begin", "batch"][..], &["safe"; 8], &["end"]].concat(), "{journal}");
    for (number, name) in NAMES[..8].iter().enumerate() {
        let (mtime, hash) = (1_700_000_000 + number, blake3::hash(&content(number, SIZE)));
        let line = format!(" safe size=1000 mtime={mtime}.123456789 blake3={hash} {name}\n");
        assert!(journal.contains(&line), "{line} is not in {journal}");
    }
    // Not fuller than 75 % any more.
    let told = summary(scene.offload(&["--capacity", "10kB", "--json"]), 0);
    assert_eq!(counts(&told), ("not_due", 0, 0));
    let told = stdout(scene.offload(&["--capacity", "10kB"]));
    assert_eq!(told, "nothing to move; 2.0 KiB (20.0%) used\n");
}

#[test]
fn what_is_exactly_at_a_limit_is_not_above_it_and_units_are_what_they_say() {
    for (above, until, capacity, moved) in [
        ("100%", "50%", "10kB", 0),
        ("99.99%", "50%", "10kB", 5),
        ("97.65%", "97%", "10KiB", 1),
        ("97.66%", "97%", "10KiB", 0),
        ("10%", "0%", "10kB", 10),
    ] {
        let scene = Scene::new();
        let assert = scene.offload_within(above, until, &["--capacity", capacity, "--json"]);
        let told = summary(assert, 0);
        assert_eq!(told["files_moved"], moved, "{above} {until} {capacity}");
        assert_eq!(visible_files(&scene.archive()).len(), moved);
    }
}

#[test]
fn only_what_matches_is_old_and_is_not_among_the_newest_goes() {
    let all = ["--capacity", "5kB", "--json"];
    for (options, expected, code) in [
        (
            &["--match", r"\.log$"][..],
            &["z.log", "sub/m.log", "b.log", "sub/deep/a.log", "q.log", "a.log", "sub/n.log", "e.log"][..],
            3,
        ),
        (&["--match", "^sub/", "--keep-newest", "1"], &["sub/m.log", "sub/deep/a.log"], 3),
        (&["--keep-newest", "10"], &[], 3),
        (&["--keep-newest", "1"], &NAMES[..9], 0),
        (&["--older-than", "3650days"], &[], 3),
        (&["--older-than", "1s"], &NAMES[..9], 0),
    ] {
        let scene = Scene::new();
        let told = summary(scene.offload(&[&all[..], options].concat()), code);
        assert_eq!(names(&scene.archive()), set(expected), "{options:?}");
        assert_eq!(told["state"], if code == 0 { "reached" } else { "unreached" }, "{options:?}");
        assert_eq!(names(&scene.logs()).len(), 10 - expected.len());
    }
    let scene = Scene::new();
    let told = stdout_of(scene.offload(&["--capacity", "5kB", "--keep-newest", "10"]), 3);
    assert!(told.contains("; more than 25%, and nothing else may or can be moved"), "{told}");
}

fn stdout_of(assert: Assert, code: i32) -> String {
    String::from_utf8(assert.code(code).get_output().stdout.clone()).unwrap()
}

/// Story: logs rotate, so that a file of the same name comes again and again. Each of them is a different one.
#[test]
fn a_file_whose_name_comes_again_does_not_replace_an_earlier_one() {
    let scene = Scene::new();
    let all = ["--capacity", "1", "--match", "^app.log.1$", "--json"];
    for number in 0..3 {
        put(&scene.logs(), "app.log.1", 100 + number, 50 + number);
        assert_eq!(summary(scene.offload(&all), 3)["files_moved"], 1);
        assert!(!scene.logs().join("app.log.1").exists());
    }
    let kept: Vec<_> = visible_files(&scene.archive()).iter().map(|path| fs::read(path).unwrap()).collect();
    let kept: BTreeSet<_> = kept.into_iter().collect();
    assert_eq!(kept, (0..3).map(|number| content(100 + number, SIZE)).collect());
    assert_eq!(fs::read(scene.archive().join("app.log.1")).unwrap(), content(102, SIZE));
    let earlier = names(&scene.archive().join(".offload-earlier"));
    assert!(earlier.len() == 2 && earlier.iter().all(|name| name.ends_with("Z/app.log.1")), "{earlier:?}");
}

/// As after a run that was killed when a file was here and not yet removed there.
#[test]
fn what_is_here_already_is_compared_and_removed_there_and_not_kept_twice() {
    let scene = Scene::new();
    put(&scene.archive(), "z.log", 0, 0);
    put(&scene.archive(), "sub/m.log", 1, 77);
    for top in [scene.archive(), scene.logs()] {
        fs::write(top.join("empty"), "").unwrap();
        set_mtime(&top.join("empty"), 0);
    }
    let told = summary(scene.offload(&["--capacity", "10kB", "--json"]), 0);
    assert_eq!(counts(&told), ("reached", 9, 0));
    assert_eq!(names(&scene.archive()), set(&[&NAMES[..8], &["empty"]].concat()));
}

/// Story: a log that is appended to all the time is never the file that was sent.
#[test]
fn a_file_that_is_being_written_stays_and_others_go_in_its_place() {
    let scene = Scene::new();
    let mut log = fs::File::options().append(true).open(scene.logs().join("z.log")).unwrap();
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
    let old = log.metadata().unwrap().modified().unwrap();
    let writing = std::thread::spawn(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            std::io::Write::write_all(&mut log, b".").unwrap();
            // It looks as old as it was, however often it is written to.
            log.set_modified(old).unwrap();
        }
    });
    let told = summary(scene.offload_within("75%", "60%", &["--capacity", "5kB", "--json"]), 3);
    drop(stop);
    writing.join().unwrap();
    assert_eq!(told["failed"][0]["path"], "z.log", "{told}");
    assert!(scene.logs().join("z.log").exists());
    assert!(told["files_moved"].as_u64().unwrap() > 0 && !scene.logs().join("b.log").exists(), "{told}");
}

#[test]
fn what_cannot_be_put_in_place_stays_by_name_and_others_go_in_its_place() {
    let scene = Scene::new();
    fs::create_dir_all(scene.archive().join("z.log")).unwrap();
    fs::write(scene.archive().join("sub"), "in the way").unwrap();
    let told = summary(scene.offload_within("80%", "75%", &["--capacity", "10kB", "--json"]), 3);
    assert_eq!(counts(&told).0, "reached", "{told}");
    assert_eq!(told["files_moved"], 3);
    let failed: BTreeSet<_> =
        told["failed"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert!(failed.contains("z.log") && failed.contains("sub/m.log"), "{told}");
    assert!(scene.logs().join("z.log").exists() && scene.logs().join("sub/m.log").exists());
    assert!(scene.journal().contains(" stays z.log: "), "{}", scene.journal());
    assert_eq!(fs::read_to_string(scene.archive().join("sub")).unwrap(), "in the way");
}

#[test]
fn links_and_what_is_no_file_are_neither_counted_nor_moved() {
    let scene = Scene::new();
    std::os::unix::fs::symlink("z.log", scene.logs().join("0-link")).unwrap();
    fs::create_dir(scene.logs().join("empty")).unwrap();
    let told = summary(scene.offload(&["--capacity", "10kB", "--json"]), 0);
    assert_eq!((&told["files_moved"], &told["used_before"]), (&8.into(), &10_000.into()));
    assert!(scene.logs().join("0-link").is_symlink() && scene.logs().join("empty").is_dir());
}

#[test]
fn permission_bits_go_along_and_special_ones_do_not() {
    let scene = Scene::new();
    let modes = [("z.log", 0o4755), ("b.log", 0o2750), ("c.txt", 0o1604)];
    for (name, mode) in modes {
        fs::set_permissions(scene.logs().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    scene.offload(&["--capacity", "10kB"]).success();
    for (name, mode) in modes {
        let moved = fs::metadata(scene.archive().join(name)).unwrap().permissions().mode();
        assert_eq!(moved & 0o7777, mode & 0o777, "{name}");
    }
}

#[test]
fn a_directory_here_is_offloaded_to_the_gateway() {
    for places in [["HERE", "gw:old"], ["gw:old", "HERE"]] {
        let world = World::start();
        let home = world.joined("list,push");
        let here = world.beside("here");
        plant(&here);
        let places = places.map(|place| if place == "HERE" { text(&here) } else { place });
        let all = ["--above", "75%", "--until", "25%", "--capacity", "10kB", "--json", "--push"];
        let told = summary(home.swarm([&["offload"], &places[..], &all[..]].concat()), 0);
        assert_eq!((counts(&told), &told["direction"]), (("reached", 8, 0), &"push".into()));
        assert_eq!(names(&world.root().join("old")), set(&NAMES[..8]));
        assert_eq!(names(&here), set(&NAMES[8..]));
        // The same name again.
        put(&here, "z.log", 99, 0);
        plant(&here.join("more"));
        let told = summary(home.swarm([&["offload"], &places[..], &all[..]].concat()), 0);
        assert!(told["files_moved"].as_u64().unwrap() > 0, "{told}");
        let earlier = names(&world.root().join("old/.offload-earlier"));
        assert!(earlier.len() == 1 && earlier.first().unwrap().ends_with("Z/z.log"), "{earlier:?}");
        assert_no_leftovers(&world.root());
    }
}

#[test]
fn a_dry_run_tells_the_files_and_changes_nothing() {
    let scene = Scene::allowed("list");
    let told = stdout(scene.offload_within("75%", "70%", &["--capacity", "10kB", "-n"]));
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    for (line, name) in lines[..3].iter().zip(&NAMES) {
        assert!(line.starts_with(&format!("move  {name} (1000 B, ")) && line.ends_with(" old)"), "{line}");
    }
    assert_eq!(
        lines[3],
        "dry run: 3 files to move (2.9 KiB); 9.8 KiB (100.0%) used now, about 6.8 KiB (70.0%) then"
    );
    let assert = scene.offload(&["--capacity", "10kB", "--dry-run", "--json"]).success();
    let objects: Vec<Value> = String::from_utf8(assert.get_output().stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let paths: Vec<_> = objects[..8].iter().map(|object| object["path"].as_str().unwrap()).collect();
    assert_eq!(paths, NAMES[..8]);
    assert_eq!((&objects[8]["files_to_move"], &objects[8]["used_after"]), (&8.into(), &2000.into()));
    assert_eq!(names(&scene.logs()), set(&NAMES));
    assert!(!scene.archive().exists());
    let left = fs::read_dir(scene.home.path().join("offload")).unwrap().count();
    assert_eq!(left, 0, "no journal either");
    fs::write(scene.archive(), b"").unwrap();
    let refused = scene.offload(&["--capacity", "10kB", "-n"]).code(1);
    let told = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(told.contains("archive") && told.contains("not a directory"), "{told}");
}

#[test]
fn what_is_not_granted_is_named() {
    for (granted, missing) in
        [("pull,delete", "`list`"), ("list,delete", "`pull`"), ("list,pull", "`delete`")]
    {
        let scene = Scene::allowed(granted);
        refused(scene.offload(&["--capacity", "10kB"]), 5, &["not granted", missing]);
        assert_eq!(names(&scene.logs()), set(&NAMES));
    }
    let world = World::start();
    let home = world.joined("list,pull,delete");
    plant(&world.beside("here"));
    let places = ["offload", text(&world.beside("here")), "gw:old"].map(str::to_owned);
    let assert = home.command(places).args(["--above", "1%", "--until", "0%", "--capacity", "1kB"]).assert();
    refused(assert, 5, &["not granted `push`"]);
    assert_eq!(names(&world.beside("here")), set(&NAMES));
}

/// A real file system that is too full, where one can be mounted; otherwise that of the temporary directory, which is never above 100 %.
#[test]
fn a_disk_is_as_full_as_its_file_system_says() {
    let Some(disk) = Disk::mount("size=4m") else {
        let scene = Scene::new();
        let assert = scene.offload_within("100%", "25%", &["--json"]);
        assert_eq!(summary(assert, 0)["state"], "not_due");
        return;
    };
    let world = World::start_with(|options| options.root = disk.path().to_owned());
    let home = world.joined(GRANTS);
    let logs = disk.path().join("logs");
    fs::create_dir(&logs).unwrap();
    for number in 0..13 {
        // No multiple of a block.
        let path = logs.join(format!("{number:02}"));
        fs::write(&path, content(number, 256 * 1024 - 100)).unwrap();
        set_mtime(&path, number);
    }
    let archive = world.beside("archive");
    let places = ["offload", "gw:logs", text(&archive), "--above", "75%", "--until", "25%", "--json"];
    let told = summary(home.swarm(places), 0);
    // 13 of 16 quarters of a megabyte are used, and 4 may be.
    assert_eq!(counts(&told), ("reached", 9, 0), "{told}");
    assert_eq!(names(&logs).into_iter().collect::<Vec<_>>(), ["09", "10", "11", "12"]);
    assert!(told["used_after"].as_u64().unwrap() * 4 <= told["capacity"].as_u64().unwrap(), "{told}");
}

/// A disk that gets no emptier, since a program has open whatever is removed from it, is not offloaded to its last file.
#[test]
fn where_nothing_is_won_it_ends() {
    let Some(disk) = Disk::mount("size=4m") else {
        // What decides it is tested by itself.
        return;
    };
    let world = World::start_with(|options| options.root = disk.path().to_owned());
    let home = world.joined(GRANTS);
    let logs = disk.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let plant = |number: usize| {
        let path = logs.join(format!("{number:02}"));
        fs::write(&path, content(number, 64 * 1024)).unwrap();
        set_mtime(&path, number);
        fs::File::open(&path).unwrap()
    };
    let open: Vec<_> = (0..52).map(plant).collect();
    let archive = world.beside("archive");
    let places = ["offload", "gw:logs", text(&archive), "--above", "75%", "--until", "25%", "--json"];
    let told = summary(home.swarm(places), 3);
    // 36 should be enough, and of eight more each might be.
    assert_eq!(counts(&told), ("unreached", 44, 0), "{told}");
    assert!(told["stopped"].as_str().unwrap().contains("as full as before"), "{told}");
    drop(open);
}

/// Story: the oldest files were nothing but holes, and each run ended with the first of them.
#[test]
fn files_of_which_nothing_is_won_are_no_end_as_long_as_they_are_few() {
    let Some(disk) = Disk::mount("size=4m") else { return };
    let world = World::start_with(|options| options.root = disk.path().to_owned());
    let home = world.joined(GRANTS);
    let logs = disk.path().join("logs");
    fs::create_dir(&logs).unwrap();
    for number in 0..16 {
        let path = logs.join(format!("{number:02}"));
        if number < 3 {
            fs::File::create(&path).unwrap().set_len(3 * 1024 * 1024).unwrap();
        } else {
            fs::write(&path, content(number, 256 * 1024)).unwrap();
        }
        set_mtime(&path, number);
    }
    let archive = world.beside("archive");
    let places = ["offload", "gw:logs", text(&archive), "--above", "75%", "--until", "25%", "--json"];
    assert_eq!(counts(&summary(home.swarm(places), 0)), ("reached", 12, 0));
    assert_eq!(names(&logs).into_iter().collect::<Vec<_>>(), ["12", "13", "14", "15"]);
}

/// A destination without space is found out once, and not by each file; and what has space there is the oldest, though younger ones are smaller.
#[test]
fn where_nothing_more_fits_it_ends() {
    let Some(disk) = Disk::mount("size=1m") else {
        // What decides it is tested by itself.
        return;
    };
    let world = World::start();
    let home = world.joined(GRANTS);
    let logs = world.root().join("logs");
    fs::create_dir(&logs).unwrap();
    for number in 0..1500 {
        let path = logs.join(format!("{number:04}"));
        fs::write(&path, content(number, 4096)).unwrap();
        set_mtime(&path, number);
    }
    let filler = disk.path().join("full");
    fs::write(&filler, vec![1; 2 * 1024 * 1024]).unwrap_err();
    let places = ["offload", "gw:logs", text(disk.path()), "--above", "75%", "--until", "25%", "--json"];
    let told = summary(home.swarm(places.into_iter().chain(["--capacity", "6MB"])), 3);
    assert_eq!(told["stopped"], "the destination has no space", "{told}");
    assert_eq!((&told["files_moved"], &told["entries_failed"]), (&0.into(), &1.into()), "{told}");

    fs::File::options().write(true).open(&filler).unwrap().set_len(512 * 1024).unwrap();
    fs::write(logs.join("0003"), content(3, 1024 * 1024)).unwrap();
    set_mtime(&logs.join("0003"), 3);
    let told = summary(home.swarm(places.into_iter().chain(["--capacity", "6MB"])), 3);
    assert_eq!(told["stopped"], "the destination has no space", "{told}");
    assert_eq!((&told["files_moved"], &told["entries_failed"]), (&3.into(), &1.into()), "{told}");
    let moved: Vec<_> = ["0000", "0001", "0002", "0003", "0004"].map(|name| logs.join(name).exists()).into();
    assert_eq!(moved, [false, false, false, true, true]);
}

/// The last object of what was told.
fn told(output: &[u8]) -> Value {
    last_event(output)
}
