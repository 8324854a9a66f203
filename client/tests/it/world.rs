//! A gateway on a port of the system's choice, a home for the controller, and a way to run `swarm` in it.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use assert_cmd::{Command, assert::Assert};
use serde_json::Value;
use swarmwire_certs::{Fingerprint, JoinUri, Token};
use swarmwire_client::{Home, Target};
use swarmwire_common::path::RelPath;
use swarmwire_server::{
    Gateway, GatewayOptions, ShutdownHandle, clients, grants::Grant, invitations, state::State,
};
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
        self.program(env!("CARGO_BIN_EXE_swarm"), arguments)
    }

    /// A program that uses this home.
    pub(crate) fn program<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(program);
        for variable in [
            "SWARMWIRE_LOG",
            "SWARMWIRE_RETRY",
            "SWARMWIRE_DURABILITY",
            "SWARMWIRE_KEY_EXCHANGE",
            "SWARMWIRE_COMPRESS",
            "SWARMWIRE_BWLIMIT",
            "SWARMWIRE_JOBS",
        ] {
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
    /// Taken by a restart alone.
    temp: Option<TempDir>,
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: Fingerprint,
    metrics: Option<SocketAddr>,
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
        Self::start_in(temp, adjust)
    }

    fn start_in(temp: TempDir, adjust: impl FnOnce(&mut GatewayOptions)) -> Self {
        let (root, state) = (temp.path().join("root"), temp.path().join("state"));
        let mut options = GatewayOptions::new(root, state, ([127, 0, 0, 1], 0).into());
        options.drain = Duration::from_millis(100);
        adjust(&mut options);
        let (sender, receiver) = mpsc::sync_channel(1);
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                // Whoever counts threads need not wait for those that nobody needs any longer.
                .thread_keep_alive(Duration::from_millis(100))
                .build()
                .unwrap();
            runtime.block_on(async {
                let gateway = Gateway::bind(&options).unwrap();
                let addresses = (gateway.local_addr(), gateway.metrics_addr());
                let facts = (gateway.fingerprint(), gateway.state().clone(), gateway.shutdown_handle());
                sender.send((addresses, facts)).unwrap();
                gateway.join().await;
            });
        });
        let ((address, metrics), (fingerprint, state, shutdown)) = receiver.recv().unwrap();
        Self { temp: Some(temp), address, fingerprint, metrics, state, shutdown, serving: Some(serving) }
    }

    /// Ends the gateway and starts one on the same root and state, at another port.
    pub(crate) fn restart(mut self) -> Self {
        self.stop();
        Self::start_in(self.temp.take().unwrap(), |_| {})
    }

    /// Starts one on the same root, state and port, where this one has been stopped.
    pub(crate) fn start_again(mut self) -> Self {
        let address = self.address;
        Self::start_in(self.temp.take().unwrap(), |options| options.listen = address)
    }

    /// Asks the gateway to end, and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        self.shutdown.shutdown("the test says so");
    }

    /// Ends the gateway and waits until it is gone.
    pub(crate) fn stop(&mut self) {
        self.shutdown.shutdown("the test says so");
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.beside("root")
    }

    /// Somewhere beside the root.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.temp.as_ref().unwrap().path().join(name)
    }

    /// A new invitation.
    pub(crate) fn invite(&self, allow: &str) -> String {
        self.invite_below(allow, "", now() + Duration::from_secs(60))
    }

    /// An invitation whose time is over.
    pub(crate) fn invite_too_late(&self, allow: &str) -> String {
        self.invite_below(allow, "", now() - Duration::from_secs(1))
    }

    fn invite_below(&self, allow: &str, path: &str, expires: SystemTime) -> String {
        let token = Token::random().unwrap();
        let path = RelPath::parse(path.as_bytes()).unwrap();
        let grant = Grant { allow: allow.parse().unwrap(), path };
        invitations::create(&self.state, &token, &grant, now(), expires).unwrap();
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        JoinUri { host, port, gateway: self.fingerprint, token }.to_string_with_secret()
    }

    /// A home that has joined as `gw` with these operations.
    pub(crate) fn joined(&self, allow: &str) -> ControllerHome {
        self.joined_below(allow, "")
    }

    /// A home that has joined as `gw` and may act below `path` only.
    pub(crate) fn joined_below(&self, allow: &str, path: &str) -> ControllerHome {
        let home = ControllerHome::new();
        let uri = self.invite_below(allow, path, now() + Duration::from_secs(60));
        home.swarm(["join", &uri, "--name", "gw"]).success();
        home
    }

    /// Puts everybody out who has joined. As `swarmd revoke`, it takes effect within a second.
    pub(crate) fn revoke_all(&self) {
        for client in clients::load(&self.state).unwrap() {
            clients::revoke(&self.state, &client.fingerprint.to_string()).unwrap();
        }
    }

    /// The value of a metric, by its name and labels as they are shown.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        self.metric_if(series).unwrap_or_else(|| panic!("{series} is not there"))
    }

    /// The same; none as long as nothing was counted.
    pub(crate) fn metric_if(&self, series: &str) -> Option<f64> {
        let mut stream = TcpStream::connect(self.metrics.unwrap()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Waits until a metric has a value that is wanted, and gives it.
    pub(crate) fn wait_for(&self, series: &str, patience: Duration, wanted: impl Fn(f64) -> bool) -> f64 {
        let start = Instant::now();
        loop {
            let value = self.metric(series);
            if wanted(value) {
                return value;
            }
            assert!(start.elapsed() < patience, "{series} stays at {value}");
            std::thread::yield_now();
        }
    }

    /// Waits until the gateway has ended by itself.
    pub(crate) fn join(mut self) {
        self.serving.take().unwrap().join().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A second panic while one unwinds would hide the first.
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an edge: the gateway in the test reads the same clock")]
pub(crate) fn now() -> SystemTime {
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

/// The summary of a sync with `--json` that ends with `code`.
pub(crate) fn summary(assert: Assert, code: i32) -> Value {
    let assert = assert.code(code);
    last_event(&assert.get_output().stdout)
}

/// The last object on standard output, which is the summary of a sync.
pub(crate) fn last_event(stdout: &[u8]) -> Value {
    let told = String::from_utf8_lossy(stdout);
    let last = told.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|err| panic!("{err}: {told:?}"))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
