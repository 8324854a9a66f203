//! The two processes of a run: hidden commands of the laboratory, so that they run in namespaces and under keepers.
//!
//! Both know one directory: the gateway's state and root, and the home of a controller that is let in before the server is ready.

use std::{
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use clap::Args;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use swarmwire_certs::{Fingerprint, Identity, KeyExchange, verify};
use swarmwire_client::Home;
use swarmwire_common::{heap, path::RelPath, root::descriptors};
use swarmwire_server::{
    clients::{self, Client},
    grants::{Grant, Operations},
    state::State,
};

use super::{
    leaks,
    measure::Measuring,
    peer::{self, Peer},
    work::Work,
};
use crate::{ground::Ground, process};

/// The names of the commands.
pub const SERVER: &str = "call-serve";
/// See above.
pub const CLIENT: &str = "call-measure";

/// The server's command line.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ServerArguments {
    /// Who serves.
    #[arg(long)]
    pub(super) peer: Peer,
    /// An existing directory for what both ends know.
    #[arg(long)]
    pub(super) home: PathBuf,
    /// Where to listen.
    #[arg(long)]
    pub(super) listen: SocketAddr,
    /// The processor on which to stay, among those there are.
    #[arg(long)]
    pub(super) processor: Option<usize>,
}

impl ServerArguments {
    /// A server at the far end.
    pub(super) fn new(peer: Peer, home: PathBuf, ground: &Ground) -> Result<Self> {
        let listen = SocketAddr::new(ground.far().address(), ground.far().free_port()?);
        Ok(Self { peer, home, listen, processor: None })
    }

    /// The command that runs it.
    pub(super) fn command(&self) -> Command {
        let mut command = process::command("/proc/self/exe");
        command.arg(SERVER).args(["--peer", &self.peer.to_string(), "--listen", &self.listen.to_string()]);
        command.arg("--home").arg(&self.home);
        if let Some(processor) = self.processor {
            command.arg("--processor").arg(processor.to_string());
        }
        command
    }
}

/// The client's command line.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ClientArguments {
    /// Who calls.
    #[arg(long)]
    pub(super) peer: Peer,
    /// The directory that both ends know.
    #[arg(long)]
    pub(super) home: PathBuf,
    /// The server's process.
    #[arg(long)]
    pub(super) server: u32,
    /// What to do.
    #[arg(long)]
    pub(super) work: Work,
    /// For how long.
    #[arg(long)]
    pub(super) seconds: u32,
    /// What is pushed meanwhile.
    #[arg(long)]
    pub(super) tree: Option<PathBuf>,
    /// The processor on which to stay, among those there are.
    #[arg(long)]
    pub(super) processor: Option<usize>,
}

impl ClientArguments {
    /// The command that runs it.
    pub(super) fn command(&self) -> Command {
        let mut command = process::command("/proc/self/exe");
        command.arg(CLIENT).args(["--peer", &self.peer.to_string(), "--work", &self.work.to_string()]);
        command.args(["--server", &self.server.to_string(), "--seconds", &self.seconds.to_string()]);
        command.arg("--home").arg(&self.home);
        if let Some(tree) = &self.tree {
            command.arg("--tree").arg(tree);
        }
        if let Some(processor) = self.processor {
            command.arg("--processor").arg(processor.to_string());
        }
        command
    }
}

/// What a server says when it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ready {
    /// Its process.
    pub(super) process: u32,
}

impl Ready {
    /// Of what it has written, if that is all of the line.
    pub(super) fn of_output(output: &str) -> Option<Self> {
        serde_json::from_str(output.strip_suffix('\n')?).ok()
    }
}

/// Serves until the process is ended.
pub fn serve(arguments: &ServerArguments) -> Result<()> {
    stay(arguments.processor)?;
    descriptors::raise_limit();
    heap::keep_freed();
    let place = Place { home: arguments.home.clone() };
    runtime()?.block_on(arguments.peer.serve(&place, arguments.listen))
}

/// Calls as told, and writes the row to `out`.
pub fn measure(arguments: &ClientArguments, out: &mut impl Write) -> Result<()> {
    stay(arguments.processor)?;
    descriptors::raise_limit();
    heap::keep_freed();
    let place = Place { home: arguments.home.clone() };
    let measuring = Measuring {
        peer: arguments.peer,
        work: arguments.work,
        time: Duration::from_secs(arguments.seconds.into()),
        server: arguments.server,
        beside: arguments.tree.clone().map(|tree| (tree, place.root())),
    };
    let runtime = runtime()?;
    let row = runtime.block_on(async { arguments.peer.measure(&place.target()?, &measuring).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    serde_json::to_writer(&mut *out, &row?)?;
    writeln!(out)?;
    Ok(())
}

/// Calls in many ways, and writes to `out` what either end held before and after.
pub fn leak(arguments: &leaks::Arguments, out: &mut impl Write) -> Result<()> {
    descriptors::raise_limit();
    heap::keep_freed();
    let place = Place { home: arguments.home.clone() };
    let held = runtime()?.block_on(async { peer::leak(&place.target()?, arguments).await })?;
    serde_json::to_writer(&mut *out, &held)?;
    writeln!(out)?;
    Ok(())
}

/// Keeps this process, before it has another thread, on one of the processors that it may use; where there are not so many, on any.
fn stay(processor: Option<usize>) -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let mut numbers = (0..CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number));
    if let Some(number) = processor.and_then(|wanted| numbers.nth(wanted)) {
        let mut only = CpuSet::new();
        only.set(number);
        sched_setaffinity(None, &only)?;
    }
    Ok(())
}

/// As in `swarmd` and `swarm`: one thread for everything that does not block.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// What both ends know.
#[derive(Clone, Debug)]
pub(super) struct Place {
    home: PathBuf,
}

impl Place {
    pub(super) fn root(&self) -> PathBuf {
        self.home.join("root")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.home.join("state")
    }

    fn controller(&self) -> Result<Home> {
        Ok(Home::open(&self.home.join("controller"))?)
    }

    /// Makes the directories, lets the controller in, and gives what the server is.
    pub(super) fn begin(&self) -> Result<Identity> {
        std::fs::create_dir(self.root())?;
        let state = State::open(&self.state())?;
        let identity = state.identity(now())?;
        let fingerprint = self.controller()?.identity(now())?.fingerprint();
        let allow: Operations = "push,call,list".parse().context("these are operations")?;
        let grant = Grant { allow, path: RelPath::root() };
        clients::admit(&state, Client { fingerprint, name: "lab".into(), grant, joined: now() })?;
        Ok(identity)
    }

    /// Says where it is served, to the controller and to whoever waits for it.
    pub(super) fn announce(&self, address: SocketAddr, gateway: Fingerprint) -> Result<()> {
        let (host, port) = (address.ip().to_string(), address.port());
        let target = swarmwire_client::Target { host, port, gateway };
        self.controller()?.gateways()?.store(&"gw".parse()?, &target)?;
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &Ready { process: std::process::id() })?;
        writeln!(out)?;
        Ok(out.flush()?)
    }

    /// What the client dials, and as whom.
    pub(super) fn target(&self) -> Result<Target> {
        let home = self.controller()?;
        let gateways = home.gateways()?;
        let (_, target) = gateways.iter().next().context("no gateway has been joined")?;
        Ok(Target { gateway: target.clone(), identity: home.identity(now())? })
    }
}

/// Whom a client dials, and as whom.
pub(super) struct Target {
    pub(super) gateway: swarmwire_client::Target,
    pub(super) identity: Identity,
}

impl Target {
    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::new(self.gateway.host.parse()?, self.gateway.port))
    }

    /// The product's TLS for another protocol.
    pub(super) fn tls(&self, alpn: &[u8]) -> Result<rustls::ClientConfig> {
        let exchange = KeyExchange::default();
        Ok(verify::client_config(&self.identity, self.gateway.gateway, alpn, exchange)?.0)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an edge: certificates are made and checked with the time handed down"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{calls::work::Kind, cli};

    #[test]
    fn the_commands_mean_what_they_were_made_from() {
        let server = ServerArguments {
            peer: Peer::TonicLarge,
            home: "/h e".into(),
            listen: ([127, 0, 0, 1], 5).into(),
            processor: Some(1),
        };
        let work = Work { kind: Kind::Items, bytes: 64, at_a_time: 1 };
        let client = ClientArguments {
            peer: Peer::Irpc,
            home: "/h".into(),
            server: 7,
            work,
            seconds: 3,
            tree: Some("/t".into()),
            processor: Some(0),
        };
        let read = |command: &Command| {
            let line = ["lab".as_ref()].into_iter().chain(command.get_args());
            cli::Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).command
        };
        assert!(matches!(read(&server.command()), cli::Command::CallServe(it) if it == server));
        assert!(matches!(read(&client.command()), cli::Command::CallMeasure(it) if it == client));
    }

    #[test]
    fn a_server_is_ready_once_its_line_is_whole() {
        assert_eq!(Ready::of_output("{\"process\":7}\n"), Some(Ready { process: 7 }));
        assert_eq!(Ready::of_output("{\"process\":7}"), None);
    }
}
