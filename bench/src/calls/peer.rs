//! Who calls and who answers: one file for each, with a server and a client that [`measure`](super::measure) drives.
//!
//! All of them are bound to the same two identities, the gateway's and the controller's, by the product's own TLS configurations: TLS 1.3, the same key
//! exchange, AES-128-GCM, both ends with a certificate. What lies above is each one's own: its defaults, unless its name says otherwise.

mod irpc;
mod quinn;
mod swarm;
mod tonic;

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use clap::ValueEnum;

use super::{
    end::{Place, Target},
    leaks,
    measure::{self, Measuring},
};
use crate::record::Call;

/// A program that calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// The gateway and controller libraries.
    Swarm,
    /// A bidirectional stream for each call, with our transport's configuration, and nothing above it.
    Quinn,
    /// gRPC over HTTP/2 and TLS.
    Tonic,
    /// The same with windows of 16 MiB.
    TonicLarge,
    /// irpc over noq, its QUIC.
    Irpc,
}

impl Peer {
    /// Its name and version, for a report.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Swarm => concat!("swarmwire ", env!("CARGO_PKG_VERSION")),
            Self::Quinn => "quinn 0.11, the floor: a stream for each call, with our configuration",
            Self::Tonic => "tonic 0.14 over tokio-rustls, its own window sizes, messages of plain bytes",
            Self::TonicLarge => "the same with windows of 16 MiB",
            Self::Irpc => "irpc 0.17 over noq 1.4, its own configuration",
        }
    }

    /// Whether it does this kind of work.
    pub(super) fn does(self, kind: super::Kind) -> bool {
        kind != super::Kind::Beside || self == Self::Swarm
    }

    /// Serves until the process is ended.
    pub(super) async fn serve(self, place: &Place, listen: SocketAddr) -> Result<()> {
        match self {
            Self::Swarm => swarm::serve(place, listen).await,
            Self::Quinn => quinn::serve(place, listen).await,
            Self::Tonic => tonic::serve(place, listen, tonic::Windows::Own).await,
            Self::TonicLarge => tonic::serve(place, listen, tonic::Windows::Large).await,
            Self::Irpc => irpc::serve(place, listen).await,
        }
    }

    /// Connects, and does the work.
    pub(super) async fn measure(self, target: &Target, measuring: &Measuring) -> Result<Call> {
        match self {
            Self::Swarm if measuring.work.kind == super::Kind::Beside => {
                swarm::Client::connect(target).await?.beside(measuring).await
            }
            Self::Swarm => measure::run(&swarm::Client::connect(target).await?, measuring).await,
            Self::Quinn => measure::run(&quinn::Client::connect(target).await?, measuring).await,
            Self::Tonic => {
                let client = tonic::Client::connect(target, tonic::Windows::Own).await?;
                measure::run(&client, measuring).await
            }
            Self::TonicLarge => {
                let client = tonic::Client::connect(target, tonic::Windows::Large).await?;
                measure::run(&client, measuring).await
            }
            Self::Irpc => measure::run(&irpc::Client::connect(target).await?, measuring).await,
        }
    }
}

/// Calls much and in many ways, and looks at what is left of it.
pub(super) async fn leak(target: &Target, arguments: &leaks::Arguments) -> Result<Vec<leaks::Held>> {
    swarm::Client::connect(target).await?.leak(target, arguments).await
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Swarm => "swarm",
            Self::Quinn => "quinn",
            Self::Tonic => "tonic",
            Self::TonicLarge => "tonic-large",
            Self::Irpc => "irpc",
        })
    }
}

/// A client with one connection.
pub(super) trait Caller {
    /// Items of a stream that does not end.
    type Items: Items;
    /// What keeps a stream open.
    type Idle;

    /// Sends bytes there and back.
    async fn call(&self, payload: Bytes) -> Result<Bytes>;

    /// Begins a stream of items of so many bytes.
    async fn items(&self, bytes: u32) -> Result<Self::Items>;

    /// Opens a stream that gives nothing; the server has it when this returns.
    async fn idle(&self) -> Result<Self::Idle>;
}

/// Items as they arrive.
pub(super) trait Items {
    /// Waits for the next, and says how many have been taken: one, where they are delivered singly.
    async fn take(&mut self) -> Result<u64>;
}

/// The content of a call and of an item.
pub(super) fn content(bytes: u32) -> Bytes {
    vec![7; usize::try_from(bytes).expect("usize has 32 bits or more")].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_called_what_the_command_line_calls_it() {
        for peer in Peer::value_variants() {
            let word = peer.to_possible_value().unwrap();
            assert_eq!(peer.to_string(), word.get_name());
        }
    }
}
