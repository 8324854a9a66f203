//! What somebody with few rights, or none, could take from the others; and what an operator could give away unawares.

use std::{os::unix::fs::symlink, process::Command};

use swarmwire_common::{limits, wire::open::SERVICE_PING};
use swarmwire_server::{Gateway, gateway::BindError};
use tokio::time::timeout;

use crate::{
    harness::{Key, Peer, SOON, Served, options},
    process::{Running, without_settings},
};

/// Bytes that the gateway takes on one stream before anybody has read any.
async fn taken_at_once(peer: &Peer) -> usize {
    let mut stream = peer.connection.open_uni().await.unwrap();
    stream.write(&vec![0; 1024 * 1024]).await.unwrap()
}

#[tokio::test]
async fn a_stranger_is_kept_little_and_has_room_for_all_it_needs_once_it_has_joined() {
    let served = Served::start();
    let stranger = Peer::dial(&Key::new(), served.target()).await.unwrap();
    let stranger_window = usize::try_from(limits::STRANGER_WINDOW_BYTES).unwrap();
    assert!(taken_at_once(&stranger).await <= stranger_window);

    let joined = served.joined("push", "").await;
    // Answered once the connection is served as a known one's.
    timeout(SOON, joined.open(SERVICE_PING, &())).await.unwrap().unwrap();
    assert!(taken_at_once(&joined).await > stranger_window);
}

/// Whoever may push could have written himself any grant, and whoever may pull had the gateway's key.
#[tokio::test]
async fn a_state_directory_in_what_is_served_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root");
    std::fs::create_dir(&root).unwrap();
    symlink("root", home.path().join("link")).unwrap();
    for state in ["root/state", "root/a/state", "link/state", "root/../root/.state"] {
        let mut options = options(home.path());
        options.state = home.path().join(state);
        let err = Gateway::bind(&options).unwrap_err();
        assert!(matches!(err, BindError::StateServed { .. }), "{state}: {err}");
        assert!(err.to_string().contains("--state"), "{err}");
    }
    Gateway::bind(&options(home.path())).unwrap();
}

/// A single pusher could use up the 1,024 descriptors that a process has by default. The gateway could then not read its list of
/// clients, and took everybody for revoked.
#[test]
fn the_gateway_takes_all_the_descriptors_that_it_may_have() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("root")).unwrap();
    let pid = home.path().join("pid");
    let mut command = Command::new("sh");
    let script = "ulimit -S -n 64 && echo $$ > \"$1\" && shift && exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_swarmd")]).arg(&pid);
    let _running = Running::start_as(without_settings(command), home.path());
    let pid = std::fs::read_to_string(&pid).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", pid.trim())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{files}");
}
