//! irpc: requests of a Rust enum as postcard, a stream for each, over noq, which is the QUIC of its authors.
//!
//! Configured as noq is by itself, but for how many streams may be open, of which its hundred would not do for the idle ones.

use std::{net::SocketAddr, sync::Arc};

use ::irpc::{
    Client as Irpc, WithChannels,
    channel::{mpsc, oneshot},
    rpc::{RemoteService, handle_connection},
    rpc_requests,
};
use anyhow::{Context, Result};
use bytes::Bytes;
use noq::{
    ClientConfig, Endpoint, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use serde::{Deserialize, Serialize};
use swarmwire_certs::{KeyExchange, verify};
use swarmwire_common::limits;
use tokio::task::JoinSet;

use super::{Caller, content};
use crate::calls::end::{Place, Target};

const ALPN: &[u8] = b"lab-irpc";

/// Requests that wait for the server, and items for the client where they do not cross a wire.
const QUEUED: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
struct Echo(Bytes);

#[derive(Debug, Serialize, Deserialize)]
struct Stream {
    /// None for one that gives nothing but its first.
    bytes: Option<u32>,
}

#[rpc_requests(message = Message, no_spans)]
#[derive(Debug, Serialize, Deserialize)]
enum Protocol {
    #[rpc(tx = oneshot::Sender<Bytes>)]
    Echo(Echo),
    #[rpc(tx = mpsc::Sender<Bytes>)]
    Stream(Stream),
}

pub(super) async fn serve(place: &Place, listen: SocketAddr) -> Result<()> {
    let identity = place.begin()?;
    let tls = verify::server_config(&identity, ALPN, KeyExchange::default())?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(limits::CHANNELS_MAX));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::server(config, listen)?;
    place.announce(endpoint.local_addr()?, identity.fingerprint())?;
    let (sender, mut requests) = mpsc::channel::<Message>(QUEUED);
    let handler = Protocol::remote_handler(sender.into());
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(incoming) = endpoint.accept() => {
                let handler = Arc::clone(&handler);
                tasks.spawn(async move {
                    handle_connection(incoming.await?, handler).await?;
                    Ok(())
                });
            }
            message = requests.recv() => {
                let Some(message) = message? else { return Ok(()) };
                tasks.spawn(answer(message));
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn answer(message: Message) -> Result<()> {
    match message {
        Message::Echo(WithChannels { inner: Echo(bytes), tx, .. }) => tx.send(bytes).await?,
        Message::Stream(WithChannels { inner: Stream { bytes: Some(bytes) }, tx, .. }) => {
            let item = content(bytes);
            loop {
                tx.send(item.clone()).await?;
            }
        }
        Message::Stream(WithChannels { tx, .. }) => {
            tx.send(Bytes::new()).await?;
            tx.closed().await;
        }
    }
    Ok(())
}

/// A client, which connects with its first request.
pub(super) struct Client {
    inner: Irpc<Protocol>,
}

impl Client {
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        let address = target.address()?;
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(target.tls(ALPN)?)?));
        let endpoint = Endpoint::client(SocketAddr::new(address.ip(), 0))?;
        endpoint.set_default_client_config(config);
        let client = Self { inner: Irpc::noq(endpoint, address) };
        client.call(Bytes::new()).await.context("failed to connect")?;
        Ok(client)
    }
}

impl Caller for Client {
    type Items = mpsc::Receiver<Bytes>;
    type Idle = mpsc::Receiver<Bytes>;

    async fn call(&self, payload: Bytes) -> Result<Bytes> {
        Ok(self.inner.rpc(Echo(payload)).await?)
    }

    async fn items(&self, bytes: u32) -> Result<mpsc::Receiver<Bytes>> {
        Ok(self.inner.server_streaming(Stream { bytes: Some(bytes) }, QUEUED).await?)
    }

    async fn idle(&self) -> Result<mpsc::Receiver<Bytes>> {
        let mut stream = self.inner.server_streaming(Stream { bytes: None }, QUEUED).await?;
        stream.recv().await?.context("the stream is at its end")?;
        Ok(stream)
    }
}

impl super::Items for mpsc::Receiver<Bytes> {
    async fn take(&mut self) -> Result<u64> {
        self.recv().await?.context("the stream is at its end")?;
        Ok(1)
    }
}
