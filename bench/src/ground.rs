//! Where the two ends of a measurement run, and what crosses between them.
//!
//! Root measures in network namespaces of its own: one for both ends over loopback, two over a link; so nothing else is counted and TCP can be
//! set up without touching the machine. Anybody else has the machine's loopback, which others use too. *Near* is the client's end, *far* the server's.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    link::{Link, Namespace, Network, Passages, loopback_bytes},
    process::{Finished, Nursery, Process},
};

/// How often a server that is starting is asked whether it is ready.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a server may take to be ready. Chosen: none takes a second.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// Both ends.
#[derive(Debug)]
pub struct Ground {
    near: Host,
    far: Host,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    /// The machine's own loopback.
    Machine,
    /// The loopback of a namespace of ours.
    Loopback(Arc<Namespace>),
    /// Two namespaces and what joins them.
    Link(Box<Network>),
}

/// One end: what is started here runs in its namespace.
#[derive(Clone, Debug)]
pub struct Host {
    nursery: Nursery,
    namespace: Option<Arc<Namespace>>,
    address: IpAddr,
}

/// What has crossed between the ends since the ground was laid. On loopback the two directions are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Bytes of IP packets that the near end sent.
    pub sent: Option<u64>,
    /// Bytes of IP packets that the near end received.
    pub received: Option<u64>,
    /// Both directions.
    pub bytes: u64,
    /// Packets given to the link.
    pub packets: Option<u64>,
    /// Packets that did not fit into its queue.
    pub queue_drops: Option<u64>,
    /// Packets that it lost as it was told to.
    pub random_losses: Option<u64>,
}

impl Ground {
    /// Both ends on the machine's loopback.
    pub fn machine(nursery: &Nursery) -> Self {
        let host =
            Host { nursery: nursery.clone(), namespace: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        Self { near: host.clone(), far: host, wire: Wire::Machine }
    }

    /// Both ends on the loopback of a namespace of their own, or on the machine's if only root may make one.
    pub fn loopback(nursery: &Nursery) -> Result<Self> {
        let mut ground = Self::machine(nursery);
        if rustix::process::geteuid().is_root() {
            let namespace = Arc::new(Namespace::new()?);
            ground.near.namespace = Some(Arc::clone(&namespace));
            ground.far.namespace = Some(Arc::clone(&namespace));
            ground.wire = Wire::Loopback(namespace);
        }
        Ok(ground)
    }

    /// Each end in a namespace, and `link` between them, whose random losses follow `seed`. Needs root.
    pub fn linked(nursery: &Nursery, link: &Link, seed: u64) -> Result<Self> {
        let network = Network::build(link, seed)?;
        let host = |namespace: &Arc<Namespace>, address| Host {
            nursery: nursery.clone(),
            namespace: Some(Arc::clone(namespace)),
            address,
        };
        let near = host(network.near(), network.near_address());
        let far = host(network.far(), network.far_address());
        Ok(Self { near, far, wire: Wire::Link(Box::new(network)) })
    }

    /// The client's end.
    pub fn near(&self) -> &Host {
        &self.near
    }

    /// The server's end.
    pub fn far(&self) -> &Host {
        &self.far
    }

    /// What has crossed so far.
    pub fn crossed(&self) -> Result<Crossed> {
        Ok(match &self.wire {
            Wire::Machine => Crossed { bytes: loopback_bytes()?, ..Crossed::default() },
            Wire::Loopback(namespace) => Crossed { bytes: namespace.loopback_bytes()?, ..Crossed::default() },
            Wire::Link(network) => {
                let traffic = network.traffic()?;
                let (out, back) = (traffic.to_far, traffic.to_near);
                Crossed {
                    sent: Some(out.bytes),
                    received: Some(back.bytes),
                    bytes: out.bytes + back.bytes,
                    packets: Some(out.packets + back.packets),
                    queue_drops: Some(out.queue_drops + back.queue_drops),
                    random_losses: Some(out.random_losses + back.random_losses),
                }
            }
        })
    }

    /// What has gone to the far end over an emulated link, by who sent it.
    pub fn passages(&self) -> Result<Passages> {
        match &self.wire {
            Wire::Link(network) => network.passages(),
            Wire::Machine | Wire::Loopback(_) => bail!("there is no link whose queue is shared"),
        }
    }

    /// A run begins: a link that changes with time starts over.
    pub fn restart(&self) {
        if let Wire::Link(network) = &self.wire {
            network.restart();
        }
    }

    /// Sets TCP's congestion control at both ends, and the most that its buffers may grow to. Needs root.
    pub fn set_tcp(&self, control: &str, buffer_max: Option<u64>) -> Result<()> {
        for host in [&self.near, &self.far] {
            let namespace = host.namespace.as_ref().context(
                "choosing TCP's congestion control needs root: it is set in network namespaces of their own",
            )?;
            namespace.set_tcp(control, buffer_max)?;
        }
        Ok(())
    }
}

impl Crossed {
    /// What has crossed since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: Option<u64>, then: Option<u64>| Some(now? - then?);
        Self {
            sent: less(self.sent, earlier.sent),
            received: less(self.received, earlier.received),
            bytes: self.bytes - earlier.bytes,
            packets: less(self.packets, earlier.packets),
            queue_drops: less(self.queue_drops, earlier.queue_drops),
            random_losses: less(self.random_losses, earlier.random_losses),
        }
    }
}

impl Host {
    /// Where servers of this end listen.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Runs `work` on a thread in this end's namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.run(work),
            None => Ok(work()),
        }
    }

    /// Starts a child here.
    pub fn spawn(&self, command: &Command) -> Result<Process> {
        self.inside(|| self.nursery.spawn(command))?
    }

    /// Runs a command here to its end; one that takes longer is killed, which is an error.
    pub fn run(&self, command: &Command, within: Duration) -> Result<Finished> {
        self.inside(|| self.nursery.run(command, None, within))?
    }

    /// The same for a command that reads `input`.
    pub fn run_with_input(&self, command: &Command, input: File, within: Duration) -> Result<Finished> {
        self.inside(|| self.nursery.run(command, Some(input), within))?
    }

    /// A port on which nobody listens, neither by TCP nor by UDP. Nobody else takes it in the moment between; if somebody does, the server says so.
    pub fn free_port(&self) -> Result<u16> {
        let address = self.address;
        let port = self.inside(move || -> std::io::Result<u16> {
            loop {
                let tcp = TcpListener::bind((address, 0))?;
                let port = tcp.local_addr()?.port();
                if UdpSocket::bind((address, port)).is_ok() {
                    return Ok(port);
                }
            }
        })?;
        Ok(port?)
    }

    /// Waits until `server` accepts TCP connections at `port`, or fails with its last words.
    pub fn await_tcp(&self, server: &Process, port: u16) -> Result<()> {
        let address = SocketAddr::new(self.address, port);
        await_ready(server, || Ok(self.inside(|| TcpStream::connect(address).is_ok())?.then_some(())))
    }
}

/// Waits until `ready` gives something, or fails with the last words of the server.
pub fn await_ready<T>(server: &Process, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if server.ended_within(LOOK_INTERVAL)? {
            bail!("the server ended while it was starting\n{}", server.last_words());
        }
        if start.elapsed() > START_PATIENCE {
            bail!("the server was not ready within {} s\n{}", START_PATIENCE.as_secs(), server.last_words());
        }
    }
}
