//! Identities on disk: the key stays through everything, the certificate is renewed in time.

use std::{fs, os::unix::fs::PermissionsExt, thread};

use swarmwire_certs::{
    CertificateNames, Fingerprint, Identity, PrivateDir,
    identity::{CERTIFICATE_FILE, IdentityError, KEY_FILE, LIFETIME},
};

use crate::{DAY, now};

fn names() -> CertificateNames {
    CertificateNames::new("swarmd").with_host("web1").with_host("::1")
}

/// A directory with an identity that was made at `now`.
fn with_identity() -> (tempfile::TempDir, PrivateDir, Identity) {
    let place = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(place.path().join("state")).unwrap();
    let identity = Identity::open_or_create(&dir, &names(), now()).unwrap();
    (place, dir, identity)
}

#[test]
fn an_identity_is_made_once_and_read_again() {
    let (_place, dir, made) = with_identity();
    let read = Identity::open_or_create(&dir, &names(), now() + DAY).unwrap();
    assert_eq!(read.certificate(), made.certificate());
    assert_eq!(read.private_key(), made.private_key());
    assert_eq!(read.fingerprint(), made.fingerprint());
    assert_eq!(Fingerprint::of_certificate(made.certificate()).unwrap(), made.fingerprint());
    for (file, first_line) in
        [(KEY_FILE, "-----BEGIN PRIVATE KEY-----"), (CERTIFICATE_FILE, "-----BEGIN CERTIFICATE-----")]
    {
        let path = dir.path().join(file);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().next().unwrap(), first_line);
    }
}

#[test]
fn two_identities_are_never_the_same() {
    assert_ne!(with_identity().2.fingerprint(), with_identity().2.fingerprint());
}

#[test]
fn a_certificate_with_a_third_of_its_time_left_stays_and_with_less_is_renewed() {
    let (_place, dir, made) = with_identity();
    let due = made.renewal_due();
    assert!(
        due > now() + LIFETIME / 2 && due < now() + LIFETIME * 2 / 3,
        "two thirds of the time, from one day before"
    );

    let kept = Identity::open_or_create(&dir, &names(), due - DAY).unwrap();
    assert_eq!(kept.certificate(), made.certificate());

    for late in [due, now() + LIFETIME + DAY, now() + 20 * LIFETIME] {
        let renewed = Identity::open_or_create(&dir, &names(), late).unwrap();
        assert_ne!(renewed.certificate(), made.certificate());
        assert_eq!(renewed.private_key(), made.private_key());
        assert_eq!(renewed.fingerprint(), made.fingerprint());
        assert!(renewed.renewal_due() > late);
        let read = Identity::open_or_create(&dir, &names(), late).unwrap();
        assert_eq!(read.certificate(), renewed.certificate(), "the renewed certificate is on the disk");
    }
}

#[test]
fn a_clock_that_was_set_back_renews_nothing() {
    let (_place, dir, made) = with_identity();
    let read = Identity::open_or_create(&dir, &names(), now() - 10 * LIFETIME).unwrap();
    assert_eq!(read.certificate(), made.certificate());
}

#[test]
fn a_certificate_that_is_missing_spoilt_or_of_another_key_is_issued_again() {
    let (_place, dir, made) = with_identity();
    let (_other_place, other_dir, _) = with_identity();
    let foreign = other_dir.read(CERTIFICATE_FILE).unwrap().unwrap();
    for content in
        [None, Some(&b""[..]), Some(b"garbage"), Some(&foreign[..foreign.len() / 2]), Some(&foreign)]
    {
        match content {
            Some(content) => dir.write(CERTIFICATE_FILE, content).unwrap(),
            None => assert!(dir.remove(CERTIFICATE_FILE).unwrap()),
        }
        let issued = Identity::open_or_create(&dir, &names(), now()).unwrap();
        assert_eq!(issued.fingerprint(), made.fingerprint());
        assert_eq!(Fingerprint::of_certificate(issued.certificate()).unwrap(), made.fingerprint());
    }
}

#[test]
fn a_key_file_without_a_key_is_named_and_left_alone() {
    let (_place, dir, _) = with_identity();
    let key = dir.read(KEY_FILE).unwrap().unwrap();
    let certificate = dir.read(CERTIFICATE_FILE).unwrap().unwrap();
    let empty_key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for garbage in [&b""[..], b"garbage", &key[..key.len() / 2], &certificate, empty_key] {
        dir.write(KEY_FILE, garbage).unwrap();
        let err = Identity::open_or_create(&dir, &names(), now()).unwrap_err();
        assert!(matches!(err, IdentityError::KeyMalformed { .. }), "{err}");
        assert!(err.to_string().contains(dir.path().join(KEY_FILE).to_str().unwrap()), "{err}");
        assert_eq!(dir.read(KEY_FILE).unwrap().unwrap(), garbage);
    }
}

#[test]
fn a_lost_key_is_not_replaced_behind_the_backs_of_those_who_pinned_it() {
    let (_place, dir, _) = with_identity();
    dir.remove(KEY_FILE).unwrap();
    let err = Identity::open_or_create(&dir, &names(), now()).unwrap_err();
    assert!(matches!(err, IdentityError::KeyMissing { .. }), "{err}");
    for file in [KEY_FILE, CERTIFICATE_FILE] {
        assert!(err.to_string().contains(dir.path().join(file).to_str().unwrap()), "{err}");
    }
    assert!(dir.read(KEY_FILE).unwrap().is_none());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (_place, dir, _) = with_identity();
    let path = dir.path().join(KEY_FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let message = Identity::open_or_create(&dir, &names(), now()).unwrap_err().to_string();
    assert!(message.contains(&format!("`chmod 600 {}`", path.display())), "{message}");
}

#[test]
fn many_first_starts_at_once_make_one_identity() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let start = || {
        let dir = PrivateDir::open_or_create(&path).unwrap();
        Identity::open_or_create(&dir, &names(), now()).unwrap().fingerprint()
    };
    let fingerprints: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]));
}
