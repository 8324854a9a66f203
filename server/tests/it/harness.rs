//! A gateway on a port of the system's choice in a temporary directory, and peers that speak to it through `common` alone.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use quinn::{Connection, ConnectionError, Endpoint};
use serde::Serialize;
use swarmwire_certs::{CertificateNames, Fingerprint, Identity, KeyExchange, PrivateDir, Token, verify};
use swarmwire_common::{
    channel::{self, Channel, OpenError},
    codec,
    path::RelPath,
    transport::{self, Congestion},
    wire::{
        self,
        open::{JoinReply, JoinRequest, SERVICE_JOIN, SERVICE_SYNC},
        status::Status,
        sync::{Direction, Selection, SyncOptions, SyncRequest},
    },
};
use swarmwire_server::{Gateway, GatewayOptions, ShutdownHandle, grants::Grant, invitations, state::State};
use tempfile::TempDir;
use tokio::time::timeout;

/// How long anything here may take that should take milliseconds.
pub(crate) const SOON: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A gateway and the directories that it lives in.
pub(crate) struct Served {
    home: TempDir,
    pub(crate) gateway: Gateway,
    pub(crate) state: State,
    pub(crate) stop: ShutdownHandle,
}

impl Served {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut GatewayOptions)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let mut options = options(home.path());
        change(&mut options);
        let gateway = Gateway::bind(&options).unwrap();
        let (state, stop) = (gateway.state().clone(), gateway.shutdown_handle());
        Self { home, gateway, state, stop }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    pub(crate) fn target(&self) -> Target {
        Target { address: self.gateway.local_addr(), fingerprint: self.gateway.fingerprint() }
    }

    /// A token that gives `allow` below `path`, for a quarter of an hour.
    pub(crate) fn invite(&self, allow: &str, path: &str) -> Token {
        let token = Token::random().unwrap();
        let expires = now() + Duration::from_secs(900);
        invitations::create(&self.state, &token, &grant(allow, path), now(), expires).unwrap();
        token
    }

    /// A peer that has joined, on a connection of its own.
    pub(crate) async fn joined(&self, allow: &str, path: &str) -> Peer {
        let peer = Peer::dial(&Key::new(), self.target()).await.unwrap();
        peer.join(&self.invite(allow, path)).await.unwrap();
        peer
    }
}

pub(crate) fn options(home: &Path) -> GatewayOptions {
    GatewayOptions::new(home.join("root"), home.join("state"), "127.0.0.1:0".parse().unwrap())
}

pub(crate) fn grant(allow: &str, path: &str) -> Grant {
    Grant { allow: allow.parse().unwrap(), path: RelPath::parse(path.as_bytes()).unwrap() }
}

/// Whom to dial.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: Fingerprint,
}

/// A controller's identity.
pub(crate) struct Key {
    pub(crate) identity: Identity,
    _home: TempDir,
}

impl Key {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open_or_create(home.path().join("identity")).unwrap();
        let identity = Identity::open_or_create(&dir, &CertificateNames::new("test"), now()).unwrap();
        Self { identity, _home: home }
    }
}

/// A connection to a gateway.
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    _endpoint: Endpoint,
}

impl Peer {
    pub(crate) async fn dial(key: &Key, target: Target) -> Result<Self, ConnectionError> {
        Self::dial_with(key, target, wire::ALPN).await
    }

    pub(crate) async fn dial_with(key: &Key, target: Target, alpn: &[u8]) -> Result<Self, ConnectionError> {
        let (tls, _) =
            verify::client_config(&key.identity, target.fingerprint, alpn, KeyExchange::Classical).unwrap();
        let (endpoint, connecting) = transport::dial(target.address, tls, Congestion::default()).unwrap();
        Ok(Self { connection: connecting.await?, _endpoint: endpoint })
    }

    pub(crate) async fn open<R: Serialize + Sync>(
        &self,
        service: &str,
        request: &R,
    ) -> Result<Channel, OpenError> {
        channel::open(&self.connection, service, request).await.map(|(channel, _)| channel)
    }

    pub(crate) async fn join(&self, token: &Token) -> Result<JoinReply, OpenError> {
        self.join_as(&token.reveal(), "test").await
    }

    pub(crate) async fn join_as(&self, token: &str, name: &str) -> Result<JoinReply, OpenError> {
        let request = JoinRequest { token: token.to_owned(), name: name.to_owned() };
        let (_, body) = channel::open(&self.connection, SERVICE_JOIN, &request).await?;
        Ok(codec::decode::<_, 8192>(&body).unwrap())
    }

    /// Opens a sync; the gateway then waits for us.
    pub(crate) async fn sync(&self, direction: Direction, path: &[u8]) -> Result<Channel, OpenError> {
        let request = SyncRequest {
            direction,
            path: path.to_vec(),
            trailing_slash: false,
            options: SyncOptions::default(),
            selection: Selection::default(),
            top: Vec::new(),
            compares: false,
            backup: None,
        };
        self.open(SERVICE_SYNC, &request).await
    }

    /// What the gateway says when it closes the connection.
    pub(crate) async fn closed(&self) -> (Status, String) {
        match timeout(SOON, self.connection.closed()).await.expect("the gateway closes the connection") {
            ConnectionError::ApplicationClosed(close) => {
                let code = u16::try_from(u64::from(close.error_code)).unwrap();
                (Status::from_code(code), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("not closed by the gateway: {other}"),
        }
    }
}

/// The status and detail of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, OpenError>) -> (Status, String) {
    match result {
        Err(OpenError::Refused { status, detail, .. }) => (status, detail),
        other => panic!("not refused: {other:?}"),
    }
}

/// A reply of the metrics listener: status line and body.
pub(crate) async fn http_get(address: SocketAddr, path: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    timeout(SOON, stream.read_to_string(&mut reply)).await.unwrap().unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}
