//! Frames on streams: what every conversation is made of.
//!
//! [`FrameSender`] and [`FrameReceiver`] put length-prefixed messages on one QUIC stream; [`Channel`] is a pair of them after the
//! opening handshake, which [`Opening`] does for the controller; the gateway's half is where its refusals are. Deadlines are the
//! caller's, save that an opening ends within `limits::REPLY_TIMEOUT`.

mod error;
mod receiver;
mod sender;

use quinn::{Connection, RecvStream, SendStream};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    codec, limits,
    transport::FlowControl,
    wire::{
        self,
        open::{Open, Reply},
        status::Status,
    },
};

pub use error::{FrameError, OpenError};
pub use receiver::FrameReceiver;
pub use sender::{FrameSender, framed};

/// One bidirectional stream after its opening handshake.
#[derive(Debug)]
pub struct Channel {
    /// Towards the peer.
    pub send: FrameSender,
    /// From the peer.
    pub recv: FrameReceiver,
}

impl Channel {
    /// A channel on these two halves of a stream. It is a conversation, and comes before bulk on the same connection: data streams, and channels while they
    /// carry much content.
    pub fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { send: FrameSender::conversation(send), recv: FrameReceiver::new(recv) }
    }

    /// The QUIC stream id, which data streams name in their preamble.
    pub fn id(&self) -> u64 {
        self.send.id()
    }

    /// Accepts the request, with the service's reply.
    pub async fn reply_ok<R: Serialize + Sync>(&mut self, body: &R) -> Result<(), FrameError> {
        let reply = Reply {
            status: Status::Ok.into(),
            detail: String::new(),
            retry_after_ms: 0,
            body: codec::encode(body),
        };
        self.send.send(&reply).await
    }
}

/// A channel that is about to be opened: it has its id, and the gateway has heard nothing of it.
///
/// Whoever expects data streams registers the id with the connection's router before [`Opening::reply`], since the gateway may
/// open them right behind its reply.
#[derive(Debug)]
pub struct Opening {
    channel: Channel,
    open: Open,
}

impl Opening {
    /// Takes a stream of `connection` for a request to `service`, within `limits::REPLY_TIMEOUT`. Nothing is sent. Cancel-safe.
    pub async fn begin<R: Serialize + Sync>(
        connection: &Connection,
        service: &str,
        request: &R,
    ) -> Result<Self, OpenError> {
        let opened = timeout(limits::REPLY_TIMEOUT, connection.open_bi()).await;
        let (send, recv) =
            opened.map_err(|_| OpenError::NoReply)?.map_err(|err| OpenError::Lost(err.into()))?;
        let channel = Channel::new(send, recv);
        let open =
            Open { version: wire::VERSION, service: service.to_owned(), request: codec::encode(request) };
        Ok(Self { channel, open })
    }

    /// Gives the channel that it will be a share of its connection's windows, as long as its receiving half lives.
    #[must_use]
    pub fn sharing(mut self, flow: &FlowControl) -> Self {
        self.channel.recv.hold(flow.share(1));
        self
    }

    /// The id that the channel will have.
    pub fn id(&self) -> u64 {
        self.channel.id()
    }

    /// Sends the request and waits for the gateway's reply; gives the channel and the reply's body.
    ///
    /// Not cancel-safe: a dropped future ends the channel.
    pub async fn reply(self) -> Result<(Channel, Vec<u8>), OpenError> {
        let mut channel = self.ask().await?;
        let body = channel.recv.reply().await?;
        Ok((channel, body))
    }

    /// Sends the request; the reply is to be taken by [`FrameReceiver::reply`]. Not cancel-safe: a dropped future ends the channel.
    pub async fn ask(self) -> Result<Channel, OpenError> {
        let Self { mut channel, open } = self;
        // A gateway that takes no bytes does not answer either.
        let asked = timeout(limits::REPLY_TIMEOUT, channel.send.send(&open)).await;
        asked.map_err(|_| OpenError::NoReply)?.map_err(OpenError::Lost)?;
        Ok(channel)
    }
}

/// Opens a channel to `service` that has no data streams: [`Opening::begin`] and [`Opening::reply`] in one.
///
/// Not cancel-safe: a dropped future ends the channel.
pub async fn open<R: Serialize + Sync>(
    connection: &Connection,
    service: &str,
    request: &R,
) -> Result<(Channel, Vec<u8>), OpenError> {
    Opening::begin(connection, service, request).await?.reply().await
}
