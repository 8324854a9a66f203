//! Pings on a `ping` channel of a connection to a gateway, and pushes over that connection.
//!
//! The channel is opened once and stays open, as ssh's session does: each ping is one round trip on it. The library's `Controller::ping` opens a
//! channel for each, which a user pays for with a round trip more; and it does not count that one, so that a gateway which stalls would be seen by
//! few of its pings. So the connection is made here of the parts that `Controller` is made of: the home, the pinned key, the
//! transport's configuration, channels and the sync engine are the product's own.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use swarmwire_certs::{Identity, KeyExchange, verify};
use swarmwire_client::{Home, Target};
use swarmwire_common::{
    channel::{self, Channel, FrameReceiver, FrameSender, Opening},
    limits,
    path::RelPath,
    root::Root,
    sync::{self, Link, Router, Source, Tally},
    transport::{self, Congestion, FlowControl},
    wire::{
        self,
        open::{SERVICE_PING, SERVICE_SYNC},
        status::Status,
        sync::{Compress, Direction, Durability, Selection, SyncOptions, SyncRequest},
    },
};
use tokio::time::timeout;

use super::{Arguments, Incoming, Outgoing, PING_BYTES, Sample, blocking};

/// How long the goodbye may take, as in the controller.
const GOODBYE_TIME_MAX: Duration = Duration::from_millis(2);

/// One connection.
#[derive(Debug)]
struct Connection {
    endpoint: quinn::Endpoint,
    inner: quinn::Connection,
    flow: FlowControl,
}

/// Dials the gateway that the controller at `home` has joined, and pings as told.
pub(super) async fn measure(home: &Path, arguments: &Arguments) -> Result<Sample> {
    let connection = Connection::dial(home).await.context("failed to connect to the gateway")?;
    let (channel, _) = channel::open(&connection.inner, SERVICE_PING, &()).await?;
    let Channel { send, recv } = channel;
    let push = async |tree: &Path, name: &str| connection.push(tree, name).await;
    let sample = super::measure(send, recv, arguments, push).await;
    connection.close().await;
    sample
}

impl Connection {
    async fn dial(home: &Path) -> Result<Self> {
        let (target, identity) = known(home)?;
        let address = tokio::net::lookup_host((target.host.as_str(), target.port)).await?.next();
        let address = address.with_context(|| format!("{target} has no address"))?;
        let (tls, _) = verify::client_config(&identity, target.gateway, wire::ALPN, KeyExchange::default())?;
        let (endpoint, connecting) = transport::dial(address, tls, Congestion::default())?;
        let inner = timeout(limits::CONNECT_TIMEOUT, connecting)
            .await
            .with_context(|| format!("no answer from {address}"))??;
        let flow = FlowControl::of(&inner, None);
        Ok(Self { endpoint, inner, flow })
    }

    /// Pushes the contents of `tree` into the directory `name` of the gateway.
    async fn push(&self, tree: &Path, name: &str) -> Result<()> {
        let tree = tree.to_owned();
        let open = move || Ok(Source::open(Arc::new(Root::open(&tree)?), RelPath::root(), None)?);
        let source = blocking(open).await?;
        // As everywhere in the laboratory, nobody compresses.
        let options =
            SyncOptions { durability: Durability::None, compress: Compress::Never, ..SyncOptions::default() };
        let request = SyncRequest {
            direction: Direction::Push,
            path: name.as_bytes().to_vec(),
            trailing_slash: true,
            options,
            selection: Selection::default(),
            top: Vec::new(),
            compares: false,
            backup: None,
        };
        let opening = Opening::begin(&self.inner, SERVICE_SYNC, &request).await?;
        // The gateway opens no data streams in a push: nobody has to accept them.
        let data = Router::new().register(opening.id());
        let (channel, _) = opening.reply().await?;
        let link = Link { connection: self.inner.clone(), flow: self.flow.clone(), channel, data };
        let outcome = Box::pin(sync::send(link, source, options, Arc::new(Tally::default()))).await;
        if let Some(error) = outcome.error {
            return Err(error.into());
        }
        match outcome.report.failed.first() {
            Some(failure) => bail!("{} failed: {}", failure.path, failure.reason),
            None => Ok(()),
        }
    }

    async fn close(self) {
        transport::close(&self.inner, Status::Ok, b"");
        // Whoever does not hear it finds out by itself, and is ended soon.
        let _ = timeout(GOODBYE_TIME_MAX, self.endpoint.wait_idle()).await;
    }
}

/// The gateway that the controller at `home` has joined, and who the controller is.
fn known(home: &Path) -> Result<(Target, Identity)> {
    let home = Home::open(home)?;
    let gateways = home.gateways()?;
    let (_, target) = gateways.iter().next().context("no gateway has been joined")?;
    Ok((target.clone(), home.identity(now())?))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an edge: certificates are made and checked with the time handed down"
)]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

impl Outgoing for FrameSender {
    async fn send(&mut self, ping: &[u8; PING_BYTES]) -> Result<()> {
        Ok(self.send_bytes(ping).await?)
    }
}

impl Incoming for FrameReceiver {
    async fn receive(&mut self) -> Result<[u8; PING_BYTES]> {
        let echo = self.try_recv_bytes(PING_BYTES).await?.context("the gateway has closed the channel")?;
        echo.try_into().ok().context("the echo is shorter than what was sent")
    }
}
