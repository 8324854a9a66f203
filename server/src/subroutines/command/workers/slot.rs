//! A slot: one process after the other, each of which serves call after call.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use swarmwire_common::{escape::escape, wire::status::Status};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    super::{launch::Launch, process::reached},
    job::Job,
    pool::{Afterwards, Next, Place, Pool},
    worker::{Fault, Served, Worker},
};
use crate::subroutines::Failure;

/// How old a process is that has not died at once. Chosen: one in so long a time costs nothing, whatever it dies of.
const STEADY_AGE: Duration = Duration::from_secs(10);

/// Pause after the first process that died at once; it doubles with each of them, up to [`PAUSE_MAX`]. Chosen.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause. Chosen: a program that cannot work costs one start in so long a time, beside those that calls ask for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Counts a process that lives.
struct Living<'a>(&'a Pool);

impl<'a> Living<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.living.fetch_add(1, Relaxed);
        Self(pool)
    }
}

impl Drop for Living<'_> {
    fn drop(&mut self) {
        self.0.living.fetch_sub(1, Relaxed);
    }
}

/// How a process was left.
enum Left {
    /// It died, after so many calls.
    Died(u64),
    /// Its slot is over.
    WithSlot,
}

/// Keeps a process until there is to be none. The first is for `job`, or for whatever call waits when it has started.
pub(super) async fn slot_task(pool: Arc<Pool>, id: u64, mut job: Option<Box<Job>>) {
    let mut place = pool.place(id, job.is_none());
    let mut deaths = 0;
    loop {
        let begun = Instant::now();
        let served = match start(&pool).await {
            Ok(worker) => match attend(&pool, &mut place, worker, job.take()).await {
                Left::Died(served) => served,
                Left::WithSlot => return,
            },
            Err(err) => {
                let failed = job.take().or_else(|| place.not_started());
                could_not_start(&pool, failed, &err);
                0
            }
        };
        pool.count_failed();
        let died_at_once = served == 0 && begun.elapsed() < STEADY_AGE;
        deaths = if died_at_once { deaths + 1 } else { 0 };
        job = match place.afterwards(deaths > 0) {
            Afterwards::Start(job) => job,
            Afterwards::Rest(given) => match rest(&pool, &mut place, given, deaths).await {
                Some(job) => job,
                None => return,
            },
            Afterwards::Leave => return,
        };
    }
}

async fn start(pool: &Pool) -> io::Result<Worker> {
    let home = pool.home.get().ok_or_else(|| io::Error::other("the subroutine is not registered"))?;
    let options = &pool.program.options;
    let launch = Launch {
        words: pool.program.template.fill(&[]).map_err(io::Error::other)?,
        directory: options.working_directory.as_deref(),
        environment: &options.environment,
        user: options.user,
        subroutine: Arc::clone(&home.subroutine),
        processes: &home.processes,
        call: None,
    };
    Ok(Worker::new(launch.start().await?))
}

/// Whoever waited for it is told.
fn could_not_start(pool: &Pool, job: Option<Box<Job>>, err: &io::Error) {
    let options = &pool.program.options;
    let (subroutine, program, directory) = (pool.name(), &options.command[0], &options.working_directory);
    tracing::error!(subroutine, program, ?directory, %err, "a subroutine's worker could not be started");
    if let Some(job) = job {
        let reason = format!("the program could not be started: {err}");
        job.answer.end(Vec::new(), Err(Failure::of(Status::Unavailable, reason)));
    }
}

/// Has a worker serve what there is, and wait for more.
async fn attend(pool: &Pool, place: &mut Place<'_>, mut worker: Worker, first: Option<Box<Job>>) -> Left {
    let _living = Living::new(pool);
    let mut served = 0;
    // Whoever is the first call of a process hears how that dies, or calls would wait while processes are started in vain.
    let mut is_new = true;
    let mut next = first.map_or_else(|| place.next(), Next::Serve);
    loop {
        next = match next {
            Next::Serve(job) if !is_new && worker.is_disturbed() => {
                place.put_back(job);
                let fault = worker.idle().await;
                told(pool, &worker.bury(fault, None).await);
                return Left::Died(served);
            }
            Next::Serve(job) => {
                let (Served { answer, left, ended, room }, fault) = worker.serve(job).await;
                if let Some(fault) = fault {
                    let reason = worker.bury(fault, Some(Arc::clone(&room))).await;
                    told(pool, &reason);
                    // What the call takes up is free before its caller hears of its end, unless the process is not gone.
                    drop(room);
                    answer.end(left, ended.unwrap_or_else(|| Err(Failure::new(reason))));
                    return Left::Died(served);
                }
                served += 1;
                is_new = false;
                // Whoever calls again after the answer finds the worker idle.
                let next = place.next();
                drop(room);
                answer.end(left, ended.unwrap_or(Ok(0)));
                next
            }
            Next::Wait(given) => match idle(pool, place, &mut worker, given).await {
                Ok(next) => {
                    is_new = false;
                    next
                }
                Err(fault) => {
                    told(pool, &worker.bury(fault, None).await);
                    return Left::Died(served);
                }
            },
            Next::Leave => return Left::WithSlot,
        };
    }
}

/// Waits for a call, and for no longer than it should.
async fn idle(
    pool: &Pool,
    place: &mut Place<'_>,
    worker: &mut Worker,
    mut given: oneshot::Receiver<Box<Job>>,
) -> Result<Next, Fault> {
    let mut leave_at = Instant::now().checked_add(pool.program.workers.idle);
    loop {
        tokio::select! {
            biased;
            job = &mut given => return Ok(job.map_or_else(|_| place.next(), Next::Serve)),
            fault = worker.idle() => {
                if !place.withdraw() && let Ok(job) = given.await {
                    place.put_back(job);
                }
                return Err(fault);
            }
            () = reached(leave_at) => {
                if place.leave_if_surplus() {
                    return Ok(Next::Leave);
                }
                leave_at = None;
            }
        }
    }
}

/// Starts nothing for a while, unless there is a call. None once the slot is over.
async fn rest(
    pool: &Pool,
    place: &mut Place<'_>,
    mut given: oneshot::Receiver<Box<Job>>,
    deaths: u32,
) -> Option<Option<Box<Job>>> {
    let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(deaths - 1)).min(PAUSE_MAX);
    tracing::warn!(
        subroutine = pool.name(),
        deaths,
        ?pause,
        "a subroutine's workers die as soon as they are started"
    );
    tokio::select! {
        biased;
        job = &mut given => job.ok().map(Some),
        () = sleep(pause) => if place.has_rested() { Some(None) } else { given.await.ok().map(Some) },
    }
}

fn told(pool: &Pool, reason: &str) {
    // Its last lines are in the log already.
    let reason = reason.lines().next().unwrap_or_default();
    tracing::warn!(subroutine = pool.name(), reason = %escape(reason.as_bytes()), "a subroutine's worker is gone");
}
