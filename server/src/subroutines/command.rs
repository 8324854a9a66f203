//! Programs as subroutines: started for each call, or kept as [workers](WorkerOptions); never through a shell.
//!
//! Arguments come as JSON on standard input and, unless they are very long, in `SWARMWIRE_ARGS`; or where the command has `{name}` in it, which becomes the
//! argument's text and stays within its word. Of a send the buffer is the standard input. Standard output is the result: the bytes of a
//! batch, a line or a frame for each item of a stream, the decimal integer of a send. What is on standard error goes to the log, and its last
//! lines to the caller where the program fails. With the call its whole process group ends: by SIGTERM, and soon after by SIGKILL.
//! What workers get and give instead goes over the same pipes in frames.

mod extent;
mod group;
mod launch;
mod process;
mod running;
mod template;
mod unstarted;
mod words;
mod workers;

use std::{collections::BTreeMap, ffi::OsString, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use swarmwire_common::{
    limits,
    wire::{
        call::{CallKind, Codec},
        status::Status,
    },
};

pub(crate) use self::workers::{WorkerCounts, Workers};
use self::{
    launch::{ForCall, Launch},
    process::{Output, Process},
    running::Exited,
    template::Template,
};
pub use self::{
    template::TemplateError,
    workers::{DEFAULT_IDLE, WorkerOptions},
};
use super::{Args, Context, Failure, Input, Items, Reply, Subroutine};

/// A program, and how it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOptions {
    /// The program and its arguments, with `{name}` where an argument of the call belongs.
    pub command: Vec<String>,
    /// What it is taken for.
    pub kind: CallKind,
    /// The names of the arguments in their order. Without any, those that `command` names; if there are none, either, any are taken.
    pub arguments: Vec<String>,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// Calls at a time.
    pub concurrency: Option<usize>,
    /// Bytes that a call may give.
    pub max_output: u64,
    /// Where it runs; the gateway's own working directory otherwise.
    pub working_directory: Option<PathBuf>,
    /// What it finds in its environment, beside `PATH`, `HOME`, `LANG`, `TZ`, `TMPDIR` and what tells of the call.
    pub environment: BTreeMap<String, String>,
    /// As whom it runs: user and group id.
    pub user: Option<(u32, u32)>,
    /// `Json`: it gets arguments; `Raw`: it gets on its standard input the bytes that the caller gave.
    pub codec: Codec,
    /// What of its standard output is an item of a stream.
    pub items: ItemForm,
    /// Where it is not started for each call: how many of it are kept. They frame their items themselves.
    pub workers: Option<WorkerOptions>,
}

/// Bytes that a call may give unless the operator says otherwise. Chosen: a large report; whoever wants more can say so.
pub const DEFAULT_OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl CommandOptions {
    /// A program with nothing else said about it.
    pub fn new<W: Into<String>>(command: impl IntoIterator<Item = W>, kind: CallKind) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            kind,
            arguments: Vec::new(),
            timeout: None,
            concurrency: None,
            max_output: DEFAULT_OUTPUT_BYTES_MAX,
            working_directory: None,
            environment: BTreeMap::new(),
            user: None,
            codec: Codec::Json,
            items: ItemForm::default(),
            workers: None,
        }
    }
}

/// What of a program's standard output is an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemForm {
    /// A line, without its end.
    #[default]
    Lines,
    /// A length (4 bytes, big-endian) and so many bytes.
    Frames,
}

/// The program of a subroutine, ready to be started.
struct Program {
    options: CommandOptions,
    template: Template,
}

impl Subroutine {
    /// A program.
    pub fn command(options: CommandOptions) -> Result<Self, TemplateError> {
        let template = Template::new(&options.command, &options.arguments)?;
        if (options.kind == CallKind::Send || options.codec == Codec::Raw)
            && let Some(name) = template.first_argument()
        {
            return Err(TemplateError::NoArguments(name.to_owned()));
        }
        let is_variable = |name: &str, value: &str| {
            !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
        };
        if let Some((name, _)) = options.environment.iter().find(|(name, value)| !is_variable(name, value)) {
            return Err(TemplateError::Variable(name.clone()));
        }
        let (kind, codec, description) = (options.kind, options.codec, template.describe());
        let (timeout, max) = (options.timeout, options.max_output);
        let mut concurrency = options.concurrency;
        let mut subroutine = match options.workers {
            Some(workers) => {
                workers.check(&template)?;
                concurrency = Some(concurrency.map_or(workers.max, |calls| calls.min(workers.max)));
                Self::of_workers(kind, Arc::new(Workers::new(options, template, workers)))
            }
            None => Self::of_program(Arc::new(Program { options, template })),
        };
        subroutine.options.timeout = timeout;
        subroutine.options.concurrency = concurrency;
        subroutine.options.output_bytes_max = max;
        subroutine.options.arguments = description;
        subroutine.options.codecs = match codec {
            Codec::Raw => vec![Codec::Raw],
            _ if kind == CallKind::Send => Vec::new(),
            _ => vec![Codec::Json, Codec::Bincode],
        };
        Ok(subroutine)
    }

    fn of_program(program: Arc<Program>) -> Self {
        let form = program.options.items;
        match program.options.kind {
            CallKind::Batch => {
                Self::batch(move |context, args: Args| batch(Arc::clone(&program), context, args))
            }
            CallKind::Stream => {
                Self::stream(move |context, args: Args| items(Arc::clone(&program), context, args, form))
            }
            CallKind::Send => Self::send(move |context, input| send(Arc::clone(&program), context, input)),
        }
    }

    fn of_workers(kind: CallKind, workers: Arc<Workers>) -> Self {
        let kept = Arc::clone(&workers);
        let mut subroutine = match kind {
            CallKind::Batch => Self::batch(move |context, args: Args| {
                let workers = Arc::clone(&workers);
                async move { workers.batch(context, &args) }
            }),
            CallKind::Stream => Self::stream(move |context, args: Args| {
                let workers = Arc::clone(&workers);
                async move { workers.items(context, &args) }
            }),
            CallKind::Send => Self::send(move |context, input| Arc::clone(&workers).send(context, input)),
        };
        subroutine.workers = Some(kept);
        subroutine
    }
}

impl Program {
    /// Starts it with the arguments of a call.
    async fn start(&self, context: &Context, args: &Args) -> Result<(Process, Bytes), Failure> {
        if self.options.codec == Codec::Raw {
            let words = self.template.fill(&[]).map_err(|err| Failure::invalid(err.to_string()))?;
            return Ok((self.run(context, words, None).await?, args.bytes().clone()));
        }
        let arguments = args.values()?;
        let named = self.template.by_name(&arguments).map_err(Failure::invalid)?;
        let words = self.template.fill(&named).map_err(|err| Failure::invalid(err.to_string()))?;
        let json = arguments.to_json().to_string();
        Ok((self.run(context, words, Some(&json)).await?, json.into()))
    }

    async fn run(
        &self,
        context: &Context,
        words: Vec<OsString>,
        json: Option<&str>,
    ) -> Result<Process, Failure> {
        let options = &self.options;
        let launch = Launch {
            words,
            directory: options.working_directory.as_deref(),
            environment: &options.environment,
            user: options.user,
            subroutine: Arc::clone(&context.subroutine),
            processes: &context._room.processes,
            call: Some(ForCall { context, json }),
        };
        Process::start(launch).await.map_err(|err| self.not_started(context, &err, json.is_some()))
    }

    /// What the caller is told; the log says it, too, unless it is the caller's fault.
    fn not_started(&self, context: &Context, err: &io::Error, has_arguments: bool) -> Failure {
        let (subroutine, call, options) = (context.subroutine(), context.id(), &self.options);
        let (program, directory) = (&options.command[0], &options.working_directory);
        if err.kind() == io::ErrorKind::ArgumentListTooLong {
            if has_arguments && extent::is_taken(&self.template.lengths(), &options.environment) {
                let reason = "argument mismatch: the arguments are longer than a program can be given";
                return Failure::invalid(reason);
            }
            let reason = "its `command` and `environment` are longer than a program can be given";
            tracing::error!(subroutine, call, program, reason, "a subroutine's program could not be started");
            return Failure::of(
                Status::Unavailable,
                format!("`{subroutine}` could not be started: {reason}"),
            );
        }
        tracing::error!(subroutine, call, program, ?directory, %err, "a subroutine's program could not be started");
        Failure::of(Status::Unavailable, format!("the program could not be started: {err}"))
    }
}

async fn batch(program: Arc<Program>, context: Context, args: Args) -> Result<Reply, Failure> {
    let (process, stdin) = program.start(&context, &args).await?;
    let output = process.feeding(stdin);
    // What comes out, and then how it ended.
    Ok(Reply::parts(stream::unfold(Some(output), async |output| {
        let mut output = output?;
        match output.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(output))),
            Ok(None) => match output.end().await.and_then(Exited::success) {
                Ok(()) => None,
                Err(failure) => Some((Err(failure), None)),
            },
            Err(failure) => Some((Err(failure), None)),
        }
    })))
}

async fn items(
    program: Arc<Program>,
    context: Context,
    args: Args,
    form: ItemForm,
) -> Result<Items, Failure> {
    let (process, stdin) = program.start(&context, &args).await?;
    let cut = Cut {
        output: Some(process.feeding(stdin)),
        buffer: BytesMut::new(),
        searched: 0,
        ident: 0,
        form,
        is_over: false,
    };
    Ok(stream::unfold(cut, Cut::next).boxed())
}

/// Standard output, cut into items.
struct Cut {
    /// None once it has ended, or failed.
    output: Option<Output>,
    buffer: BytesMut,
    /// Bytes of the buffer that have no end of a line.
    searched: usize,
    ident: i64,
    form: ItemForm,
    is_over: bool,
}

impl Cut {
    async fn next(mut self) -> Option<(Result<(i64, Bytes), Failure>, Self)> {
        loop {
            match self.cut() {
                Ok(Some(item)) => {
                    let ident = self.ident;
                    self.ident += 1;
                    return Some((Ok((ident, item)), self));
                }
                Ok(None) => {}
                Err(failure) => return Some((Err(failure), self.broken())),
            }
            let output = self.output.as_mut()?;
            match output.next().await {
                Ok(Some(bytes)) => self.buffer.extend_from_slice(&bytes),
                Ok(None) => {
                    self.is_over = true;
                    // A last line may have no end.
                    if !self.buffer.is_empty() {
                        continue;
                    }
                    let output = self.output.take()?;
                    return match output.end().await.and_then(Exited::success) {
                        Ok(()) => None,
                        Err(failure) => Some((Err(failure), self)),
                    };
                }
                Err(failure) => return Some((Err(failure), self.broken())),
            }
        }
    }

    fn broken(mut self) -> Self {
        self.output = None;
        self.buffer.clear();
        self.searched = 0;
        self
    }

    /// An item that is there.
    fn cut(&mut self) -> Result<Option<Bytes>, Failure> {
        match self.form {
            ItemForm::Lines => {
                let rest = &self.buffer[self.searched..];
                if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let line = self.buffer.split_to(self.searched + end).freeze();
                    self.buffer.advance(1);
                    self.searched = 0;
                    return Ok(Some(line));
                }
                self.searched = self.buffer.len();
                if self.is_over && !self.buffer.is_empty() {
                    self.searched = 0;
                    return Ok(Some(self.buffer.split().freeze()));
                }
            }
            ItemForm::Frames => {
                if let Some(head) = self.buffer.first_chunk::<4>() {
                    let length =
                        usize::try_from(u32::from_be_bytes(*head)).expect("usize has 32 bits or more");
                    if length > limits::ITEM_BYTES_MAX {
                        return Err(Failure::new(format!(
                            "the program announces an item of {length} bytes, {} are allowed",
                            limits::ITEM_BYTES_MAX
                        )));
                    }
                    if self.buffer.len() >= 4 + length {
                        self.buffer.advance(4);
                        return Ok(Some(self.buffer.split_to(length).freeze()));
                    }
                }
                if self.is_over && !self.buffer.is_empty() {
                    return Err(Failure::new("the program's last frame is cut short"));
                }
            }
        }
        if self.buffer.len() > limits::ITEM_BYTES_MAX {
            return Err(Failure::new(format!(
                "the program gives a line of more than {} bytes",
                limits::ITEM_BYTES_MAX
            )));
        }
        Ok(None)
    }
}

async fn send(program: Arc<Program>, context: Context, input: Input) -> Result<i64, Failure> {
    /// No integer is as long.
    const INTEGER_BYTES_MAX: usize = 4096;
    let words = program.template.fill(&[]).map_err(|err| Failure::invalid(err.to_string()))?;
    let mut output = program.run(&context, words, None).await?.taking(input);
    let mut text = Vec::new();
    while let Some(bytes) = output.next().await? {
        let room = INTEGER_BYTES_MAX - text.len().min(INTEGER_BYTES_MAX);
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    output.end().await?.success()?;
    let text = String::from_utf8_lossy(&text);
    // A program that has nothing to say of it has done it.
    Ok(text.trim().parse().unwrap_or(0))
}
