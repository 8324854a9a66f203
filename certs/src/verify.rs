//! The TLS configurations by which the two ends recognise each other.
//!
//! A controller accepts exactly the gateway whose key it pinned. A gateway accepts any well-formed identity that proves
//! to hold its key: what that identity may do is decided afterwards, by its fingerprint and its grant. Names and
//! authorities play no part. TLS 1.3 only, both sides always show a certificate.
//!
//! Sessions are never resumed and no early data is taken: every connection proves both keys anew, so that a revoked
//! key cannot come back on an old ticket, and nothing that a peer asks can be replayed.

mod any_identity;
mod pinned_gateway;

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig, client::Resumption, server::NoServerSessionStorage, version::TLS13,
};
use rustls_pki_types::{CertificateDer, UnixTime};

pub use self::pinned_gateway::Observed;
use self::{any_identity::AnyIdentity, pinned_gateway::PinnedGateway};
use crate::{
    fingerprint::{CertificateError, Fingerprint},
    identity::Identity,
    provider::{KeyExchange, provider},
    validity::Validity,
};

/// What a controller with `identity` dials the gateway whose key is `gateway` with.
///
/// The second value tells afterwards which key was found there. It belongs to one connection: make a configuration for
/// each, or the later handshake's findings replace the earlier one's.
pub fn client_config(
    identity: &Identity,
    gateway: Fingerprint,
    alpn: &[u8],
    key_exchange: KeyExchange,
) -> Result<(ClientConfig, Observed), rustls::Error> {
    let provider = provider(key_exchange);
    let observed = Observed::default();
    let verifier = PinnedGateway::new(gateway, observed.clone(), provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![identity.certificate().clone()], identity.private_key())?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // The gateway has one certificate, and the network need not learn which host is meant.
    config.enable_sni = false;
    Ok((config, observed))
}

/// What a gateway with `identity` answers with. Whoever gets through holds the key of the certificate that it showed.
pub fn server_config(
    identity: &Identity,
    alpn: &[u8],
    key_exchange: KeyExchange,
) -> Result<ServerConfig, rustls::Error> {
    let provider = provider(key_exchange);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyIdentity::new(provider)))
        .with_single_cert(vec![identity.certificate().clone()], identity.private_key())?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The fingerprint of the peer, from the certificates that a finished handshake gives.
pub fn peer_fingerprint(certificates: &[CertificateDer<'_>]) -> Result<Fingerprint, CertificateError> {
    Fingerprint::of_certificate(certificates.first().ok_or(CertificateError::Missing)?)
}

/// Why a peer's certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Another key than the pinned one: another machine, or somebody in between.
    #[error("the gateway's key is {found}, but {expected} is pinned")]
    WrongKey {
        /// The pinned key's fingerprint.
        expected: Fingerprint,
        /// The fingerprint of the key that was shown.
        found: Fingerprint,
    },
    /// The certificate's time is over, or one of the two clocks is wrong.
    #[error("the peer's certificate has expired (or a clock is wrong)")]
    Expired,
    /// The certificate's time has not come, or one of the two clocks is wrong.
    #[error("the peer's certificate is not valid yet (or a clock is wrong)")]
    NotYetValid,
    /// What was shown is not one X.509 version 3 certificate.
    #[error("the peer's certificate is malformed")]
    Malformed,
    /// The certificate is somebody's, but whoever showed it does not hold its key.
    #[error("the peer does not hold the key of the certificate that it showed")]
    NotHeld,
}

impl From<CertificateError> for PinError {
    fn from(_: CertificateError) -> Self {
        Self::Malformed
    }
}

impl From<PinError> for rustls::Error {
    /// With the alert that tells the peer what it may know.
    fn from(err: PinError) -> Self {
        use rustls::CertificateError as Tls;
        Self::InvalidCertificate(match err {
            PinError::WrongKey { .. } => Tls::Other(rustls::OtherError(Arc::new(err))),
            PinError::Expired => Tls::Expired,
            PinError::NotYetValid => Tls::NotValidYet,
            PinError::Malformed => Tls::BadEncoding,
            PinError::NotHeld => Tls::BadSignature,
        })
    }
}

/// A peer shows its certificate and nothing more: a chain would be bytes that nobody looks at.
fn require_alone(intermediates: &[CertificateDer<'_>]) -> Result<(), PinError> {
    if intermediates.is_empty() { Ok(()) } else { Err(PinError::Malformed) }
}

fn require_valid(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), PinError> {
    let validity = Validity::of_certificate(certificate)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < validity.not_before {
        return Err(PinError::NotYetValid);
    }
    if now > validity.not_after { Err(PinError::Expired) } else { Ok(()) }
}

/// Unreachable with [`TLS13`] alone on offer, and a refusal if it were reached.
fn refuse_tls12() -> rustls::Error {
    rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls13RequiredForQuic)
}
