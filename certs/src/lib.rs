//! Who is who in a swarm: identities, their certificates and fingerprints, the pinning of peers, and invitations.
//!
//! It makes and keeps a key (`identity`, in a `private` directory), names it (`fingerprint`), builds the TLS
//! configurations that accept a peer by its key alone (`verify`, on the one `provider` of cryptography), and reads and
//! writes the line by which somebody new is let in (`invitation`).
//!
//! It does not decide what a known identity may do (the gateway's grants do), opens no socket, prints nothing and reads
//! no clock: time is an argument. Secrets are never shown by `Debug`, by an error or by a log line.

pub mod fingerprint;
mod hex;
pub mod identity;
pub mod invitation;
pub mod private;
pub mod provider;
mod validity;
pub mod verify;

pub use fingerprint::Fingerprint;
pub use identity::{CertificateNames, Identity};
pub use invitation::{JoinUri, Token, TokenHash};
pub use private::PrivateDir;
pub use provider::KeyExchange;
