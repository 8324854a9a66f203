//! What the crate promises, over real sockets and real directories.

mod faults;
mod pair;
mod peers;
mod sync;
