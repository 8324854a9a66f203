//! `swarm sync` with options that say which entries take part: each of them, up and down.

use std::{
    fs::{self, File},
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    time::Duration,
};

use assert_cmd::assert::Assert;

use crate::{
    disks::Disk,
    trees::snapshot,
    world::{ControllerHome, World, now, refused, text},
};

/// A gateway, a controller, and the same tree at both: `tree` beside the root, and in the root.
fn world_with_trees() -> (World, ControllerHome) {
    let world = World::start();
    let home = world.joined("list,pull,push");
    for top in [world.beside("tree"), world.root().join("tree")] {
        plant(&top);
    }
    (world, home)
}

fn plant(top: &Path) {
    for (name, size, age_in_hours) in [
        ("app/a.log", 10, 1),
        ("app/b.log", 2000, 48),
        ("app/cache/x", 5, 1),
        ("keep.log", 10, 1),
        ("note.txt", 3, 100),
    ] {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; size]).unwrap();
        let time = now() - Duration::from_secs(3600 * age_in_hours);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    symlink("note.txt", top.join("link")).unwrap();
}

/// Files and links that arrived below `top`.
fn arrived(top: &Path) -> Vec<String> {
    let nodes = snapshot(top);
    let paths = nodes.keys().filter(|path| !fs::symlink_metadata(top.join(path)).unwrap().is_dir());
    paths.map(|path| path.to_str().unwrap().to_owned()).collect()
}

/// Syncs the tree up and down with `options`, and `input` as standard input; both must end with `code`. Gives what arrived of each.
fn both_ways(options: &[&str], input: &[u8], code: i32) -> [(Vec<String>, Assert); 2] {
    let (world, home) = world_with_trees();
    let (tree, down) = (world.beside("tree/"), world.beside("down"));
    let run = |source: &str, destination: &str| {
        let words = ["sync", source, destination, "--durability", "none"];
        let mut command = home.command(words.iter().chain(options));
        command.write_stdin(input).assert().code(code)
    };
    let up = run(&format!("{}/", text(&tree)), "gw:up");
    let pulled = run("gw:tree/", text(&down));
    [(arrived(&world.root().join("up")), up), (arrived(&down), pulled)]
}

const ALL: [&str; 6] = ["app/a.log", "app/b.log", "app/cache/x", "keep.log", "link", "note.txt"];

#[test]
fn every_option_takes_the_same_up_and_down() {
    for (options, input, expected) in [
        (&["--exclude", "*.log"][..], "", &["app/cache/x", "link", "note.txt"][..]),
        (
            &["--include", "keep.log", "--exclude", "*.log"],
            "",
            &["app/cache/x", "keep.log", "link", "note.txt"],
        ),
        (&["--exclude", "*.log", "--include", "keep.log"], "", &["app/cache/x", "link", "note.txt"]),
        (&["--exclude", "/app/"], "", &["keep.log", "link", "note.txt"]),
        (&["--exclude", "/app/**"], "", &["keep.log", "link", "note.txt"]),
        (
            &["--filter-from", "-"],
            "# logs\n*.log\n!keep.log\n",
            &["app/cache/x", "keep.log", "link", "note.txt"],
        ),
        (&["--exclude", "keep.log", "--filter-from", "-"], "*\n!*.log\n!app/\n", &["app/a.log", "app/b.log"]),
        (&["--match", r"^app/.*\.log$"], "", &["app/a.log", "app/b.log"]),
        (&["--files-from", "-"], "keep.log\n\n./app/cache/\r\n", &["app/cache/x", "keep.log"]),
        (&["--files-from", "-", "--from0"], "keep.log\0app/a.log", &["app/a.log", "keep.log"]),
        (&["--files-from", "-", "--exclude", "x"], "app", &["app/a.log", "app/b.log"]),
        (&["--max-size", "10B"], "", &["app/a.log", "app/cache/x", "keep.log", "link", "note.txt"]),
        (&["--min-size", "4", "--max-size", "1kB"], "", &["app/a.log", "app/cache/x", "keep.log", "link"]),
        (&["--older-than", "1day"], "", &["app/b.log", "link", "note.txt"]),
        (&["--newer-than", "3days", "--older-than", "1day"], "", &["app/b.log", "link"]),
        (&["--one-file-system"], "", &ALL),
        (&["-x", "-L", "--exclude", "app"], "", &["keep.log", "link", "note.txt"]),
    ] {
        for (arrived, assert) in both_ways(options, input.as_bytes(), 0) {
            assert_eq!(arrived, expected, "{options:?}: {assert}");
        }
    }
}

#[test]
fn rules_and_lists_are_read_from_files_too() {
    let temp = tempfile::tempdir().unwrap();
    let (rules, list) = (temp.path().join("rules"), temp.path().join("list"));
    fs::write(&rules, "*.log\n").unwrap();
    fs::write(&list, "app\nkeep.log\n").unwrap();
    let options = ["--filter-from", text(&rules), "--files-from", text(&list)];
    for (arrived, assert) in both_ways(&options, b"", 0) {
        assert_eq!(arrived, ["app/cache/x"], "{assert}");
    }
}

#[test]
fn an_excluded_directory_is_not_made_and_an_empty_one_is() {
    let (world, home) = world_with_trees();
    let tree = world.beside("tree");
    home.swarm(["sync", text(&tree), "gw:up/", "--exclude", "cache", "--match", "nothing"]).success();
    let up = world.root().join("up/tree");
    assert!(up.join("app").is_dir() && !up.join("app/cache").exists());
    assert!(arrived(&up).is_empty());
}

#[test]
fn what_is_listed_and_not_there_is_named_and_the_rest_arrives() {
    for (arrived, assert) in both_ways(&["--files-from", "-"], b"keep.log\nno/such\nnote.txt/x\n", 3) {
        assert_eq!(arrived, ["keep.log"]);
        for path in ["no/such", "note.txt/x"] {
            assert_told(
                &assert,
                &format!("swarm: failed: {path}: is in the list of files and was not found"),
            );
        }
    }
}

fn assert_told(assert: &Assert, part: &str) {
    let told = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(told.contains(part), "{part:?} is not in {told:?}");
}

#[test]
fn a_list_that_is_longer_than_the_opening_frame_works_both_ways() {
    let mut list: String = (0..10_000).map(|number| format!("not-there/number-{number:05}\n")).collect();
    list.push_str("app/cache\nkeep.log\n");
    for (arrived, assert) in both_ways(&["--files-from", "-", "--exclude", "/not-there"], list.as_bytes(), 0)
    {
        assert_eq!(arrived, ["app/cache/x", "keep.log"], "{assert}");
    }
}

#[test]
fn links_are_followed_below_the_source_alone_and_a_grant_is_no_way_around() {
    let (world, _) = world_with_trees();
    fs::write(world.root().join("secret"), "secret").unwrap();
    for top in [world.beside("tree"), world.root().join("tree")] {
        symlink("../secret", top.join("app/out")).unwrap();
        symlink("../../secret", top.join("app/far")).unwrap();
        symlink("app/cache", top.join("dir")).unwrap();
        symlink("..", top.join("app/round")).unwrap();
    }
    let home = world.joined_below("list,pull,push", "tree");
    let down = world.beside("down");
    let assert = home.swarm(["sync", "gw:tree/", text(&down), "--copy-links"]).code(3);
    for told in [
        "app/far: the link leads outside",
        "app/out: the link leads to nothing",
        "app/round: the link leads in a circle",
    ] {
        assert_told(&assert, told);
    }
    assert_eq!(
        arrived(&down),
        ["app/a.log", "app/b.log", "app/cache/x", "dir/x", "keep.log", "link", "note.txt"]
    );
    assert_eq!(fs::read(down.join("link")).unwrap(), b"xxx");
    assert!(fs::symlink_metadata(down.join("link")).unwrap().is_file());
    let again = home.swarm(["sync", "gw:tree/", text(&down), "--copy-links", "--json"]).code(3);
    assert!(String::from_utf8_lossy(&again.get_output().stdout).contains("\"files_sent\":0"));
}

#[test]
fn a_mount_point_is_kept_and_not_entered_if_that_is_asked_for() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    fs::write(disk.path().join("file"), "content").unwrap();
    let (world, home) = world_with_trees();
    // The only entry that takes part of the directory in which tests have theirs.
    let (above, name) = (disk.path().parent().unwrap(), disk.path().file_name().unwrap().to_str().unwrap());
    let (source, include) = (format!("{}/", text(above)), format!("/{name}"));
    for (option, expected) in [("--one-file-system", false), ("--quiet", true)] {
        let to = format!("gw:{}", &option[2..]);
        home.swarm(["sync", &source, &to, "--include", &include, "--exclude", "/*", option]).success();
        let arrived = world.root().join(&option[2..]).join(name);
        assert!(arrived.is_dir());
        assert_eq!(arrived.join("file").exists(), expected, "{option}");
    }
}

#[test]
fn a_single_file_is_named_itself_so_only_bounds_are_about_it() {
    let (world, home) = world_with_trees();
    let note = world.beside("tree/note.txt");
    home.swarm(["sync", text(&note), "gw:one/", "--exclude", "*", "--match", "zzz"]).success();
    assert_eq!(arrived(&world.root().join("one")), ["note.txt"]);
    refused(
        home.swarm(["sync", text(&note), "gw:two", "--max-size", "2"]),
        1,
        &["SRC", "bounds on size or age"],
    );
    let two = world.beside("two");
    refused(
        home.swarm(["sync", "gw:tree/note.txt", text(&two), "--max-size", "2"]),
        1,
        &["bounds on size or age"],
    );
    assert!(!two.exists());
}

#[test]
fn names_that_are_no_text_are_listed_with_a_zero_byte() {
    let (world, home) = world_with_trees();
    let name = std::ffi::OsStr::from_bytes(b"odd\xff\nname");
    fs::write(world.beside("tree").join(name), "odd").unwrap();
    let tree = format!("{}/", text(&world.beside("tree")));
    let mut command = home.command(["sync", &tree, "gw:odd", "--files-from", "-", "--from0"]);
    command.write_stdin(&b"odd\xff\nname\0"[..]).assert().success();
    assert!(world.root().join("odd").join(name).is_file());
}

#[test]
fn options_that_make_no_sense_are_named_with_the_fix() {
    let (world, home) = world_with_trees();
    let tree = world.beside("tree");
    let rules = world.beside("rules");
    fs::write(&rules, "a\n[\n").unwrap();
    for (options, input, parts) in [
        (&["--exclude", "["][..], "", &["--exclude", "the pattern `[`"][..]),
        (&["--include", "/"], "", &["--include", "names nothing"]),
        (&["--match", "("], "", &["--match", "unclosed group"]),
        (&["--filter-from", text(&rules)], "", &["--filter-from", "line 2"]),
        (&["--filter-from", "/no/such"], "", &["--filter-from `/no/such` cannot be read"]),
        (&["--files-from", "/no/such"], "", &["--files-from `/no/such` cannot be read"]),
        (
            &["--filter-from", "-", "--files-from", "-"],
            "",
            &["--filter-from", "--files-from", "standard input"],
        ),
        (&["--files-from", "-"], "a/../../b\n", &["--files-from", "`a/../../b`", "`..`"]),
        (&["--files-from", "-"], "/etc/passwd\n", &["--files-from", "`/etc/passwd`", "leading `/`"]),
        (&["--from0"], "", &["--files-from"]),
        (&["--min-size", "2KiB", "--max-size", "1KiB"], "", &["--min-size is larger than --max-size"]),
        (&["--older-than", "2h", "--newer-than", "1h"], "", &["--older-than", "--newer-than"]),
        (&["--max-size", "big"], "", &["--max-size"]),
        (&["--older-than", "long"], "", &["--older-than"]),
    ] {
        let mut command = home.command(["sync", text(&tree), "gw:up"].iter().chain(options));
        refused(command.write_stdin(input).assert(), 2, parts);
        assert!(!world.root().join("up").exists());
    }
}
