//! The small services through the command line: `ping` and `ls`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
};

use serde_json::Value;

use crate::world::{World, refused, stdout};

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ping_measures_each_round_trip_and_sums_up() {
    let world = World::start();
    let home = world.joined("list");
    let told = stdout(home.swarm(["ping", "gw"]));
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(told.contains(&format!("64 bytes from gw ({}): ", world.address)), "{told}");
    assert!(told.contains("3 round trips: least "), "{told}");

    let lines = objects(&stdout(home.swarm(["ping", "gw", "--json", "--count", "2", "--size", "1MiB"])));
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["event"], &lines[0]["bytes"]), (&"ping".into(), &1_048_576.into()));
    assert_eq!((&lines[2]["event"], &lines[2]["count"]), (&"summary".into(), &2.into()));
    assert!(lines[2]["seconds_min"].as_f64().unwrap() > 0.0);
}

#[test]
fn ping_by_address_and_with_the_classical_key_exchange() {
    let world = World::start();
    let home = world.joined("list");
    let address = format!("swarm://{}", world.address);
    home.swarm(["ping", address.as_str(), "--key-exchange", "classical", "--size", "0"]).success();
}

#[test]
fn ls_shows_what_is_there_exactly() {
    let world = World::start();
    let home = world.joined("list");
    fs::create_dir(world.root().join("logs")).unwrap();
    fs::write(world.root().join("logs/app.log"), "hello").unwrap();
    fs::write(world.root().join(OsStr::from_bytes(b"logs/\xff\x1b")), "").unwrap();
    symlink("app.log", world.root().join("logs/link")).unwrap();

    let entries = objects(&stdout(home.swarm(["ls", "gw:", "--recursive", "--json", "--hash"])));
    let by_path = |path: &str| entries.iter().find(|entry| entry["path"] == path).unwrap();
    assert_eq!(by_path("logs")["type"], "directory");
    let file = by_path("logs/app.log");
    assert_eq!((&file["type"], &file["size"]), (&"file".into(), &5.into()));
    assert_eq!(file["blake3"], "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f");
    assert!(file["mtime_ns"].as_i64().unwrap() > 1_600_000_000_000_000_000);
    assert!(file["mode"].is_u64());
    let link = by_path("logs/link");
    assert_eq!((&link["type"], &link["target"]), (&"symlink".into(), &"app.log".into()));
    assert!(
        entries.iter().any(|entry| entry["path_base64"] == "bG9ncy//Gw==" && entry.get("path").is_none())
    );
    assert_eq!(entries.len(), 4);

    let text = stdout(home.swarm(["ls", "gw:logs"]));
    assert!(text.contains(" \\xff\\x1b\n") && text.contains(" link -> app.log\n"), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn ls_of_nothing_says_so() {
    let world = World::start();
    let home = world.joined("list");
    refused(home.swarm(["ls", "gw:no/such"]), 1, &["not_found", "`no/such` does not exist"]);
    assert_eq!(stdout(home.swarm(["ls", "gw:"])), "");
}
