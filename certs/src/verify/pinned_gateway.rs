//! The controller's side: exactly one key is the gateway's, and what was found instead is remembered.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{PinError, refuse_tls12, require_alone, require_valid};
use crate::fingerprint::Fingerprint;

/// What a handshake found at the gateway's address. Clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Observed(Arc<Mutex<Findings>>);

#[derive(Clone, Copy, Debug, Default)]
struct Findings {
    fingerprint: Option<Fingerprint>,
    rejection: Option<PinError>,
}

impl Observed {
    /// The key that was shown; `None` if the handshake did not come so far. Whoever showed it need not hold it, unless
    /// the handshake succeeded.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.findings().fingerprint
    }

    /// Why the gateway was refused; `None` if it was not, or failed for another reason.
    pub fn rejection(&self) -> Option<PinError> {
        self.findings().rejection
    }

    fn findings(&self) -> Findings {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Findings)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn reject(&self, reason: PinError) -> Error {
        self.update(|findings| findings.rejection = Some(reason));
        reason.into()
    }
}

/// Accepts the holder of one key.
#[derive(Debug)]
pub(super) struct PinnedGateway {
    expected: Fingerprint,
    observed: Observed,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedGateway {
    pub(super) fn new(
        expected: Fingerprint,
        observed: Observed,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { expected, observed, algorithms }
    }

    /// The key first: nothing else that a stranger's certificate says is worth reading.
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), PinError> {
        let found = Fingerprint::of_certificate(certificate)?;
        self.observed.update(|findings| findings.fingerprint = Some(found));
        if found != self.expected {
            return Err(PinError::WrongKey { expected: self.expected, found });
        }
        require_alone(intermediates)?;
        require_valid(certificate, now)
    }
}

impl ServerCertVerifier for PinnedGateway {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.observed.update(|findings| *findings = Findings::default());
        self.judge(end_entity, intermediates, now).map_err(|reason| self.observed.reject(reason))?;
        Ok(ServerCertVerified::assertion())
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
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
            .inspect_err(|_| self.observed.update(|findings| findings.rejection = Some(PinError::NotHeld)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
