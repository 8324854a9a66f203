//! The source's half: what is listed, read and sent.
//!
//! ```text
//! scan thread ──listing──▶ control writer ──▶ peer
//! control reader ◀── wants ── peer;  wants ──▶ reader threads ──units──▶ stream tasks ──▶ peer
//! ```
//!
//! The control reader never waits for anything but the peer, so the peer's wants and failures are always taken; they are remembered as
//! runs, which the listing bounds. Everything else waits for the network through bounded queues.

mod bucket;
mod changes;
mod compression;
mod digests;
mod encoder;
mod hard_links;
mod places;
mod reader;
mod removal;
mod scan;
mod select;
mod streams;
mod twins;
mod wanted;

use std::{
    io,
    sync::{Arc, RwLock, atomic::Ordering::Relaxed},
    time::Instant,
};

use async_channel::{Receiver, Sender};
use tokio::{task::JoinSet, time::timeout};

pub use scan::LISTED_NOT_FOUND;

use super::{
    Link, Outcome, Source, SyncError, Tally, join, next_message,
    report::{Named, clip},
    told_or,
    tree::Tree,
    unit::Pool,
};
use crate::{
    channel::{FrameReceiver, FrameSender},
    limits,
    path::RelPath,
    root::describe,
    transport::{self, FlowControl},
    wire::{
        status::Status,
        sync::{Counts, DestinationMessage, SourceMessage, SyncOptions},
    },
};
use digests::Digests;
use hard_links::HardLinks;
use places::Places;
use removal::Removal;
use streams::Pace;
use twins::Twins;
use wanted::Wanted;

/// What the threads and tasks of a source share.
#[derive(Debug)]
struct Shared {
    source: Source,
    options: SyncOptions,
    connection: quinn::Connection,
    flow: FlowControl,
    pace: Option<Pace>,
    tree: RwLock<Tree>,
    places: Places,
    digests: Digests,
    hard_links: HardLinks,
    wanted: Wanted,
    twins: Twins,
    removal: Removal,
    control: Sender<SourceMessage>,
    tally: Arc<Tally>,
    named: Named,
    pool: Pool,
}

impl Shared {
    /// Notes an entry that will not come and tells the destination. Blocks while the control stream is behind.
    fn fail(&self, index: Option<u32>, path: &RelPath, reason: &str) -> Result<(), Gone> {
        self.named.failed(&self.tally, path.clone(), reason);
        self.say(SourceMessage::Failed {
            index,
            path: path.as_bytes().to_vec(),
            reason: clip(reason).to_owned(),
        })
    }

    fn say(&self, message: SourceMessage) -> Result<(), Gone> {
        self.control.send_blocking(message).map_err(|_| Gone)
    }

    /// Takes over what the destination has told, if it can be.
    fn take_counts(&self, counts: &Counts) -> Result<(), SyncError> {
        let listed = u64::from(self.tree.read().expect("no holder panics").len());
        // What the destination had before is nothing that this side could know.
        let Counts { files_unchanged, received, verified, committed, durable, .. } = *counts;
        if [files_unchanged, received, verified, committed, durable].iter().any(|&count| count > listed) {
            return Err(SyncError::Protocol("it counts more files than were listed"));
        }
        self.tally.take_counts(counts);
        Ok(())
    }

    /// Whether a destination that closes the connection in peace has got all that it wanted. Where files are removed it must say so.
    fn may_be_left(&self) -> bool {
        self.wanted.is_closed() && !self.removal.is_asked()
    }

    /// Tells where the time went so far: a destination that has all it wanted may not wait for the end.
    fn tell_stages(&self) -> Result<(), Gone> {
        self.say(SourceMessage::Stages(self.tally.stage_times()))
    }

    fn path_of(&self, index: u32) -> RelPath {
        self.tree.read().expect("no holder panics").path(index).unwrap_or_default()
    }

    /// Where the directory is below the root: its path, but for links on the way that were followed.
    fn location_of(&self, index: u32) -> io::Result<RelPath> {
        let tree = self.tree.read().expect("no holder panics");
        join(&self.source.path, &self.places.locate(&tree, index).unwrap_or_default())
    }
}

/// The sync has ended under a thread's feet; its owner knows why.
#[derive(Clone, Copy, Debug)]
struct Gone;

/// Wakes the readers when the sync ends in any way.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.digests.abandon();
        self.0.wanted.abandon();
        self.0.removal.abandon();
        self.0.control.close();
    }
}

pub(super) async fn run(link: Link, source: Source, options: SyncOptions, tally: Arc<Tally>) -> Outcome {
    let (control, outgoing) = async_channel::bounded(limits::CONTROL_QUEUED_MAX);
    let source = match source.prepared(options.preserve) {
        Ok(source) => source,
        Err(err) => return Outcome::failed(SyncError::Disk(describe(&err))),
    };
    let removes = options.remove_source && !options.dry_run && !source.selection.follow_links();
    let shared = Arc::new(Shared {
        digests: Digests::new(source.compares),
        removal: Removal::new(removes, source.as_of),
        source,
        options,
        connection: link.connection.clone(),
        flow: link.flow.clone(),
        pace: options.rate_bytes.map(|rate| Pace::new(rate, Instant::now())),
        tree: RwLock::default(),
        places: Places::default(),
        hard_links: HardLinks::default(),
        wanted: Wanted::default(),
        twins: Twins::default(),
        control,
        tally: tally.clone(),
        named: Named::default(),
        pool: Pool::default(),
    });
    let closer = CloseOnDrop(shared.clone());
    let result = converse(link, &shared, outgoing).await;
    drop(closer);
    Outcome { report: shared.named.report(&tally), error: result.err() }
}

/// Runs the sync and tells the destination if it ended here.
async fn converse(
    link: Link,
    shared: &Arc<Shared>,
    outgoing: Receiver<SourceMessage>,
) -> Result<(), SyncError> {
    let Link { channel, connection: _, flow: _, data: _ } = link;
    let id = channel.id();
    let mut send = channel.send;
    let writing = write_control(&mut send, outgoing);
    tokio::pin!(writing);
    let driving = drive(id, channel.recv, shared);
    tokio::pin!(driving);
    let mut listens = true;
    let result = tokio::select! {
        result = &mut driving => result,
        result = &mut writing => {
            listens = false;
            match result {
                Ok(()) => Err(SyncError::Worker),
                // It does not listen any longer, and may be saying why.
                Err(err) => told_or(err, driving).await,
            }
        }
    };
    let last = match &result {
        Ok(()) => Some(SourceMessage::Farewell {
            files_removed: shared.tally.files_removed.load(Relaxed),
            stages: shared.tally.stage_times(),
        }),
        Err(SyncError::Link(_) | SyncError::Aborted { .. }) => None,
        Err(err) => Some(SourceMessage::Aborted { status: err.status().into(), reason: err.to_string() }),
    };
    if listens && last.is_some() {
        let queued = async {
            if let Some(last) = last {
                // The queue is only ever closed here and when the sync is dropped.
                let _closed = shared.control.send(last).await;
            }
            shared.control.close();
        };
        let sent = async { tokio::join!(queued, writing).1 };
        // The destination may be gone; what it should have heard is in our own result.
        let _told = timeout(limits::REPLY_TIMEOUT, sent).await;
    }
    result
}

/// Starts everything else and waits for the destination's `Done`, or for whatever ends the sync before it.
async fn drive(channel: u64, mut recv: FrameReceiver, shared: &Arc<Shared>) -> Result<(), SyncError> {
    let selection = select::complete(&mut recv, &shared.source.selection).await?;
    let (units, unit_queue) = async_channel::bounded(limits::UNITS_QUEUED_MAX);
    let mut tasks: JoinSet<Result<(), SyncError>> = JoinSet::new();

    let scanning = shared.clone();
    tasks.spawn_blocking(move || scan::scan(&scanning, &selection));
    for _ in 0..shared.options.jobs {
        let (shared, units) = (shared.clone(), units.clone());
        tasks.spawn_blocking(move || reader::read(&shared, &units));
    }
    drop(units);
    for _ in 0..transport::data_streams(shared.connection.rtt()) {
        tasks.spawn(streams::send(shared.clone(), channel, unit_queue.clone()));
    }
    drop(unit_queue);

    let mut removing = JoinSet::new();
    if shared.removal.is_asked() {
        let place = shared.clone();
        let place = tokio::task::spawn_blocking(move || removal::place(&place.source));
        let place = place.await.map_err(|_| SyncError::Worker)?;
        shared.removal.is_at(place.map_err(|err| SyncError::Disk(format!("the source is gone: {err}")))?);
        let shared = shared.clone();
        removing.spawn_blocking(move || removal::work(&shared));
    }
    let listening = read_control(recv, shared);
    tokio::pin!(listening);
    loop {
        tokio::select! {
            result = &mut listening => {
                result?;
                shared.removal.close();
                return removing.join_next().await.unwrap_or(Ok(Ok(()))).map_err(|_| SyncError::Worker)?;
            }
            Some(ended) = tasks.join_next() => {
                if let Err(err) = ended.map_err(|_| SyncError::Worker)? {
                    return told_or(err, listening).await;
                }
            }
        }
    }
}

/// Writes what the threads have to say, and that the source lives when they have nothing.
async fn write_control(send: &mut FrameSender, outgoing: Receiver<SourceMessage>) -> Result<(), SyncError> {
    loop {
        match timeout(limits::HEARTBEAT_INTERVAL, outgoing.recv()).await {
            Ok(Ok(message)) => send.send(&message).await?,
            Ok(Err(_)) => {
                send.finish();
                return Ok(());
            }
            Err(_) => send.send(&SourceMessage::Alive).await?,
        }
    }
}

/// Takes the destination's wants and counts until it is done.
async fn read_control(mut recv: FrameReceiver, shared: &Shared) -> Result<(), SyncError> {
    loop {
        let message = match next_message(&mut recv).await {
            Err(err) if err.is_goodbye() && shared.may_be_left() => return Ok(()),
            message => message?,
        };
        match message {
            DestinationMessage::Want(runs) => {
                let tree = shared.tree.read().expect("no holder panics");
                shared.wanted.push_runs(&tree, &runs)?;
            }
            DestinationMessage::WantWith(files) => {
                let tree = shared.tree.read().expect("no holder panics");
                shared.wanted.push_with(&tree, files)?;
            }
            DestinationMessage::WantBeyond(files) => {
                let tree = shared.tree.read().expect("no holder panics");
                shared.wanted.push_beyond(&tree, files)?;
            }
            DestinationMessage::Compared(has) => shared.digests.answer(&has)?,
            DestinationMessage::PlanEnd => {
                shared.wanted.close();
                // What is not wanted is there, or failed.
                let listed = shared.tally.bytes_listed.load(Relaxed);
                let unchanged = listed.saturating_sub(shared.wanted.bytes());
                shared.tally.bytes_unchanged.store(unchanged, Relaxed);
            }
            DestinationMessage::Failed { index, reason } => {
                if index >= shared.tree.read().expect("no holder panics").len() {
                    return Err(SyncError::Protocol("it names an entry that was not listed"));
                }
                shared.removal.forget(index);
                shared.named.failed(&shared.tally, shared.path_of(index), &reason);
            }
            DestinationMessage::Safe { place, files } => shared.removal.are_safe(&place, &files)?,
            DestinationMessage::Stages(times) => shared.tally.take_peer_stages(&times),
            DestinationMessage::NotDeleted { path, reason } => {
                let path =
                    RelPath::from_wire(path).map_err(|_| SyncError::Protocol("it names an invalid path"))?;
                shared.named.failed(&shared.tally, path, &reason);
            }
            DestinationMessage::Items(items) => {
                for item in items {
                    changes::pass_on(shared, item).await?;
                }
            }
            DestinationMessage::Progress(counts) => shared.take_counts(&counts)?,
            DestinationMessage::Done(counts) => {
                shared.take_counts(&counts)?;
                return Ok(());
            }
            DestinationMessage::Aborted { status, reason } => {
                return Err(SyncError::aborted(Status::from(status), &reason));
            }
            DestinationMessage::Select(_) | DestinationMessage::SelectEnd => {
                return Err(SyncError::Protocol("it sends a list of paths that was not awaited"));
            }
        }
    }
}
