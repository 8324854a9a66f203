//! `sync`: grants, places and metrics around the engine of `swarmwire_common::sync`.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use swarmwire_common::{
    entry::Timestamp,
    filter::Selection,
    hashes::HashStore,
    limits,
    path::RelPath,
    root::{Root, attributes::Namespaces},
    sync::{self, Destination, Link, Outcome, PlaceError, Source, Tally},
    wire::{
        status::Status,
        sync::{Direction, Listed, SyncReply, SyncRequest},
    },
};
use tokio::{task::spawn_blocking, time::MissedTickBehavior};

use super::{Request, status_of};
use crate::{gateway::wall_clock, grants::Operation, holds::Guard, metrics::SyncMeter, opening::Refusal};

/// How often the metrics take over what the engine has counted: four times in the second that is promised.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// The gateway's half of a sync.
enum Half {
    Source(Source),
    Destination(Destination),
}

impl Half {
    fn compares(&self) -> bool {
        matches!(self, Self::Destination(destination) if destination.compares())
    }

    /// Keeps what its connection holds until nothing of it runs any longer.
    fn guarded(self, guard: Option<Guard>) -> Self {
        let Some(guard) = guard else { return self };
        match self {
            Self::Source(source) => Self::Source(source.guarded(Arc::new(guard))),
            Self::Destination(destination) => Self::Destination(destination.guarded(Arc::new(guard))),
        }
    }

    fn with(self, hashes: Arc<HashStore>, partial_bytes_max: u64) -> Self {
        match self {
            Self::Source(source) => Self::Source(source.remembering(hashes)),
            Self::Destination(destination) => {
                Self::Destination(destination.remembering(hashes).keeping_partials(partial_bytes_max))
            }
        }
    }
}

pub(super) async fn serve(mut request: Request) -> Status {
    let Granted { asked, path, namespaces } = match granted(&request) {
        Ok(granted) => granted,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let gateway = request.gateway();
    let guard = gateway.holds.guard(request.session.id());
    if request.session.connection.close_reason().is_some() {
        // What it held may be another's by now.
        return Status::Cancelled;
    }
    let (root, hashes) = (Arc::clone(&gateway.root), Arc::clone(&gateway.hashes));
    let (direction, options) = (asked.direction, asked.options.within_bounds(limits::PEER_JOBS_MAX));
    let is_round = asked.selection.missing_ok && asked.selection.listed != Listed::All;
    let opened = spawn_blocking({
        let path = path.clone();
        move || open(root, path, asked, namespaces)
    });
    let half = match opened.await {
        Ok(Ok(half)) => half.with(hashes, request.gateway().partial_bytes_max).guarded(guard),
        Ok(Err(refusal)) => return request.refuse(refusal).await,
        Err(err) => {
            tracing::error!(%err, "a place could not be looked at");
            return request.refuse(Refusal::internal()).await;
        }
    };
    // Before the reply, behind which the source may open its streams.
    let data = request.session.router.register(request.channel.id());
    if let Err(err) = request.accept(&SyncReply { compares: half.compares() }).await {
        return status_of(&err);
    }
    let Request { session, channel, handler, .. } = request;
    let _share = session.flow().share(1);
    let (peer, direction_word) = (session.peer.short(), word(direction));
    let log = Log { peer, direction: direction_word, path, is_round, start: Instant::now() };
    log.start();
    let tally = Arc::new(Tally::default());
    // What a dry run counts has not happened.
    let metered_tally = if options.dry_run { Arc::default() } else { Arc::clone(&tally) };
    let meter = SyncMeter::new(Arc::clone(&session.gateway.metrics), metered_tally, direction);
    let link = Link { connection: session.connection.clone(), flow: session.flow().clone(), channel, data };
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
struct Granted {
    asked: SyncRequest,
    path: RelPath,
    /// Which extended attributes are read or set for this identity.
    namespaces: Namespaces,
}

/// What is asked for, if the grant allows it.
fn granted(request: &Request) -> Result<Granted, Refusal> {
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
        None => {
            let is_admin = grant.allow.allows(&Operation::Admin);
            let namespaces = if is_admin { Namespaces::permitted() } else { Namespaces::User };
            Ok(Granted { asked, path, namespaces })
        }
    }
}

/// What the identity must be allowed to do.
fn needed(asked: &SyncRequest) -> Vec<Operation> {
    let SyncRequest { direction, options, .. } = asked;
    // Whoever may have the content may know whether it is the same.
    if options.verify {
        return vec![Operation::Pull];
    }
    let (own, removes) = match direction {
        Direction::Push => (Operation::Push, options.delete.is_asked()),
        Direction::Pull => (Operation::Pull, options.remove_source),
    };
    // A program that is root's and setuid, or has capabilities, does whatever its sender wants on this machine.
    let owns = *direction == Direction::Push && (options.preserve.owner || options.preserve.special_bits);
    let removes = removes.then_some(Operation::Delete);
    [own].into_iter().chain(removes).chain(owns.then_some(Operation::Admin)).collect()
}

fn open(root: Arc<Root>, path: RelPath, asked: SyncRequest, namespaces: Namespaces) -> Result<Half, Refusal> {
    let selection = Selection::from_wire(asked.selection)
        .map_err(|err| Refusal::new(Status::Invalid, err.to_string()))?;
    let backup = asked.backup.map(RelPath::from_wire).transpose();
    let backup = backup.map_err(|err| Refusal::new(Status::Invalid, err.to_string()))?;
    let fail = |err: PlaceError| Refusal::new(err.status, err.to_string());
    let half = open_half(root, path, (asked.direction, asked.trailing_slash), Arc::new(selection));
    Ok(match half.map_err(fail)? {
        Half::Source(source) => {
            let source = source.carrying(namespaces).comparing(asked.compares);
            Half::Source(match backup {
                Some(dir) => source.backing_up(dir),
                None => source,
            })
        }
        Half::Destination(destination) => {
            let destination = destination.carrying(namespaces);
            let compares = asked.options.compares_listings();
            let destination = if compares { destination.comparing(&asked.top) } else { destination };
            Half::Destination(match backup {
                Some(dir) => destination.backing_up(dir),
                None => destination,
            })
        }
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
    /// One of the many short ones of a watch, which would fill the log.
    is_round: bool,
    start: Instant,
}

impl Log {
    fn start(&self) {
        let Self { peer, direction, path, is_round, .. } = self;
        if *is_round {
            tracing::debug!(peer, direction, %path, "round begins");
        } else {
            tracing::info!(peer, direction, %path, "sync begins");
        }
    }

    fn end(&self, outcome: &Outcome, tally: &Tally) {
        let Self { peer, direction, path, is_round, start } = self;
        let (files, bytes) = (tally.committed.load(Relaxed), tally.bytes_moved.load(Relaxed));
        let (failed, seconds) = (outcome.report.entries_failed, start.elapsed().as_secs_f64());
        match &outcome.error {
            None if *is_round => {
                tracing::debug!(peer, direction, %path, files, bytes, failed, seconds, "round ended");
            }
            None => tracing::info!(peer, direction, %path, files, bytes, failed, seconds, "sync ended"),
            Some(err) => {
                tracing::warn!(peer, direction, %path, files, bytes, failed, seconds, %err, "sync broke off");
            }
        }
    }
}
