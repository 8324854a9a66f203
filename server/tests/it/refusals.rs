//! What keeps `swarmd` from starting, and what it gets over: each is said once, with what to do, ends with the right exit code, and
//! leaves the state as it is.

use std::{
    fs::{self, Permissions},
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use rustix::process::{Signal, geteuid};
use swarmwire_common::wire::open::SERVICE_PING;
use tempfile::TempDir;

use crate::{
    harness::{Key, Peer},
    process::{Running, invite, run, swarmd},
    trees::snapshot,
};

/// A home in which `swarmd` has run and has invited somebody.
fn used_home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("root")).unwrap();
    fs::write(home.path().join("root/file"), "served").unwrap();
    let running = Running::start_as(swarmd(), home.path());
    invite(&running.state(), &[]);
    assert_eq!(running.end(Signal::TERM).0.code(), Some(0));
    home
}

/// `swarmd` in `home`, on these addresses.
fn serve(home: &Path, listen: &str, metrics: &str) -> Command {
    let mut command = swarmd();
    command.args(["--listen", listen, "--metrics", metrics]);
    command.arg("--root").arg(home.join("root")).arg("--state").arg(home.join("state"));
    command
}

/// Asserts that it ends with exit code 1 and one line that has every part, each once, in whatever case.
fn refused(mut command: Command, parts: &[&str]) -> String {
    let output = command.env("SWARMWIRE_LOG", "error").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{told}");
    assert!(told.starts_with("swarmd: ") && told.lines().count() == 1, "{told}");
    for part in parts {
        let count = told.to_lowercase().matches(&part.to_lowercase()).count();
        assert_eq!(count, 1, "{part:?} in {told:?}");
    }
    told
}

#[test]
fn a_port_that_is_in_use_is_named_and_nothing_is_changed() {
    let home = used_home();
    let before = snapshot(home.path());
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (listen, metrics) = (udp.local_addr().unwrap().to_string(), tcp.local_addr().unwrap().to_string());
    let parts = [&format!("{listen} (UDP)"), "address already in use", "choose another port with --listen"];
    refused(serve(home.path(), &listen, "off"), &parts);
    let parts = [&format!("{metrics} (TCP"), "address already in use", "choose another port with --metrics"];
    refused(serve(home.path(), "127.0.0.1:0", &metrics), &parts);
    // Commands beside it read the address of the gateway that has run.
    assert!(snapshot(home.path()) == before);
}

/// Story: beside the error it said that no machine had joined yet, and how to invite one, who could not have joined either.
#[test]
fn a_damaged_list_of_clients_is_named_and_not_taken_for_a_first_start() {
    let home = used_home();
    let path = home.path().join("state/clients.toml");
    for damage in [&b"garbage {{"[..], b"\xff\xfe", b"[[client]]\nfingerprint = 'short'\n"] {
        fs::write(&path, damage).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let running = Running::start_as(swarmd(), home.path());
        let state = running.state();
        for command in [&["clients"][..], &["revoke", "0123456789"]] {
            let (code, _, told) = run(&state, command);
            assert_eq!(code, Some(1), "{told}");
            assert!(told.contains(path.to_str().unwrap()) && told.contains("mend it, restore it"), "{told}");
        }
        let (_, log, _) = running.end(Signal::TERM);
        assert!(log.contains("nobody is let in: ") && log.contains(path.to_str().unwrap()), "{log}");
        assert!(!log.contains("no machine has joined yet"), "{log}");
        assert_eq!(fs::read(&path).unwrap(), damage);
    }
}

#[tokio::test]
async fn a_second_swarmd_on_a_state_directory_leaves_the_first_alone() {
    let running = Running::start("info");
    let uri = invite(&running.state(), &[]);
    let before = snapshot(&running.state());
    let shown = format!("another swarmd runs on this state directory: {}", running.state().display());
    refused(serve(running.state().parent().unwrap(), "127.0.0.1:0", "off"), &[&shown, "--state"]);
    assert!(snapshot(&running.state()) == before);
    let peer = Peer::dial(&Key::new(), running.target()).await.unwrap();
    peer.join(&uri.token).await.unwrap();
    peer.open(SERVICE_PING, &()).await.unwrap();
    assert_eq!(running.end(Signal::TERM).0.code(), Some(0));
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named_with_what_to_do() {
    let home = used_home();
    let state = home.path().join("state");
    let shown = state.display().to_string();
    let before = snapshot(&state);
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();

    set(&state, 0o755);
    refused(serve(home.path(), "127.0.0.1:0", "off"), &["0755", &format!("chmod 700 {shown}")]);
    for args in [&["clients"][..], &["invite"], &["revoke", "0123456789"]] {
        let (code, out, err) = run(&state, args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        assert_eq!(err.matches("chmod 700").count(), 1, "{args:?}: {err}");
    }
    set(&state, 0o700);
    set(&state.join("identity.key"), 0o644);
    refused(serve(home.path(), "127.0.0.1:0", "off"), &["0644", &format!("chmod 600 {shown}/identity.key")]);
    set(&state.join("identity.key"), 0o600);
    if !geteuid().is_root() {
        // Root may read anything.
        set(&state, 0o000);
        refused(serve(home.path(), "127.0.0.1:0", "off"), &[&shown, "permission denied"]);
        set(&state, 0o700);
    }
    assert!(snapshot(&state) == before);

    fs::rename(&state, home.path().join("away")).unwrap();
    fs::write(&state, "a file").unwrap();
    refused(serve(home.path(), "127.0.0.1:0", "off"), &[&shown, "not a directory"]);
    assert_eq!(fs::read_to_string(&state).unwrap(), "a file");
}

#[test]
fn a_file_in_the_state_that_makes_no_sense_is_named_and_never_overwritten() {
    let home = used_home();
    let state = home.path().join("state");
    for (name, remedy, arguments) in [
        ("identity.key", "restore it from a backup", None),
        ("clients.toml", "mend it, restore it or move it away", Some(&["clients"][..])),
        ("clients.toml", "mend it, restore it or move it away", Some(&["revoke", "0123456789"])),
        ("invitations.toml", "mend it, restore it or move it away", Some(&["invite"])),
    ] {
        let path = state.join(name);
        let good = fs::read(&path).ok();
        fs::write(&path, "neither\nthis nor that").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let mut command = match arguments {
            None => serve(home.path(), "127.0.0.1:0", "off"),
            Some(arguments) => {
                let mut command = swarmd();
                command.args(arguments).arg("--state").arg(&state);
                command
            }
        };
        command.stdin(std::process::Stdio::null());
        refused(command, &[&path.display().to_string(), remedy]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "neither\nthis nor that");
        match good {
            Some(good) => fs::write(&path, good).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    assert_eq!(Running::start_as(swarmd(), home.path()).end(Signal::TERM).0.code(), Some(0));
}

#[test]
fn a_state_that_is_not_there_is_named_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("never");
    for arguments in [&["clients"][..], &["revoke", "0123456789"]] {
        let mut command = swarmd();
        command.args(arguments).arg("--state").arg(&state);
        refused(command, &[&state.display().to_string(), "no gateway has its state", "--state"]);
    }
    assert!(!state.exists());
}

#[test]
fn a_root_that_cannot_be_served_is_named() {
    let home = used_home();
    let root = home.path().join("root");
    let shown = root.display().to_string();
    fs::rename(&root, home.path().join("away")).unwrap();
    refused(serve(home.path(), "127.0.0.1:0", "off"), &[&shown, "no such file or directory", "--root"]);
    fs::write(&root, "a file").unwrap();
    refused(serve(home.path(), "127.0.0.1:0", "off"), &[&shown, "not a directory", "--root"]);
    assert_eq!(fs::read_to_string(&root).unwrap(), "a file");
}

#[tokio::test]
async fn what_is_no_quic_on_the_port_neither_ends_it_nor_is_answered_at_length() {
    let running = Running::start("info");
    let address = running.target().address;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // A TLS client's first bytes, as they would go to a TCP port, and what else comes along.
    let client_hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[0x5a; 501]].concat();
    for datagram in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &client_hello, &[0xff; 1400], &[0x40; 1400]] {
        for _ in 0..50 {
            socket.send_to(datagram, address).unwrap();
        }
    }
    let peer = Peer::dial(&Key::new(), running.target()).await.unwrap();
    peer.join(&invite(&running.state(), &[]).token).await.unwrap();
    peer.open(SERVICE_PING, &()).await.unwrap();
    let (status, log, _) = running.end(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked") && log.lines().count() < 50, "{log}");
}
