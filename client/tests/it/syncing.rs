//! `swarm sync` from end to end on a small tree: what it prints, exits with and writes. The engine's own behaviour is tested
//! where it lives.

use std::fs;

use serde_json::Value;

use crate::world::{ControllerHome, World, last_event, refused, stdout, text};

const EVERYTHING: &str = "list,pull,push";

fn world_with_tree() -> (World, ControllerHome) {
    let world = World::start();
    let home = world.joined(EVERYTHING);
    let tree = world.beside("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("one"), "first").unwrap();
    fs::write(tree.join("sub/two"), vec![b'x'; 100_000]).unwrap();
    (world, home)
}

fn summary(home: &ControllerHome, source: &str, destination: &str) -> Value {
    let told = stdout(home.swarm(["sync", source, destination, "--json"]));
    last_event(told.as_bytes())
}

#[test]
fn a_tree_goes_up_and_comes_down_and_is_not_sent_again() {
    let (world, home) = world_with_tree();
    let tree = world.beside("tree");
    let up = summary(&home, text(&tree), "gw:");
    assert_eq!((&up["event"], &up["direction"]), (&"summary".into(), &"push".into()));
    assert_eq!((&up["files_sent"], &up["bytes_sent"]), (&2.into(), &100_005.into()));
    assert_eq!((&up["entries_total"], &up["entries_failed"]), (&4.into(), &0.into()));
    assert_eq!(up["receipts"], serde_json::json!({"received": 2, "verified": 2, "durable": 2}));
    assert!(up["bytes_wire_sent"].as_u64().unwrap() > 100_005);
    assert!(up.get("error").is_none());
    assert_eq!(fs::read(world.root().join("tree/one")).unwrap(), b"first");

    let again = summary(&home, text(&tree), "gw:");
    assert_eq!((&again["files_sent"], &again["bytes_sent"]), (&0.into(), &0.into()));
    assert_eq!(again["files_unchanged"], 2);

    let back = world.beside("deep/er/back");
    let down = summary(&home, "gw:tree/", text(&back));
    assert_eq!((&down["direction"], &down["files_sent"]), (&"pull".into(), &2.into()));
    assert_eq!(fs::read(back.join("sub/two")).unwrap(), vec![b'x'; 100_000]);
}

#[test]
fn people_get_one_line_and_silence_when_they_ask_for_it() {
    let (world, home) = world_with_tree();
    let tree = world.beside("tree");
    let assert = home.swarm(["sync", text(&tree), "gw:"]).success();
    assert!(assert.get_output().stderr.is_empty(), "no progress where there is no terminal");
    let told = stdout(assert);
    assert!(told.starts_with("sent 2 files (97.7 KiB) in "), "{told}");
    let again = home.swarm(["sync", text(&tree), "gw:", "--quiet"]).success();
    assert!(again.get_output().stdout.is_empty() && again.get_output().stderr.is_empty());
}

#[test]
fn a_single_file_keeps_its_name_in_a_directory() {
    let (world, home) = world_with_tree();
    let file = world.beside("tree").join("one");
    summary(&home, text(&file), "gw:");
    assert_eq!(fs::read(world.root().join("one")).unwrap(), b"first");
}

#[test]
fn metrics_of_a_run_are_written_for_the_collector() {
    let (world, home) = world_with_tree();
    let file = world.beside("swarm.prom");
    let tree = world.beside("tree");
    home.swarm(["sync", text(&tree), "gw:", "--metrics-file", text(&file)]).success();
    let metrics = fs::read_to_string(&file).unwrap();
    for line in [
        "swarmwire_bytes_total{direction=\"out\",service=\"sync\"} 100005",
        "swarmwire_sync_last_run_success{direction=\"out\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn what_is_not_at_the_gateway_is_told_before_anything_is_made() {
    let (world, home) = world_with_tree();
    let place = world.beside("new");
    refused(home.swarm(["sync", "gw:nothing", text(&place)]), 1, &["not_found", "`nothing` does not exist"]);
    assert!(!place.exists());
}

#[test]
fn metrics_names_are_the_gateways_where_they_mean_the_same() {
    let (world, home) = world_with_tree();
    let file = world.beside("swarm.prom");
    let tree = world.beside("tree");
    home.swarm(["sync", text(&tree), "gw:", "--metrics-file", text(&file)]).success();
    for name in fs::read_to_string(&file).unwrap().lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = name.split(' ').next().unwrap();
        let is_own = name.starts_with("swarmwire_sync_last_run_");
        assert!(is_own || swarmwire_server::metrics::NAMES.iter().any(|(known, _)| *known == name), "{name}");
    }
}

#[test]
fn programs_are_told_how_it_starts_goes_and_ends() {
    let (world, home) = world_with_tree();
    let told = stdout(home.swarm(["sync", text(&world.beside("tree")), "gw:", "--json", "-v"]));
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0], serde_json::json!({"event": "started", "direction": "push"}));
    assert_eq!(events.last().unwrap()["event"], "summary");
    let count = |event: &str| events.iter().filter(|told| told["event"] == event).count();
    assert_eq!((count("started"), count("entry"), count("summary")), (1, 4, 1));
    let progress = events.iter().find(|told| told["event"] == "progress").unwrap();
    for name in ["files_done", "files_total", "bytes_done", "bytes_total", "bytes_per_second"] {
        assert!(progress[name].is_u64(), "{name} in {progress}");
    }
    assert!(progress["listing_complete"].is_boolean(), "{progress}");
    assert_eq!(count("progress") + 6, events.len());
}

#[test]
fn the_time_of_each_stage_is_shown_to_whoever_asks() {
    let (world, home) = world_with_tree();
    let told = stdout(home.swarm(["sync", text(&world.beside("tree")), "gw:", "--stats"]));
    assert!(
        told.contains("\nscan ") && told.contains("\nread ") && told.contains("\nbottleneck: "),
        "{told}"
    );
    let told = stdout(home.swarm(["sync", text(&world.beside("tree")), "gw:", "--stats", "--json"]));
    assert!(last_event(told.as_bytes())["stages"]["scan"].as_f64().unwrap() > 0.0, "{told}");
    assert!(last_event(told.as_bytes())["peer_stages"]["write"].as_f64().unwrap() > 0.0, "{told}");
    let told = stdout(home.swarm(["sync", "gw:tree", text(&world.beside("down")), "--json", "--stats"]));
    assert!(last_event(told.as_bytes())["peer_stages"]["scan"].as_f64().unwrap() > 0.0, "{told}");
}
