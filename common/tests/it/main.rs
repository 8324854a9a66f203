//! What the crate promises, over real sockets and real directories.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails a test")]
#![expect(clippy::cast_possible_truncation, reason = "the sizes are the tests' own")]

mod attacks;
mod backing;
mod channel;
mod compressing;
mod delta;
mod faults;
mod goodbye;
mod mirroring;
mod moving;
mod pair;
mod peers;
mod rehearsing;
mod selection;
mod sync;
