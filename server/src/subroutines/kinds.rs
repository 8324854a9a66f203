//! The three kinds, from functions of the user's to one type of each.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use swarmwire_common::wire::call::{CallKind, Codec};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{Args, Context, Failure, FromArgs, Input, command::Workers};

/// What a batch gives.
pub enum Reply {
    /// All at once.
    Whole(Bytes),
    /// Piece by piece, made as the caller takes them.
    Parts(BoxStream<'static, Result<Bytes, Failure>>),
}

impl Reply {
    /// Pieces that are made as the caller takes them.
    pub fn parts<E: Into<Failure>>(parts: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self {
        Self::Parts(parts.map(|part| part.map_err(Into::into)).boxed())
    }
}

impl<T: Into<Bytes>> From<T> for Reply {
    fn from(bytes: T) -> Self {
        Self::Whole(bytes.into())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(&bytes.len()).finish(),
            Self::Parts(_) => f.debug_tuple("Parts").finish_non_exhaustive(),
        }
    }
}

/// What a stream gives: idents and bytes.
pub type Items = BoxStream<'static, Result<(i64, Bytes), Failure>>;

type BatchFunction = dyn Fn(Context, Args) -> BoxFuture<'static, Result<Reply, Failure>> + Send + Sync;
type StreamFunction = dyn Fn(Context, Args) -> BoxFuture<'static, Result<Items, Failure>> + Send + Sync;
type SendFunction = dyn Fn(Context, Input) -> BoxFuture<'static, Result<i64, Failure>> + Send + Sync;

/// A function of one kind.
#[derive(Clone)]
pub(crate) enum Function {
    Batch(Arc<BatchFunction>),
    Stream(Arc<StreamFunction>),
    Send(Arc<SendFunction>),
}

/// A function, and how it may be called.
#[derive(Clone)]
pub struct Subroutine {
    pub(crate) function: Function,
    pub(crate) options: Options,
    /// Processes that are kept for it.
    pub(crate) workers: Option<Arc<Workers>>,
}

/// How a function may be called.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Calls at a time; none for as many as there are handlers.
    pub(crate) concurrency: Option<usize>,
    /// How long a call may take.
    pub(crate) timeout: Option<Duration>,
    /// Bytes that a call may give.
    pub(crate) output_bytes_max: u64,
    /// What it takes, in words.
    pub(crate) arguments: String,
    pub(crate) codecs: Vec<Codec>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: None,
            timeout: None,
            output_bytes_max: u64::MAX,
            arguments: String::new(),
            codecs: vec![Codec::Bincode, Codec::Json, Codec::Raw],
        }
    }
}

/// Items of a blocking stream that wait for the caller.
const ITEMS_QUEUED_MAX: usize = 64;

impl Subroutine {
    /// A batch. `A` is [`Args`], or whatever type `serde` can make of the arguments.
    pub fn batch<A, F, R, E, O>(function: F) -> Self
    where
        A: FromArgs + Send,
        F: Fn(Context, A) -> O + Send + Sync + 'static,
        O: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Reply>,
        E: Into<Failure>,
    {
        let function = Arc::new(function);
        Self::of(Function::Batch(Arc::new(move |context, args| {
            let function = Arc::clone(&function);
            caught(async move { function(context, A::from_args(args)?).await.map(reply).map_err(Into::into) })
        })))
    }

    /// A batch that blocks.
    pub fn blocking_batch<A, F, R, E>(function: F) -> Self
    where
        A: FromArgs + Send + 'static,
        F: Fn(Context, A) -> Result<R, E> + Send + Sync + 'static,
        R: Into<Reply>,
        E: Into<Failure>,
    {
        let function = Arc::new(function);
        Self::of(Function::Batch(Arc::new(move |context, args| {
            let function = Arc::clone(&function);
            let work = move || function(context, A::from_args(args)?).map(reply).map_err(Into::into);
            on_thread(work)
        })))
    }

    /// A stream, which begins once `function` has given it.
    pub fn stream<A, F, S, E, O>(function: F) -> Self
    where
        A: FromArgs + Send,
        F: Fn(Context, A) -> O + Send + Sync + 'static,
        O: Future<Output = Result<S, E>> + Send + 'static,
        S: Stream<Item = Result<(i64, Bytes), Failure>> + Send + 'static,
        E: Into<Failure>,
    {
        let function = Arc::new(function);
        Self::of(Function::Stream(Arc::new(move |context, args| {
            let function = Arc::clone(&function);
            caught(async move {
                let items = function(context, A::from_args(args)?).await.map_err(Into::into)?;
                Ok(guarded(items.boxed()))
            })
        })))
    }

    /// A stream whose items a blocking function hands out, by the callback that it is given. That waits while the caller takes nothing, and
    /// says `false` when nobody wants more.
    pub fn blocking_stream<A, F, E>(function: F) -> Self
    where
        A: FromArgs + Send + 'static,
        F: Fn(Context, A, &mut dyn FnMut(i64, Bytes) -> bool) -> Result<(), E> + Send + Sync + 'static,
        E: Into<Failure>,
    {
        let function = Arc::new(function);
        Self::of(Function::Stream(Arc::new(move |context, args| {
            let function = Arc::clone(&function);
            caught(async move {
                let args = A::from_args(args)?;
                let (sender, items) = mpsc::channel(ITEMS_QUEUED_MAX);
                let last = sender.clone();
                let work = move || {
                    let mut give = |ident, bytes| sender.blocking_send(Ok((ident, bytes))).is_ok();
                    function(context, args, &mut give).map_err(Into::into)
                };
                let end = on_thread(work).then(async move |ended| {
                    if let Err(failure) = ended
                        && last.send(Err(failure)).await.is_err()
                    {
                        tracing::trace!("nobody is left to hear how a stream failed");
                    }
                });
                Ok(received(items, end).boxed())
            })
        })))
    }

    /// A send.
    pub fn send<F, E, O>(function: F) -> Self
    where
        F: Fn(Context, Input) -> O + Send + Sync + 'static,
        O: Future<Output = Result<i64, E>> + Send + 'static,
        E: Into<Failure>,
    {
        let function = Arc::new(function);
        Self::of(Function::Send(Arc::new(move |context, input| {
            let function = Arc::clone(&function);
            caught(async move { function(context, input).await.map_err(Into::into) })
        })))
    }

    /// A send that blocks, and reads its [`Input`] as `std::io::Read`.
    pub fn blocking_send<F, E>(function: F) -> Self
    where
        F: Fn(Context, Input) -> Result<i64, E> + Send + Sync + 'static,
        E: Into<Failure>,
    {
        let function = Arc::new(function);
        Self::of(Function::Send(Arc::new(move |context, input| {
            let function = Arc::clone(&function);
            on_thread(move || function(context, input).map_err(Into::into))
        })))
    }

    /// At most so many calls at a time; the next ones are told *busy*.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.options.concurrency = Some(calls.max(1));
        self
    }

    /// A call may take so long, whatever its caller says.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.options.timeout = Some(time);
        self
    }

    /// A call that gives more bytes fails.
    #[must_use]
    pub fn max_output(mut self, bytes: u64) -> Self {
        self.options.output_bytes_max = bytes;
        self
    }

    /// What it takes, in words, for `swarm services`.
    #[must_use]
    pub fn taking(mut self, arguments: impl Into<String>) -> Self {
        self.options.arguments = arguments.into();
        self
    }

    /// What it does.
    pub fn kind(&self) -> CallKind {
        match self.function {
            Function::Batch(_) => CallKind::Batch,
            Function::Stream(_) => CallKind::Stream,
            Function::Send(_) => CallKind::Send,
        }
    }

    fn of(function: Function) -> Self {
        Self { function, options: Options::default(), workers: None }
    }
}

impl fmt::Debug for Subroutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subroutine")
            .field("kind", &self.kind())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A panic is a failure of the call, and of nothing else.
fn caught<T: 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> BoxFuture<'static, Result<T, Failure>> {
    let work = AssertUnwindSafe(work).catch_unwind();
    work.map(|ended| ended.unwrap_or_else(|panic| Err(Failure::panicked(&*panic)))).boxed()
}

/// What a function has given, with its panics.
fn reply(given: impl Into<Reply>) -> Reply {
    match given.into() {
        Reply::Parts(parts) => Reply::Parts(guarded(parts)),
        whole @ Reply::Whole(_) => whole,
    }
}

/// The same for each item, after which there is no other.
fn guarded<T: 'static>(
    items: BoxStream<'static, Result<T, Failure>>,
) -> BoxStream<'static, Result<T, Failure>> {
    let items = AssertUnwindSafe(items).catch_unwind();
    items.map(|item| item.unwrap_or_else(|panic| Err(Failure::panicked(&*panic)))).boxed()
}

fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> BoxFuture<'static, Result<T, Failure>> {
    async move {
        match spawn_blocking(work).await {
            Ok(ended) => ended,
            Err(err) => match err.try_into_panic() {
                Ok(panic) => Err(Failure::panicked(&*panic)),
                Err(_) => Err(Failure::new("the gateway is ending")),
            },
        }
    }
    .boxed()
}

/// Items as they come, while `end` is driven beside them.
fn received(
    mut items: mpsc::Receiver<Result<(i64, Bytes), Failure>>,
    end: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Result<(i64, Bytes), Failure>> + Send + 'static {
    let mut end = Some(end.boxed());
    futures_util::stream::poll_fn(move |cx| {
        if let Some(ending) = &mut end
            && ending.as_mut().poll(cx).is_ready()
        {
            end = None;
        }
        items.poll_recv(cx)
    })
}
