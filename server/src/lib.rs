//! The gateway: it listens, lets in whom it knows, and serves one root directory and the registered services.
//!
//! - [`gateway`] binds everything and owns every task; [`ShutdownHandle`] ends it.
//! - `connection` serves one controller: who it is, its channels, its revocation. `service` has one file per service.
//! - `pool` bounds how many channels are served at a time; [`grants`] says what one identity may do.
//! - [`state`] is the directory that survives a restart: [`clients`], [`invitations`], identity, recorded address.
//! - [`subroutines`] are functions that controllers call by name.
//! - [`metrics`] counts, `admin` shows the counts.
//!
//! The binary `swarmd` adds the command line. Moving a tree is `swarmwire_common::sync`'s work; nothing here touches a
//! file below the root except through `swarmwire_common::root`, and nothing below it is opened before the grant was asked.

mod admin;
pub mod clients;
mod connection;
pub mod gateway;
pub mod grants;
mod handshake;
mod hashing;
mod holds;
pub mod invitations;
pub mod metrics;
mod opening;
mod pool;
mod renewal;
mod service;
mod shutdown;
pub mod state;
mod store;
pub mod subroutines;

pub use gateway::{BindError, Gateway, GatewayOptions};
pub use shutdown::ShutdownHandle;
pub use store::StoreError;
