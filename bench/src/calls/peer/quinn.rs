//! The floor: quinn with our transport's configuration and windows, a stream for each call, one byte that says what is meant, and nothing above it.
//!
//! Items are not told apart: what arrives is counted in their size, which is the ceiling of what any framing could deliver.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use swarmwire_certs::{KeyExchange, verify};
use swarmwire_common::{
    limits,
    transport::{self, Congestion, FlowControl, Share},
};
use tokio::task::JoinSet;

use super::{Caller, content};
use crate::calls::{
    AT_A_TIME,
    end::{Place, Target},
};

const ALPN: &[u8] = b"lab-echo";

/// The first byte of a stream.
const ECHO: u8 = 0;
const ITEMS: u8 = 1;
const IDLE: u8 = 2;

/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// Bytes that are written at once, at least.
const WRITE_BYTES: u32 = 64 * 1024;

pub(super) async fn serve(place: &Place, listen: SocketAddr) -> Result<()> {
    let identity = place.begin()?;
    let tls = verify::server_config(&identity, ALPN, KeyExchange::default())?;
    let endpoint = transport::bind_gateway(listen, tls, Congestion::default())?;
    place.announce(endpoint.local_addr()?, identity.fingerprint())?;
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        connections.spawn(async move {
            if let Ok(connection) = incoming.await {
                serve_connection(connection).await;
            }
        });
    }
    Ok(())
}

async fn serve_connection(connection: Connection) {
    let _room = room(&connection);
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(limits::CHANNELS_MAX));
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => { streams.spawn(serve_stream(send, recv)); }
                Err(_) => return,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn serve_stream(mut send: SendStream, mut recv: RecvStream) -> Result<()> {
    let mut request = Bytes::from(recv.read_to_end(REQUEST_BYTES_MAX).await?);
    ensure!(!request.is_empty(), "the request says nothing");
    match request.split_to(1)[0] {
        ECHO => {
            send.write_chunk(request).await?;
            send.finish()?;
        }
        ITEMS => {
            let bytes = u32::from_be_bytes(request[..].try_into()?);
            let item = content(bytes.max(WRITE_BYTES));
            loop {
                send.write_chunk(item.clone()).await?;
            }
        }
        _ => {
            send.write_all(&[0]).await?;
            let _ = send.stopped().await;
        }
    }
    Ok(())
}

/// Windows for as many calls as are made at a time, as ours have.
fn room(connection: &Connection) -> Share {
    FlowControl::of(connection, None).share(AT_A_TIME as usize)
}

/// A connection.
pub(super) struct Client {
    connection: Connection,
    _room: Share,
    _endpoint: Endpoint,
}

impl Client {
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        let (endpoint, connecting) =
            transport::dial(target.address()?, target.tls(ALPN)?, Congestion::default())?;
        let connection = connecting.await.context("failed to connect")?;
        let room = room(&connection);
        Ok(Self { connection, _room: room, _endpoint: endpoint })
    }

    async fn ask(&self, kind: u8, request: Bytes) -> Result<(SendStream, RecvStream)> {
        let (mut send, recv) = self.connection.open_bi().await?;
        send.write_all_chunks(&mut [Bytes::copy_from_slice(&[kind]), request]).await?;
        send.finish()?;
        Ok((send, recv))
    }
}

/// A stream whose bytes are counted in items.
pub(super) struct Items {
    recv: RecvStream,
    item_bytes: u64,
    rest: u64,
}

impl Caller for Client {
    type Items = Items;
    type Idle = (SendStream, RecvStream);

    async fn call(&self, payload: Bytes) -> Result<Bytes> {
        let (_send, mut recv) = self.ask(ECHO, payload).await?;
        Ok(recv.read_to_end(REQUEST_BYTES_MAX).await?.into())
    }

    async fn items(&self, bytes: u32) -> Result<Items> {
        let (_send, recv) = self.ask(ITEMS, Bytes::copy_from_slice(&bytes.to_be_bytes())).await?;
        Ok(Items { recv, item_bytes: bytes.into(), rest: 0 })
    }

    async fn idle(&self) -> Result<(SendStream, RecvStream)> {
        let (send, mut recv) = self.ask(IDLE, Bytes::new()).await?;
        recv.read_exact(&mut [0]).await?;
        Ok((send, recv))
    }
}

impl super::Items for Items {
    async fn take(&mut self) -> Result<u64> {
        loop {
            let Some(chunk) = self.recv.read_chunk(usize::MAX, true).await? else {
                bail!("the stream is at its end");
            };
            self.rest += chunk.bytes.len() as u64;
            let items = self.rest / self.item_bytes;
            self.rest %= self.item_bytes;
            if items > 0 {
                return Ok(items);
            }
        }
    }
}
