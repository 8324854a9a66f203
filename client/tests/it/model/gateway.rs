//! A gateway as a process of its own, so that it can be killed: this test program once more, in another role.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use swarmwire_certs::Fingerprint;
use swarmwire_server::{Gateway, GatewayOptions};

/// The directory with `root` and `state`, and the address to listen on.
const ROLE: &str = "SWARMWIRE_MODEL_GATEWAY";

const READY: &str = "the gateway listens at ";

pub(crate) struct Running {
    child: Child,
    /// Its end is the end of the process, should we be killed ourselves.
    _input: ChildStdin,
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: Fingerprint,
}

impl Running {
    pub(crate) fn start(home: &Path) -> Self {
        Self::try_start(home, ([127, 0, 0, 1], 0).into()).expect("any port is free")
    }

    /// Listens where another one did before, or anywhere if that is taken meanwhile.
    pub(super) fn start_at(home: &Path, address: SocketAddr) -> Self {
        Self::try_start(home, address).unwrap_or_else(|| Self::start(home))
    }

    fn try_start(home: &Path, address: SocketAddr) -> Option<Self> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["model::gateway::serves_where_it_is_told_to", "--exact", "--nocapture"])
            .env(ROLE, format!("{address} {}", home.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(
                std::fs::File::options().create(true).append(true).open(home.join("gateway.log")).unwrap(),
            )
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.map_while(Result::ok).find_map(|line| {
            let (_, told) = line.split_once(READY)?;
            let (address, fingerprint) = told.split_once(' ')?;
            Some((address.parse().unwrap(), fingerprint.parse().unwrap()))
        });
        let Some((address, fingerprint)) = told else {
            child.wait().unwrap();
            return None;
        };
        Some(Self { child, _input: input, address, fingerprint })
    }
}

impl Running {
    /// Without a word.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Nothing, unless this process was started for it.
#[test]
fn serves_where_it_is_told_to() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (address, home) = role.split_once(' ').unwrap();
    let home = PathBuf::from(home);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut options = GatewayOptions::new(home.join("root"), home.join("state"), address.parse().unwrap());
    options.drain = Duration::from_millis(100);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let gateway = Gateway::bind(&options).unwrap();
        announce(&format!("{READY}{} {}", gateway.local_addr(), gateway.fingerprint()));
        gateway.join().await;
    });
}

fn announce(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").and_then(|()| out.flush()).unwrap();
}
