//! The binary `swarmd`, as an operator and a service manager see it.

use std::{process::Command, time::Duration};

use assert_cmd::assert::OutputAssertExt;
use rustix::process::Signal;
use swarmwire_common::wire::{open::SERVICE_PING, status::Status};

use crate::{
    harness::{Key, Peer, refusal},
    process::{Running, invite, run, swarmd},
};

#[tokio::test]
async fn an_invitation_made_beside_it_lets_in_and_its_secret_is_in_no_log() {
    let running = Running::start("trace");
    let state = running.state();
    let uri = invite(&state, &["--allow", "list,admin", "--path", "./logs/"]);
    let target = running.target();
    assert_eq!((uri.port, uri.gateway), (target.address.port(), target.fingerprint));
    let key = Key::new();
    let peer = Peer::dial(&key, target).await.unwrap();
    let reply = peer.join_as(&uri.token.reveal(), "web\u{1b}[31m1").await.unwrap();
    assert_eq!((reply.allow.as_str(), reply.path.as_slice()), ("list,admin", &b"logs"[..]));
    let replay = Peer::dial(&Key::new(), target).await.unwrap();
    assert_eq!(refusal(replay.join(&uri.token).await).0, Status::Expired);

    let fingerprint = key.identity.fingerprint().to_string();
    let (_, table, _) = run(&state, &["clients"]);
    assert!(
        table.contains(&fingerprint) && table.contains("list,admin") && table.contains("logs"),
        "{table}"
    );
    assert!(table.contains("web\\x1b[31m1"), "{table}");
    let (_, json, _) = run(&state, &["clients", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["fingerprint"].as_str(), json["path"].as_str()), (Some(&*fingerprint), Some("logs")));

    let (code, out, _) = run(&state, &["revoke", &fingerprint[..10]]);
    assert_eq!(code, Some(0));
    assert!(out.contains(&fingerprint), "{out}");
    assert_eq!(peer.closed().await, (Status::Unknown, "revoked".to_owned()));

    let (status, log, out) = running.end(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("a controller joined") && log.contains("SIGTERM") && log.contains("gateway has ended")
    );
    assert!(!log.contains(&uri.token.reveal()) && !out.contains(&uri.token.reveal()));
    assert!(!log.contains('\u{1b}'), "names from peers are escaped");
}

#[test]
fn without_a_terminal_it_names_the_command_that_invites_and_prints_no_secret() {
    let running = Running::start("info");
    let state = running.state();
    let (status, log, out) = running.end(Signal::INT);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains(&format!("swarmd invite --state {}", state.display())), "{log}");
    assert!(log.contains("listen=127.0.0.1:") && log.contains("fingerprint="), "{log}");
    assert!(!log.contains("token=") && out.is_empty());
}

#[tokio::test]
async fn it_ends_in_time_with_somebody_connected() {
    let running = Running::start("info");
    let uri = invite(&running.state(), &[]);
    let peer = Peer::dial(&Key::new(), running.target()).await.unwrap();
    peer.join(&uri.token).await.unwrap();
    let _ping = peer.open(SERVICE_PING, &()).await.unwrap();
    let asked = std::time::Instant::now();
    let ended = tokio::task::spawn_blocking(move || running.end(Signal::TERM));
    assert_eq!(peer.closed().await.0, Status::ShuttingDown);
    let (status, log, _) = ended.await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(asked.elapsed() < Duration::from_secs(8));
}

#[test]
fn wrong_usage_is_exit_code_2_and_names_the_argument() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    for (args, said) in [
        (&[][..], "--root"),
        (&["--root", "/", "--listen", "here"], "--listen"),
        (&["--root", "/", "--metrics", "here"], "--metrics"),
        (&["--root", "/", "--handlers", "0"], "--handlers"),
        (&["--root", "/", "--drain", "soon"], "--drain"),
        (&["--root", "/", "--config", "/nowhere/swarmd.toml"], "/nowhere/swarmd.toml"),
        (&["invite", "--allow", "list,wipe"], "wipe"),
        (&["invite", "--expires", "soon"], "--expires"),
        (&["invite", "--expires", "0s", "--host", "h:1"], "--expires"),
        (&["invite", "--path", "../up", "--host", "h:1"], "--path"),
        (&["invite", "--path", "/etc", "--host", "h:1"], "--path"),
        (&["invite", "--host", "no host:1"], "--host"),
        (&["invite"], "--host HOST:PORT"),
        (&["revoke"], "FINGERPRINT"),
    ] {
        let (code, out, err) = run(&state, args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(said), "{args:?}: {err}");
    }
}

#[test]
fn what_fails_is_exit_code_1_and_is_said_once() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    std::fs::create_dir(&state).unwrap();
    for (args, said) in [
        (&["--root", "/nowhere/at/all"][..], "/nowhere/at/all"),
        (&["revoke", "0123456789"], "swarmd clients"),
        (&["revoke", "0123"], "at least 8"),
    ] {
        let (code, _, err) = run(&state, args);
        assert_eq!(code, Some(1), "{args:?}: {err}");
        assert_eq!(err.matches(said).count(), 1, "{args:?}: {err}");
        assert!(err.starts_with("swarmd: "), "{err}");
    }
    let (code, out, _) = run(&state, &["clients"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("swarmd invite"), "{out}");
}

#[test]
fn an_invitation_can_be_made_before_the_first_start() {
    let home = tempfile::tempdir().unwrap();
    let uri = invite(&home.path().join("state"), &["--host", "[2001:db8::7]:4433"]);
    assert_eq!((uri.host.as_str(), uri.port), ("2001:db8::7", 4433));
}

#[test]
fn the_environment_and_the_file_configure_it_too() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("swarmd.toml");
    std::fs::write(&config, "root = '/nowhere/in/the/file'\nhandlers = 7\n").unwrap();
    let environment = || {
        let mut command = swarmd();
        command.env("SWARMWIRE_STATE", home.path().join("state")).env("SWARMWIRE_CONFIG", &config);
        command
    };
    let stderr = |command: &mut Command| {
        let output = command.output().unwrap().assert().failure();
        String::from_utf8(output.get_output().stderr.clone()).unwrap()
    };
    assert!(stderr(&mut environment()).contains("/nowhere/in/the/file"));
    let of_environment = stderr(environment().env("SWARMWIRE_ROOT", "/nowhere/in/the/environment"));
    assert!(of_environment.contains("/nowhere/in/the/environment"), "{of_environment}");
    assert!(stderr(environment().args(["--root", "/nowhere/at/all"])).contains("/nowhere/at/all"));
    std::fs::write(&config, "handels = 7\n").unwrap();
    assert!(stderr(&mut environment()).contains("handels"));
}
