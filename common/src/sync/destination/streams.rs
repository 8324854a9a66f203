//! The data streams, from their arrival to whole units in the writers' queue.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use async_channel::Sender;
use tokio::task::JoinSet;

use super::{Shared, Work};
use crate::{
    channel::FrameReceiver,
    delta::literal_bytes,
    limits,
    path::RelPath,
    sync::{
        DataStreams, Stage, SyncError,
        in_hand::Mark,
        unit::{ContentShare, IncomingUnit},
    },
    wire::data::{Encoding, Unit, UnitHeader},
};

/// Receives the units of every data stream that arrives. Ends only with an error.
pub(super) async fn receive(
    mut data: DataStreams,
    shared: &Arc<Shared>,
    work: Sender<Work>,
) -> Result<(), SyncError> {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            Some(stream) = data.next() => {
                if streams.len() >= limits::DATA_STREAMS_MAX {
                    return Err(SyncError::Protocol("it opened too many data streams"));
                }
                streams.spawn(receive_units(stream, shared.clone(), work.clone()));
            }
            Some(ended) = streams.join_next() => ended.map_err(|_| SyncError::Worker)??,
        }
    }
}

/// Receives the units of one data stream until it is finished.
async fn receive_units(
    mut stream: FrameReceiver,
    shared: Arc<Shared>,
    work: Sender<Work>,
) -> Result<(), SyncError> {
    while let Some(unit) = stream.try_recv::<Unit, { limits::UNIT_HEADER_BYTES_MAX }>().await? {
        let Unit { header, encoding } = unit;
        let size = payload_size(&header)?;
        let wire_size = wire_size(encoding, size)?;
        let [bytes, wire_bytes] = [size, wire_size].map(|size| u64::try_from(size).expect("at most a pack"));
        let mut share = ContentShare::new(bytes, wire_bytes);
        shared.tally.in_hand.note(Mark::of(&header), Instant::now(), |index| path_of(&shared, index));
        let copied = header.file_bytes().saturating_sub(bytes);
        let mut payload = shared.pool.take();
        payload.bytes.reserve(wire_size);
        while payload.bytes.len() < wire_size {
            let got = stream.recv_some(wire_size - payload.bytes.len(), &mut payload.bytes).await?;
            shared.tally.bytes_moved.fetch_add(share.pass(got), Relaxed);
        }
        shared.tally.bytes_copied.fetch_add(copied, Relaxed);
        let waiting = Instant::now();
        shared.tally.bytes_queued.fetch_add(wire_bytes, Relaxed);
        if work.send(Work::Unit(IncomingUnit { header, payload, encoding, size })).await.is_err() {
            // All that was wanted is here or has failed, so this is of a file that was given up. To break the stream off would
            // look to the source as if the sync had failed.
            shared.tally.bytes_queued.fetch_sub(wire_bytes, Relaxed);
        }
        shared.tally.charge(Stage::WaitDisk, waiting.elapsed());
    }
    Ok(())
}

/// The path of a file that the source may have made up.
fn path_of(shared: &Shared, index: u32) -> Option<RelPath> {
    let tree = shared.tree.read().expect("no holder panics");
    if index < tree.len() { tree.path(index).ok() } else { None }
}

/// Bytes that a header announces, once they are decoded, if it is one that may be.
fn payload_size(header: &UnitHeader) -> Result<usize, SyncError> {
    let (size, limit) = match header {
        UnitHeader::Pack { files, .. } => {
            if files.len() > limits::PACK_FILES_MAX {
                return Err(SyncError::Protocol("a pack has too many files"));
            }
            (files.iter().map(|file| u64::from(file.size)).sum(), limits::PACK_BYTES_MAX)
        }
        UnitHeader::Chunk { size, segments, .. } if segments.is_empty() => {
            (u64::from(*size), limits::PACK_BYTES_MAX)
        }
        UnitHeader::Chunk { segments, .. } => (literal_bytes(segments), limits::PACK_BYTES_MAX),
        UnitHeader::FileEnd { .. } => (0, 0),
    };
    usize::try_from(size)
        .ok()
        .filter(|&size| size <= limit)
        .ok_or(SyncError::Protocol("a unit is larger than units may be"))
}

/// Bytes that follow on the stream for a unit of `size` bytes. Compressed ones are fewer, so that no bound is another for them.
fn wire_size(encoding: Encoding, size: usize) -> Result<usize, SyncError> {
    match encoding {
        Encoding::Plain => Ok(size),
        Encoding::Zstd { bytes } => usize::try_from(bytes)
            .ok()
            .filter(|bytes| (1..size).contains(bytes))
            .ok_or(SyncError::Protocol("a compressed unit is no smaller than a plain one")),
    }
}
