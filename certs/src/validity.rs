//! The span of time in which a certificate holds.
//!
//! The TLS library checks it too, where it builds a chain, but does not tell it; a pinned certificate has no chain, and
//! renewal needs the dates.

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::fingerprint::CertificateError;

/// From when until when, both inclusive (RFC 5280 §4.1.2.5), in seconds since 1970. Ill-formed spans never hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Validity {
    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let validity = parsed.validity();
        Ok(Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
    }

    /// The moment at which less than one part in `divisor` of the span is left.
    pub(crate) fn last_part_begins(self, divisor: u32) -> i64 {
        let span = self.not_after.saturating_sub(self.not_before).max(0);
        self.not_after.saturating_sub(span / i64::from(divisor))
    }
}
