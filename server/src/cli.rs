//! The command line: clap derive and nothing else. The comments are the help.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use swarmwire_common::size::parse_size;
use swarmwire_server::{
    grants::{DEFAULT_OPERATIONS, Operations},
    invitations::DEFAULT_LIFETIME,
};

use crate::config::MetricsAddress;

/// Serve a directory to the machines that have joined, over one encrypted QUIC connection each.
///
/// The first start makes an identity. `swarmd invite` then prints the line by which another machine joins.
#[derive(Debug, Parser)]
#[command(name = "swarmd", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// What `swarmd` does instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the line by which one machine may join, once. Works while the gateway runs or not.
    Invite(InviteArgs),
    /// List who has joined, and what each may do.
    Clients(ClientsArgs),
    /// End what a machine may do. Its open connections end within a second.
    Revoke(RevokeArgs),
}

/// How to serve. Flags come before the environment, the environment before the configuration file.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Directory to serve. Required, here or in the configuration file.
    #[arg(long, value_name = "DIR", env = "SWARMWIRE_ROOT")]
    pub(crate) root: Option<PathBuf>,
    /// UDP address to listen on [default: 0.0.0.0:4433]
    #[arg(long, value_name = "ADDR", env = "SWARMWIRE_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// TCP address for /metrics and /healthz, or `off` [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR", env = "SWARMWIRE_METRICS")]
    pub(crate) metrics: Option<MetricsAddress>,
    /// Directory for identity, clients and invitations [default: $SWARMWIRE_HOME/gateway, or
    /// ~/.local/state/swarmwire/gateway]
    #[arg(long, value_name = "DIR", env = "SWARMWIRE_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "SWARMWIRE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Transfers and listings served at the same time; more are answered `busy` [default: 64]
    #[arg(long, value_name = "N", env = "SWARMWIRE_HANDLERS")]
    pub(crate) handlers: Option<usize>,
    /// How long running transfers may take to end after SIGTERM or SIGINT [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) drain: Option<Duration>,
    /// Bytes of unfinished large files that interrupted pushes may leave in the root, the oldest going first; 0 for none [default: 64GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, env = "SWARMWIRE_PARTIAL_LIMIT")]
    pub(crate) partial_limit: Option<u64>,
    /// How log lines on standard error look [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// How connections agree on keys [default: post-quantum]
    #[arg(long, value_name = "KIND")]
    pub(crate) key_exchange: Option<KeyExchangeKind>,
    /// How fast connections send, which is what pulls go by; a push goes by the choice of `swarm` [default: auto]
    #[arg(long, value_name = "KIND", env = "SWARMWIRE_CONGESTION")]
    pub(crate) congestion: Option<CongestionKind>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// How connections agree on keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyExchangeKind {
    /// X25519 with ML-KEM-768 where the peer has it
    #[default]
    PostQuantum,
    /// Elliptic curves only
    Classical,
}

/// How fast connections send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CongestionKind {
    /// As fast as the path delivers, with short queues, whatever it loses by chance
    #[default]
    Auto,
    /// CUBIC, which slows down for every loss
    Cubic,
    /// An early BBR, which slows down for none and fills queues
    Bbr,
}

/// What the invited machine may do, and until when it may come.
#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// Operations, separated by commas: list, pull, push, delete, call, call:GLOB, admin
    #[arg(long, value_name = "LIST", default_value = DEFAULT_OPERATIONS)]
    pub(crate) allow: Operations,
    /// Path below the root to which it is confined [default: the whole root]
    #[arg(long, value_name = "PREFIX")]
    pub(crate) path: Option<std::ffi::OsString>,
    /// How long the invitation can be used
    #[arg(long, value_name = "DURATION", default_value_t = DEFAULT_LIFETIME.into())]
    pub(crate) expires: humantime::Duration,
    /// Name or address under which the other machine reaches this one [default: the address that the gateway listens
    /// on, or the host's name if that is any]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) host: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArg,
}

/// How to list.
#[derive(Debug, Args)]
pub(crate) struct ClientsArgs {
    /// Print one JSON object per client
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) state: StateArg,
}

/// Whom to revoke.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Fingerprint as `swarmd clients` shows it, or its first 8 digits or more
    pub(crate) fingerprint: String,
    #[command(flatten)]
    pub(crate) state: StateArg,
}

/// Which gateway.
#[derive(Debug, Args)]
pub(crate) struct StateArg {
    /// The gateway's state directory [default: $SWARMWIRE_HOME/gateway, or ~/.local/state/swarmwire/gateway]
    #[arg(long, value_name = "DIR", env = "SWARMWIRE_STATE")]
    pub(crate) state: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
