//! An identity: a key pair that stays, and a self-signed certificate over it that is renewed.
//!
//! Two files in a [`PrivateDir`]: `identity.key` (PKCS #8, PEM) and `identity.crt` (PEM). The key is made once and never
//! replaced by us, because every peer that pinned it would lock us out; a certificate that is missing, spoilt, made for
//! another key or near its end is issued again from the same key. Peers look at the key and at the validity; the names
//! in the certificate are for people and their tools.

use std::{
    fmt,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use crate::{
    fingerprint::Fingerprint,
    private::{PrivateDir, PrivateError},
    validity::Validity,
};

/// The file of the private key.
pub const KEY_FILE: &str = "identity.key";
/// The file of the certificate.
pub const CERTIFICATE_FILE: &str = "identity.crt";
/// The lock under which either is written.
const LOCK_FILE: &str = "identity.lock";

/// How long before its making a certificate begins to hold: a peer's clock may be this much behind ours. Chosen: wider
/// than any mistaken time zone (14 h).
pub const BACKDATED: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after its making a certificate holds. Chosen: under the 398 days that browsers tolerate, and a third of it,
/// the least that is left after a start, covers four months without another.
pub const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A certificate is renewed when less than one part in this many of its validity is left.
const RENEWAL_DIVISOR: u32 = 3;

/// The end of the year 9999, the last moment that X.509 can tell (RFC 5280 §4.1.2.5), in seconds since 1970.
const X509_SECONDS_MAX: u64 = 253_402_300_799;

/// A key pair and its certificate.
pub struct Identity {
    certificate: CertificateDer<'static>,
    private_key: PrivatePkcs8KeyDer<'static>,
    fingerprint: Fingerprint,
    validity: Validity,
}

impl Identity {
    /// Reads the identity in `dir`; makes what is missing and renews a certificate that is near its end.
    ///
    /// `names` go into a certificate that is made now; one that stands keeps its own until it is renewed. Blocks on
    /// the disk. Several processes may do this at once and get the same identity.
    pub fn open_or_create(
        dir: &PrivateDir,
        names: &CertificateNames,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::read_current(dir, now)? {
            return Ok(identity);
        }
        let _lock = dir.lock_blocking(LOCK_FILE)?;
        // Another process may have done the work while we waited.
        if let Some(identity) = Self::read_current(dir, now)? {
            return Ok(identity);
        }
        let key = match read_key(dir)? {
            Some(key) => key,
            None => make_key(dir)?,
        };
        let certificate = names.certificate_params(now)?.self_signed(&key).map_err(IdentityError::Issue)?;
        let identity =
            Self::assemble(certificate.der().clone(), &key).expect("a certificate just issued over this key");
        dir.write(CERTIFICATE_FILE, certificate.pem().as_bytes())?;
        tracing::info!(fingerprint = %identity.fingerprint, "issued a certificate");
        Ok(identity)
    }

    /// The name by which peers know this identity.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The self-signed certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The private key, for a TLS configuration.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.private_key.clone_key())
    }

    /// When [`Identity::open_or_create`] will issue a new certificate: a process that lives longer calls it again then.
    pub fn renewal_due(&self) -> SystemTime {
        let seconds = self.validity.last_part_begins(RENEWAL_DIVISOR);
        UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// What is stored, if the certificate is good for a while. One that is not valid yet is kept: our clock is the
    /// likelier to be wrong, peers judge by theirs, and a certificate issued by a wrong clock would hold nowhere.
    fn read_current(dir: &PrivateDir, now: SystemTime) -> Result<Option<Self>, IdentityError> {
        let Some(key) = read_key(dir)? else { return Ok(None) };
        let Some(pem) = dir.read(CERTIFICATE_FILE)? else { return Ok(None) };
        let Ok(certificate) = CertificateDer::from_pem_slice(&pem) else { return Ok(None) };
        Ok(Self::assemble(certificate, &key).filter(|identity| now < identity.renewal_due()))
    }

    /// Key and certificate together, if they belong together.
    fn assemble(certificate: CertificateDer<'static>, key: &KeyPair) -> Option<Self> {
        let fingerprint = Fingerprint::of_certificate(&certificate).ok()?;
        let validity = Validity::of_certificate(&certificate).ok()?;
        let private_key = PrivatePkcs8KeyDer::from(key.serialize_der());
        (fingerprint == Fingerprint::of_spki(&key.subject_public_key_info())).then_some(Self {
            certificate,
            private_key,
            fingerprint,
            validity,
        })
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            certificate: self.certificate.clone(),
            private_key: self.private_key.clone_key(),
            fingerprint: self.fingerprint,
            validity: self.validity,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// What a certificate says about its holder, for people and their tools; no peer of ours decides by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNames {
    /// The subject's common name, such as `swarmd` or the name of the host.
    pub common_name: String,
    /// Host names under which the holder is reached.
    pub dns_names: Vec<String>,
    /// Addresses under which the holder is reached.
    pub addresses: Vec<IpAddr>,
}

impl CertificateNames {
    /// A holder that is reached under no name, as a controller is.
    pub fn new(common_name: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), dns_names: Vec::new(), addresses: Vec::new() }
    }

    /// Adds a host name or, if `host` reads as one, an IP address.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Self {
        match host.parse() {
            Ok(address) => self.addresses.push(address),
            Err(_) => self.dns_names.push(host.to_owned()),
        }
        self
    }

    fn certificate_params(&self, now: SystemTime) -> Result<CertificateParams, IdentityError> {
        let since_1970 = now.duration_since(UNIX_EPOCH).map_err(|_| IdentityError::Clock)?;
        if since_1970.as_secs() > X509_SECONDS_MAX - LIFETIME.as_secs() {
            return Err(IdentityError::Clock);
        }
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let mut params = CertificateParams::default();
        params.not_before = epoch + since_1970.saturating_sub(BACKDATED);
        params.not_after = epoch + since_1970 + LIFETIME;
        // Unique among the certificates of one key, as RFC 5280 §4.1.2.2 asks of an issuer.
        params.serial_number = Some(since_1970.as_secs().into());
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        params.subject_alt_names = self.subject_alt_names()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // An identity may serve and dial: one machine can run `swarmd` and be another gateway's controller.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }

    fn subject_alt_names(&self) -> Result<Vec<SanType>, IdentityError> {
        let dns = self.dns_names.iter().map(|name| {
            let ascii = name.as_str().try_into().map_err(|_| IdentityError::HostName(name.clone()))?;
            Ok(SanType::DnsName(ascii))
        });
        dns.chain(self.addresses.iter().map(|&address| Ok(SanType::IpAddress(address)))).collect()
    }
}

fn read_key(dir: &PrivateDir) -> Result<Option<KeyPair>, IdentityError> {
    let Some(pem) = dir.read(KEY_FILE)? else { return Ok(None) };
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok().and_then(|der| KeyPair::try_from(&der).ok());
    match key {
        Some(key) => Ok(Some(key)),
        None => Err(IdentityError::KeyMalformed { key: dir.path().join(KEY_FILE) }),
    }
}

/// Makes a key and stores it. Ed25519: its signatures need no randomness (a board with a poor source just after boot
/// cannot give its key away, as it could with ECDSA), and key and signature have one small, fixed size.
fn make_key(dir: &PrivateDir) -> Result<KeyPair, IdentityError> {
    if dir.read(CERTIFICATE_FILE)?.is_some() {
        let path = dir.path();
        return Err(IdentityError::KeyMissing {
            key: path.join(KEY_FILE),
            certificate: path.join(CERTIFICATE_FILE),
        });
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(IdentityError::Issue)?;
    dir.write(KEY_FILE, key.serialize_pem().as_bytes())?;
    Ok(key)
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory or a file in it could not be used.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The key file holds something else. It is left as it is.
    #[error(
        "{} holds no private key (PKCS #8 in PEM): restore it from a backup, or move it and {CERTIFICATE_FILE} away \
         to become a new identity, which peers must join anew",
        key.display()
    )]
    KeyMalformed {
        /// The key file.
        key: PathBuf,
    },
    /// There was a key once, and peers may have pinned it.
    #[error(
        "{} is missing beside {}: restore it from a backup, or move the certificate away to become a new identity, \
         which peers must join anew",
        key.display(),
        certificate.display()
    )]
    KeyMissing {
        /// The key file.
        key: PathBuf,
        /// The certificate that was issued over it.
        certificate: PathBuf,
    },
    /// A host name that cannot stand in a certificate.
    #[error("the host name {0:?} cannot stand in a certificate: it must be ASCII")]
    HostName(String),
    /// The clock is before 1970 or near the year 10000.
    #[error("the system's clock is before 1970 or after 9998: set it")]
    Clock,
    /// The key or certificate could not be made.
    #[error("make a key and its certificate")]
    Issue(#[source] rcgen::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(names: &CertificateNames, now: SystemTime) -> Result<Identity, IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate = names.certificate_params(now)?.self_signed(&key).unwrap();
        Ok(Identity::assemble(certificate.der().clone(), &key).unwrap())
    }

    #[test]
    fn a_certificate_says_what_it_is_for_and_for_how_long() {
        use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let names = CertificateNames::new("web1").with_host("web1.example").with_host("192.0.2.7");
        let identity = issue(&names, now).unwrap();
        let (_, certificate) = X509Certificate::from_der(identity.certificate()).unwrap();

        assert_eq!(certificate.subject().to_string(), "CN=web1");
        assert_eq!(certificate.issuer(), certificate.subject());
        assert_eq!(certificate.validity().not_before.timestamp(), 1_800_000_000 - 86_400);
        assert_eq!(certificate.validity().not_after.timestamp(), 1_800_000_000 + 365 * 86_400);
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(
            names.value.general_names,
            [GeneralName::DNSName("web1.example"), GeneralName::IPAddress(&[192, 0, 2, 7])]
        );
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.flags == 1);
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && extended.client_auth && !extended.any);
        assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
    }

    #[test]
    fn a_clock_that_no_certificate_can_tell_is_an_error() {
        let names = CertificateNames::new("swarmd");
        for now in [UNIX_EPOCH - Duration::from_secs(1), UNIX_EPOCH + Duration::from_secs(X509_SECONDS_MAX)] {
            assert!(matches!(issue(&names, now), Err(IdentityError::Clock)));
        }
        // A board without a clock starts in 1970; its own certificate can still be made.
        assert!(issue(&names, UNIX_EPOCH).is_ok());
    }

    #[test]
    fn a_host_name_that_is_not_ascii_is_named() {
        let err = issue(&CertificateNames::new("swarmd").with_host("größe"), UNIX_EPOCH).unwrap_err();
        assert!(err.to_string().contains("größe"), "{err}");
    }

    #[test]
    fn debug_shows_no_key() {
        let identity = issue(&CertificateNames::new("swarmd"), UNIX_EPOCH).unwrap();
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity {{ fingerprint: {}, .. }}", identity.fingerprint())
        );
    }
}
