//! One connection to one gateway, and the gateway's services as methods.
//!
//! [`Controller::connect`] dials a [`Target`] whose key is pinned: until that key has been checked nothing but the handshake is
//! said. Each method opens a channel of its own, so any number may run at the same time over a shared reference. Waiting is
//! bounded everywhere (`common::limits`). Retrying is the caller's; nothing is printed.
//!
//! A method whose future is dropped resets its channel and leaves the connection and the other channels as they are.

pub mod calling;
mod dial;
mod error;
mod listing;
mod offloading;
mod watching;

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use swarmwire_certs::{Fingerprint, Identity, KeyExchange, Token};
use swarmwire_common::{
    channel::{Channel, FrameError, OpenError, Opening},
    codec, limits,
    path::RelPath,
    sync::{self, Destination, Link, Outcome, Router, Source, Tally},
    transport::{self, Congestion, FlowControl, SeenPath},
    wire::{
        list::ListRequest,
        open::{
            JoinReply, JoinRequest, SERVICE_JOIN, SERVICE_LIST, SERVICE_PING, SERVICE_STOP, SERVICE_SYNC,
        },
        status::Status,
        sync::{Direction, Selection, SyncOptions, SyncReply, SyncRequest},
    },
};
use tokio::{task::JoinSet, time::timeout};

pub use error::{ConnectError, RequestError};
pub use listing::{ListItem, Listing};
pub use offloading::Holding;
pub use watching::Watching;

/// How long [`Controller::close`] lets the last packet leave. The endpoint sends within microseconds; waiting for quinn's
/// own "idle" would take three probe timeouts, 80 ms on a quiet machine.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(2);

/// A gateway to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address of its host; IPv6 without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// The key it must have.
    pub gateway: Fingerprint,
}

impl fmt::Display for Target {
    /// `host:port`, with brackets around IPv6.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How to dial.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions {
    /// The key exchange to offer.
    pub key_exchange: KeyExchange,
    /// How fast the connection sends: what pushes go by.
    pub congestion: Congestion,
    /// How long dialling may take, over all addresses of the host.
    pub timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            key_exchange: KeyExchange::default(),
            congestion: Congestion::default(),
            timeout: limits::CONNECT_TIMEOUT,
        }
    }
}

/// A path at the gateway, as somebody typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePath {
    /// Below the gateway's root.
    pub path: RelPath,
    /// Whether it ended with a slash: as a source its contents are meant, as a destination it is a directory.
    pub trailing_slash: bool,
}

/// What an invitation gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The operations, comma-separated. The gateway's words; escape them before showing them.
    pub allow: String,
    /// The path prefix to which they are limited.
    pub path: RelPath,
}

/// A connection to a gateway.
#[derive(Debug)]
pub struct Controller {
    connection: quinn::Connection,
    flow: FlowControl,
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    router: Router,
    /// Owns the router's task and ends it when the controller is dropped.
    _tasks: JoinSet<()>,
}

impl Controller {
    /// Dials `target` and checks its key. Must be called within a tokio runtime. Cancel-safe.
    pub async fn connect(
        target: &Target,
        identity: &Identity,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let dialled = dial::dial(target, identity, options).await?;
        let flow = FlowControl::of(&dialled.connection, None);
        let router = Router::new();
        let mut tasks = JoinSet::new();
        let (accepting, connection) = (router.clone(), dialled.connection.clone());
        tasks.spawn(async move { accepting.run(connection).await });
        Ok(Self {
            connection: dialled.connection,
            flow,
            endpoint: dialled.endpoint,
            address: dialled.address,
            router,
            _tasks: tasks,
        })
    }

    /// The address that answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// QUIC's own counts of this connection, UDP payload bytes among them. Readable after the end, too.
    pub fn stats(&self) -> quinn::ConnectionStats {
        self.connection.stats()
    }

    /// What the connection has found out about its path, for the next one over it. Readable after the end, too.
    pub fn seen_path(&self) -> Option<SeenPath> {
        SeenPath::of(&self.connection)
    }

    /// Begins with what an earlier connection over the same path has found out, as far as it is believed. To be called before
    /// anything else.
    pub fn resume(&self, path: &SeenPath) {
        path.resume(&self.connection);
    }

    /// Sends `payload`, at most `limits::PING_BYTES_MAX`, and gives the time until it was back.
    pub async fn ping(&self, payload: &[u8]) -> Result<Duration, RequestError> {
        let (mut channel, _) = self.open(SERVICE_PING, &()).await?;
        let start = Instant::now();
        let echo = timeout(limits::REPLY_TIMEOUT, async {
            channel.send.send_bytes(payload).await?;
            channel.recv.try_recv_bytes(limits::PING_BYTES_MAX).await
        });
        let echo = echo.await.map_err(|_| RequestError::Silent)??;
        let time = start.elapsed();
        channel.send.finish();
        if echo.as_deref() != Some(payload) {
            return Err(RequestError::Protocol("the echo differs from what was sent"));
        }
        Ok(time)
    }

    /// Lists what is at `path`; with `hash`, files are read and hashed at the gateway.
    pub async fn list(&self, path: &RelPath, recursive: bool, hash: bool) -> Result<Listing, RequestError> {
        let request = ListRequest { path: path.as_bytes().to_vec(), recursive, hash };
        let (channel, _) = self.open(SERVICE_LIST, &request).await?;
        Ok(Listing::new(channel.recv))
    }

    /// Presents an invitation; `name` is what this machine calls itself.
    pub async fn join(&self, token: &Token, name: &str) -> Result<Joined, RequestError> {
        let request = JoinRequest { token: token.reveal(), name: name.to_owned() };
        let (_, body) = self.open(SERVICE_JOIN, &request).await?;
        let reply: JoinReply = codec::decode::<_, { limits::OPEN_FRAME_BYTES_MAX }>(&body)
            .map_err(|_| RequestError::Protocol("its reply to the invitation is malformed"))?;
        let path = RelPath::from_wire(reply.path)
            .map_err(|_| RequestError::Protocol("its reply to the invitation has a malformed path"))?;
        Ok(Joined { allow: reply.allow, path })
    }

    /// Asks the gateway to end in an orderly way. It has agreed when this returns, and is not gone yet.
    pub async fn stop(&self) -> Result<(), RequestError> {
        self.open(SERVICE_STOP, &()).await.map(drop)
    }

    /// Syncs what `source` selects to the gateway. What became of it, a broken connection included, is in the outcome; an error means that
    /// the sync did not begin.
    ///
    /// Dropping the future breaks the sync off. To get a report of it all the same, call [`Self::break_off`] and wait.
    pub async fn push(
        &self,
        source: Source,
        to: &RemotePath,
        options: SyncOptions,
        tally: Arc<Tally>,
    ) -> Result<Outcome, RequestError> {
        let about = About {
            selection: source.selection().to_wire(),
            top: source.name().to_vec(),
            compares: false,
            backup: source.backup().map(|dir| dir.as_bytes().to_vec()),
        };
        let (link, reply) = self.open_sync(Direction::Push, to, options, about).await?;
        let source = source.comparing(reply.compares);
        Ok(sync::send(link, source, options, tally).await)
    }

    /// Syncs from the gateway into `destination`, where nothing lands but what `from` means; otherwise as [`Self::push`].
    pub async fn pull(
        &self,
        from: &RemotePath,
        destination: Destination,
        options: SyncOptions,
        tally: Arc<Tally>,
    ) -> Result<Outcome, RequestError> {
        let destination = destination.asking_for(&from.path, from.trailing_slash).leaving_first();
        let compares = options.compares_listings();
        let destination = if compares { comparing(destination, from).await } else { destination };
        let selection = destination.selection().to_wire();
        let backup = destination.backup().map(|dir| dir.as_bytes().to_vec());
        let about = About { selection, top: Vec::new(), compares: destination.compares(), backup };
        let (link, _) = self.open_sync(Direction::Pull, from, options, about).await?;
        Ok(sync::receive(link, destination, options, tally).await)
    }

    /// Whether the connection is there, as far as it is known.
    pub fn is_running(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// As what the gateway has ended the connection, if it has.
    pub(crate) fn ended_as(&self) -> Option<Status> {
        FrameError::Connection(self.connection.close_reason()?).peer_status()
    }

    /// Waits until the connection is over, and says why. Cancel-safe.
    pub async fn closed(&self) -> RequestError {
        FrameError::Connection(self.connection.closed().await).into()
    }

    /// Ends the connection at once: whatever runs on it fails with `LocallyClosed`.
    pub fn break_off(&self, status: Status) {
        transport::close(&self.connection, status, b"");
    }

    /// Ends the connection and gives the goodbye a moment to leave.
    pub async fn close(self) {
        transport::close(&self.connection, Status::Ok, b"");
        if timeout(CLOSE_TIME_MAX, self.endpoint.wait_idle()).await.is_err() {
            tracing::trace!("left before the gateway acknowledged the goodbye");
        }
    }

    async fn open<R: Serialize + Sync>(
        &self,
        service: &str,
        request: &R,
    ) -> Result<(Channel, Vec<u8>), RequestError> {
        Ok(self.begin(service, request).await?.reply().await?)
    }

    /// A channel that is to be opened, with its share of the windows.
    async fn begin<R: Serialize + Sync>(&self, service: &str, request: &R) -> Result<Opening, OpenError> {
        Ok(Opening::begin(&self.connection, service, request).await?.sharing(&self.flow))
    }

    async fn open_sync(
        &self,
        direction: Direction,
        remote: &RemotePath,
        options: SyncOptions,
        About { selection, top, compares, backup }: About,
    ) -> Result<(Link, SyncReply), RequestError> {
        let request = SyncRequest {
            direction,
            path: remote.path.as_bytes().to_vec(),
            trailing_slash: remote.trailing_slash,
            options,
            selection,
            top,
            compares,
            backup,
        };
        let opening = self.begin(SERVICE_SYNC, &request).await?;
        // Before the gateway hears of the channel, since its data streams may come right behind the reply.
        let data = self.router.register(opening.id());
        let (channel, body) = opening.reply().await?;
        let reply = codec::decode::<_, { limits::OPEN_FRAME_BYTES_MAX }>(&body)
            .map_err(|_| RequestError::Protocol("its reply to the sync is malformed"))?;
        let (connection, flow) = (self.connection.clone(), self.flow.clone());
        Ok((Link { connection, flow, channel, data }, reply))
    }
}

/// What a request says beside direction, place and options.
struct About {
    selection: Selection,
    top: Vec<u8>,
    compares: bool,
    backup: Option<Vec<u8>>,
}

/// Has a destination compare, if there is something where `from` lands.
async fn comparing(destination: Destination, from: &RemotePath) -> Destination {
    let name =
        from.path.split_last().filter(|_| !from.trailing_slash).map(|(_, name)| name.as_bytes().to_vec());
    let comparing = move || destination.comparing(&name.unwrap_or_default());
    tokio::task::spawn_blocking(comparing).await.expect("it does not panic, and nobody aborts it")
}
