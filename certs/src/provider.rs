//! The one place that names a provider of cryptography, and the order in which its algorithms are offered.
//!
//! Everything here is aws-lc through rustls: TLS 1.3 suites, key exchange, signatures, and the SHA-256 of fingerprints.
//! There is no process-wide default provider; whoever needs one asks for it here and passes it on.

use std::sync::Arc;

use rustls::{
    SupportedCipherSuite,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{self, cipher_suite as suite, kx_group},
    },
};

/// How the keys of a connection are agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519 together with ML-KEM-768 first, so that traffic recorded today stays closed to a later quantum computer;
    /// the classical groups remain for peers without it. Costs 1.2 KB in the first flight of either side.
    #[default]
    PostQuantum,
    /// Elliptic curves only, for links where every byte of a handshake counts.
    Classical,
}

/// The provider, offering `key_exchange` and TLS 1.3 suites only.
pub fn provider(key_exchange: KeyExchange) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(cpu_has_aes()),
        kx_groups: kx_groups(key_exchange),
        ..aws_lc_rs::default_provider()
    })
}

/// SHA-256 (FIPS 180-4) of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suite = suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a TLS 1.3 suite by its name");
    let digest = suite.common.hash_provider.hash(bytes);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

fn kx_groups(key_exchange: KeyExchange) -> Vec<&'static dyn SupportedKxGroup> {
    match key_exchange {
        KeyExchange::PostQuantum => vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        KeyExchange::Classical => vec![kx_group::X25519, kx_group::SECP256R1],
    }
}

/// The gateway takes the first suite of the controller's list, so the slower machine of a sensor and a workstation
/// decides as long as it dials. AES-128-GCM always stays in the list: QUIC protects its first packets with it
/// (RFC 9001 §5.2).
fn cipher_suites(cpu_has_aes: bool) -> Vec<SupportedCipherSuite> {
    let (aes_128, aes_256) = (suite::TLS13_AES_128_GCM_SHA256, suite::TLS13_AES_256_GCM_SHA384);
    let chacha = suite::TLS13_CHACHA20_POLY1305_SHA256;
    if cpu_has_aes { vec![aes_128, chacha, aes_256] } else { vec![chacha, aes_128, aes_256] }
}

/// Whether AES-GCM has instructions of its own here; without them it is several times slower than ChaCha20.
fn cpu_has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has_aes =
        std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has_aes =
        std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    has_aes
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, NamedGroup};

    use super::*;

    fn suite_names(cpu_has_aes: bool) -> Vec<CipherSuite> {
        cipher_suites(cpu_has_aes).iter().map(SupportedCipherSuite::suite).collect()
    }

    fn group_names(key_exchange: KeyExchange) -> Vec<NamedGroup> {
        provider(key_exchange).kx_groups.iter().map(|group| group.name()).collect()
    }

    #[test]
    fn the_cheapest_suite_for_the_processor_is_offered_first() {
        let (aes_128, aes_256) =
            (CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_256_GCM_SHA384);
        let chacha = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        assert_eq!(suite_names(true), [aes_128, chacha, aes_256]);
        assert_eq!(suite_names(false), [chacha, aes_128, aes_256]);
    }

    #[test]
    fn post_quantum_key_exchange_is_the_default_and_can_be_switched_off() {
        assert_eq!(
            group_names(KeyExchange::default()),
            [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1]
        );
        assert_eq!(group_names(KeyExchange::Classical), [NamedGroup::X25519, NamedGroup::secp256r1]);
    }

    #[test]
    fn no_suite_of_an_older_tls_is_offered() {
        assert!(provider(KeyExchange::PostQuantum).cipher_suites.iter().all(|suite| suite.tls13().is_some()));
    }
}
