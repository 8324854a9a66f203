//! Who is talked to, and who may talk: joining, pins, refusals. Each failure says why.

use std::net::UdpSocket;

use swarmwire_certs::Fingerprint;

use crate::world::{ControllerHome, World, refused, stdout};

#[test]
fn a_gateway_that_is_not_running_is_given_up_with_its_address() {
    // A socket that is bound and never answers, so that no other process gets the port.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let home = ControllerHome::new();
    home.pin("gw", address, Fingerprint::from_bytes([1; 32]));
    let told = format!("no answer from {address} within 5s; is swarmd running there");
    refused(home.swarm(["ping", "gw"]), 4, &[&told, "UDP"]);
}

#[test]
fn a_gateway_with_another_key_is_told_nothing() {
    let world = World::start();
    let home = ControllerHome::new();
    let expected = Fingerprint::from_bytes([1; 32]);
    home.pin("gw", world.address, expected);
    let (pinned, found) = (expected.to_string(), world.fingerprint.to_string());
    refused(
        home.swarm(["ping", "gw"]),
        4,
        &["nothing was sent", &pinned, &found, "join with a new invitation"],
    );
}

#[test]
fn an_invitation_for_another_key_is_not_shown_to_the_gateway() {
    let world = World::start();
    let uri = world.invite("list");
    let forged = uri.replace(&world.fingerprint.to_string(), &"01".repeat(32));
    let home = ControllerHome::new();
    refused(home.swarm(["join", &forged]), 4, &["nothing was sent"]);
    assert_eq!(stdout(home.swarm(["gateways"])), "");
    home.swarm(["join", &uri]).success();
}

#[test]
fn who_has_not_joined_is_told_how() {
    let world = World::start();
    let home = ControllerHome::new();
    home.pin("gw", world.address, world.fingerprint);
    refused(home.swarm(["ping", "gw"]), 4, &["unknown_identity", "swarm join"]);
}

#[test]
fn an_invitation_works_once() {
    let world = World::start();
    let uri = world.invite("list,pull");
    let told = stdout(ControllerHome::new().swarm(["join", &uri, "--name", "gw"]));
    for part in ["this machine's identity is ", "joined gw at 127.0.0.1:", "list", "pull", "swarm ls gw:"] {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
    let second = ControllerHome::new();
    let told =
        refused(second.swarm(["join", &uri]), 4, &["did not accept the invitation", "expired", "used"]);
    let token = uri.rsplit('=').next().unwrap();
    assert!(!told.contains(token), "the secret is in {told:?}");
    assert_eq!(stdout(second.swarm(["gateways"])), "");
}

#[test]
fn an_invitation_may_come_from_standard_input_as_the_line_that_was_printed() {
    let world = World::start();
    let home = ControllerHome::new();
    let line = format!("swarm join '{}'\n", world.invite("list"));
    home.command(["join", "-"]).write_stdin(line).assert().success();
    assert!(stdout(home.swarm(["gateways"])).starts_with("127.0.0.1  127.0.0.1:"));
}

#[test]
fn a_name_that_is_taken_costs_no_invitation_and_the_same_gateway_keeps_its_name() {
    let world = World::start();
    let home = ControllerHome::new();
    home.pin("gw", ([127, 0, 0, 1], 9).into(), Fingerprint::from_bytes([1; 32]));
    let uri = world.invite("list");
    refused(home.swarm(["join", &uri, "--name", "gw"]), 1, &["`gw`", "another gateway", "--name"]);
    home.swarm(["join", &uri, "--name", "other"]).success();
    home.swarm(["join", &world.invite("pull")]).success();
    let known = stdout(home.swarm(["gateways"]));
    assert_eq!(
        known.lines().map(|line| line.split("  ").next().unwrap()).collect::<Vec<_>>(),
        ["gw", "other"]
    );
}

#[test]
fn what_the_grant_does_not_allow_is_denied_with_its_own_exit_code() {
    let world = World::start();
    let home = world.joined("pull");
    refused(home.swarm(["ls", "gw:"]), 5, &["denied", "list"]);
    refused(home.swarm(["stop", "gw"]), 5, &["denied", "admin"]);
    refused(home.swarm(["sync", "tests", "gw:x"]), 5, &["denied", "push"]);
    assert_eq!(std::fs::read_dir(world.root()).unwrap().count(), 0);
}

#[test]
fn a_full_gateway_is_busy_and_says_when_to_come_back() {
    let world = World::start_with(|options| options.handlers = 0);
    let home = world.joined("list");
    refused(home.swarm(["ls", "gw:"]), 6, &["busy", "try again in"]);
}

#[test]
fn an_admin_stops_the_gateway() {
    let world = World::start();
    let home = world.joined("admin");
    assert_eq!(stdout(home.swarm(["stop", "gw"])), "gw is stopping\n");
    world.join();
}
