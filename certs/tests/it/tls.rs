//! Handshakes in memory between the configurations of both ends, and with ends that lie.
//!
//! Each refusal is asserted with its reason, at the end that refuses and, where it matters, at the other.

use std::{
    io::Cursor,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    AlertDescription, CertificateError as Tls, ClientConfig, ClientConnection, Connection, Error, NamedGroup,
    PeerIncompatible, ServerConfig, ServerConnection,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use swarmwire_certs::{
    Fingerprint, Identity, KeyExchange,
    fingerprint::CertificateError,
    identity::{BACKDATED, LIFETIME},
    provider::provider,
    verify::{Observed, PinError, client_config, peer_fingerprint, server_config},
};

use crate::{DAY, identity_made_at, now};

const ALPN: &[u8] = b"swarmwire/1";

#[derive(Debug)]
struct Clock(SystemTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.duration_since(UNIX_EPOCH).unwrap()))
    }
}

/// Shows whatever certificate it is given, signing with whatever key.
#[derive(Debug)]
struct Show(Arc<CertifiedKey>);

impl Show {
    fn new(certificates: Vec<CertificateDer<'static>>, key_of: &Identity) -> Arc<Self> {
        let key =
            provider(KeyExchange::Classical).key_provider.load_private_key(key_of.private_key()).unwrap();
        Arc::new(Self(Arc::new(CertifiedKey::new(certificates, key))))
    }
}

impl ResolvesServerCert for Show {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Show {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A controller and a gateway, about to meet.
struct Pair {
    client: ClientConfig,
    observed: Observed,
    server: ServerConfig,
}

impl Pair {
    fn new(controller: &Identity, pinned: Fingerprint, gateway: &Identity) -> Self {
        let (mut client, observed) = client_config(controller, pinned, ALPN, KeyExchange::default()).unwrap();
        let mut server = server_config(gateway, ALPN, KeyExchange::default()).unwrap();
        client.time_provider = Arc::new(Clock(now()));
        server.time_provider = Arc::new(Clock(now()));
        Self { client, observed, server }
    }

    /// Carries bytes to and fro until neither side has anything to say, and gives what became of each.
    fn meet(&self) -> Met {
        let name = ServerName::try_from("gateway.invalid").unwrap();
        let mut client = ClientConnection::new(Arc::new(self.client.clone()), name).unwrap().into();
        let mut server = ServerConnection::new(Arc::new(self.server.clone())).unwrap().into();
        let (mut client_end, mut server_end) = (Ok(()), Ok(()));
        loop {
            let moved = carry(&mut client, &mut server, &mut server_end)
                + carry(&mut server, &mut client, &mut client_end);
            if moved == 0 {
                return Met { client, client_end, server, server_end };
            }
        }
    }
}

struct Met {
    client: Connection,
    client_end: Result<(), Error>,
    server: Connection,
    server_end: Result<(), Error>,
}

/// Moves what `from` has to say to `to`, keeps the first error of `to`, and says how many bytes that were.
fn carry(from: &mut Connection, to: &mut Connection, end: &mut Result<(), Error>) -> usize {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut reader = Cursor::new(&bytes);
    while end.is_ok() && to.read_tls(&mut reader).unwrap() > 0 {
        *end = to.process_new_packets().map(drop);
    }
    bytes.len()
}

fn peer_of(connection: &Connection) -> Result<Fingerprint, CertificateError> {
    peer_fingerprint(connection.peer_certificates().unwrap_or_default())
}

fn good() -> Identity {
    identity_made_at(now())
}

#[test]
fn with_the_right_pin_both_see_each_others_fingerprint() {
    let (controller, gateway) = (good(), good());
    let pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
    let met = pair.meet();
    assert_eq!((met.client_end, met.server_end), (Ok(()), Ok(())));
    assert!(!met.client.is_handshaking() && !met.server.is_handshaking());
    assert_eq!(peer_of(&met.client), Ok(gateway.fingerprint()));
    assert_eq!(peer_of(&met.server), Ok(controller.fingerprint()));
    assert_eq!(pair.observed.fingerprint(), Some(gateway.fingerprint()));
    assert_eq!(pair.observed.rejection(), None);
    for connection in [&met.client, &met.server] {
        assert_eq!(connection.alpn_protocol(), Some(ALPN));
        assert_eq!(connection.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    }
}

#[test]
fn post_quantum_keys_are_agreed_on_unless_one_side_switches_them_off() {
    let (controller, gateway) = (good(), good());
    let pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
    let group = |met: &Met| met.client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group(&pair.meet()), NamedGroup::X25519MLKEM768);

    let mut server = server_config(&gateway, ALPN, KeyExchange::Classical).unwrap();
    server.time_provider = Arc::new(Clock(now()));
    assert_eq!(group(&Pair { server, ..pair }.meet()), NamedGroup::X25519);
}

#[test]
fn every_connection_proves_both_keys_anew() {
    let (controller, gateway) = (good(), good());
    let pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
    for _ in 0..2 {
        let met = pair.meet();
        assert_eq!(met.client.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(met.server.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn a_wrong_key_is_refused_with_both_fingerprints_before_the_controller_shows_itself() {
    let (controller, gateway, pinned) = (good(), good(), good().fingerprint());
    let pair = Pair::new(&controller, pinned, &gateway);
    let met = pair.meet();
    let found = gateway.fingerprint();
    assert_eq!(pair.observed.rejection(), Some(PinError::WrongKey { expected: pinned, found }));
    assert_eq!(pair.observed.fingerprint(), Some(found));
    let message = met.client_end.unwrap_err().to_string();
    assert!(message.contains(&pinned.to_string()) && message.contains(&found.to_string()), "{message}");
    assert!(matches!(met.server_end, Err(Error::AlertReceived(_))), "{:?}", met.server_end);
    assert_eq!(peer_of(&met.server), Err(CertificateError::Missing));
}

#[test]
fn a_wrong_key_is_the_reason_even_if_the_certificate_has_expired_too() {
    let (gateway, pinned) = (identity_made_at(now() - 2 * LIFETIME), good().fingerprint());
    let pair = Pair::new(&good(), pinned, &gateway);
    pair.meet();
    let found = gateway.fingerprint();
    assert_eq!(pair.observed.rejection(), Some(PinError::WrongKey { expected: pinned, found }));
}

#[test]
fn a_gateway_is_judged_by_its_time() {
    for (made, rejection, error) in [
        (now() - LIFETIME - DAY, Some(PinError::Expired), Some(Tls::Expired)),
        (now() - LIFETIME, None, None),
        (now() + BACKDATED, None, None),
        (now() + BACKDATED + DAY, Some(PinError::NotYetValid), Some(Tls::NotValidYet)),
    ] {
        let gateway = identity_made_at(made);
        let pair = Pair::new(&good(), gateway.fingerprint(), &gateway);
        let met = pair.meet();
        assert_eq!(pair.observed.rejection(), rejection);
        assert_eq!(pair.observed.fingerprint(), Some(gateway.fingerprint()));
        assert_eq!(met.client_end.err(), error.map(Error::InvalidCertificate));
    }
}

#[test]
fn a_controller_is_judged_by_its_time_and_told_so() {
    for (made, error) in [
        (now() - LIFETIME - DAY, Some(Tls::Expired)),
        (now() - LIFETIME, None),
        (now() + BACKDATED + DAY, Some(Tls::NotValidYet)),
    ] {
        let gateway = good();
        let met = Pair::new(&identity_made_at(made), gateway.fingerprint(), &gateway).meet();
        let is_refused = error.is_some();
        assert_eq!(met.server_end.err(), error.map(Error::InvalidCertificate));
        let alert = Err(Error::AlertReceived(AlertDescription::CertificateExpired));
        assert_eq!(met.client_end, if is_refused { alert } else { Ok(()) });
    }
}

#[test]
fn a_controller_without_a_certificate_is_refused() {
    let (controller, gateway) = (good(), good());
    let mut pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
    pair.client.client_auth_cert_resolver = Show::new(vec![], &controller);
    let met = pair.meet();
    assert_eq!(met.server_end, Err(Error::NoCertificatesPresented));
    assert_eq!(met.client_end, Err(Error::AlertReceived(AlertDescription::CertificateRequired)));
}

#[test]
fn a_gateway_that_shows_anothers_certificate_is_refused() {
    let (gateway, impostor) = (good(), good());
    let mut pair = Pair::new(&good(), gateway.fingerprint(), &impostor);
    pair.server.cert_resolver = Show::new(vec![gateway.certificate().clone()], &impostor);
    let met = pair.meet();
    assert_eq!(met.client_end, Err(Error::InvalidCertificate(Tls::BadSignature)));
    assert_eq!(pair.observed.rejection(), Some(PinError::NotHeld));
}

#[test]
fn a_controller_that_shows_anothers_certificate_is_refused() {
    let (controller, impostor, gateway) = (good(), good(), good());
    let mut pair = Pair::new(&impostor, gateway.fingerprint(), &gateway);
    pair.client.client_auth_cert_resolver = Show::new(vec![controller.certificate().clone()], &impostor);
    assert_eq!(pair.meet().server_end, Err(Error::InvalidCertificate(Tls::BadSignature)));
}

#[test]
fn a_controllers_certificate_must_be_signed_by_its_own_key() {
    let (controller, gateway) = (good(), good());
    let mut spoilt = controller.certificate().to_vec();
    // The signature is the last part of a certificate (RFC 5280 §4.1).
    *spoilt.last_mut().unwrap() ^= 1;
    let mut pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
    pair.client.client_auth_cert_resolver = Show::new(vec![spoilt.into()], &controller);
    assert_eq!(pair.meet().server_end, Err(Error::InvalidCertificate(Tls::BadSignature)));
}

#[test]
fn a_chain_is_refused_on_both_sides() {
    let (controller, gateway) = (good(), good());
    let chain = |identity: &Identity| vec![identity.certificate().clone(), good().certificate().clone()];

    let mut pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
    pair.client.client_auth_cert_resolver = Show::new(chain(&controller), &controller);
    assert_eq!(pair.meet().server_end, Err(Error::InvalidCertificate(Tls::BadEncoding)));

    let mut pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
    pair.server.cert_resolver = Show::new(chain(&gateway), &gateway);
    assert_eq!(pair.meet().client_end, Err(Error::InvalidCertificate(Tls::BadEncoding)));
    assert_eq!(pair.observed.rejection(), Some(PinError::Malformed));
}

#[test]
fn garbage_for_a_certificate_is_refused_on_both_sides() {
    let (controller, gateway) = (good(), good());
    let garbage = || vec![CertificateDer::from(b"garbage".to_vec())];
    let trailing = |identity: &Identity| vec![[&identity.certificate()[..], b"x"].concat().into()];

    for shown in [garbage(), trailing(&controller)] {
        let mut pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
        pair.client.client_auth_cert_resolver = Show::new(shown, &controller);
        assert_eq!(pair.meet().server_end, Err(Error::InvalidCertificate(Tls::BadEncoding)));
    }
    for shown in [garbage(), trailing(&gateway)] {
        let mut pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
        pair.server.cert_resolver = Show::new(shown, &gateway);
        assert_eq!(pair.meet().client_end, Err(Error::InvalidCertificate(Tls::BadEncoding)));
        assert_eq!(pair.observed.rejection(), Some(PinError::Malformed));
        assert_eq!(pair.observed.fingerprint(), None);
    }
}

#[test]
fn another_application_protocol_is_refused() {
    let (controller, gateway) = (good(), good());
    let mut pair = Pair::new(&controller, gateway.fingerprint(), &gateway);
    pair.client.alpn_protocols = vec![b"swarmwire/2".to_vec()];
    let met = pair.meet();
    assert_eq!(met.server_end, Err(Error::NoApplicationProtocol));
    assert_eq!(met.client_end, Err(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

/// A ClientHello as TLS 1.2 has it (RFC 5246 §7.4.1.2): one modern suite, X25519, and no `supported_versions`.
fn tls12_client_hello() -> Vec<u8> {
    let extensions = [
        &[0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x1d][..], // supported_groups: x25519
        &[0x00, 0x0b, 0x00, 0x02, 0x01, 0x00],                 // ec_point_formats: uncompressed
        &[0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x08, 0x07],     // signature_algorithms: ed25519
        &[0x00, 0x17, 0x00, 0x00],                             // extended_master_secret
    ]
    .concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let mut body = [&[0x03, 0x03][..], &[7; 32], &[0x00]].concat(); // version, random, no session
    body.extend([0x00, 0x02, 0xc0, 0x2b, 0x01, 0x00]); // ECDHE_ECDSA_AES_128_GCM_SHA256, no compression
    body.extend([&length(&extensions)[..], &extensions].concat());
    let message = [&[0x01, 0x00][..], &length(&body), &body].concat();
    [&[0x16, 0x03, 0x01][..], &length(&message), &message].concat()
}

#[test]
fn tls12_is_refused() {
    let server = server_config(&good(), ALPN, KeyExchange::default()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    server.read_tls(&mut Cursor::new(tls12_client_hello())).unwrap();
    let err = server.process_new_packets().unwrap_err();
    assert_eq!(err, Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired));
    let mut answer = Vec::new();
    server.write_tls(&mut answer).unwrap();
    // A fatal alert (RFC 8446 §6): content type 21, level 2, `protocol_version` 70.
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
}
