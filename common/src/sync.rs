//! The sync engine: one directory transfer over one channel and its data streams.
//!
//! [`send`] is the source's half and [`receive`] the destination's; which of them runs at the gateway depends on the direction and is all
//! the same to them. Scanning, listing, planning, reading, hashing, sending, writing and committing overlap; each hand-over is a
//! bounded queue. Work on files is done by blocking threads that live as long as the sync; async tasks only move bytes between
//! queues and streams.
//!
//! Grants, dialling and retrying are not done here, and nothing is printed: a [`Tally`] counts while it runs and an [`Outcome`] tells
//! what became of it.

mod attributes;
mod change;
mod destination;
mod events;
mod in_hand;
mod ledger;
mod place;
#[doc(hidden)]
pub mod plan;
mod report;
mod rotation;
mod router;
mod source;
mod tally;
mod tree;
mod unit;

pub use events::{Event, EventQueue, Events, events};
pub use in_hand::FileInHand;
pub use ledger::{Ledger, Moved};
pub use place::{Destination, Guard, PlaceError, Source};
pub use report::{Failure, Outcome, Report, SyncError};
pub use router::{DataStreams, Router};
pub use source::LISTED_NOT_FOUND;
pub use tally::{Stage, Tally};

use std::{io, sync::Arc};

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    channel::{Channel, FrameError, FrameReceiver},
    limits,
    path::RelPath,
    transport::FlowControl,
    wire::sync::SyncOptions,
};

/// What a sync runs over: an accepted channel, its connection, and the data streams that arrive for it.
#[derive(Debug)]
pub struct Link {
    /// The connection, on which the source opens data streams.
    pub connection: quinn::Connection,
    /// The connection's windows, of which each data stream takes a share.
    pub flow: FlowControl,
    /// The `sync` channel after its opening handshake.
    pub channel: Channel,
    /// Data streams that the peer opens for this channel, from [`Router::register`].
    pub data: DataStreams,
}

/// Runs the source's half to its end. Dropping the future breaks the sync off: its threads end, the streams are reset.
pub async fn send(link: Link, source: Source, options: SyncOptions, tally: Arc<Tally>) -> Outcome {
    source::run(link, source, options.within_bounds(limits::JOBS_MAX), tally).await
}

/// Runs the destination's half to its end. Dropping the future breaks the sync off: its threads end, the streams are reset, nothing
/// unfinished becomes visible.
pub async fn receive(
    link: Link,
    destination: Destination,
    options: SyncOptions,
    tally: Arc<Tally>,
) -> Outcome {
    destination::run(link, destination, options.within_bounds(limits::JOBS_MAX), tally).await
}

/// The next message on the control stream, from a peer that does not say nothing for too long; `None` once it has finished the stream.
async fn next_message_or_end<T: DeserializeOwned>(recv: &mut FrameReceiver) -> Result<Option<T>, SyncError> {
    let message = recv.try_recv::<T, { limits::CONTROL_FRAME_BYTES_MAX }>();
    Ok(timeout(limits::SYNC_SILENCE_MAX, message).await.map_err(|_| FrameError::Silent)??)
}

/// As [`next_message_or_end`], where the stream must go on.
async fn next_message<T: DeserializeOwned>(recv: &mut FrameReceiver) -> Result<T, SyncError> {
    next_message_or_end(recv).await?.ok_or(SyncError::Link(FrameError::Ended))
}

/// How the sync ended, when a stream to or from the peer broke: the peer may be about to say it on the channel. A destination that
/// has all it wants breaks off what still comes, and that is no failure.
async fn told_or(
    err: SyncError,
    listening: impl Future<Output = Result<(), SyncError>>,
) -> Result<(), SyncError> {
    timeout(limits::LAST_WORD_TIMEOUT, listening).await.unwrap_or(Err(err))
}

/// `path` below `base`.
fn join(base: &RelPath, path: &RelPath) -> io::Result<RelPath> {
    path.components()
        .try_fold(base.clone(), |joined, name| joined.join(name))
        .map_err(|err| io::Error::new(io::ErrorKind::InvalidFilename, err))
}
