//! From a first packet to an authenticated peer, or to a reason why not.
//!
//! TLS lets in any well-formed certificate of its own key (`swarmwire_certs::verify`); who that is, is decided by the connection.

use std::net::SocketAddr;

use quinn::{Connection, ConnectionError, Incoming};
use rustls_pki_types::CertificateDer;
use swarmwire_certs::{Fingerprint, verify};
use swarmwire_common::limits;
use tokio::time::timeout;

/// A peer after its handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its key, which it has proved to hold.
    pub(crate) fingerprint: Fingerprint,
    /// Where its packets come from.
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// The fingerprint's beginning: enough to find it in the list of clients, and to revoke it.
    pub(crate) fn short(&self) -> String {
        self.fingerprint.to_string()[..16].to_owned()
    }
}

/// Drives the handshake to its end, within `limits::CONNECT_TIMEOUT`.
pub(crate) async fn run(incoming: Incoming) -> Result<(Connection, Peer), Failure> {
    let connecting = incoming.accept().map_err(|err| Failure::of(&err))?;
    let connection = timeout(limits::CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| Failure::Timeout)?
        .map_err(|err| Failure::of(&err))?;
    let certificates =
        connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let fingerprint = verify::peer_fingerprint(certificates.as_deref().map_or(&[], Vec::as_slice))
        .map_err(|_| Failure::Certificate)?;
    let address = connection.remote_address();
    Ok((connection, Peer { fingerprint, address }))
}

/// Why a handshake failed: the `reason` of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The peer offers none of our application protocols.
    Alpn,
    /// One side does not accept the other's certificate.
    Certificate,
    /// The peer fell silent.
    Timeout,
    /// The peer speaks no QUIC version of ours.
    Version,
    /// The gateway had no room.
    Refused,
    /// Anything else that TLS or QUIC objects to.
    Other,
}

impl Failure {
    pub(crate) const ALL: [Self; 6] =
        [Self::Alpn, Self::Certificate, Self::Timeout, Self::Version, Self::Refused, Self::Other];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Alpn => "alpn",
            Self::Certificate => "certificate",
            Self::Timeout => "timeout",
            Self::Version => "version",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }

    pub(crate) fn of(err: &ConnectionError) -> Self {
        match err {
            ConnectionError::TransportError(err) => Self::of_code(err.code.into()),
            ConnectionError::ConnectionClosed(close) => Self::of_code(close.error_code.into()),
            ConnectionError::TimedOut => Self::Timeout,
            ConnectionError::VersionMismatch => Self::Version,
            _ => Self::Other,
        }
    }

    /// TLS alerts are QUIC errors 0x100 and up (RFC 9001 §4.8), numbered as RFC 8446 §6 has them.
    fn of_code(code: u64) -> Self {
        match code.checked_sub(0x100) {
            // no_application_protocol
            Some(120) => Self::Alpn,
            // bad_certificate to unknown_ca, access_denied, decrypt_error, and certificate_required
            Some(42..=49 | 51 | 116) => Self::Certificate,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn alerts_are_told_apart() {
        for (code, reason) in [
            (0x178, Failure::Alpn),
            (0x12a, Failure::Certificate),
            (0x130, Failure::Certificate),
            (0x174, Failure::Certificate),
            (0x128, Failure::Other),
            (0x0a, Failure::Other),
        ] {
            assert_eq!(Failure::of_code(code), reason, "{code:#x}");
        }
    }
}
