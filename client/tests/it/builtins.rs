//! The subroutines that come with a gateway: what they tell, what they remove, and what they leave.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, symlink},
    },
    path::Path,
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};
use swarmwire_server::subroutines::{
    Subroutine, Subroutines,
    builtin::{Builtin, BuiltinOptions},
    command::DEFAULT_OUTPUT_BYTES_MAX,
};

use crate::world::{ControllerHome, World, now, refused, stdout};

fn world() -> World {
    let registry = Subroutines::new();
    for (name, builtin) in [
        ("disk-usage", Builtin::DiskUsage),
        ("list-files", Builtin::ListFiles),
        ("remove-files", Builtin::RemoveFiles),
    ] {
        let max_output = DEFAULT_OUTPUT_BYTES_MAX;
        let options = BuiltinOptions { builtin, timeout: None, concurrency: None, max_output };
        registry.register(name, Subroutine::builtin(options)).unwrap();
    }
    World::start_with(|options| options.subroutines = registry)
}

/// A file whose content was changed so many seconds after 1970, and 5 ns.
fn file(path: &Path, content: &str, seconds: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let time = UNIX_EPOCH + Duration::new(seconds, 5);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn call(home: &ControllerHome, name: &str, arguments: &[&str]) -> Value {
    let told = stdout(home.swarm(["call", "gw", name].iter().chain(arguments)));
    serde_json::from_str(&told).unwrap_or_else(|err| panic!("{err}: {told}"))
}

fn paths(told: &Value) -> Vec<&str> {
    told["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect()
}

/// Asks for these files to be removed.
fn remove(world: &World, home: &ControllerHome, files: &[Value]) -> Value {
    let arguments = world.beside("files.json");
    fs::write(&arguments, json!({ "files": files }).to_string()).unwrap();
    call(home, "remove-files", &["--json-args", arguments.to_str().unwrap()])
}

#[test]
fn disk_usage_is_that_of_df() {
    let world = world();
    let home = world.joined("call,list");
    file(&world.root().join("logs/a"), "a", 1);
    let df = Command::new("df").args(["-B1", "--output=size"]).arg(world.root()).output().unwrap();
    let size: u64 = String::from_utf8(df.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap();
    for arguments in [&[][..], &["."], &["logs"], &["--arg", "path=logs/a"]] {
        let told = call(&home, "disk-usage", arguments);
        let [total, used, free, percent] =
            ["total", "used", "free", "percent"].map(|key| told[key].as_u64().unwrap());
        assert_eq!(total, size);
        assert_eq!(percent, (used * 100).div_ceil(used + free));
    }
}

#[test]
fn files_are_listed_the_oldest_first_and_as_they_are() {
    let world = world();
    let home = world.joined("call,list");
    for (path, seconds) in [("logs/new.log", 30), ("logs/sub/old.log", 10), ("b.txt", 20), ("a.txt", 20)] {
        file(&world.root().join(path), path, seconds);
    }
    symlink("b.txt", world.root().join("link")).unwrap();
    file(&world.root().join("young"), "", now().duration_since(UNIX_EPOCH).unwrap().as_secs());

    let told = call(&home, "list-files", &[]);
    assert_eq!(paths(&told), ["logs/sub/old.log", "a.txt", "b.txt", "logs/new.log", "young"]);
    assert_eq!((&told["more"], &told["unreadable"]), (&0.into(), &json!([])));
    let oldest = &told["files"][0];
    let inode = fs::metadata(world.root().join("logs/sub/old.log")).unwrap().ino();
    assert_eq!(
        oldest,
        &json!({"path": "logs/sub/old.log", "size": 16, "mtime_ns": "10000000005", "inode": inode.to_string()})
    );

    let told =
        call(&home, "list-files", &["--arg", "limit=2", "--arg", "older_than=1h", "--arg", "hash=true"]);
    assert_eq!((paths(&told), &told["more"]), (vec!["logs/sub/old.log", "a.txt"], &2.into()));
    let hash = blake3::hash(b"a.txt").to_hex().to_string();
    assert_eq!(told["files"][1]["hash"], hash.as_str());
    let told = call(&home, "list-files", &["logs", r"^logs/[^/]*\.log$"]);
    assert_eq!(paths(&told), ["logs/new.log"]);
    assert_eq!(paths(&call(&home, "list-files", &["b.txt"])), ["b.txt"]);

    fs::write(world.root().join(OsStr::from_bytes(b"\xff")), "").unwrap();
    let told = call(&home, "list-files", &[]);
    assert_eq!(told["files"][5]["path_base64"], "/w==");

    for (arguments, said) in [
        (&["--arg", "match=["][..], "argument `match`"),
        (&["--arg", "older_than=soon"], "argument `older_than`"),
        (&["--arg", "limit=65537"], "65537 files, 65536 are told at most"),
        (&["--arg", "path=../x"], "argument `path`: the path has a `.` or `..` component"),
        (&["nowhere"], "not_found: `nowhere` does not exist"),
        (&["--arg", "depth=1"], "there is no argument `depth`"),
    ] {
        refused(home.swarm(["call", "gw", "list-files"].iter().chain(arguments)), 1, &[said]);
    }
    let said = "denied: `link/x` leads through a symbolic link";
    refused(home.swarm(["call", "gw", "list-files", "link/x"]), 5, &[said]);
}

#[test]
fn only_files_that_are_what_was_told_of_them_are_removed() {
    let world = world();
    let home = world.joined("call,list,delete");
    let names = [
        "goes",
        "dir/goes",
        "grows",
        "touched",
        "same-size",
        "replaced",
        "other-hash",
        "other-inode",
        "all-other",
        "no-hash",
        "vanishes",
    ];
    for name in names {
        file(&world.root().join(name), name, 100);
    }
    fs::write(world.root().join(OsStr::from_bytes(b"\xffgoes")), "").unwrap();
    let told = call(&home, "list-files", &["--arg", "hash=true"]);
    let mut files = told["files"].as_array().unwrap().clone();
    assert_eq!(files.len(), names.len() + 1);
    let of = |files: &[Value], name: &str| files.iter().position(|file| file["path"] == name).unwrap();

    let root = world.root();
    file(&root.join("grows"), "grows and", 100);
    file(&root.join("touched"), "touched", 101);
    file(&root.join("new"), "all of it is new", 101);
    fs::rename(root.join("new"), root.join("all-other")).unwrap();
    // Neither size nor time say so.
    file(&root.join("same-size"), "same-eyes", 100);
    fs::rename(root.join("replaced"), root.join("was-replaced")).unwrap();
    symlink("was-replaced", root.join("replaced")).unwrap();
    let at = of(&files, "other-hash");
    files[at]["hash"] = "00".repeat(32).into();
    let at = of(&files, "other-inode");
    files[at]["inode"] = 1.into();
    let at = of(&files, "no-hash");
    files[at].as_object_mut().unwrap().remove("hash");
    fs::remove_file(root.join("vanishes")).unwrap();
    files.push(json!({"path": "../passwd", "size": 1, "mtime_ns": 1, "hash": "00"}));
    files.push(json!({"size": 1, "mtime_ns": 1, "hash": "00"}));

    let told = remove(&world, &home, &files);
    assert_eq!((&told["removed"], &told["kept"]), (&3.into(), &11.into()));
    let outcomes = told["files"].as_array().unwrap();
    assert_eq!(outcomes.len(), files.len());
    let reason = |name: &str| outcomes[of(outcomes, name)]["reason"].as_str().unwrap_or("removed");
    let other = |what: &str| format!("it is not what was told of it: another {what}");
    for (name, said) in [
        ("goes", "removed"),
        ("dir/goes", "removed"),
        ("grows", &*other("size")),
        ("touched", &*other("mtime")),
        ("same-size", &*other("content")),
        ("other-hash", &*other("content")),
        ("other-inode", &*other("inode")),
        ("all-other", &*other("size, another mtime, another inode")),
        ("replaced", "a symbolic link is in the way and is not followed"),
        ("no-hash", "it has no `hash`"),
        ("vanishes", "no such file or directory"),
        ("../passwd", "`.` or `..` component"),
    ] {
        let told = reason(name);
        assert!(told == said || !said.contains("another ") && told.contains(said), "{name}: {told}");
    }
    for name in names {
        let left = fs::symlink_metadata(root.join(name)).is_ok();
        assert_eq!(left, !["goes", "dir/goes", "vanishes"].contains(&name), "{name}");
    }
    assert!(root.join("was-replaced").exists() && !root.join(OsStr::from_bytes(b"\xffgoes")).exists());
    // A second time there is nothing left to remove.
    assert_eq!(remove(&world, &home, &files[..1])["removed"], 0);
}

#[test]
fn what_list_files_gives_can_be_handed_to_remove_files_as_it_is() {
    let world = world();
    let home = world.joined("call,list,delete");
    let times = [1_732_752_000, 1_732_752_001];
    for seconds in times {
        file(&world.root().join(seconds.to_string()), "content", seconds);
    }
    let listed = ["call", "gw", "list-files", "--arg", "hash=true", "--arg", "limit=1"];
    let listed = stdout(home.swarm(listed));
    let told: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&told["more"], &told["files"][0]["mtime_ns"]), (&1.into(), &"1732752000000000005".into()));
    let removal = ["call", "gw", "remove-files", "--json-args", "-"];
    let told = stdout(home.command(removal).write_stdin(listed).assert());
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["removed"], &told["kept"]), (&1.into(), &0.into()), "{told}");

    // Integers are taken, too; rounded ones are those of no file.
    let mut told = call(&home, "list-files", &["--arg", "hash=true"]);
    let file = &mut told["files"][0];
    for (mtime_ns, removed) in [(1_732_752_001_000_000_000_i64, 0), (1_732_752_001_000_000_005, 1)] {
        file["mtime_ns"] = mtime_ns.into();
        assert_eq!(remove(&world, &home, std::slice::from_ref(file))["removed"], removed);
    }
    file["inode"] = "many".into();
    let arguments = json!({ "files": [file] }).to_string();
    let refusal = home.command(removal).write_stdin(arguments).assert();
    refused(
        refusal,
        1,
        &["argument `files`: it is string \"many\", and an integer, or its digits as text is needed"],
    );
    let unknown = home.command(removal).write_stdin(r#"{"files": [], "less": 1}"#).assert();
    refused(unknown, 1, &["there is no argument `less`; there are `files`"]);
}

#[test]
fn the_grant_of_the_caller_holds() {
    let world = world();
    for path in ["logs/a", "logs2/b", "c"] {
        file(&world.root().join(path), path, 100);
    }
    let all = world.joined("call,list");
    let files = call(&all, "list-files", &["--arg", "hash=true"])["files"].as_array().unwrap().clone();

    let below = world.joined_below("call,list,delete", "logs");
    // Without a path it is that of the grant.
    assert_eq!(paths(&call(&below, "list-files", &[])), ["logs/a"]);
    for name in ["list-files", "disk-usage"] {
        for path in [".", "logs2"] {
            let said = "outside `logs`, the only path that this identity is granted";
            refused(below.swarm(["call", "gw", name, path]), 5, &["denied: ", said]);
        }
    }
    let told = remove(&world, &below, &files);
    assert_eq!((&told["removed"], &told["kept"]), (&1.into(), &2.into()));
    assert!(told.to_string().contains("`logs2/b` is outside `logs`"), "{told}");
    assert!(!world.root().join("logs/a").exists() && world.root().join("logs2/b").exists());

    let calls = world.joined("call,delete");
    for name in ["list-files", "disk-usage"] {
        refused(calls.swarm(["call", "gw", name]), 5, &["denied: this identity is not granted `list`"]);
    }
    let arguments = world.beside("files.json");
    let arguments = arguments.to_str().unwrap();
    let removal = ["call", "gw", "remove-files", "--json-args", arguments];
    refused(all.swarm(removal), 5, &["denied: this identity is not granted `delete`"]);
    refused(world.joined("list,delete").swarm(removal), 5, &["not granted `call:remove-files`"]);
    assert!(world.root().join("c").exists());
}
