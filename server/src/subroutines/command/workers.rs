//! Programs that are kept: started ahead, and given one call after the other over their pipes.
//!
//! `frame` has the bytes that go over the pipes, `feed` and `worker` talk to one process, `slot` keeps one, and `pool` decides which serves what and how
//! many there are. A call ([`job`]) is held up by its caller, and holds up its worker by the pipe. A process that dies, or says what it must not,
//! costs the call that it serves and no other.

mod feed;
mod frame;
mod job;
mod pool;
mod slot;
mod worker;

use std::{
    fmt,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use swarmwire_common::{
    limits,
    wire::call::{CallKind, Codec},
};
use tokio::{runtime::Handle, task::JoinSet};

use self::{
    feed::Source,
    job::{Answers, Job, Piece},
    pool::{Pool, Taken},
    slot::slot_task,
};
use super::{
    CommandOptions,
    template::{Template, TemplateError},
};
use crate::subroutines::{Args, Context, Failure, Input, Items, Reply, processes::Processes};

/// How long a worker above the least number waits for a call before it ends, unless the operator says otherwise. Chosen: longer than the
/// pauses of somebody who works, and short beside a day.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(60);

/// How many processes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerOptions {
    /// So many live also when there is nothing to do.
    pub min: usize,
    /// So many live at most, and so many calls run at a time.
    pub max: usize,
    /// How long one above `min` waits for a call before it ends.
    pub idle: Duration,
}

impl WorkerOptions {
    /// Whether they can be, of a program with this command.
    pub(super) fn check(&self, template: &Template) -> Result<(), TemplateError> {
        if self.max == 0 || self.max > limits::WORKERS_MAX || self.min > self.max {
            return Err(TemplateError::Workers);
        }
        template.first_place().map_or(Ok(()), |name| Err(TemplateError::Worker(name.to_owned())))
    }
}

/// A program, and how many of it there are.
struct Program {
    options: CommandOptions,
    template: Template,
    workers: WorkerOptions,
}

/// Whose workers they are.
#[derive(Debug)]
struct Home {
    subroutine: Arc<str>,
    processes: Processes,
}

/// The workers of a subroutine. Dropped, they are ended.
pub(crate) struct Workers {
    pool: Arc<Pool>,
    slots: Mutex<JoinSet<()>>,
}

/// How workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerCounts {
    /// Processes that live.
    pub(crate) living: usize,
    /// Those that have failed since this was asked last.
    pub(crate) newly_failed: u64,
}

impl Workers {
    pub(super) fn new(options: CommandOptions, template: Template, workers: WorkerOptions) -> Self {
        let pool = Pool::new(Program { options, template, workers });
        Self { pool: Arc::new(pool), slots: Mutex::default() }
    }

    /// Says whose they are. What is said first counts.
    pub(crate) fn belong_to(&self, subroutine: &Arc<str>, processes: &Processes) {
        self.pool
            .home
            .get_or_init(|| Home { subroutine: Arc::clone(subroutine), processes: processes.clone() });
    }

    /// Has the least number of them started, by tasks of this runtime.
    pub(crate) fn start(&self, runtime: &Handle) {
        while let Some(id) = self.pool.missing() {
            self.spawn(runtime, id, None);
        }
    }

    /// Ends those that serve no call, and the others after it. Whoever calls nevertheless gets one for that call.
    pub(crate) fn retire(&self) {
        self.pool.retire();
    }

    /// Ends all of them, and the calls that they serve. Whoever calls nevertheless has them started again.
    pub(crate) fn stop(&self) {
        self.slots.lock().expect("no holder panics").abort_all();
        self.pool.abandon();
    }

    /// How many there are.
    pub(crate) fn living(&self) -> usize {
        self.pool.living.load(Relaxed)
    }

    /// How they are.
    pub(crate) fn counts(&self) -> WorkerCounts {
        WorkerCounts { living: self.living(), newly_failed: self.pool.failed.swap(0, Relaxed) }
    }

    fn spawn(&self, runtime: &Handle, id: u64, job: Option<Box<Job>>) {
        let mut slots = self.slots.lock().expect("no holder panics");
        while let Some(ended) = slots.try_join_next() {
            if let Err(err) = ended
                && err.is_panic()
            {
                tracing::error!(subroutine = self.pool.name(), %err, "a task that keeps a worker panicked");
            }
        }
        slots.spawn_on(slot_task(Arc::clone(&self.pool), id, job), runtime);
    }

    /// Has a call served; what comes back is to be taken from the answers.
    fn call(&self, context: Context, given: Given) -> Answers {
        let Given { kind, args, source } = given;
        let (job, answers) = Job::new(context, kind, args, source);
        if let Taken::New(id, job) = self.pool.take(job) {
            self.spawn(&Handle::current(), id, Some(job));
        }
        answers
    }

    /// What a worker gets of a call's arguments.
    fn arguments(&self, kind: CallKind, args: &Args) -> Result<Given, Failure> {
        let Program { options, template, .. } = &self.pool.program;
        if options.codec == Codec::Raw {
            return Ok(Given { kind, args: None, source: Source::Whole(args.bytes().clone()) });
        }
        let arguments = args.values()?;
        template.by_name(&arguments).map_err(Failure::invalid)?;
        let args = arguments.to_json();
        Ok(Given { kind, args: Some(args), source: Source::Whole(Bytes::new()) })
    }

    pub(super) fn batch(&self, context: Context, args: &Args) -> Result<Reply, Failure> {
        let given = self.arguments(CallKind::Batch, args)?;
        let answers = self.call(context, given);
        Ok(Reply::parts(stream::unfold(Some(answers), async |answers| {
            let mut answers = answers?;
            match answers.next().await {
                Ok(Piece::Part(bytes)) => Some((Ok(bytes), Some(answers))),
                Ok(_) => None,
                Err(failure) => Some((Err(failure), None)),
            }
        })))
    }

    pub(super) fn items(&self, context: Context, args: &Args) -> Result<Items, Failure> {
        let given = self.arguments(CallKind::Stream, args)?;
        let answers = self.call(context, given);
        let next = async |answers: Option<Answers>| {
            let mut answers = answers?;
            match answers.next().await {
                Ok(Piece::Item(ident, bytes)) => Some((Ok((ident, bytes)), Some(answers))),
                Ok(_) => None,
                Err(failure) => Some((Err(failure), None)),
            }
        };
        Ok(stream::unfold(Some(answers), next).boxed())
    }

    pub(super) async fn send(self: Arc<Self>, context: Context, input: Input) -> Result<i64, Failure> {
        let given = Given { kind: CallKind::Send, args: None, source: Source::Streamed(input) };
        match self.call(context, given).next().await? {
            Piece::End(value) => Ok(value),
            _ => unreachable!("a worker's frames are those of its call's kind"),
        }
    }
}

/// What a call gives to a worker.
struct Given {
    kind: CallKind,
    args: Option<serde_json::Value>,
    source: Source,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("living", &self.living()).finish_non_exhaustive()
    }
}
