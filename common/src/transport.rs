//! The only place that builds QUIC configuration: endpoints, windows, timers, datagram sizes.
//!
//! It takes finished TLS configurations (`swarmwire_certs::verify`) and gives quinn endpoints. Trust is not decided here.

mod congestion;
mod goodbye;
mod memory;
mod room;
mod socket;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, Runtime,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};
use socket2::{Domain, Protocol, Socket, Type};

pub use congestion::Congestion;
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
    endpoint(Some(config), address)
}

/// The configuration of incoming connections, which have the window of a stranger until [`widen`]; an endpoint that listens can be
/// given another for those to come.
pub fn server_config(
    tls: rustls::ServerConfig,
    congestion: Congestion,
) -> Result<ServerConfig, TransportError> {
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut transport = transport_config(congestion);
    transport
        .receive_window(VarInt::from_u32(limits::STRANGER_WINDOW_BYTES))
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::CHANNELS_OFFERED));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Gives a connection the windows that its path needs, once it is known whose it is. They follow from the round trip as it is now, after
/// the handshake, so a short path holds no more memory for the sake of long ones.
pub fn widen(connection: &Connection) {
    let window = window_bytes(connection.rtt());
    connection.set_receive_window(VarInt::from_u32(window));
    connection.set_send_window(u64::from(window).max(limits::SEND_WINDOW_BYTES));
}

/// Data streams that fill the window of a connection with this round trip, but for what is left for control.
pub(crate) fn data_streams(rtt: Duration) -> usize {
    /// Windows of a stream that are left for control.
    const CONTROL_WINDOWS: usize = 2;
    let streams = window_bytes(rtt) / limits::STREAM_WINDOW_BYTES;
    let streams = usize::try_from(streams).expect("usize has 32 bits or more");
    (streams - CONTROL_WINDOWS).clamp(limits::DATA_STREAMS, limits::DATA_STREAMS_MAX)
}

/// Bytes that the streams of a connection may be ahead of their readers.
fn window_bytes(rtt: Duration) -> u32 {
    let path = u128::from(limits::PATH_RATE_BYTES) * rtt.as_micros() / 1_000_000;
    let window = path * u128::from(limits::WINDOW_ROUND_TRIPS);
    u32::try_from(window)
        .unwrap_or(u32::MAX)
        .clamp(limits::CONNECTION_WINDOW_BYTES, limits::CONNECTION_WINDOW_BYTES_MAX)
}

/// Binds a dialling endpoint on a port of the system's choice, of the family of `remote`.
pub fn bind_controller(remote: SocketAddr) -> Result<Endpoint, TransportError> {
    let local = match remote {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    endpoint(None, local)
}

/// The configuration of one outgoing connection.
pub fn client_config(
    tls: rustls::ClientConfig,
    congestion: Congestion,
) -> Result<ClientConfig, TransportError> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport_config(congestion)));
    Ok(config)
}

fn endpoint(config: Option<ServerConfig>, local: SocketAddr) -> Result<Endpoint, TransportError> {
    let runtime = Arc::new(TokioRuntime);
    let socket = BoundedSocket::new(runtime.wrap_udp_socket(udp_socket(local)?)?);
    Ok(Endpoint::new_with_abstract_socket(endpoint_config(), config, Arc::new(socket), runtime)?)
}

fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(limits::DATAGRAM_BYTES_MAX).expect("a constant above the minimum of 1,200");
    config
}

fn transport_config(congestion: Congestion) -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(limits::DATAGRAM_BYTES_MAX);
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
        .send_window(limits::SEND_WINDOW_BYTES)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_streams_grow_with_the_round_trip_and_only_then() {
        for (ms, window, streams) in [
            (0, limits::CONNECTION_WINDOW_BYTES, limits::DATA_STREAMS),
            (20, limits::CONNECTION_WINDOW_BYTES, limits::DATA_STREAMS),
            (40, 15_000_000, 5),
            (100, 37_500_000, 15),
            (150, limits::CONNECTION_WINDOW_BYTES_MAX, limits::DATA_STREAMS_MAX),
            (60_000, limits::CONNECTION_WINDOW_BYTES_MAX, limits::DATA_STREAMS_MAX),
        ] {
            let rtt = Duration::from_millis(ms);
            assert_eq!((window_bytes(rtt), data_streams(rtt)), (window, streams), "{ms} ms");
        }
    }
}
