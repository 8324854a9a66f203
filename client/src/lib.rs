//! The controller: the side that dials a gateway, as a library.
//!
//! [`Controller`] is one connection to one gateway and offers its services as methods; a process may hold many. [`Home`] is
//! where this machine keeps its identity, and [`gateways`] are those that it has joined. [`blocking`] is for programs without async.
//!
//! The binary `swarm` is a user of this library: its command line, output and exit codes are not here. Nothing here prints.

pub mod blocking;
pub mod controller;
pub mod gateways;
pub mod home;
pub mod offload;

pub use controller::{ConnectError, ConnectOptions, Controller, RequestError, Target};
pub use home::Home;
