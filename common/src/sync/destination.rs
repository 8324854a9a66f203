//! The destination's half: what is planned, received, written and put in place.
//!
//! ```text
//! peer ──listing──▶ control reader ──blocks──▶ planner thread ──wants──▶ control writer ──▶ peer
//!                                      planner thread ──candidates──▶ basis thread ──signatures──▶ control writer
//! peer ──units──▶ stream tasks ──units──▶ writer threads ──written files──▶ committer thread
//! ```
//!
//! A file is written in the staging place under a temporary name; its content is checked before anything else happens to it; then it is
//! given its metadata and, as `--durability` asks, made durable; then it is renamed. A sync that ends early leaves only what has
//! been renamed; the staging place goes with it.

mod assembly;
mod attributes;
mod backup;
mod bases;
mod commit;
mod comparing;
mod control;
mod decoder;
mod duplicates;
mod extraneous;
mod farewell;
mod fresh;
mod items;
mod landing;
mod links;
mod moved;
mod pending;
mod planner;
mod rebuild;
mod receipts;
mod replaced;
mod select;
mod streams;
mod writer;

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, RwLock},
};

use async_channel::{Receiver, Sender};
use tokio::{task::JoinSet, time::timeout};

use super::{
    DataStreams, Destination, Link, Outcome, SyncError, Tally,
    report::{Named, clip},
    told_or,
    tree::Tree,
    unit::{IncomingUnit, Pool},
};
use crate::{
    channel::{FrameError, FrameReceiver},
    filter::Selection,
    limits,
    path::RelPath,
    root::{Dir, describe},
    wire::sync::{DestinationMessage, Digest, SyncOptions},
};
use assembly::{Assemblies, Withdrawn};
use attributes::Told;
use bases::Bases;
use commit::Committer;
use comparing::Comparing;
use duplicates::{Duplicate, Duplicates};
use extraneous::Extraneous;
use fresh::Fresh;
use items::Items;
use landing::Landing;
use links::Links;
use moved::Moved;
use pending::Pending;
use receipts::Receipts;
use replaced::Replaced;

/// The source sent something that was never asked for, or has come already.
const UNWANTED: SyncError = SyncError::Protocol("it sent a file that was not wanted");

/// What the writer threads are given.
#[derive(Debug)]
enum Work {
    /// Content.
    Unit(IncomingUnit),
    /// This file's content is what was told of its basis, with this hash.
    Same(u32, [u8; 32]),
    /// This file is what another one is that is in place by now.
    Copy(Duplicate),
    /// Hashes of the source's files.
    Digests(Vec<Digest>),
}

/// What the threads and tasks of a destination share.
#[derive(Debug)]
struct Shared {
    options: SyncOptions,
    asked: Arc<Selection>,
    /// The same with its list, where the source tells that.
    completed: OnceLock<Selection>,
    tree: RwLock<Tree>,
    landing: Landing,
    pending: Pending,
    assemblies: Assemblies,
    bases: Bases,
    duplicates: Duplicates,
    fresh: Fresh,
    comparing: Comparing,
    replaced: Replaced,
    receipts: Receipts,
    extraneous: Extraneous,
    told: Told,
    links: Links,
    moved: Moved,
    items: Items,
    control: Sender<DestinationMessage>,
    tally: Arc<Tally>,
    named: Named,
    pool: Pool,
    /// The first error that ends the sync, from whichever thread meets it.
    fatal: Mutex<Option<SyncError>>,
}

impl Shared {
    fn selection(&self) -> &Selection {
        self.completed.get().unwrap_or(&self.asked)
    }

    /// Notes an entry that cannot be put in place and tells the source. Blocks while the control stream is behind.
    fn fail(&self, index: u32, reason: &str) {
        self.note_absent(index);
        self.flaw(index, reason);
    }

    /// As [`Self::fail`], of an entry that is in place with its content, but not with all that belongs to it.
    fn flaw(&self, index: u32, reason: &str) {
        receipts::leave_out(self, index);
        self.named.failed(&self.tally, self.path_of(index), reason);
        // A closed channel means that the sync has ended, and then nobody waits for this.
        let _ended =
            self.control.send_blocking(DestinationMessage::Failed { index, reason: clip(reason).to_owned() });
    }

    fn fail_io(&self, index: u32, doing: &str, err: &io::Error) {
        self.fail(index, &format!("{doing}: {}", describe(err)));
    }

    fn flaw_io(&self, index: u32, doing: &str, err: &io::Error) {
        self.flaw(index, &format!("{doing}: {}", describe(err)));
    }

    /// An entry is not what the source has, so nothing may become another name of it.
    fn note_absent(&self, index: u32) {
        if self.options.preserve.hard_links {
            self.links.note_absent(index);
        }
    }

    fn path_of(&self, index: u32) -> RelPath {
        self.tree.read().expect("no holder panics").path(index).unwrap_or_default()
    }

    /// The entry's name; the top's is the one under which it lands.
    fn name_of(&self, index: u32) -> Vec<u8> {
        let tree = self.tree.read().expect("no holder panics");
        match tree.name(index) {
            Some(name) => name.as_bytes().to_vec(),
            None => self.landing.top_name().unwrap_or_default(),
        }
    }

    /// The source will not send this file, though it was wanted.
    fn withdraw(&self, index: u32) -> Result<(), SyncError> {
        match self.assemblies.withdraw(index, || self.pending.take(index)) {
            Withdrawn::Open | Withdrawn::Awaited => {
                self.comparing.forget(index);
                self.settled(index);
            }
            // A file that was refused here may have been on its way.
            Withdrawn::GivenUp => {}
            Withdrawn::Unknown => return Err(UNWANTED),
        }
        Ok(())
    }

    /// A file that was wanted and taken is written and checked, or has failed.
    fn settled(&self, index: u32) {
        self.bases.settle(index);
        self.pending.delivered();
    }

    fn take_fatal(&self) -> Result<(), SyncError> {
        self.fatal.lock().expect("no holder panics").take().map_or(Ok(()), Err)
    }

    /// Why a queue is closed: a thread has ended the sync, or else the peer talks where nothing is left to say.
    fn ended_by(&self, breach: &'static str) -> SyncError {
        self.take_fatal().err().unwrap_or(SyncError::Protocol(breach))
    }

    /// Ends the sync from a thread.
    fn abort(&self, err: SyncError) {
        self.fatal.lock().expect("no holder panics").get_or_insert(err);
        self.end_waits();
    }

    /// Ends what threads wait for, because the sync is over.
    fn end_waits(&self) {
        self.pending.abort();
        self.comparing.close();
        self.bases.abort();
        self.duplicates.abort();
    }

    /// The directory that holds the entry.
    fn parent_dir(&self, index: u32) -> io::Result<Arc<Dir>> {
        let tree = self.tree.read().expect("no holder panics");
        if index == 0 {
            return self.landing.parent_of_top();
        }
        self.landing.dir(&tree, tree.parent(index))
    }
}

pub(super) async fn run(
    link: Link,
    destination: Destination,
    options: SyncOptions,
    tally: Arc<Tally>,
) -> Outcome {
    let (control, outgoing) = async_channel::bounded(limits::CONTROL_QUEUED_MAX);
    let destination = match destination.prepared(options.preserve) {
        Ok(destination) => destination,
        Err(err) => return Outcome::failed(SyncError::Disk(describe(&err))),
    };
    let shared = Arc::new(Shared {
        items: Items::new(destination.events.clone()),
        asked: Arc::clone(&destination.selection),
        completed: OnceLock::new(),
        landing: Landing::new(destination),
        options,
        tree: RwLock::default(),
        pending: Pending::default(),
        assemblies: Assemblies::default(),
        bases: Bases::default(),
        duplicates: Duplicates::default(),
        fresh: Fresh::default(),
        comparing: Comparing::default(),
        replaced: Replaced::default(),
        receipts: Receipts::default(),
        extraneous: Extraneous::default(),
        told: Told::default(),
        links: Links::default(),
        moved: Moved::default(),
        control,
        tally: tally.clone(),
        named: Named::default(),
        pool: Pool::default(),
        fatal: Mutex::default(),
    });
    let closer = CloseOnDrop(shared.clone());
    let result = converse(link, &shared, outgoing).await;
    drop(closer);
    if matches!(result, Err(SyncError::Protocol(_))) {
        shared.landing.forget_partials();
    }
    let report = shared.named.report(&tally);
    // What is still in the staging place is removed here, or with the last large file that did not become complete.
    let removing = tokio::task::spawn_blocking(move || {
        shared.landing.remove_staging();
        drop(shared);
    });
    if removing.await.is_err() {
        tracing::warn!("a staging place was left behind");
    }
    Outcome { report, error: result.err() }
}

/// Ends the waits of all threads when the sync ends in any way.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.control.close();
        self.0.end_waits();
    }
}

/// Runs the sync and tells the source how it ended.
async fn converse(
    link: Link,
    shared: &Arc<Shared>,
    outgoing: Receiver<DestinationMessage>,
) -> Result<(), SyncError> {
    let Link { mut channel, data, connection, flow } = link;
    let data = data.sharing(flow);
    let mut threads = JoinSet::new();
    let unsaid = outgoing.clone();
    let writing = control::write(&mut channel.send, shared, outgoing);
    tokio::pin!(writing);
    let mut listens = true;
    let result = {
        let driving = drive(&mut channel.recv, data, shared, &mut threads);
        tokio::pin!(driving);
        tokio::select! {
            result = &mut driving => result,
            result = &mut writing => {
                listens = false;
                match result {
                    Ok(()) => Err(SyncError::Worker),
                    // It does not listen any longer, and may be saying why.
                    Err(err) => Err(last_word_or(err, driving).await),
                }
            }
        }
    };
    let result = wind_up(result, shared, &mut threads, &unsaid).await;
    let last = match &result {
        Ok(()) => Some(DestinationMessage::Done(shared.tally.counts())),
        Err(SyncError::Link(_) | SyncError::Aborted { .. }) => None,
        Err(err) => {
            Some(DestinationMessage::Aborted { status: err.status().into(), reason: err.to_string() })
        }
    };
    if listens && let Some(last) = last {
        let queued = async {
            // The queue is only ever closed here and when the sync is dropped.
            if matches!(last, DestinationMessage::Done(_)) {
                let stages = DestinationMessage::Stages(shared.tally.stage_times());
                let _closed = shared.control.send(stages).await;
            }
            let _closed = shared.control.send(last).await;
            shared.control.close();
        };
        let sent = async { tokio::join!(queued, writing).1 };
        let told = timeout(limits::REPLY_TIMEOUT, sent).await.unwrap_or(Err(FrameError::Silent.into()));
        // That the source could not be told says less than why it should have been.
        if result.is_ok()
            && let Err(err) = told
        {
            return Err(last_word_or(err, farewell::listen(&mut channel.recv, shared)).await);
        }
    }
    if result.is_ok() {
        return farewell::hear(&mut channel.recv, &connection, shared).await;
    }
    result
}

/// Why the sync ended, when the source takes nothing more: what it says of it, if it does.
async fn last_word_or(err: SyncError, listening: impl Future<Output = Result<(), SyncError>>) -> SyncError {
    match timeout(limits::LAST_WORD_TIMEOUT, listening).await {
        Ok(Err(told @ SyncError::Aborted { .. })) => told,
        _ => err,
    }
}

/// Lets the threads end: after a success they have, otherwise what was written and checked still gets its name.
///
/// What they have to say meanwhile is dropped. Nobody writes it any more, and they would wait for room in the queue for ever.
async fn wind_up(
    result: Result<(), SyncError>,
    shared: &Shared,
    threads: &mut JoinSet<()>,
    unsaid: &Receiver<DestinationMessage>,
) -> Result<(), SyncError> {
    if result.is_ok() {
        return result;
    }
    shared.end_waits();
    loop {
        tokio::select! {
            ended = threads.join_next() => match ended {
                // Why the sync ended is known; a thread that dies now adds nothing.
                Some(_) => {}
                None => return result,
            },
            Ok(_message) = unsaid.recv() => {}
        }
    }
}

/// Tells the source the paths that are meant, if they are too many for the request.
async fn tell_list(shared: &Shared) -> Result<(), SyncError> {
    let Some(list) = shared.asked.list_apart() else { return Ok(()) };
    let messages = list.portions().map(DestinationMessage::Select).chain([DestinationMessage::SelectEnd]);
    for message in messages {
        // The queue is closed with the sync alone.
        shared.control.send(message).await.map_err(|_| SyncError::Worker)?;
    }
    Ok(())
}

/// Runs until all that is wanted has its name and the directories their metadata.
async fn drive(
    recv: &mut FrameReceiver,
    data: DataStreams,
    shared: &Arc<Shared>,
    threads: &mut JoinSet<()>,
) -> Result<(), SyncError> {
    tell_list(shared).await?;
    select::complete(recv, shared).await?;
    let (blocks, block_queue) = async_channel::bounded(limits::BLOCKS_QUEUED_MAX);
    let (work, work_queue) = async_channel::bounded(limits::UNITS_QUEUED_MAX);
    let planning = shared.clone();
    threads.spawn_blocking(move || planner::plan(&planning, &block_queue));
    let signing = shared.clone();
    threads.spawn_blocking(move || bases::work(&signing));
    if shared.options.compares_only() {
        start_comparers(shared, threads, &work_queue);
    } else {
        start_writers(shared, threads, &work_queue);
    }
    drop(work_queue);

    let reading = control::read(recv, shared, blocks, work.clone());
    let receiving = streams::receive(data, shared, work.clone());
    let writing = async {
        shared.pending.all_written().await;
        shared.take_fatal()
    };
    tokio::pin!(reading, receiving, writing);
    loop {
        tokio::select! {
            result = &mut reading => return result,
            Err(err) = &mut receiving => return told_or(err, reading).await,
            result = &mut writing => break result?,
            // The planner ends with the plan; a thread that dies would be waited for by all others.
            Some(ended) = threads.join_next() => ended.map_err(|_| SyncError::Worker)?,
        }
    }
    work.close();
    shared.comparing.close();
    work_done(shared, threads, reading).await
}

/// Starts the threads that write what is queued, and the one that commits. They end when the queue is closed.
fn start_writers(shared: &Arc<Shared>, threads: &mut JoinSet<()>, queue: &Receiver<Work>) {
    let committer = Committer::start(shared, threads);
    for _ in 0..shared.options.jobs {
        let (shared, queue, committer) = (shared.clone(), queue.clone(), committer.clone());
        threads.spawn_blocking(move || writer::write(&shared, &queue, &committer));
    }
}

/// Starts the threads that read what is here and compare it with the hashes that the source tells.
fn start_comparers(shared: &Arc<Shared>, threads: &mut JoinSet<()>, told: &Receiver<Work>) {
    for _ in 0..shared.options.jobs {
        let shared = shared.clone();
        threads.spawn_blocking(move || comparing::read(&shared));
    }
    let (shared, told) = (shared.clone(), told.clone());
    threads.spawn_blocking(move || comparing::compare(&shared, &told));
}

/// Waits until all threads have ended.
async fn ended(shared: &Shared, threads: &mut JoinSet<()>) -> Result<(), SyncError> {
    while let Some(ended) = threads.join_next().await {
        ended.map_err(|_| SyncError::Worker)?;
    }
    shared.take_fatal()
}

/// Copies what is the same as something else, now that this is in place.
async fn copy_duplicates(shared: &Arc<Shared>, threads: &mut JoinSet<()>) -> Result<(), SyncError> {
    let taking = shared.clone();
    let duplicates = tokio::task::spawn_blocking(move || taking.duplicates.take());
    let duplicates = duplicates.await.map_err(|_| SyncError::Worker)?;
    if duplicates.is_empty() {
        return Ok(());
    }
    let (work, queue) = async_channel::bounded(duplicates.len());
    for duplicate in duplicates {
        // The queue is open and has room for all.
        let _sent = work.try_send(Work::Copy(duplicate));
    }
    work.close();
    start_writers(shared, threads, &queue);
    ended(shared, threads).await
}

/// Waits for the last batch, makes copies and finishes the directories, still listening to the source.
async fn work_done(
    shared: &Arc<Shared>,
    threads: &mut JoinSet<()>,
    reading: impl Future<Output = Result<(), SyncError>>,
) -> Result<(), SyncError> {
    let finishing = async {
        ended(shared, threads).await?;
        copy_duplicates(shared, threads).await?;
        let finishing = shared.clone();
        tokio::task::spawn_blocking(move || landing::finish(&finishing))
            .await
            .map_err(|_| SyncError::Worker)?
    };
    tokio::select! {
        result = reading => result,
        result = finishing => result,
    }
}
