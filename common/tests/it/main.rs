//! What the crate promises, over real sockets and real directories.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod channel;
mod pair;
mod sync;
