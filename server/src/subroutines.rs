//! Subroutines: functions that controllers call by name.
//!
//! A [`Subroutine`] is one of three kinds, made of an async function or of a blocking one, which gets a thread:
//!
//! - *batch*: arguments in, bytes out ([`Reply`]), with a batch id that grows with each call;
//! - *stream*: arguments in, a sequence of `(ident, bytes)` out, finite or endless;
//! - *send*: a buffer in ([`Input`]), an integer out.
//!
//! [`Subroutines`] is what a gateway has of them: names can be registered, replaced and removed at any time, and a call that runs keeps what it was begun with.
//! A function that fails or panics answers with its text. One whose caller is gone, or whose deadline has passed, is dropped where it waits;
//! a blocking one is told by [`Context::is_cancelled`] and keeps its handler until it returns.

mod arguments;
pub mod builtin;
pub mod command;
mod context;
mod failure;
mod guardian;
mod input;
mod kinds;
mod pace;
mod processes;
mod registry;

pub use arguments::{Args, FromArgs};
pub use context::Context;
pub use failure::Failure;
pub use input::Input;
pub use kinds::{Items, Reply, Subroutine};
pub use registry::{RegisterError, Subroutines};
pub(crate) use {
    context::{Cancel, Room},
    kinds::Function,
    registry::{Lookup, Registered, Serving},
};
