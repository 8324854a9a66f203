//! The two directions of the control stream, seen from the destination.
//!
//! The reader hands listings to the planner and takes note of what will not come; the writer sends what the threads have to say and, in between, the
//! counts, by which the source also knows that we live.

use std::time::Instant;

use async_channel::{Receiver, Sender};
use tokio::time::{interval, timeout};

use super::{Duplicate, Shared, UNWANTED, Work, attributes, duplicates, farewell};
use crate::{
    channel::{FrameError, FrameReceiver, FrameSender},
    limits,
    path::RelPath,
    sync::{SyncError, next_message},
    wire::{
        status::Status,
        sync::{Counts, DestinationMessage, SourceMessage},
    },
};

/// Takes what the source says. Ends only with the sync.
pub(super) async fn read(
    recv: &mut FrameReceiver,
    shared: &Shared,
    blocks: Sender<SourceMessage>,
    work: Sender<Work>,
) -> Result<(), SyncError> {
    let mut order = Order::default();
    loop {
        let message = next_message(recv).await?;
        match message {
            SourceMessage::Listing { entries, .. } if entries.len() > limits::BLOCK_ENTRIES_MAX => {
                return Err(SyncError::Protocol("a listing block has too many entries"));
            }
            SourceMessage::Top { .. }
            | SourceMessage::Listing { .. }
            | SourceMessage::ListingDigest { .. }
            | SourceMessage::ListingEnd { .. } => {
                check_extras(&message, shared)?;
                order.check(&message)?;
                blocks.send(message).await.map_err(|_| shared.ended_by("it lists entries after the end"))?;
            }
            SourceMessage::Failed { index, path, reason } => {
                let path =
                    RelPath::from_wire(path).map_err(|_| SyncError::Protocol("it names an invalid path"))?;
                match index {
                    Some(index) => {
                        shared.withdraw(index)?;
                        shared.note_absent(index);
                    }
                    None => shared.extraneous.note_incomplete(),
                }
                shared.named.failed(&shared.tally, path, &reason);
            }
            SourceMessage::Skipped { path, kind } => {
                let path =
                    RelPath::from_wire(path).map_err(|_| SyncError::Protocol("it names an invalid path"))?;
                shared.extraneous.note_skipped(&path);
                shared.named.skipped(&shared.tally, path, kind);
            }
            SourceMessage::Same { index, hash } => {
                let same = Work::Same(index, hash);
                work.send(same).await.map_err(|_| shared.ended_by("it spoke after the end"))?;
            }
            SourceMessage::Duplicate { .. } if shared.options.dry_run => return Err(UNWANTED),
            SourceMessage::Duplicate { index, of, hash } => {
                duplicates::note(shared, Duplicate { index, of, hash })?;
            }
            SourceMessage::Differs { index } => {
                if !shared.bases.differs(index) {
                    return Err(SyncError::Protocol(
                        "it compares a file of which it was told nothing that could",
                    ));
                }
            }
            SourceMessage::NotRemoved { index, reason } => farewell::not_removed(shared, index, &reason)?,
            SourceMessage::Farewell { .. } => {
                return Err(SyncError::Protocol("it says goodbye before the end"));
            }
            SourceMessage::Digests(digests) => {
                let digests = Work::Digests(digests);
                work.send(digests).await.map_err(|_| shared.ended_by("it spoke after the end"))?;
            }
            SourceMessage::Stages(times) => shared.tally.take_peer_stages(&times),
            SourceMessage::Alive => {}
            SourceMessage::Select(_) | SourceMessage::SelectEnd => {
                return Err(SyncError::Protocol("it sends a list of paths that was not awaited"));
            }
            SourceMessage::Aborted { status, reason } => {
                return Err(SyncError::aborted(Status::from(status), &reason));
            }
        }
    }
}

/// Refuses what is told of entries beyond what was asked for, before it is queued.
fn check_extras(message: &SourceMessage, shared: &Shared) -> Result<(), SyncError> {
    let preserve = shared.options.preserve;
    match message {
        SourceMessage::Top { extra: Some(extra), .. } => attributes::check(extra, preserve),
        SourceMessage::Listing { entries, .. } => entries
            .iter()
            .filter_map(|entry| entry.extra.as_ref())
            .try_for_each(|extra| attributes::check(extra, preserve)),
        _ => Ok(()),
    }
}

/// What of the listing may still come, so that nothing is handed to the planner which it does not wait for.
#[derive(Default)]
struct Order {
    has_ended: bool,
    /// Blocks that were told by their digests, and may be listed after the end.
    digests: usize,
}

impl Order {
    fn check(&mut self, message: &SourceMessage) -> Result<(), SyncError> {
        match message {
            SourceMessage::Listing { .. } if self.has_ended && self.digests > 0 => self.digests -= 1,
            _ if self.has_ended => return Err(SyncError::Protocol("it lists entries after the end")),
            SourceMessage::ListingDigest { .. } => self.digests += 1,
            SourceMessage::ListingEnd { .. } => self.has_ended = true,
            _ => {}
        }
        Ok(())
    }
}

/// Writes what the threads have to say and, in between, the counts.
pub(super) async fn write(
    send: &mut FrameSender,
    shared: &Shared,
    outgoing: Receiver<DestinationMessage>,
) -> Result<(), SyncError> {
    let mut ticks = interval(limits::PROGRESS_INTERVAL);
    let (mut told, mut told_at) = (Counts::default(), Instant::now());
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Ok(message) => say(send, &message).await?,
                Err(_) => {
                    send.finish();
                    return Ok(());
                }
            },
            _ = ticks.tick() => {
                let counts = shared.tally.counts();
                if counts != told || told_at.elapsed() >= limits::HEARTBEAT_INTERVAL {
                    say(send, &DestinationMessage::Progress(counts)).await?;
                    (told, told_at) = (counts, Instant::now());
                }
            }
        }
    }
}

/// A source takes whatever it is told at once, so one that does not has given up, or wants to hold us.
async fn say(send: &mut FrameSender, message: &DestinationMessage) -> Result<(), FrameError> {
    timeout(limits::SYNC_SILENCE_MAX, send.send(message)).await.map_err(|_| FrameError::Silent)?
}
