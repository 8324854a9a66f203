//! Several at once: controllers at one gateway, gateways in one process; and what the gateway's metrics show meanwhile.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use swarmwire_client::{ConnectOptions, Controller, Home, controller::RemotePath};
use swarmwire_common::{
    path::{Name, RelPath},
    root::Root,
    sync::{Source, Tally},
    wire::sync::SyncOptions,
};

use crate::{
    relay::Relay,
    trees::{PLANTED_FILES, assert_no_leftovers, assert_same, content, plant},
    world::{ControllerHome, World, now, stdout, text},
};

const SOON: Duration = Duration::from_secs(10);

fn spawn(home: &ControllerHome, source: &str, destination: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
    command.args(["sync", source, destination, "--json"]).env("SWARMWIRE_HOME", home.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_controllers_push_at_once_each_its_own() {
    let world = World::start();
    let homes = [world.joined("push"), world.joined("push")];
    let trees = ["left", "right"].map(|name| world.beside(name));
    trees.iter().for_each(|tree| fs::create_dir(tree).unwrap());
    trees.iter().for_each(|tree| plant(tree));
    let running = [0, 1].map(|at| spawn(&homes[at], text(&trees[at]), "gw:"));
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_same(&trees[0], &world.root().join("left"));
    assert_same(&trees[1], &world.root().join("right"));
    assert_no_leftovers(&world.root());
}

/// Story: two machines push the same release into one place. Neither may find the other's directories in its way.
#[test]
fn two_controllers_push_the_same_tree_into_the_same_place() {
    let world = World::start();
    let homes = [world.joined("push"), world.joined("push")];
    let tree = world.beside("tree");
    for number in 0..400 {
        let directory = tree.join(format!("{}/{}", number % 20, number % 7));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(number.to_string()), content(number, 100)).unwrap();
    }
    for round in 0..4 {
        let destination = format!("gw:{round}");
        let running = [0, 1].map(|at| spawn(&homes[at], text(&tree), &destination));
        for child in running {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        assert_same(&tree, &world.root().join(format!("{round}/tree")));
    }
    assert_no_leftovers(&world.root());
}

#[test]
fn one_process_holds_several_gateways_at_once() {
    let worlds = [World::start(), World::start()];
    let source = tempfile::tempdir().unwrap();
    plant(source.path());
    let home = ControllerHome::new();
    for (world, name) in worlds.iter().zip(["one", "two"]) {
        home.swarm(["join", &world.invite("push"), "--name", name]).success();
    }
    let home = Home::open(&home.path()).unwrap();
    let (identity, gateways) = (home.identity(now()).unwrap(), home.gateways().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = ConnectOptions::default();
        let dial = |name: &str| {
            Controller::connect(gateways.get(&name.parse().unwrap()).unwrap(), &identity, options)
        };
        let (one, two) = (dial("one").await.unwrap(), dial("two").await.unwrap());
        let to = RemotePath { path: RelPath::root(), trailing_slash: false };
        let push = async |controller: &Controller| {
            let root = Arc::new(Root::open(source.path()).unwrap());
            let source = Source::open(root, RelPath::root(), Some(Name::new(b"tree").unwrap())).unwrap();
            controller.push(source, &to, SyncOptions::default(), Arc::new(Tally::default())).await
        };
        let (first, second) = tokio::join!(push(&one), push(&two));
        for outcome in [first.unwrap(), second.unwrap()] {
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert_eq!(outcome.report.files_sent, PLANTED_FILES as u64);
        }
        one.close().await;
        two.close().await;
    });
    for world in &worlds {
        assert_same(source.path(), &world.root().join("tree"));
    }
}

#[test]
fn the_gateways_counts_advance_while_a_sync_runs() {
    let world = World::start_with(|options| options.metrics = Some(([127, 0, 0, 1], 0).into()));
    let home = world.joined("push");
    let (tree, total) = (world.beside("tree"), 24 << 20);
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("large"), content(1, total)).unwrap();
    // A third passes, and then the transfer stands still until we have looked.
    let relay = Relay::start(world.address, total as u64 / 3);
    home.pin("far", relay.address, world.fingerprint);
    let child = spawn(&home, text(&tree), "far:");
    relay.wait_until_shut();
    let series = r#"swarmwire_bytes_total{direction="in",service="sync"}"#;
    let moved = world.wait_for(series, SOON, |bytes| bytes > 0.0);
    assert!(moved < total as f64, "{moved}");
    assert!(world.metric("swarmwire_handlers_in_use") == 1.0);
    relay.open_to(world.address);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    world.wait_for(series, SOON, |bytes| bytes >= total as f64);
    world.wait_for("swarmwire_handlers_in_use", SOON, |in_use| in_use == 0.0);
    assert_same(&tree, &world.root().join("tree"));
}

/// The grammar of Prometheus's text format, as far as this program uses it.
#[test]
fn the_metrics_file_is_what_the_textfile_collector_reads() {
    let world = World::start();
    let home = world.joined("push,pull");
    let tree = world.beside("tree");
    fs::create_dir(&tree).unwrap();
    plant(&tree);
    for (source, destination) in [(text(&tree), "gw:"), ("gw:tree", text(&world.beside("back")))] {
        let file = world.beside("swarm.prom");
        stdout(home.swarm(["sync", source, destination, "--metrics-file", text(&file)]));
        let metrics = fs::read_to_string(&file).unwrap();
        assert!(metrics.ends_with('\n'));
        let mut families = Vec::new();
        for line in metrics.lines() {
            if let Some(comment) = line.strip_prefix("# TYPE ") {
                let (name, kind) = comment.split_once(' ').unwrap();
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert!(!families.contains(&name), "{name} stands twice");
                families.push(name);
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                assert_eq!(families.last(), Some(&name), "{line} is not below its type");
                assert!(!series.contains('{') || series.ends_with("\"}"), "{line}");
                assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
            }
        }
        assert!(families.len() > 5, "{metrics}");
        assert_eq!(
            fs::read_dir(world.beside("."))
                .unwrap()
                .filter(|entry| { entry.as_ref().unwrap().file_name().to_str().unwrap().contains(".prom") })
                .count(),
            1,
            "nothing is left beside it"
        );
    }
}
