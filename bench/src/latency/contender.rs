//! The two sides, each from nothing to its end: a server at the far end, a pinger at the near one, and for ssh the master of the shared connection.
//!
//! Every measurement has a server, a connection and a pinger of its own, all under keepers. What stays from one to the next is the identity of either
//! side. Nothing of the preparation is in what the pinger measures.

use std::{fmt, fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use super::{
    pinger::{Arguments, ECHO_PATIENCE, Sample, Way},
    schedule::WARM_UP,
};
use crate::{
    binaries::Binaries,
    compare::Tcp,
    gateway::{Gateway, State},
    ground::{Ground, await_ready},
    peer::{self, Site, ssh},
    process::Process,
};

/// How long a pinger may take beyond its pings: to connect, and to look at what has arrived. Chosen: neither takes a second.
const PINGER_PATIENCE: Duration = Duration::from_secs(60);

/// Who is pinged.
#[derive(Clone, Debug)]
pub(super) enum Contender {
    /// A gateway.
    Swarm,
    /// An ssh server, with TCP set up so; nothing leaves it as the machine has it.
    Ssh(Option<Tcp>),
}

/// What else the connection has to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Nothing.
    Idle,
    /// A tree, again and again.
    Bulk,
}

/// Where the sides are measured.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// The two ends.
    pub(super) ground: &'a Ground,
    /// The Swarmwire to measure.
    pub(super) binaries: &'a Binaries,
    /// A directory for identities and for what arrives.
    pub(super) top: &'a Path,
    /// What is pushed under load.
    pub(super) tree: &'a Path,
    /// Pings a second.
    pub(super) rate: u32,
    /// Seconds for which they are counted.
    pub(super) seconds: u32,
}

impl Scene<'_> {
    /// Measures one side.
    pub(super) fn sample(&self, contender: &Contender, load: Load) -> Result<Sample> {
        let home = self.top.join(contender.to_string().replace('/', "-"));
        let far = self.top.join("far");
        fs::create_dir_all(&home)?;
        fs::create_dir(&far)?;
        let sample = match contender {
            Contender::Swarm => self.sample_swarm(&home, &far, load),
            Contender::Ssh(tcp) => self.sample_ssh(tcp.as_ref(), &home, &far, load),
        };
        fs::remove_dir_all(&far).context("failed to remove what has arrived")?;
        sample
    }

    fn sample_swarm(&self, home: &Path, far: &Path, load: Load) -> Result<Sample> {
        let state = State::at(home, self.binaries);
        let gateway = Gateway::start(&state, self.ground, far)?;
        let sample = self.ping(Way::Swarm { home: state.controller() }, far, load)?;
        gateway.stop()?;
        Ok(sample)
    }

    fn sample_ssh(&self, tcp: Option<&Tcp>, home: &Path, far: &Path, load: Load) -> Result<Sample> {
        if ssh::find().is_none() {
            bail!("ssh, sshd or ssh-keygen is missing: apt-get install openssh-client openssh-server");
        }
        if let Some(tcp) = tcp {
            self.ground.set_tcp(tcp.control(), tcp.buffer_max())?;
        }
        let site = Site { ground: self.ground, home, root: far, binaries: self.binaries };
        let server = ssh::Server::start(&site)?;
        let (config, control) = (server.client_config(), home.join("control"));
        let _master = self.share(&config, &control)?;
        self.ping(Way::Ssh { config, control }, far, load)
    }

    /// Connects to the ssh server and lets others share the connection through the socket `control`.
    fn share(&self, config: &Path, control: &Path) -> Result<Process> {
        if control.exists() {
            fs::remove_file(control).context("failed to remove the socket of a master that has ended")?;
        }
        let mut master = peer::command("ssh")?;
        master.arg("-F").arg(config).arg("-S").arg(control).args(["-M", "-N", "-T", ssh::HOST]);
        let master = self.ground.near().spawn(&master)?;
        await_ready(&master, || Ok(control.exists().then_some(())))?;
        Ok(master)
    }

    fn ping(&self, way: Way, into: &Path, load: Load) -> Result<Sample> {
        let tree = match load {
            Load::Idle => None,
            Load::Bulk => Some(self.tree.to_owned()),
        };
        let (rate, seconds, into) = (self.rate, self.seconds, into.to_owned());
        let pinger = Arguments { rate, seconds, into, tree, way }.command();
        let within = WARM_UP + Duration::from_secs(seconds.into()) + ECHO_PATIENCE + PINGER_PATIENCE;
        self.ground.restart();
        let told = self.ground.near().run(&pinger, within)?.success()?;
        serde_json::from_str(&told).context("failed to understand the pinger")
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swarm => f.write_str("swarm"),
            Self::Ssh(None) => f.write_str("ssh"),
            Self::Ssh(Some(tcp)) => write!(f, "ssh/{tcp}"),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Bulk => "bulk",
        })
    }
}
