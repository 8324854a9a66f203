//! The pinger against a gateway in this process: echoes come back and are all counted, and a tree arrives beside them over the same connection.
//!
//! How long anything takes is not asserted. ssh's side needs a server of its own, which the measurement itself starts.

use std::{ffi::OsString, fs, path::Path, sync::mpsc, thread, time::SystemTime};

use clap::Parser;
use serde_json::Value;
use swarmwire_bench::{
    cli::{Cli, Command},
    latency::pinger,
};
use swarmwire_client::{Home, Target};
use swarmwire_common::path::RelPath;
use swarmwire_server::{
    Gateway, GatewayOptions, ShutdownHandle,
    clients::{self, Client},
    grants::{Grant, Operations},
    state::State,
};
use tempfile::TempDir;

/// A gateway that knows the controller whose home is beside its root.
struct World {
    temp: TempDir,
    shutdown: ShutdownHandle,
    serving: Option<thread::JoinHandle<()>>,
}

impl World {
    fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (root, state) = (temp.path().join("root"), temp.path().join("state"));
        fs::create_dir(&root).unwrap();
        let options = GatewayOptions::new(root, state, ([127, 0, 0, 1], 0).into());
        let home = Home::open(&temp.path().join("home")).unwrap();
        let (sender, receiver) = mpsc::sync_channel(1);
        let serving = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                introduce(&home, &options.state);
                let gateway = Gateway::bind(&options).unwrap();
                pin(&home, &gateway);
                sender.send(gateway.shutdown_handle()).unwrap();
                gateway.join().await;
            });
        });
        Self { temp, shutdown: receiver.recv().unwrap(), serving: Some(serving) }
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Pings for a second after the warm-up, beside pushes of `tree` if there is one.
    fn ping(&self, tree: Option<&Path>) -> Value {
        let mut line: Vec<OsString> =
            ["lab", "ping-beside", "--rate", "50", "--seconds", "1", "--into"].map(Into::into).into();
        line.push(self.path().join("root").into());
        if let Some(tree) = tree {
            line.extend(["--tree".into(), tree.into()]);
        }
        line.extend(["swarm".into(), "--home".into(), self.path().join("home").into()]);
        let mut out = Vec::new();
        pinger::run(&arguments(line), &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.shutdown("the test is over");
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }
}

/// Lets the controller in, as an invitation would.
#[expect(clippy::disallowed_methods, reason = "an edge: a certificate is made now")]
fn introduce(home: &Home, state: &Path) {
    let joined = SystemTime::now();
    let fingerprint = home.identity(joined).unwrap().fingerprint();
    let grant = Grant { allow: Operations::default(), path: RelPath::root() };
    let client = Client { fingerprint, name: "lab".into(), grant, joined };
    clients::admit(&State::open(state).unwrap(), client).unwrap();
}

/// Stores the gateway as if it had been joined.
fn pin(home: &Home, gateway: &Gateway) {
    let address = gateway.local_addr();
    let (host, port) = (address.ip().to_string(), address.port());
    let target = Target { host, port, gateway: gateway.fingerprint() };
    home.gateways().unwrap().store(&"gw".parse().unwrap(), &target).unwrap();
}

fn arguments(line: Vec<OsString>) -> pinger::Arguments {
    match Cli::try_parse_from(line).unwrap().command {
        Command::PingBeside(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_ping_of_an_idle_connection_is_counted() {
    let sample = World::start().ping(None);
    assert_eq!(sample["nanoseconds"].as_array().unwrap().len(), 50);
    assert_eq!(sample["bulk_bytes"], 0);
}

#[test]
fn a_tree_arrives_beside_the_pings() {
    let world = World::start();
    let tree = world.path().join("tree");
    fs::create_dir_all(tree.join("deep")).unwrap();
    fs::write(tree.join("a"), [1; 3000]).unwrap();
    fs::write(tree.join("deep/b"), vec![2; 2_000_000]).unwrap();
    let sample = world.ping(Some(&tree));
    assert_eq!(sample["nanoseconds"].as_array().unwrap().len(), 50);
    assert!(sample["bulk_bytes"].as_u64().unwrap() > 2_003_000, "{}", sample["bulk_bytes"]);
}

#[test]
fn a_controller_that_has_joined_nothing_is_told_so() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let line = ["lab", "ping-beside", "--into", "/", "--rate", "1", "--seconds", "1", "swarm", "--home"];
    let mut line: Vec<OsString> = line.map(Into::into).to_vec();
    line.push(home.into());
    let error = pinger::run(&arguments(line), &mut Vec::new()).unwrap_err();
    assert_eq!(format!("{error:#}"), "failed to connect to the gateway: no gateway has been joined");
}
