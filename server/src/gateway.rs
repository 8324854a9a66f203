//! The gateway as a whole: what it holds, how it starts, and how it ends.
//!
//! [`Gateway::bind`] takes everything that can be refused (root, state directory, identity, both sockets) before it serves
//! anything; from then on it serves in tasks of its own within the caller's tokio runtime. [`Gateway::join`] waits for the end,
//! which a [`ShutdownHandle`] brings: no new channels, running ones get until the drain's deadline, then the connections
//! are closed. Dropping the gateway instead ends everything at once.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use quinn::{Endpoint, Incoming};
use swarmwire_certs::{
    Fingerprint, KeyExchange,
    identity::IdentityError,
    private::{FileLock, PrivateError},
    verify,
};
use swarmwire_common::{
    hashes::HashStore,
    heap, limits,
    root::{self, Root, staging},
    transport::{self, Congestion, PathMemory, TransportError},
    wire::{self, status::Status},
};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    admin,
    clients::{Clients, Follower, chain},
    connection,
    handshake::Failure,
    holds::Holds,
    invitations::JoinLimiter,
    metrics::Metrics,
    pool::Pool,
    renewal::{Presenter, renew_task},
    shutdown::ShutdownHandle,
    state::{HASHES, RecordedAddress, State},
    store::StoreError,
    subroutines::{Serving, Subroutines},
};

/// Channels served at the same time unless the operator says otherwise.
pub const DEFAULT_HANDLERS: usize = 64;

/// How long running channels may take to end unless the operator says otherwise: what service managers grant is mostly longer.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

/// Connections at a time, those in their handshake included. A connection's tasks and buffers take about 100 KiB at rest.
const CONNECTIONS_MAX: usize = 1024;

/// Connections at a time whose identity is not known: people who are joining, and whoever else knocks.
const STRANGERS_MAX: usize = 64;

/// Handshakes at a time beyond which a peer must first show that its address is its own (RFC 9000 §8.1.2), so that
/// forged addresses cannot fill the table.
const HANDSHAKES_UNPROVEN_MAX: usize = 64;

/// How long the end waits for tasks that have been told, and for the last packets: chosen, a few round trips.
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// How often memory that was in use goes back to the system. Chosen: what is faulted in anew after that is some ms of work.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(10);

/// What a gateway is made of.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// The directory that is served. May be a symbolic link.
    pub root: PathBuf,
    /// The state directory; made if it is missing.
    pub state: PathBuf,
    /// UDP address for QUIC. Port 0 takes any.
    pub listen: SocketAddr,
    /// TCP address for metrics, if any.
    pub metrics: Option<SocketAddr>,
    /// Channels served at the same time.
    pub handlers: usize,
    /// Bytes of unfinished files that interrupted pushes may leave in the root.
    pub partial_bytes_max: u64,
    /// What controllers may call; more can be registered at any time, here or at [`Gateway::subroutines`].
    pub subroutines: Subroutines,
    /// How connections agree on keys.
    pub key_exchange: KeyExchange,
    /// How fast connections send: what pulls and answers go by.
    pub congestion: Congestion,
    /// How long running channels may take to end.
    pub drain: Duration,
}

impl GatewayOptions {
    /// The defaults, for the three things that have none. No metrics.
    pub fn new(root: impl Into<PathBuf>, state: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            root: root.into(),
            state: state.into(),
            listen,
            metrics: None,
            handlers: DEFAULT_HANDLERS,
            partial_bytes_max: limits::PARTIAL_BYTES_DEFAULT,
            subroutines: Subroutines::new(),
            key_exchange: KeyExchange::default(),
            congestion: Congestion::default(),
            drain: DEFAULT_DRAIN,
        }
    }
}

/// A gateway that listens and serves.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    address: RecordedAddress,
    metrics_address: Option<SocketAddr>,
    /// Accepts and serves; its end is the gateway's.
    serving: JoinSet<()>,
    /// Works beside it until the end.
    attending: JoinSet<()>,
    _follower: Follower,
    _run_lock: FileLock,
}

/// What all connections and services of one gateway use.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: Arc<Root>,
    /// Hashes of files below the root.
    pub(crate) hashes: Arc<HashStore>,
    pub(crate) partial_bytes_max: u64,
    pub(crate) subroutines: Subroutines,
    pub(crate) state: State,
    pub(crate) clients: Clients,
    pub(crate) limiter: Mutex<JoinLimiter>,
    pub(crate) pool: Pool,
    /// What slow readers may have sent ahead, beyond what each connection begins with.
    pub(crate) flow_budget: transport::Budget,
    /// Which directories are being offloaded.
    pub(crate) holds: Holds,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: ShutdownHandle,
    /// What the paths to controllers are like.
    pub(crate) paths: Mutex<PathMemory>,
    /// Room for connections whose identity is not known.
    pub(crate) strangers: Arc<Semaphore>,
    /// Room for handshakes of unproven addresses.
    pub(crate) handshakes: Arc<Semaphore>,
}

impl Gateway {
    /// Binds and begins to serve. Must be called within a tokio runtime; blocks on the disk for a moment.
    pub fn bind(options: &GatewayOptions) -> Result<Self, BindError> {
        let root = open_root(&options.root)?;
        let state = State::open(&options.state)?;
        require_outside(&root, &state)?;
        let run_lock =
            state.lock_run()?.ok_or_else(|| BindError::Locked { path: state.path().to_owned() })?;
        clean(&root);
        let identity = state.identity(wall_clock())?;
        let tls = verify::server_config(&identity, wire::ALPN, options.key_exchange)?;
        let metrics = options.metrics.map(bind_metrics).transpose()?;
        let endpoint = bind_endpoint(options.listen, tls, options.congestion)?;
        let address = RecordedAddress {
            listen: endpoint
                .local_addr()
                .map_err(|source| BindError::Listen { address: options.listen, source })?,
            fingerprint: identity.fingerprint(),
        };
        state.record_address(&address)?;
        let shared = Arc::new(Shared {
            root: Arc::new(root),
            hashes: Arc::new(HashStore::new(state.path().join(HASHES), || wall_clock().into())),
            partial_bytes_max: options.partial_bytes_max,
            subroutines: options.subroutines.clone(),
            clients: Clients::open(state.clone()),
            paths: Mutex::new(state.paths()),
            state,
            limiter: Mutex::new(JoinLimiter::new(Instant::now())),
            holds: Holds::default(),
            pool: Pool::new(options.handlers),
            flow_budget: transport::Budget::for_streams(options.handlers),
            metrics: Arc::new(Metrics::new()),
            shutdown: ShutdownHandle::new(),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_UNPROVEN_MAX)),
        });
        let (metrics, metrics_address) = metrics.unzip();
        let follower = Follower::spawn(shared.clients.clone()).map_err(BindError::Thread)?;
        let mut attending = JoinSet::new();
        if let Some(listener) = metrics {
            attending.spawn(admin::serve_task(Arc::clone(&shared), listener));
        }
        let presenter = Presenter {
            state: shared.state.clone(),
            endpoint: endpoint.clone(),
            key_exchange: options.key_exchange,
            congestion: options.congestion,
        };
        attending.spawn(renew_task(presenter, identity));
        attending.spawn(give_back_task(shared.pool.clone()));
        let subroutines = shared.subroutines.serve();
        let mut serving = JoinSet::new();
        serving.spawn(serve(Arc::clone(&shared), endpoint, options.drain, subroutines));
        Ok(Self {
            shared,
            address,
            metrics_address,
            serving,
            attending,
            _follower: follower,
            _run_lock: run_lock,
        })
    }

    /// The UDP address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address.listen
    }

    /// The TCP address of its metrics, if it has them.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The fingerprint of its key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.address.fingerprint
    }

    /// Its state directory.
    pub fn state(&self) -> &State {
        &self.shared.state
    }

    /// How many identities it knows now.
    pub fn clients_known(&self) -> usize {
        self.shared.clients.count()
    }

    /// What controllers may call.
    pub fn subroutines(&self) -> &Subroutines {
        &self.shared.subroutines
    }

    /// What ends it.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shared.shutdown.clone()
    }

    /// Waits until it has ended. Dropping the future ends it at once.
    pub async fn join(mut self) {
        while let Some(ended) = self.serving.join_next().await {
            if let Err(err) = ended
                && let Ok(panic) = err.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        self.attending.shutdown().await;
    }
}

/// Accepts and serves until the end has been asked for and the drain is over.
async fn serve(shared: Arc<Shared>, endpoint: Endpoint, drain: Duration, subroutines: Serving) {
    let mut connections = JoinSet::new();
    {
        let drained = drained(&shared, drain);
        tokio::pin!(drained);
        loop {
            tokio::select! {
                () = &mut drained => break,
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => admit(&shared, &mut connections, incoming),
                    None => break,
                },
                Some(ended) = connections.join_next() => log_panic(ended),
            }
        }
    }
    // One by one, since a busy connection would not hear it from the endpoint; then those in their handshake.
    let (status, reason) = (Status::ShuttingDown, Status::ShuttingDown.meaning().as_bytes());
    shared.metrics.paths.open().iter().for_each(|connection| transport::close(connection, status, reason));
    endpoint.close(status.into(), reason);
    let told = async { while connections.join_next().await.is_some() {} };
    if timeout(CLOSING_MAX, told).await.is_err() {
        tracing::warn!("broke off connections that did not end");
        connections.shutdown().await;
    }
    if timeout(CLOSING_MAX, endpoint.wait_idle()).await.is_err() {
        tracing::debug!("some peers have not confirmed the end");
    }
    drop(subroutines);
    shared.subroutines.ended().await;
    keep_paths(shared).await;
    tracing::info!("gateway has ended");
}

/// Waits for the end to be asked for, and then for the handlers.
async fn drained(shared: &Shared, drain: Duration) {
    let reason = shared.shutdown.requested().await;
    let handlers = shared.pool.in_use();
    tracing::info!(reason, handlers, drain = ?drain, "gateway is shutting down");
    if timeout(drain, shared.pool.idle()).await.is_err() {
        tracing::warn!(handlers = shared.pool.in_use(), "broke off channels that did not end in time");
    }
}

/// Gives a connection attempt a task, if there is room.
fn admit(shared: &Arc<Shared>, connections: &mut JoinSet<()>, incoming: Incoming) {
    if connections.len() >= CONNECTIONS_MAX {
        shared.metrics.handshake_failed(Failure::Refused);
        // No louder: anybody can send a packet, and the metric counts them.
        tracing::debug!(connections = connections.len(), "refused a connection: there is no room");
        return incoming.refuse();
    }
    let room = Arc::clone(&shared.handshakes).try_acquire_owned().ok();
    if room.is_none() && !incoming.remote_address_validated() {
        if let Err(err) = incoming.retry() {
            tracing::debug!(%err, "could not ask a peer to prove its address");
        }
        return;
    }
    connections.spawn(connection::serve(Arc::clone(shared), incoming, room));
}

/// Gives memory back that channels had: what they may be ahead of their readers is much more than a gateway at rest needs.
async fn give_back_task(pool: Pool) {
    loop {
        sleep(GIVE_BACK_INTERVAL).await;
        if pool.was_used() && spawn_blocking(heap::give_back).await.is_err() {
            return;
        }
    }
}

/// Keeps what the paths to controllers are like for the next start. It is written here alone: a crash costs hints and nothing else.
async fn keep_paths(shared: Arc<Shared>) {
    let paths = shared.paths.lock().expect("no holder panics").clone();
    if paths.is_empty() {
        return;
    }
    let kept = spawn_blocking(move || shared.state.record_paths(&paths));
    if let Ok(Err(err)) = kept.await {
        tracing::warn!(reason = chain(&err), "could not keep what the paths to controllers are like");
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(err) = ended {
        tracing::error!(%err, "a connection's task died");
    }
}

/// The time of day, for what outlives the process: certificates, invitations, and the list of clients.
#[expect(clippy::disallowed_methods, reason = "the gateway is where the clock is read")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

fn open_root(path: &Path) -> Result<Root, BindError> {
    Root::open(path).map_err(|source| BindError::Root { path: path.to_owned(), source })
}

/// The state directory must not be served: who may pull would have the gateway's key, and who may push would grant.
fn require_outside(root: &Root, state: &State) -> Result<(), BindError> {
    let path = state.path();
    let fail = |source| BindError::Root { path: root.path().to_owned(), source };
    let served = root.top().stat_self().map_err(fail)?;
    let real = path.canonicalize().map_err(fail)?;
    for above in real.ancestors() {
        let stat = std::fs::metadata(above).map_err(fail)?;
        if (stat.dev(), stat.ino()) == (served.device, served.inode) {
            return Err(BindError::StateServed { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Removes what a crash left behind at the top of the root. What cannot be removed is in nobody's way.
fn clean(root: &Root) {
    match staging::clean(root.top()) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "removed staging places that a crash left behind"),
        Err(err) => {
            tracing::warn!(reason = root::describe(&err), "could not clean the root's staging places");
        }
    }
}

fn bind_metrics(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let bind = || {
        let listener = StdTcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, bound))
    };
    bind().map_err(|source| BindError::Metrics { address, source })
}

fn bind_endpoint(
    address: SocketAddr,
    tls: rustls::ServerConfig,
    congestion: Congestion,
) -> Result<Endpoint, BindError> {
    transport::bind_gateway(address, tls, congestion).map_err(|err| match err {
        TransportError::Socket(source) => BindError::Listen { address, source },
        TransportError::Tls(_) => BindError::Transport(err),
    })
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The root cannot be opened as a directory.
    #[error("failed to open the root directory {}: {}; name a directory with --root", path.display(), root::describe(source))]
    Root {
        /// What was given.
        path: PathBuf,
        /// What the system said; part of the message.
        source: io::Error,
    },
    /// Another gateway has the state directory.
    #[error(
        "another swarmd runs on this state directory: {}; stop it, or choose another one with --state",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The state directory lies in what is to be served.
    #[error(
        "the state directory {} lies below the root, where its keys and grants would be served: choose another one with --state",
        path.display()
    )]
    StateServed {
        /// The state directory.
        path: PathBuf,
    },
    /// The state directory cannot be used.
    #[error("failed to use the state directory: {}", chain(.0))]
    State(#[from] PrivateError),
    /// A file in the state directory cannot be used.
    #[error("failed to use the state directory: {}", chain(.0))]
    Store(#[from] StoreError),
    /// There is no identity.
    #[error("failed to open the gateway's identity: {}", chain(.0))]
    Identity(#[from] IdentityError),
    /// TLS does not take the identity.
    #[error("failed to use the gateway's identity: {0}")]
    Tls(#[from] rustls::Error),
    /// QUIC does not take the TLS configuration.
    #[error("failed to configure QUIC: {0}")]
    Transport(TransportError),
    /// The system gives no thread.
    #[error("failed to start a thread: {0}")]
    Thread(io::Error),
    /// The UDP address cannot be had.
    #[error("failed to listen on {address} (UDP): {}", bind_hint(source, "--listen"))]
    Listen {
        /// What was given.
        address: SocketAddr,
        /// What the system said; part of the message.
        source: io::Error,
    },
    /// The TCP address cannot be had.
    #[error("failed to listen on {address} (TCP, for metrics): {}", bind_hint(source, "--metrics"))]
    Metrics {
        /// What was given.
        address: SocketAddr,
        /// What the system said; part of the message.
        source: io::Error,
    },
}

fn bind_hint(err: &io::Error, option: &str) -> String {
    let reason = root::describe(err);
    match err.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{reason}; another swarmd may be running, choose another port with {option}")
        }
        _ => format!("{reason}; choose another address with {option}"),
    }
}
