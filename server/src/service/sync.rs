//! `sync`: grants, places and metrics around the engine of `swarmwire_common::sync`.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use swarmwire_common::{
    entry::Timestamp,
    filter::Selection,
    limits,
    path::RelPath,
    root::Root,
    sync::{self, Destination, Link, Outcome, PlaceError, Source, Tally},
    wire::{
        status::Status,
        sync::{Direction, SyncRequest},
    },
};
use tokio::{task::spawn_blocking, time::MissedTickBehavior};

use super::{Request, status_of};
use crate::{gateway::wall_clock, grants::Operation, metrics::SyncMeter, opening::Refusal};

/// How often the metrics take over what the engine has counted: four times in the second that is promised.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// The gateway's half of a sync.
enum Half {
    Source(Source),
    Destination(Destination),
}

pub(super) async fn serve(mut request: Request) -> Status {
    let (asked, path) = match granted(&request) {
        Ok(granted) => granted,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let root = Arc::clone(&request.gateway().root);
    let (direction, options) = (asked.direction, asked.options.within_bounds(limits::PEER_JOBS_MAX));
    let opened = spawn_blocking({
        let path = path.clone();
        move || open(root, path, asked)
    });
    let half = match opened.await {
        Ok(Ok(Half::Destination(place))) => {
            Half::Destination(place.keeping_partials(request.gateway().partial_bytes_max))
        }
        Ok(Ok(half)) => half,
        Ok(Err(refusal)) => return request.refuse(refusal).await,
        Err(err) => {
            tracing::error!(%err, "a place could not be looked at");
            return request.refuse(Refusal::internal()).await;
        }
    };
    // Before the reply, behind which the source may open its streams.
    let data = request.session.router.register(request.channel.id());
    if let Err(err) = request.accept(&()).await {
        return status_of(&err);
    }
    let Request { session, channel, handler, .. } = request;
    let log = Log { peer: session.peer.short(), direction: word(direction), path, start: Instant::now() };
    log.start();
    let tally = Arc::new(Tally::default());
    // What a dry run counts has not happened.
    let metered_tally = if options.dry_run { Arc::default() } else { Arc::clone(&tally) };
    let meter = SyncMeter::new(Arc::clone(&session.gateway.metrics), metered_tally, direction);
    let link = Link { connection: session.connection.clone(), channel, data };
    let engine = async {
        match half {
            Half::Source(source) => sync::send(link, source, options, Arc::clone(&tally)).await,
            Half::Destination(place) => sync::receive(link, place, options, Arc::clone(&tally)).await,
        }
    };
    let outcome = metered(meter, Box::pin(engine)).await;
    log.end(&outcome, &tally);
    drop(handler);
    outcome.error.map_or(Status::Ok, |err| err.status())
}

/// What is asked for, once the grant has allowed it.
fn granted(request: &Request) -> Result<(SyncRequest, RelPath), Refusal> {
    let asked: SyncRequest = request.decode()?;
    let path = RelPath::from_wire(asked.path.clone())
        .map_err(|err| Refusal::new(Status::Invalid, err.to_string()))?;
    let grant = request.grant()?;
    for operation in needed(&asked) {
        grant.require_at(&operation, &path)?;
    }
    let contradiction = asked.options.contradiction();
    let contradiction = contradiction.or_else(|| {
        let follows = asked.options.remove_source && asked.selection.follow_links;
        follows.then_some("files that links lead to cannot be removed")
    });
    match contradiction {
        Some(reason) => Err(Refusal::new(Status::Invalid, reason)),
        None => Ok((asked, path)),
    }
}

/// What the identity must be allowed to do.
fn needed(asked: &SyncRequest) -> Vec<Operation> {
    let SyncRequest { direction, options, .. } = asked;
    match direction {
        // Whoever may have the content may know whether it is the same.
        _ if options.verify => vec![Operation::Pull],
        Direction::Push if options.delete.is_asked() => vec![Operation::Push, Operation::Delete],
        Direction::Push => vec![Operation::Push],
        Direction::Pull if options.remove_source => vec![Operation::Pull, Operation::Delete],
        Direction::Pull => vec![Operation::Pull],
    }
}

fn open(root: Arc<Root>, path: RelPath, asked: SyncRequest) -> Result<Half, Refusal> {
    let selection = Selection::from_wire(asked.selection)
        .map_err(|err| Refusal::new(Status::Invalid, err.to_string()))?;
    let backup = asked.backup.map(RelPath::from_wire).transpose();
    let backup = backup.map_err(|err| Refusal::new(Status::Invalid, err.to_string()))?;
    let fail = |err: PlaceError| Refusal::new(err.status, err.to_string());
    let half = open_half(root, path, (asked.direction, asked.trailing_slash), Arc::new(selection));
    Ok(match (half.map_err(fail)?, backup) {
        (Half::Source(source), Some(dir)) => Half::Source(source.backing_up(dir)),
        (Half::Destination(destination), Some(dir)) => Half::Destination(destination.backing_up(dir)),
        (half, None) => half,
    })
}

fn open_half(
    root: Arc<Root>,
    path: RelPath,
    (direction, trailing_slash): (Direction, bool),
    selection: Arc<Selection>,
) -> Result<Half, PlaceError> {
    Ok(match direction {
        Direction::Push => {
            let destination = Destination::open(root, path, trailing_slash, true)?;
            Half::Destination(destination.selecting(selection))
        }
        Direction::Pull => {
            let last = path.clone();
            let name = last.split_last().map(|(_, name)| name).filter(|_| !trailing_slash);
            let source = Source::open(root, path, name)?.selecting(selection)?;
            Half::Source(source.opened_at(Timestamp::from(wall_clock())))
        }
    })
}

/// Runs the engine, and takes its counts over at every tick and at its end, however it ends.
async fn metered(mut meter: SyncMeter, mut engine: impl Future<Output = Outcome> + Unpin) -> Outcome {
    let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            outcome = &mut engine => return outcome,
            _ = ticks.tick() => meter.sample(),
        }
    }
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Push => "push",
        Direction::Pull => "pull",
    }
}

/// The two lines that the log has about a sync.
struct Log {
    peer: String,
    direction: &'static str,
    path: RelPath,
    start: Instant,
}

impl Log {
    fn start(&self) {
        let Self { peer, direction, path, .. } = self;
        tracing::info!(peer, direction, %path, "sync begins");
    }

    fn end(&self, outcome: &Outcome, tally: &Tally) {
        let Self { peer, direction, path, start } = self;
        let (files, bytes) = (tally.committed.load(Relaxed), tally.bytes_moved.load(Relaxed));
        let (failed, seconds) = (outcome.report.entries_failed, start.elapsed().as_secs_f64());
        match &outcome.error {
            None => tracing::info!(peer, direction, %path, files, bytes, failed, seconds, "sync ended"),
            Some(err) => {
                tracing::warn!(peer, direction, %path, files, bytes, failed, seconds, %err, "sync broke off");
            }
        }
    }
}
