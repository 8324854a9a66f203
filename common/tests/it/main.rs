//! What the crate promises, over real sockets and real directories.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails a test")]
#![expect(clippy::cast_possible_truncation, reason = "the sizes are the tests' own")]

mod attacks;
mod backing;
mod channel;
mod compressing;
mod datagrams;
mod delta;
mod digests;
mod faults;
mod goodbye;
mod guarded;
mod ledger;
mod mirroring;
mod model;
mod moved;
mod moving;
mod pair;
mod peers;
mod preserving;
mod rehearsing;
mod remembering;
mod selection;
mod sync;
