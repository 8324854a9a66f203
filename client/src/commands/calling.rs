//! What `call`, `stream` and `send` share: arguments from the command line, and results to standard output.

use std::{
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use data_encoding::BASE64;
use serde::Serialize;
use swarmwire_client::{
    ConnectError, ConnectOptions, Controller, RequestError,
    controller::calling::{CallOptions, Payload},
};
use swarmwire_common::{
    escape::{escape, escape_str},
    limits,
    root::describe,
    value::{Arguments, Value},
    wire::status::Status,
};
use tokio::task::spawn_blocking;

use super::{Way, interrupt::Interrupt, parse_gateway};
use crate::{
    cli::{CalledArguments, LimitArguments},
    exit::{Exit, Failure},
    output::Output,
};

/// Bytes in JSON: `text`, or `base64` where they are not UTF-8.
#[derive(Debug, Serialize)]
pub(super) struct JsonBytes {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl JsonBytes {
    pub(super) fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text.to_owned()), base64: None },
            Err(_) => Self { text: None, base64: Some(BASE64.encode(bytes)) },
        }
    }
}

/// The time that a command has, from its start on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    start: Instant,
    timeout: Option<Duration>,
    wait: Duration,
}

/// What is called where, as people are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callee<'a> {
    pub(super) name: &'a str,
    pub(super) gateway: &'a OsStr,
}

impl Callee<'_> {
    /// Says of a call that failed which one it was, where the gateway's own words do not.
    fn failed(&self, err: anyhow::Error) -> anyhow::Error {
        if !err.is::<RequestError>() && !err.is::<ConnectError>() {
            return err;
        }
        let name = format!("`{}`", escape_str(self.name));
        // What follows a first line are the last ones of a program.
        let is_named = err.to_string().lines().next().is_some_and(|line| line.contains(&name));
        if is_named { err } else { err.context(self.to_string()) }
    }
}

impl fmt::Display for Callee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at `{}`", escape_str(self.name), escape(self.gateway.as_encoded_bytes()))
    }
}

/// The object of a call that failed; the names are a contract.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    event: &'static str,
    call: usize,
    /// Absent where no status was told: the connection was lost, or what is to be sent cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    reason: String,
}

impl Failed {
    /// `call` is its number, from 1.
    pub(super) fn new(call: usize, err: &RequestError) -> Self {
        let reason = match err {
            RequestError::Refused { status, detail, .. } if detail.is_empty() => status.meaning().to_owned(),
            RequestError::Refused { detail, .. } => detail.clone(),
            err => err.to_string(),
        };
        Self { event: "failed", call, status: err.status().map(Status::as_str), reason }
    }
}

impl LimitArguments {
    /// To be called at the start.
    pub(super) fn begin(&self) -> Limits {
        Limits { start: Instant::now(), timeout: self.timeout, wait: self.wait }
    }
}

impl Limits {
    /// For calls that begin now, each of which has what is left.
    pub(super) fn options(self) -> CallOptions {
        CallOptions { deadline: self.left(), wait: self.wait }
    }

    /// So that connecting takes no longer than what is left.
    pub(super) fn connecting(self, options: ConnectOptions) -> ConnectOptions {
        let Some(left) = self.left() else { return options };
        // It is told in milliseconds. Of less than one nothing can come, which is told as by a gateway that is not there.
        let left = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1));
        ConnectOptions { timeout: options.timeout.min(left), ..options }
    }

    fn left(self) -> Option<Duration> {
        Some(self.timeout?.saturating_sub(self.start.elapsed()))
    }
}

impl CalledArguments {
    pub(super) fn callee(&self) -> Callee<'_> {
        Callee { name: &self.name, gateway: &self.gateway }
    }

    /// What the subroutine is called with. Blocks on a file.
    pub(super) fn payload(&self) -> anyhow::Result<Payload> {
        if let Some(path) = &self.data {
            return Ok(Payload::raw(read("--data", path)?));
        }
        if let Some(path) = &self.json_args {
            let arguments = Arguments::from_json(&read("--json-args", path)?)
                .map_err(|err| Failure::usage(format!("--json-args: {}: {err}", shown(path))))?;
            return Ok(arguments.into());
        }
        let mut arguments = Arguments::new();
        arguments.positional = self.positional.iter().map(|text| value(text)).collect();
        for argument in &self.named {
            let Some((name, text)) = argument.split_once('=') else {
                return Err(Failure::usage(format!("--arg: `{argument}` has no `=`; write KEY=VALUE")).into());
            };
            if name.is_empty() {
                let told = format!("--arg: `{argument}` has no name before its `=`; write KEY=VALUE");
                return Err(Failure::usage(told).into());
            }
            if arguments.named.iter().any(|(other, _)| other == name) {
                return Err(Failure::usage(format!("--arg: `{name}` was given twice")).into());
            }
            arguments.named.push((name.to_owned(), value(text)));
        }
        Ok(arguments.into())
    }
}

/// JSON where it is, otherwise text.
fn value(text: &str) -> Value {
    Value::from_json(text.as_bytes()).unwrap_or_else(|_| text.into())
}

/// All of a file, or of standard input, that a call can take.
fn read(option: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let limit = limits::ARGUMENTS_BYTES_MAX;
    let (mut bytes, most) = (Vec::new(), limit as u64 + 1);
    let read = if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|err| unreadable(option, path, &err))?;
    if bytes.len() > limit {
        let told = format!(
            "{option}: {}: a call takes at most {limit} bytes; a subroutine of kind `send` takes any number (`swarm send`)",
            shown(path)
        );
        return Err(Failure::usage(told));
    }
    Ok(bytes)
}

/// What is said of a file that an option names and that cannot be read.
pub(super) fn unreadable(option: &str, path: &Path, err: &io::Error) -> Failure {
    Failure::usage(format!("{option}: {} cannot be read: {}", shown(path), describe(err)))
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        return "standard input".to_owned();
    }
    format!("`{}`", escape(path.as_os_str().as_encoded_bytes()))
}

/// Runs the work of a call over a connection to its gateway; see [`over`].
pub(super) async fn calling(
    callee: Callee<'_>,
    options: ConnectOptions,
    work: impl AsyncFnOnce(&Controller) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    over(callee.gateway, options, work).await.map_err(|err| callee.failed(err))
}

/// Runs `work` over a connection to the gateway, until it ends or a signal comes, which ends it at the gateway, too.
pub(super) async fn over(
    gateway: &OsStr,
    options: ConnectOptions,
    work: impl AsyncFnOnce(&Controller) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let gateway = parse_gateway(gateway)?;
    let way = Way::find(&gateway, "GW", options)?;
    let mut interrupt = Interrupt::listen()?;
    let controller = tokio::select! {
        controller = way.connect() => controller?,
        () = interrupt.wait() => return Ok(Exit::Interrupted),
    };
    let ended = tokio::select! {
        ended = work(&controller) => ended,
        () = interrupt.wait() => Ok(Exit::Interrupted),
    };
    controller.close().await;
    ended
}

/// Writes to standard output on a blocking thread, so that a reader who stalls keeps neither the connection from being alive nor a signal from
/// being heard.
pub(super) async fn print(bytes: impl AsRef<[u8]> + Send + 'static) -> io::Result<()> {
    let printing = spawn_blocking(move || {
        let mut output = Output::new();
        output.raw(bytes.as_ref())?;
        output.flush()
    });
    printing.await.expect("it does not panic, and nobody aborts it")
}

/// One object on a line of its own, as bytes.
pub(super) fn line<T: Serialize>(object: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(object)?;
    line.push(b'\n');
    Ok(line)
}

/// Whether a newline has to be added for a terminal.
pub(super) fn lacks_newline(bytes: &Bytes) -> bool {
    bytes.last().is_some_and(|&last| last != b'\n')
}
