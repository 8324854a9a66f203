//! The crate from outside: directories on a real disk, and handshakes between real configurations in memory.
//!
//! No clock is read and no socket opened: every test says what time it is, and bytes are carried by hand. The tests
//! hold for root too, whom permission bits do not stop: what is tested is our refusal, not the kernel's.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking, as the tests do")]

mod identity;
mod private;
mod tls;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use swarmwire_certs::{CertificateNames, Identity, PrivateDir};

/// The time in these tests: January 2027.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A new identity that was made at `made`.
fn identity_made_at(made: SystemTime) -> Identity {
    let place = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(place.path().join("state")).unwrap();
    Identity::open_or_create(&dir, &CertificateNames::new("test"), made).unwrap()
}
