//! One run of a program: its pipes, its end, and the end of all that it has started.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    pin::Pin,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use swarmwire_common::{escape::escape, limits};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, unix::AsyncFd},
    net::unix::pipe,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};

use crate::subroutines::{Context, Failure, Input, Room};

/// What a program finds of the gateway's own environment.
const ENVIRONMENT_KEPT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// Bytes of JSON that fit into the environment: Linux takes 128 KiB for one variable (`MAX_ARG_STRLEN`), its name included.
const ENVIRONMENT_BYTES_MAX: usize = 120 * 1024;

/// How long a process group may take to end after SIGTERM. Chosen: what cleaning up takes, and no service manager waits for less.
const TERMINATION_TIME_MAX: Duration = Duration::from_secs(2);

/// Bytes that are read from a program at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;
const READ_BYTES_MIN: usize = 4 * 1024;

/// Lines of standard error that are logged in a second.
const LINES_PER_SECOND: u32 = 50;

/// Lines of standard error that are kept for the caller, and bytes of each.
const LAST_LINES: usize = 20;
const LINE_BYTES_MAX: usize = 1024;

/// How to start a program.
pub(super) struct Start<'a> {
    pub(super) words: Vec<OsString>,
    pub(super) directory: Option<&'a Path>,
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) user: Option<(u32, u32)>,
    pub(super) context: &'a Context,
    pub(super) json: Option<&'a str>,
}

/// A program that runs. Dropped, it is ended.
pub(super) struct Process {
    group: Group,
    stdin: Arc<pipe::Sender>,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    exited: AsyncFd<OwnedFd>,
    subroutine: Arc<str>,
}

/// How a program ended.
pub(super) struct Exited {
    status: ExitStatus,
    /// The last lines of its standard error.
    words: String,
}

impl Exited {
    /// A failure unless it says that all is well.
    pub(super) fn success(self) -> Result<(), Failure> {
        if self.status.success() {
            return Ok(());
        }
        // `exit status: 3` or `signal: 9 (SIGKILL)`.
        let mut reason = format!("the program ended with {}", self.status);
        if !self.words.is_empty() {
            reason += ":\n";
            reason += &self.words;
        }
        Err(Failure::new(reason))
    }
}

impl Process {
    /// Starts it, on another thread: a directory on a dead network file system holds up whoever starts something there.
    pub(super) async fn start(start: Start<'_>) -> io::Result<Self> {
        let mut command = Command::new(&start.words[0]);
        command.args(&start.words[1..]).env_clear().process_group(0);
        for name in ENVIRONMENT_KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(start.environment);
        command
            .env("SWARMWIRE_CALLER", start.context.caller().to_string())
            .env("SWARMWIRE_CALL_ID", start.context.id().to_string());
        if let Some(json) = start.json.filter(|json| json.len() <= ENVIRONMENT_BYTES_MAX) {
            command.env("SWARMWIRE_ARGS", json);
        }
        if let Some(directory) = start.directory {
            command.current_dir(directory);
        }
        if let Some((user, group)) = start.user {
            command.uid(user).gid(group);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (room, subroutine) = (Arc::clone(&start.context._room), Arc::clone(&start.context.subroutine));
        // Whoever gives up meanwhile leaves it to end as it would when it runs.
        let spawning = spawn_blocking(move || command.spawn().map(|child| Group::new(child, room)));
        let mut group = spawning.await.map_err(io::Error::other)??;
        let child = group.child.as_mut().expect("it is there until it is reaped");
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let taken = "it was piped, and is taken once";
        let stdin = Arc::new(pipe::Sender::from_owned_fd(stdin.expect(taken).into())?);
        group.stdin = Some(Arc::clone(&stdin));
        Ok(Self {
            stdin,
            stdout: pipe::Receiver::from_owned_fd(stdout.expect(taken).into())?,
            stderr: pipe::Receiver::from_owned_fd(stderr.expect(taken).into())?,
            exited: watched(group.pidfd()?)?,
            subroutine,
            group,
        })
    }

    /// Gives it these bytes as its standard input.
    pub(super) fn feeding(self, bytes: Bytes) -> Output {
        self.with_input(|stdin| async move { write(&stdin, &bytes).await.map(drop) })
    }

    /// Gives it what comes.
    pub(super) fn taking(self, mut input: Input) -> Output {
        self.with_input(|stdin| async move {
            while let Some(bytes) = input.next().await? {
                if !write(&stdin, &bytes).await? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn with_input<F>(self, feed: impl FnOnce(Arc<pipe::Sender>) -> F) -> Output
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let Self { group, stdin, stdout, stderr, exited, subroutine } = self;
        let feeding: BoxFuture<'static, _> = Box::pin(feed(stdin));
        let listening: BoxFuture<'static, _> = Box::pin(last_words(stderr, subroutine));
        Output {
            group,
            stdout: Some(stdout),
            exited,
            buffer: BytesMut::new(),
            has_exited: false,
            kill_at: None,
            abandon_at: None,
            feeding: Some(feeding),
            listening: Some(listening),
            words: String::new(),
        }
    }
}

#[expect(deprecated, reason = "what takes its place is unsafe; a descriptor that is owned satisfies it")]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// Writes all of `bytes`; whether anybody reads. A program that does not is no error.
async fn write(stdin: &pipe::Sender, mut bytes: &[u8]) -> Result<bool, Failure> {
    while !bytes.is_empty() {
        stdin.writable().await?;
        match stdin.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(err) => return Err(err.into()),
        }
    }
    Ok(true)
}

/// What a program gives, while it is fed and its standard error is read.
pub(super) struct Output {
    group: Group,
    /// None once it has ended.
    stdout: Option<pipe::Receiver>,
    exited: AsyncFd<OwnedFd>,
    buffer: BytesMut,
    has_exited: bool,
    /// When what it has left behind is killed.
    kill_at: Option<Instant>,
    /// When what has left its group and still holds the pipes is waited for no longer.
    abandon_at: Option<Instant>,
    feeding: Option<BoxFuture<'static, Result<(), Failure>>>,
    listening: Option<BoxFuture<'static, String>>,
    words: String,
}

impl Output {
    /// What it gives next; `None` once there is nothing more. Not cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        // What was given out before may still be held: a little of it must not hold all of a buffer.
        if self.buffer.capacity() < READ_BYTES_MIN {
            self.buffer.reserve(READ_BYTES);
        }
        while let Some(stdout) = &mut self.stdout {
            tokio::select! {
                read = stdout.read_buf(&mut self.buffer) => match read? {
                    0 => self.stdout = None,
                    _ => return Ok(Some(self.buffer.split().freeze())),
                },
                fed = going(&mut self.feeding) => self.fed(fed)?,
                words = going(&mut self.listening) => {
                    self.listening = None;
                    self.words = words;
                }
                gone = self.exited.readable(), if !self.has_exited => {
                    gone?.retain_ready();
                    self.has_exited = true;
                    // What it has left behind could hold the pipes for ever.
                    self.group.terminate();
                    self.kill_at = Some(Instant::now() + TERMINATION_TIME_MAX);
                }
                () = reached(self.kill_at) => {
                    self.kill_at = None;
                    self.group.kill();
                    self.abandon_at = Some(Instant::now() + TERMINATION_TIME_MAX);
                }
                () = reached(self.abandon_at) => self.stdout = None,
            }
        }
        Ok(None)
    }

    /// Its input is complete, or broke off: then it sees the end of it only when it is ended itself.
    fn fed(&mut self, fed: Result<(), Failure>) -> Result<(), Failure> {
        self.feeding = None;
        fed?;
        self.group.stdin = None;
        Ok(())
    }

    /// How it ended, once it has closed its output.
    pub(super) async fn end(mut self) -> Result<Exited, Failure> {
        while !self.has_exited {
            tokio::select! {
                fed = going(&mut self.feeding) => self.fed(fed)?,
                words = going(&mut self.listening) => {
                    self.listening = None;
                    self.words = words;
                }
                gone = self.exited.readable() => {
                    gone?.retain_ready();
                    self.has_exited = true;
                }
            }
        }
        self.group.terminate();
        if let Some(mut listening) = self.listening.take() {
            self.words = if let Ok(words) = timeout(TERMINATION_TIME_MAX, &mut listening).await {
                words
            } else {
                self.group.kill();
                timeout(TERMINATION_TIME_MAX, listening).await.unwrap_or_default()
            };
        }
        let status = self.group.reap()?;
        Ok(Exited { status, words: self.words })
    }
}

/// Goes on with what there is to be done beside something else.
async fn going<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => Pin::new(work).await,
        None => std::future::pending().await,
    }
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Reads standard error into the log; gives its last lines.
async fn last_words(stderr: pipe::Receiver, subroutine: Arc<str>) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut last = VecDeque::new();
    let mut line = Vec::new();
    let (mut second, mut logged) = (Instant::now(), 0);
    loop {
        line.clear();
        let read = (&mut stderr).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await;
        if !read.is_ok_and(|count| count > 0) {
            break;
        }
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        if second.elapsed() >= Duration::from_secs(1) {
            if logged > LINES_PER_SECOND {
                let lines = logged - LINES_PER_SECOND;
                tracing::info!(%subroutine, lines, "left out what a subroutine's program says");
            }
            (second, logged) = (Instant::now(), 0);
        }
        logged += 1;
        if logged <= LINES_PER_SECOND {
            tracing::info!(%subroutine, line = %escape(text.as_bytes()), "a subroutine's program says");
        }
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }
    let mut words = Vec::from(last).join("\n");
    if words.len() > limits::CALL_REASON_BYTES_MAX / 2 {
        words.drain(..words.ceil_char_boundary(words.len() - limits::CALL_REASON_BYTES_MAX / 2));
    }
    words
}

/// A process and all that it has started, as far as that has stayed in its group.
#[derive(Debug)]
struct Group {
    /// None once it is reaped.
    child: Option<Child>,
    /// Kept open until its end, where what was to come through it did not come to an end.
    stdin: Option<Arc<pipe::Sender>>,
    /// What its call takes up is free again when it is gone.
    room: Arc<Room>,
}

impl Group {
    fn new(child: Child, room: Arc<Room>) -> Self {
        Self { child: Some(child), stdin: None, room }
    }

    fn pid(child: &Child) -> Pid {
        Pid::from_child(child)
    }

    /// Readable once the process has ended.
    fn pidfd(&self) -> io::Result<OwnedFd> {
        let child = self.child.as_ref().expect("it is there until it is reaped");
        Ok(pidfd_open(Self::pid(child), PidfdFlags::NONBLOCK)?)
    }

    /// Asks all of it to end.
    fn terminate(&self) {
        if let Some(child) = &self.child {
            signal(child, Signal::TERM);
        }
    }

    /// Ends all of it.
    fn kill(&self) {
        if let Some(child) = &self.child {
            signal(child, Signal::KILL);
        }
    }

    /// How the process ended, which it has; what is left of its group is killed.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.child.take().expect("it is reaped once");
        signal(&child, Signal::KILL);
        child.wait()
    }
}

/// Whoever is not reaped is asked to end, and killed soon after.
impl Drop for Group {
    fn drop(&mut self) {
        self.terminate();
        let Some(child) = self.child.take() else { return };
        let ended = Arc::new(Mutex::new(Some((child, self.stdin.take(), Arc::clone(&self.room)))));
        let ending = Arc::clone(&ended);
        let thread = thread::Builder::new().name("ending".to_owned());
        let spawned = thread.spawn(move || end(&ending, TERMINATION_TIME_MAX));
        if let Err(err) = spawned {
            tracing::warn!(%err, "no thread to end a subroutine's program with");
            end(&ended, Duration::ZERO);
        }
    }
}

/// A process that is to end, its input, and the room that it takes up.
type Ending = (Child, Option<Arc<pipe::Sender>>, Arc<Room>);

/// Gives it some time, and kills what is left. Blocks.
fn end(ending: &Mutex<Option<Ending>>, patience: Duration) {
    let taken = ending.lock().expect("no holder panics").take();
    let Some((mut child, _stdin, _room)) = taken else { return };
    if let Ok(gone) = pidfd_open(Group::pid(&child), PidfdFlags::empty()) {
        let time = Timespec::try_from(patience).expect("seconds fit");
        let waited = poll(&mut [PollFd::new(&gone, PollFlags::IN)], Some(&time));
        tracing::trace!(?waited, "waited for a process group to end");
    }
    signal(&child, Signal::KILL);
    if let Err(err) = child.wait() {
        tracing::warn!(%err, "a subroutine's program could not be reaped");
    }
}

/// To the group. As long as its process is not reaped, nobody else has its number.
fn signal(child: &Child, signal: Signal) {
    if let Err(err) = kill_process_group(Group::pid(child), signal) {
        tracing::trace!(%err, "a process group has ended by itself");
    }
}
