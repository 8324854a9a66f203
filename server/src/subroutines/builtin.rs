//! Subroutines that come with the gateway; none is there unless it is configured, or registered.
//!
//! They work below the root alone, through its handles, within the path that the caller's identity is granted, and ask for the operation that they stand
//! for beside the call itself. Arguments and results are JSON, or typed values of Rust peers as of any function.

mod exact;
mod listing;
mod removing;
mod usage;

use std::{borrow::Cow, io, sync::Arc, time::Duration};

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use swarmwire_common::{
    entry::Timestamp,
    escape::escape_json,
    path::{PathError, RelPath},
    root::{self, Stat},
    sync::PlaceError,
    wire::status::Status,
};

use self::exact::Exact;
use super::{Args, Context, Failure, Subroutine};
use crate::grants::{Denied, Grant, Operation};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// How full the file system of a path is.
    DiskUsage,
    /// The oldest files below a path.
    ListFiles,
    /// Removes files that are what the caller takes them for.
    RemoveFiles,
}

/// Which one, and how it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltinOptions {
    /// What is called.
    pub builtin: Builtin,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// Calls at a time.
    pub concurrency: Option<usize>,
    /// Bytes that a call may give.
    pub max_output: u64,
}

impl Subroutine {
    /// One that comes with the gateway.
    pub fn builtin(options: BuiltinOptions) -> Self {
        let subroutine = match options.builtin {
            Builtin::DiskUsage => {
                Self::blocking_batch(|context: Context, asked: usage::Asked| usage::run(&context, &asked))
            }
            Builtin::ListFiles => {
                Self::blocking_batch(|context: Context, asked: listing::Asked| listing::run(&context, &asked))
            }
            Builtin::RemoveFiles => {
                Self::blocking_batch(|context: Context, args: Args| removing::run(&context, &args))
            }
        };
        let arguments = match options.builtin {
            Builtin::DiskUsage => "path",
            Builtin::ListFiles => "path, match, older_than, limit, hash",
            Builtin::RemoveFiles => "files",
        };
        let mut subroutine = subroutine.taking(arguments).max_output(options.max_output);
        subroutine.options.timeout = options.timeout;
        subroutine.options.concurrency = options.concurrency;
        subroutine
    }
}

/// A file, as it is told and as it is to be told to have it removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Relative to the root, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Otherwise, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    size: u64,
    /// Nanoseconds since 1970.
    mtime_ns: Exact<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<Exact<u64>>,
    /// BLAKE3, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

impl Listed {
    fn new(path: &RelPath, stat: &Stat, hash: Option<[u8; 32]>) -> Self {
        let (path, path_base64) = written(path);
        Self {
            path,
            path_base64,
            size: stat.size,
            mtime_ns: Exact(nanoseconds(stat.metadata.mtime)),
            inode: Some(Exact(stat.inode)),
            hash: hash.map(|hash| HEXLOWER.encode(&hash)),
        }
    }

    fn path(&self) -> Result<RelPath, String> {
        let bytes = match (&self.path, &self.path_base64) {
            (Some(path), None) => path.clone().into_bytes(),
            (None, Some(encoded)) => {
                BASE64.decode(encoded.as_bytes()).map_err(|err| format!("`path_base64`: {err}"))?
            }
            _ => return Err("it has neither `path` nor `path_base64`, or both".to_owned()),
        };
        RelPath::from_wire(bytes).map_err(|err| err.to_string())
    }
}

/// A path as text, or in Base64 if it is none.
fn written(path: &RelPath) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(path.as_bytes()) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(path.as_bytes()))),
    }
}

/// As an integer of 64 bits; of a time after 2262, or before 1677, the nearest there is.
fn nanoseconds(time: Timestamp) -> i64 {
    let exact = time.as_nanoseconds();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

/// What the caller may do now.
fn grant(context: &Context) -> Result<Arc<Grant>, Failure> {
    context.session.grant().ok_or_else(|| Failure::of(Status::Unknown, Status::Unknown.meaning()))
}

/// A path that the caller may do this to. Without any it is that of its grant; `.` is the root.
fn granted(context: &Context, operation: &Operation, path: Option<&str>) -> Result<RelPath, Failure> {
    let grant = grant(context)?;
    let path = match path {
        None => grant.path.clone(),
        Some(".") => RelPath::root(),
        Some(text) => RelPath::parse(text.as_bytes()).map_err(|err: PathError| {
            Failure::invalid(format!("argument mismatch: argument `path`: {err}"))
        })?,
    };
    grant.require_at(operation, &path).map_err(|err| denied(&err))?;
    Ok(path)
}

fn denied(err: &Denied) -> Failure {
    Failure::of(Status::Denied, err.to_string())
}

fn not_there(path: &RelPath, err: &io::Error) -> Failure {
    let err = PlaceError::from_io(path, err);
    Failure::of(err.status, err.to_string())
}

fn cancelled() -> Failure {
    Failure::of(Status::Cancelled, "nobody waits for this call any longer")
}

fn json(value: &impl Serialize) -> Bytes {
    let json = serde_json::to_string(value).expect("texts and numbers have a JSON");
    // Names are of anybody who may write there, and `swarm call` prints what it gets.
    match escape_json(&json) {
        Cow::Borrowed(_) => json.into(),
        Cow::Owned(escaped) => escaped.into(),
    }
}

/// Why a call on the disk failed, in words.
fn reason(err: &io::Error) -> String {
    root::describe(err)
}
