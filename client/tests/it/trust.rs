//! Who is talked to, and who may talk: joining, pins, refusals. Each failure says why.

use std::{
    fs,
    net::UdpSocket,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use swarmwire_certs::Fingerprint;
use swarmwire_common::{
    channel::Channel,
    wire::{self, open::Reply, status::Status},
};

use crate::{
    relay::Relay,
    stranger::Stranger,
    trees::{content, snapshot},
    world::{ControllerHome, World, refused, stdout, text},
};

/// A tree on this side and one at the gateway, and a sync of each to the other side: neither may happen.
fn assert_no_sync(world: &World, home: &ControllerHome, code: i32, parts: &[&str]) {
    let (tree, new) = (world.beside("tree"), world.beside("new"));
    for (top, name) in [(&tree, "mine"), (&world.root(), "theirs")] {
        fs::create_dir_all(top).unwrap();
        fs::write(top.join(name), name).unwrap();
    }
    let before = snapshot(&world.root());
    refused(home.swarm(["sync", text(&tree), "gw:"]), code, parts);
    refused(home.swarm(["sync", "gw:", text(&new)]), code, parts);
    refused(home.swarm(["ls", "gw:"]), code, parts);
    assert!(snapshot(&world.root()) == before && !new.exists());
}

#[test]
fn a_gateway_that_is_not_running_is_given_up_with_its_address() {
    // A socket that is bound and never answers, so that no other process gets the port.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let home = ControllerHome::new();
    home.pin("gw", address, Fingerprint::from_bytes([1; 32]));
    let told = format!("no answer from {address} within 5s; is swarmd running there");
    refused(home.swarm(["ping", "gw"]), 4, &[&told, "UDP"]);
    let new = home.path().join("new");
    refused(home.swarm(["sync", "gw:", text(&new)]), 4, &[&told]);
    assert!(!new.exists());
}

#[test]
fn a_host_that_does_not_exist_is_named_with_one_reason() {
    let uri = format!("swarm://no.such.host.invalid:1/?gateway={}&token={}", "01".repeat(32), "a".repeat(32));
    let told = refused(ControllerHome::new().swarm(["join", &uri]), 4, &["`no.such.host.invalid`: "]);
    assert!(told.trim_end().ends_with("is the name right?"), "{told}");
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
    assert_no_sync(&world, &home, 4, &["nothing was sent", &pinned, &found]);
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
    assert_no_sync(&world, &home, 4, &["unknown_identity", "swarm join"]);
}

#[test]
fn who_was_revoked_is_out_until_invited_again() {
    let world = World::start();
    let home = world.joined("list,pull,push");
    world.revoke_all();
    let start = Instant::now();
    while home.command(["ping", "gw", "--count", "1"]).output().unwrap().status.success() {
        assert!(start.elapsed() < Duration::from_secs(2), "it was to take effect within a second");
    }
    assert_no_sync(&world, &home, 4, &["unknown_identity", "swarm join"]);
    home.swarm(["join", &world.invite("list")]).success();
    assert_eq!(stdout(home.swarm(["ls", "gw:"])).lines().count(), 1);
}

#[test]
fn a_sync_whose_controller_is_revoked_ends_at_once_with_the_reason() {
    let world = World::start();
    let home = world.joined("push");
    let (tree, size) = (world.beside("tree"), 16 << 20);
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("large"), content(1, size)).unwrap();
    let relay = Relay::start(world.address, size as u64 / 3);
    home.pin("far", relay.address, world.fingerprint);
    let child = Command::new(env!("CARGO_BIN_EXE_swarm"))
        .args(["sync", text(&tree), "far:", "--retry", "10m"])
        .env("SWARMWIRE_HOME", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    relay.wait_until_shut();
    world.revoke_all();
    // What the gateway says passes; whatever it were sent could only be part of the file.
    relay.open_back();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("unknown_identity"), "{told}");
    assert!(!world.root().join("tree/large").exists());
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
fn who_tries_to_join_too_often_is_told_once_when_to_try_again() {
    let world = World::start();
    let uri = world.invite_too_late("list");
    let join = || String::from_utf8(ControllerHome::new().swarm(["join", &uri]).get_output().stderr.clone());
    let told = (0..10).map(|_| join().unwrap()).find(|told| told.contains("too many attempts"));
    let told = told.expect("attempts have a limit");
    assert_eq!(told.matches("try again").count(), 1, "{told}");
    assert!(told.trim_end().ends_with('s') && !told.contains("ms"), "no more than seconds: {told}");
}

#[test]
fn an_invitation_that_came_too_late_is_refused_and_leaves_no_gateway_behind() {
    let world = World::start();
    let home = ControllerHome::new();
    let uri = world.invite_too_late("list,pull");
    let told = refused(home.swarm(["join", &uri]), 4, &["did not accept the invitation", "expired"]);
    assert!(!told.contains(uri.rsplit('=').next().unwrap()), "the secret is in {told:?}");
    assert_eq!(stdout(home.swarm(["gateways"])), "");
}

#[test]
fn what_speaks_another_protocol_is_told_apart_from_silence() {
    let stranger = Stranger::start(b"swarmwire/99", async |incoming| assert!(incoming.await.is_err()));
    let home = stranger.pinned();
    let new = home.path().join("new");
    let parts = ["does not speak this version of the protocol", "same release"];
    refused(home.swarm(["ping", "gw"]), 4, &parts);
    refused(home.swarm(["sync", "tests", "gw:"]), 4, &parts);
    refused(home.swarm(["sync", "gw:", text(&new)]), 4, &parts);
    assert!(!new.exists());
    stranger.end();
}

#[test]
fn a_gateway_of_another_version_says_so_in_its_own_words() {
    let stranger = Stranger::start(wire::ALPN, async |incoming| {
        let connection = incoming.await.unwrap();
        while let Ok((send, recv)) = connection.accept_bi().await {
            let mut channel = Channel::new(send, recv);
            let detail = "this gateway speaks version 2\x1b[2J".to_owned();
            let status = Status::UnsupportedVersion.into();
            channel.send.send(&Reply { status, detail, retry_after_ms: 0, body: Vec::new() }).await.unwrap();
            connection.closed().await;
        }
    });
    let home = stranger.pinned();
    let new = home.path().join("new");
    for arguments in [&["ping", "gw"][..], &["sync", "tests", "gw:"], &["sync", "gw:", text(&new)]] {
        let told = refused(home.swarm(arguments), 4, &["unsupported_version", "version 2\\x1b[2J"]);
        assert!(!told.contains('\x1b'));
    }
    assert!(!new.exists());
    stranger.end();
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
    assert_eq!(fs::read_dir(world.root()).unwrap().count(), 0);
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
