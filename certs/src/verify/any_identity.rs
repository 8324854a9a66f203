//! The gateway's side: any identity may come in, if it is one.
//!
//! One self-signed certificate, valid now, whose own signature and whose handshake's signature are by its key. That is
//! all that TLS decides here; a stranger gets no further than presenting an invitation.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls13_signature},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{refuse_tls12, require_alone, require_valid};

/// Accepts every holder of a key with a certificate that it signed itself.
#[derive(Debug)]
pub(super) struct AnyIdentity {
    provider: Arc<CryptoProvider>,
}

impl AnyIdentity {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }

    /// Checks the certificate as one issued by itself, with all that the library asks of a client's certificate:
    /// signature, usage, no unknown critical extension, no authority.
    fn require_self_signed(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let mut issuer = RootCertStore::empty();
        issuer.add(certificate.clone())?;
        WebPkiClientVerifier::builder_with_provider(issuer.into(), Arc::clone(&self.provider))
            .build()
            .expect("a store with one certificate and no revocation lists")
            .verify_client_cert(certificate, &[], now)
            .map(drop)
    }
}

impl ClientCertVerifier for AnyIdentity {
    /// None: which identities are known is nobody's business before they have shown themselves.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        require_alone(intermediates)?;
        require_valid(end_entity, now)?;
        self.require_self_signed(end_entity, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
