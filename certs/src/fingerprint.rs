//! The name of an identity: the SHA-256 of its public key.
//!
//! It covers the DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7, as RFC 7469 pins it), not the certificate, so that it
//! survives renewal. The key is taken out of a certificate by the same parser that later checks the handshake's
//! signature against it: two parsers that read one certificate differently would be a way around every pin.

use std::{fmt, str::FromStr};

use rustls::server::ParsedCertificate;
use rustls_pki_types::CertificateDer;

use crate::{
    hex::{self, HexError},
    provider::sha256,
};

/// SHA-256 of an identity's DER SubjectPublicKeyInfo. Shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of the key that `certificate` is about. Nothing else of the certificate is judged.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let parsed = ParsedCertificate::try_from(certificate).map_err(|_| CertificateError::Malformed)?;
        Ok(Self::of_spki(&parsed.subject_public_key_info()))
    }

    /// The fingerprint of a DER SubjectPublicKeyInfo.
    pub fn of_spki(spki_der: &[u8]) -> Self {
        Self(sha256(spki_der))
    }

    /// A fingerprint that was stored or sent as bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Takes 64 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        Ok(Self(hex::parse(text)?))
    }
}

/// Why a text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// It has this many characters instead of 64.
    #[error("a fingerprint has 64 hexadecimal digits, this has {0} characters")]
    Length(usize),
    /// One of its characters is no hexadecimal digit.
    #[error("a fingerprint has hexadecimal digits only (0-9, a-f)")]
    Digit,
}

impl From<HexError> for FingerprintError {
    fn from(err: HexError) -> Self {
        match err {
            HexError::Length(count) => Self::Length(count),
            HexError::Digit => Self::Digit,
        }
    }
}

/// Why there is no fingerprint of what a peer showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The peer showed none.
    #[error("the peer showed no certificate")]
    Missing,
    /// It is not an X.509 version 3 certificate in DER.
    #[error("the certificate is malformed")]
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_survives_being_written_down() {
        // SHA-256 of the empty string, FIPS 180-4's own example value.
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let fingerprint = Fingerprint::of_spki(b"");
        assert_eq!(fingerprint.to_string(), text);
        assert_eq!(format!("{fingerprint:?}"), text);
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(text.to_uppercase().parse(), Ok(fingerprint));
        assert_eq!(Fingerprint::from_bytes(*fingerprint.as_bytes()), fingerprint);
    }

    #[test]
    fn what_is_no_fingerprint_says_why() {
        for (text, err) in [
            (String::new(), FingerprintError::Length(0)),
            ("0".repeat(63), FingerprintError::Length(63)),
            ("0".repeat(65), FingerprintError::Length(65)),
            ("0".repeat(63) + "g", FingerprintError::Digit),
            ("ß".repeat(32), FingerprintError::Digit),
            ("+".to_owned() + &"0".repeat(63), FingerprintError::Digit),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(err), "{text}");
        }
    }

    #[test]
    fn garbage_is_no_certificate() {
        let garbage = CertificateDer::from(b"garbage".as_slice());
        assert_eq!(Fingerprint::of_certificate(&garbage), Err(CertificateError::Malformed));
    }
}
