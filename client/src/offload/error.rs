//! Why an offload did not get to its end, in words for whoever has to fix it.

use std::{io, path::Path};

use swarmwire_certs::private::PrivateError;
use swarmwire_common::{
    escape::{escape, escape_str},
    filter::SelectionError,
    limits,
    root::describe,
    sync::{PlaceError, SyncError},
    wire::status::Status,
};

use crate::controller::RequestError;

/// Why an offload did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum OffloadError {
    /// Somebody else is at it.
    #[error("{0}")]
    Busy(String),
    /// The gateway, or the way to it.
    #[error("{0}")]
    Request(RequestError),
    /// All handlers of the gateway are in use, while this offload itself holds one of them.
    #[error("{0}; an offload needs two handlers of the gateway at a time")]
    Handlers(RequestError),
    /// A sync could not go on.
    #[error("{0}")]
    Sync(SyncError),
    /// A directory cannot be used.
    #[error("{0}")]
    Place(PlaceError),
    /// A directory on this machine cannot be used.
    #[error("`{path}` cannot be {what}: {reason}")]
    Local {
        /// Escaped.
        path: String,
        /// What cannot be done.
        what: &'static str,
        /// What the system says.
        reason: String,
    },
    /// Nothing is moved onto itself.
    #[error(
        "SRC and DST are one directory, or DST lies in SRC: what is moved would be gone, or be there to be moved again; \
         write another DST"
    )]
    OnePlace,
    /// A file system of which nobody can say how full it is.
    #[error("its file system has no size; say by `--capacity SIZE` how much the directory may hold")]
    NoSize,
    /// More files than are held in memory.
    #[error(
        "it has more than {} files, or too long paths; offload its directories one by one",
        limits::ENTRIES_MAX
    )]
    TooMany,
    /// Paths that cannot be asked for.
    #[error("the files cannot be asked for: {0}")]
    List(SelectionError),
    /// The journal.
    #[error("the journal cannot be used, and without it nothing is moved: {}", describe(.0))]
    Journal(io::Error),
    /// The directory of the journal.
    #[error("the journal cannot be used, and without it nothing is moved")]
    State(#[from] PrivateError),
}

impl OffloadError {
    pub(super) fn local(path: &Path, err: &io::Error) -> Self {
        Self::local_to("opened", path, err)
    }

    pub(super) fn not_written(path: &Path, err: &io::Error) -> Self {
        Self::local_to("written to", path, err)
    }

    fn local_to(what: &'static str, path: &Path, err: &io::Error) -> Self {
        let path = escape(path.as_os_str().as_encoded_bytes()).into_owned();
        Self::Local { path, what, reason: describe(err) }
    }

    /// Whether another attempt in a moment may help: the connection was lost, and nobody has decided that.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Request(err) if err.is_transient() && err.status() != Some(Status::Busy))
    }

    /// Whether the gateway has no room at the moment. In the midst of an offload it may have some in the next, as it had in the beginning.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Request(err) | Self::Handlers(err) if err.status() == Some(Status::Busy))
    }

    /// The same of a request beside the one that holds the directory, which nobody else can be in the way of.
    pub(super) fn beside_hold(self) -> Self {
        match self {
            Self::Request(err @ RequestError::Refused { status: Status::Busy, .. }) => Self::Handlers(err),
            err => err,
        }
    }
}

impl From<RequestError> for OffloadError {
    fn from(err: RequestError) -> Self {
        Self::Request(err)
    }
}

impl From<PlaceError> for OffloadError {
    fn from(err: PlaceError) -> Self {
        Self::Place(err)
    }
}

/// What the gateway gave up for is told like a refusal, since it is one that came late.
impl From<SyncError> for OffloadError {
    fn from(err: SyncError) -> Self {
        match err {
            SyncError::Link(err) => Self::Request(err.into()),
            SyncError::Aborted { status, reason } => {
                let detail = escape_str(&reason).into_owned();
                Self::Request(RequestError::Refused { status, detail, retry_after_ms: 0 })
            }
            err => Self::Sync(err),
        }
    }
}
