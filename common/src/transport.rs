//! The only place that builds QUIC configuration: endpoints, windows, timers, datagram sizes.
//!
//! It takes finished TLS configurations (`swarmwire_certs::verify`) and gives quinn endpoints. Trust is not decided here.

mod congestion;
mod flow;
mod goodbye;
mod memory;
mod room;
mod route;
mod socket;

use std::{io, net::SocketAddr, sync::Arc};

use quinn::{
    ClientConfig, ConnectError, Connecting, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    Runtime, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};
use socket2::{Domain, Protocol, Socket, Type};

pub use congestion::Congestion;
pub(crate) use flow::data_streams;
pub use flow::{Budget, FlowControl, Share};
pub use goodbye::close;
pub use memory::{PathMemory, SeenPath};
pub use room::ChannelRoom;
use socket::BoundedSocket;

use crate::limits;

/// Binds a listening endpoint. Must be called within a tokio runtime, which then drives the endpoint.
pub fn bind_gateway(
    address: SocketAddr,
    tls: rustls::ServerConfig,
    congestion: Congestion,
) -> Result<Endpoint, TransportError> {
    let config = server_config(tls, congestion)?;
    endpoint(Some(config), address, limits::DATAGRAM_BYTES_MAX)
}

/// The configuration of incoming connections, which have the window of a stranger until they have [`FlowControl`]; an endpoint that listens can be
/// given another for those to come.
pub fn server_config(
    tls: rustls::ServerConfig,
    congestion: Congestion,
) -> Result<ServerConfig, TransportError> {
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut transport = transport_config(congestion, limits::DATAGRAM_BYTES_MAX);
    transport
        .receive_window(VarInt::from_u32(limits::STRANGER_WINDOW_BYTES))
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::CHANNELS_OFFERED));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Begins a connection to `remote` from a port of the system's choice, on an endpoint of its own. Must be called within a tokio runtime, which
/// then drives the endpoint. The handshake fails unless the gateway's certificate satisfies `tls`; no name is compared.
pub fn dial(
    remote: SocketAddr,
    tls: rustls::ClientConfig,
    congestion: Congestion,
) -> Result<(Endpoint, Connecting), DialError> {
    /// The name in the TLS handshake. Gateways have one certificate and are known by its key, so the name says nothing, and the host's own is
    /// nobody's business on the way.
    const SERVER_NAME: &str = "swarmwire";
    let local = match remote {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    let datagram_bytes = route::datagram_bytes(remote);
    let mut config =
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(TransportError::from)?));
    config.transport_config(Arc::new(transport_config(congestion, datagram_bytes)));
    let endpoint = endpoint(None, local, datagram_bytes)?;
    let connecting = endpoint.connect_with(config, remote, SERVER_NAME)?;
    Ok((endpoint, connecting))
}

/// An endpoint that takes datagrams of up to `datagram_bytes`, as it tells each peer.
fn endpoint(
    config: Option<ServerConfig>,
    local: SocketAddr,
    datagram_bytes: u16,
) -> Result<Endpoint, TransportError> {
    let mut taking = EndpointConfig::default();
    taking.max_udp_payload_size(datagram_bytes).expect("never below the minimum of 1,200");
    let runtime = Arc::new(TokioRuntime);
    let socket = BoundedSocket::new(runtime.wrap_udp_socket(udp_socket(local)?)?);
    Ok(Endpoint::new_with_abstract_socket(taking, config, Arc::new(socket), runtime)?)
}

/// `datagram_bytes` are the largest that are tried.
fn transport_config(congestion: Congestion, datagram_bytes: u16) -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(datagram_bytes);
    let idle = IdleTimeout::try_from(limits::IDLE_TIMEOUT).expect("a constant below 2^62 ms");
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(limits::KEEP_ALIVE_INTERVAL))
        // Only controllers open channels.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(limits::DATA_STREAMS_OFFERED))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(limits::CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(limits::CONNECTION_WINDOW_BYTES))
        .initial_mtu(limits::DATAGRAM_BYTES_INITIAL)
        .mtu_discovery_config(Some(discovery))
        .datagram_receive_buffer_size(None)
        .congestion_controller_factory(Arc::new(goodbye::Windows::new(congestion)));
    config
}

/// A UDP socket with large buffers; the kernel may grant less (`net.core.rmem_max`), which costs speed and nothing else.
fn udp_socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // One socket for both families where the address is the wildcard, as operators expect of `[::]`.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    for result in [
        socket.set_recv_buffer_size(limits::SOCKET_BUFFER_BYTES),
        socket.set_send_buffer_size(limits::SOCKET_BUFFER_BYTES),
    ] {
        if let Err(err) = result {
            tracing::debug!(%err, "the kernel keeps its own socket buffer size");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The socket could not be made or bound.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The TLS configuration lacks the cipher suite that protects QUIC's first packets (RFC 9001 §5).
    #[error("the TLS configuration has no AES-128-GCM suite")]
    Tls(#[from] NoInitialCipherSuite),
}

/// Why no connection was begun.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There is no endpoint to dial from.
    #[error(transparent)]
    Endpoint(#[from] TransportError),
    /// The address cannot be dialled.
    #[error(transparent)]
    Address(#[from] ConnectError),
}
