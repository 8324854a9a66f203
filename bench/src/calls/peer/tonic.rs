//! gRPC: tonic's server and channel over TLS by tokio-rustls, with messages that are plain bytes, so that nobody encodes or needs `protoc`.
//!
//! tonic's own TLS would choose another cipher than the others; so the streams that it is given are encrypted already.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{Context as Task, Poll},
};

use ::tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::Grpc as ClientGrpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::{self, uri::PathAndQuery},
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
    transport::{Channel, Endpoint, Server, Uri},
};
use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use hyper_util::rt::TokioIo;
use swarmwire_certs::{KeyExchange, verify};
use swarmwire_common::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, server::TlsStream};
use tower::{Service, service_fn};

use super::{Caller, content};
use crate::calls::end::{Place, Target};

/// As HTTP/2 is called in a TLS handshake.
const ALPN: &[u8] = b"h2";

const ECHO: &str = "/lab.Calls/Echo";
const ITEMS: &str = "/lab.Calls/Items";
const IDLE: &str = "/lab.Calls/Idle";

/// How far either end may be ahead of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Windows {
    /// As tonic has it.
    Own,
    /// 16 MiB of a stream and of the connection.
    Large,
}

impl Windows {
    fn bytes(self) -> Option<u32> {
        (self == Self::Large).then_some(16 << 20)
    }
}

pub(super) async fn serve(place: &Place, listen: SocketAddr, windows: Windows) -> Result<()> {
    let identity = place.begin()?;
    let tls = verify::server_config(&identity, ALPN, KeyExchange::default())?;
    let listener = TcpListener::bind(listen).await?;
    place.announce(listener.local_addr()?, identity.fingerprint())?;
    Server::builder()
        .initial_stream_window_size(windows.bytes())
        .initial_connection_window_size(windows.bytes())
        .max_concurrent_streams(limits::CHANNELS_MAX)
        .add_service(Calls)
        .serve_with_incoming(encrypted(listener, TlsAcceptor::from(Arc::new(tls))))
        .await?;
    Ok(())
}

/// Connections as they come.
fn encrypted(
    listener: TcpListener,
    acceptor: TlsAcceptor,
) -> impl Stream<Item = std::io::Result<TlsStream<TcpStream>>> {
    stream::unfold((listener, acceptor), async |(listener, acceptor)| {
        let accepted = async {
            let (stream, _) = listener.accept().await?;
            // As tonic's own listener does.
            stream.set_nodelay(true)?;
            acceptor.accept(stream).await
        };
        Some((accepted.await, (listener, acceptor)))
    })
}

/// The service, by hand as `protoc` would write it.
#[derive(Clone, Copy, Debug)]
struct Calls;

impl NamedService for Calls {
    const NAME: &'static str = "lab.Calls";
}

impl Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc = Grpc::new(Plain);
        async move {
            Ok(match request.uri().path() {
                ECHO => grpc.unary(Echo, request).await,
                _ => grpc.server_streaming(Items, request).await,
            })
        }
        .boxed()
    }
}

struct Echo;

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(Response::new(request.into_inner())))
    }
}

struct Items;

impl ServerStreamingService<Bytes> for Items {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    /// Items of so many bytes as are asked for, or none for ever.
    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let items = match <[u8; 4]>::try_from(&request.get_ref()[..]) {
            Ok(bytes) => stream::repeat(content(u32::from_be_bytes(bytes))).map(Ok).boxed(),
            Err(_) => stream::pending().boxed(),
        };
        std::future::ready(Ok(Response::new(items)))
    }
}

/// A channel of one connection.
pub(super) struct Client {
    grpc: ClientGrpc<Channel>,
}

impl Client {
    pub(super) async fn connect(target: &Target, windows: Windows) -> Result<Self> {
        let address = target.address()?;
        let connector = TlsConnector::from(Arc::new(target.tls(ALPN)?));
        let dial = service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(address.ip().into(), stream).await?))
            }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .initial_stream_window_size(windows.bytes())
            .initial_connection_window_size(windows.bytes());
        let channel = endpoint.connect_with_connector(dial).await.context("failed to connect")?;
        Ok(Self { grpc: ClientGrpc::new(channel) })
    }

    async fn stream(&self, path: &'static str, request: Bytes) -> Result<Streaming<Bytes>> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await?;
        let path = PathAndQuery::from_static(path);
        Ok(grpc.server_streaming(Request::new(request), path, Plain).await?.into_inner())
    }
}

impl Caller for Client {
    type Items = Streaming<Bytes>;
    type Idle = Streaming<Bytes>;

    async fn call(&self, payload: Bytes) -> Result<Bytes> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await?;
        let path = PathAndQuery::from_static(ECHO);
        Ok(grpc.unary(Request::new(payload), path, Plain).await?.into_inner())
    }

    async fn items(&self, bytes: u32) -> Result<Streaming<Bytes>> {
        self.stream(ITEMS, Bytes::copy_from_slice(&bytes.to_be_bytes())).await
    }

    async fn idle(&self) -> Result<Streaming<Bytes>> {
        self.stream(IDLE, Bytes::new()).await
    }
}

impl super::Items for Streaming<Bytes> {
    async fn take(&mut self) -> Result<u64> {
        self.message().await?.context("the stream is at its end")?;
        Ok(1)
    }
}

/// Messages that are bytes.
#[derive(Clone, Copy, Debug)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
