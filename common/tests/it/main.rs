//! What the crate promises, over real sockets and real directories.

mod pair;
mod sync;
