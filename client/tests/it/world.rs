//! A gateway on a port of the system's choice, a home for the controller, and a way to run `swarm` in it.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use assert_cmd::{Command, assert::Assert};
use swarmwire_certs::{Fingerprint, JoinUri, Token};
use swarmwire_client::{Home, Target};
use swarmwire_common::path::RelPath;
use swarmwire_server::{Gateway, GatewayOptions, ShutdownHandle, grants::Grant, invitations, state::State};
use tempfile::TempDir;

/// A command that has not ended by then hangs, and that is a failure.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

/// A home directory of a controller.
pub(crate) struct ControllerHome {
    temp: TempDir,
}

impl ControllerHome {
    pub(crate) fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.temp.path().join("home")
    }

    /// Stores a gateway as if it had been joined.
    pub(crate) fn pin(&self, name: &str, address: SocketAddr, gateway: Fingerprint) {
        let target = Target { host: address.ip().to_string(), port: address.port(), gateway };
        let mut gateways = Home::open(&self.path()).unwrap().gateways().unwrap();
        gateways.store(&name.parse().unwrap(), &target).unwrap();
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
        for variable in ["SWARMWIRE_LOG", "SWARMWIRE_RETRY", "SWARMWIRE_DURABILITY", "SWARMWIRE_KEY_EXCHANGE"]
        {
            command.env_remove(variable);
        }
        command.env("SWARMWIRE_HOME", self.path()).timeout(COMMAND_TIME_MAX).args(arguments);
        command
    }

    pub(crate) fn swarm<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Assert {
        self.command(arguments).assert()
    }
}

/// A running gateway with an empty root.
pub(crate) struct World {
    temp: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: Fingerprint,
    state: State,
    shutdown: ShutdownHandle,
    serving: Option<JoinHandle<()>>,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(adjust: impl FnOnce(&mut GatewayOptions)) -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("root")).unwrap();
        let (root, state) = (temp.path().join("root"), temp.path().join("state"));
        let mut options = GatewayOptions::new(root, state, ([127, 0, 0, 1], 0).into());
        options.drain = Duration::from_millis(100);
        adjust(&mut options);
        let (sender, receiver) = mpsc::sync_channel(1);
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let gateway = Gateway::bind(&options).unwrap();
                let facts = (gateway.local_addr(), gateway.fingerprint(), gateway.state().clone());
                sender.send((facts, gateway.shutdown_handle())).unwrap();
                gateway.join().await;
            });
        });
        let ((address, fingerprint, state), shutdown) = receiver.recv().unwrap();
        Self { temp, address, fingerprint, state, shutdown, serving: Some(serving) }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    /// Somewhere beside the root.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// A new invitation.
    pub(crate) fn invite(&self, allow: &str) -> String {
        let token = Token::random().unwrap();
        let grant = Grant { allow: allow.parse().unwrap(), path: RelPath::root() };
        let now = now();
        invitations::create(&self.state, &token, &grant, now, now + Duration::from_secs(60)).unwrap();
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        JoinUri { host, port, gateway: self.fingerprint, token }.to_string_with_secret()
    }

    /// A home that has joined as `gw` with these operations.
    pub(crate) fn joined(&self, allow: &str) -> ControllerHome {
        let home = ControllerHome::new();
        home.swarm(["join", &self.invite(allow), "--name", "gw"]).success();
        home
    }

    /// Waits until the gateway has ended by itself.
    pub(crate) fn join(mut self) {
        self.serving.take().unwrap().join().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.shutdown("the test is over");
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an edge: the gateway in the test reads the same clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Asserts the exit code, that every part stands in what was said on standard error, and gives it back.
pub(crate) fn refused(assert: Assert, code: i32, parts: &[&str]) -> String {
    let assert = assert.code(code);
    let told = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
    told
}

/// Standard output of a command that succeeded.
pub(crate) fn stdout(assert: Assert) -> String {
    String::from_utf8(assert.success().get_output().stdout.clone()).unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
