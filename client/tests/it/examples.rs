//! The examples, each a process of its own: gateways of the server crate and controllers of this one. `conditional_backup` is among the offloads.

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::world::{ControllerHome, stdout};

/// Where `cargo test` puts examples, beside its tests. `cargo build --workspace --examples` puts them there, too.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let place = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name);
    assert!(place.exists(), "{} is not there: `cargo build --workspace --examples`", place.display());
    place
}

/// A gateway that an example is. Ended when it is dropped.
struct Gateway {
    process: Child,
    invitations: Vec<String>,
    _place: tempfile::TempDir,
}

impl Gateway {
    fn start(name: &str, invitations: usize) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut process =
            Command::new(example(name)).arg(place.path()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let invitations: Vec<_> = lines.take(invitations).map(Result::unwrap).collect();
        Self { process, invitations, _place: place }
    }

    fn joined(&self, invitation: usize) -> ControllerHome {
        let home = ControllerHome::new();
        home.swarm(["join", &self.invitations[invitation], "--name", "gw"]).success();
        home
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn run(home: &ControllerHome, name: &str, arguments: &[&str]) -> String {
    stdout(home.program(example(name), arguments).assert())
}

#[test]
fn a_sensor_board_is_watched_and_commanded() {
    let gateway = Gateway::start("sensor_board", 1);
    let home = gateway.joined(0);
    let told = run(&home, "watch_sensors", &["gw", "20"]);
    for feed in ["temperature", "vibration", "position"] {
        let line = told.lines().find(|line| line.starts_with(feed)).unwrap_or_else(|| panic!("{told}"));
        let count: u64 = line.split([' ', ':']).find_map(|word| word.parse().ok()).unwrap();
        assert!(count >= 1 && line.contains("\"value\":"), "{line}");
    }
    assert!(told.contains("motor: 20 commands, each answered within"), "{told}");
    // The board serves whoever has `swarm`, too.
    let sample = stdout(home.swarm(["stream", "gw", "vibration", "--limit", "1"]));
    assert!(sample.contains("\"value\":"), "{sample}");
    let refused = home.swarm(["call", "gw", "motor", "3"]).failure();
    let told = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(told.contains("the motor turns at -1 to 1, not at 3"), "{told}");
}

#[test]
fn images_are_classified_in_batches() {
    let gateway = Gateway::start("inference", 1);
    let told = run(&gateway.joined(0), "classify_images", &["gw", "200"]);
    assert_eq!(told, "200 images in 7 batches: 200 recognised\n");
}

#[test]
fn two_controllers_steer_one_device() {
    let gateway = Gateway::start("device", 2);
    let homes = [gateway.joined(0), gateway.joined(1)];
    let running = [("3", &homes[0]), ("-1", &homes[1])].map(|(step, home)| {
        let mut command = Command::new(example("steer_device"));
        command.args(["gw", step, "40"]).env("SWARMWIRE_HOME", home.path()).stdout(Stdio::piped());
        command.spawn().unwrap()
    });
    for steering in running {
        assert!(steering.wait_with_output().unwrap().status.success());
    }
    let position = stdout(homes[0].swarm(["stream", "gw", "watch", "--limit", "1"]));
    assert!(position.contains("\"revision\":80") && position.contains("\"at\":80"), "{position}");
}
