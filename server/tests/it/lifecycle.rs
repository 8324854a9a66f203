//! How a gateway starts, what keeps it from starting, and how it ends.

use std::{
    os::unix::fs::{PermissionsExt, symlink},
    time::Duration,
};

use swarmwire_common::wire::{open::SERVICE_PING, status::Status, sync::Direction};
use swarmwire_server::Gateway;
use tokio::time::{Instant, timeout};

use crate::harness::{Key, Peer, SOON, Served, http_get, options, refusal};

fn bind_error(change: impl FnOnce(&mut swarmwire_server::GatewayOptions)) -> String {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("root")).unwrap();
    let mut options = options(home.path());
    change(&mut options);
    Gateway::bind(&options).expect_err("it must not start").to_string()
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_named_with_what_to_do() {
    let served = Served::start_with(|options| options.metrics = Some("127.0.0.1:0".parse().unwrap()));
    let (udp, tcp) = (served.target().address, served.gateway.metrics_addr().unwrap());
    let state = served.state.path().to_owned();

    let locked = bind_error(|options| options.state.clone_from(&state));
    assert!(
        locked.contains(&format!("another swarmd runs on this state directory: {}", state.display())),
        "{locked}"
    );
    let in_use = bind_error(|options| options.listen = udp);
    let expected = format!(
        "failed to listen on {udp} (UDP): address already in use; another swarmd may be running, choose another port \
         with --listen"
    );
    assert_eq!(in_use, expected);
    let in_use = bind_error(|options| options.metrics = Some(tcp));
    assert!(in_use.contains(&format!("{tcp} (TCP")) && in_use.contains("--metrics"), "{in_use}");
    let missing = bind_error(|options| options.root.push("nowhere"));
    assert!(missing.contains("nowhere") && missing.contains("--root"), "{missing}");
    let file = bind_error(|options| {
        options.root.push("file");
        std::fs::write(&options.root, "").unwrap();
    });
    assert!(file.contains("file: not a directory"), "{file}");
}

#[tokio::test]
async fn a_state_directory_that_others_may_enter_is_refused_with_the_command_that_mends_it() {
    let err = bind_error(|options| {
        std::fs::create_dir(&options.state).unwrap();
        std::fs::write(options.state.join("clients.toml"), "").unwrap();
        std::fs::set_permissions(&options.state, std::fs::Permissions::from_mode(0o755)).unwrap();
    });
    assert!(err.contains("0755") && err.contains("chmod 700"), "{err}");
    let err = bind_error(|options| std::fs::write(&options.state, "a file").unwrap());
    assert!(err.contains("state"), "{err}");
}

#[tokio::test]
async fn a_restart_keeps_identity_and_clients_and_finds_leftovers() {
    let home = tempfile::tempdir().unwrap();
    let (real, link) = (home.path().join("real"), home.path().join("root"));
    std::fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    std::fs::create_dir(real.join(".swarmwire-00000000000000aa")).unwrap();
    std::fs::write(real.join(".swarmwire-00000000000000aa/0"), "half a file").unwrap();
    let gateway = Gateway::bind(&options(home.path())).unwrap();
    assert_eq!(std::fs::read_dir(&real).unwrap().count(), 0, "what a crash left behind is gone");
    let (fingerprint, address) = (gateway.fingerprint(), gateway.local_addr());
    let recorded = gateway.state().address().unwrap().unwrap();
    assert_eq!((recorded.listen, recorded.fingerprint), (address, fingerprint));
    drop(gateway);

    let again = Gateway::bind(&options(home.path())).unwrap();
    assert_eq!(again.fingerprint(), fingerprint);
}

#[tokio::test]
async fn a_drain_refuses_new_channels_and_lets_running_ones_end() {
    let served = Served::start_with(|options| {
        options.metrics = Some("127.0.0.1:0".parse().unwrap());
        options.drain = Duration::from_secs(60);
    });
    let metrics = served.gateway.metrics_addr().unwrap();
    let peer = served.joined("push,admin", "").await;
    let running = peer.sync(Direction::Push, b"new").await.unwrap();
    assert!(http_get(metrics, "/healthz").await.0.contains("200"));
    served.stop.shutdown("the test asks");
    served.stop.shutdown("once more");
    assert_eq!(refusal(peer.open(SERVICE_PING, &()).await).0, Status::ShuttingDown);
    let late = Peer::dial(&Key::new(), served.target()).await.unwrap();
    assert_eq!(refusal(late.join(&served.invite("list", "")).await).0, Status::ShuttingDown);
    assert!(http_get(metrics, "/healthz").await.0.contains("503"));
    drop(running);
    timeout(SOON, served.gateway.join()).await.expect("it ends when its last channel does");
    assert_eq!(peer.closed().await.0, Status::ShuttingDown);
}

#[tokio::test]
async fn a_drain_has_a_deadline() {
    let served = Served::start_with(|options| options.drain = Duration::from_millis(200));
    let peer = served.joined("push", "").await;
    let _running = peer.sync(Direction::Push, b"new").await.unwrap();
    let asked = Instant::now();
    served.stop.shutdown("the test asks");
    timeout(SOON, served.gateway.join()).await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(200));
    assert_eq!(peer.closed().await.0, Status::ShuttingDown);
}
