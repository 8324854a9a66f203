//! What `swarm` ends with: the one table of exit codes, and which error means which.
//!
//! Scripts rely on the numbers; they stand in the README too. A reader that closes our output early is not a failure.

use std::{fmt, io, process::ExitCode};

use swarmwire_client::{ConnectError, RequestError, offload::OffloadError};
use swarmwire_common::{
    sync::{PlaceError, SyncError},
    wire::status::Status,
};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done = 0,
    /// Nothing was transferred.
    Failed = 1,
    /// The command line makes no sense; clap uses the same number.
    Usage = 2,
    /// Some entries failed, the others are in place.
    Partial = 3,
    /// The gateway could not be reached or trusted, did not know this identity, or was lost for good.
    Connection = 4,
    /// The grant does not allow it.
    Denied = 5,
    /// What it takes is in use: handlers of the gateway, a subroutine, or a directory that is offloaded.
    Busy = 6,
    /// By a signal, as shells number it: 128 + SIGINT.
    Interrupted = 130,
}

impl Exit {
    /// What an error means, by the first in its chain that has a meaning.
    pub(crate) fn of(err: &anyhow::Error) -> Self {
        err.chain().find_map(of_one).unwrap_or(Self::Failed)
    }
}

fn of_one(err: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(failure) = err.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    if err.is::<ConnectError>() {
        return Some(Exit::Connection);
    }
    if let Some(err) = err.downcast_ref::<RequestError>() {
        return Some(of_request(err));
    }
    if let Some(err) = err.downcast_ref::<SyncError>() {
        return Some(of_sync(err));
    }
    if let Some(err) = err.downcast_ref::<OffloadError>() {
        return Some(match err {
            OffloadError::Busy(_) => Exit::Busy,
            OffloadError::OnePlace => Exit::Usage,
            OffloadError::Request(err) | OffloadError::Handlers(err) => of_request(err),
            OffloadError::Sync(err) => of_sync(err),
            _ => Exit::Failed,
        });
    }
    if err.is::<PlaceError>() {
        return Some(Exit::Failed);
    }
    let is_closed = |err: &io::Error| err.kind() == io::ErrorKind::BrokenPipe;
    err.downcast_ref::<io::Error>().filter(|err| is_closed(err)).map(|_| Exit::Done)
}

fn of_request(err: &RequestError) -> Exit {
    match err {
        // As of a file that is read whole before a call begins.
        RequestError::Source(_) => Exit::Usage,
        err => err.status().map_or(Exit::Connection, Exit::from),
    }
}

fn of_sync(err: &SyncError) -> Exit {
    match err {
        SyncError::Link(_) | SyncError::Protocol(_) => Exit::Connection,
        SyncError::Aborted { status, .. } => Exit::from(*status),
        SyncError::Place(_) | SyncError::Disk(_) | SyncError::TooManyEntries | SyncError::Worker => {
            Exit::Failed
        }
    }
}

impl From<Status> for Exit {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::Done,
            Status::Busy => Self::Busy,
            Status::Denied => Self::Denied,
            Status::UnsupportedVersion
            | Status::UnknownService
            | Status::Unknown
            | Status::Expired
            | Status::Timeout
            | Status::ShuttingDown => Self::Connection,
            Status::NotFound
            | Status::Invalid
            | Status::TooLarge
            | Status::Conflict
            | Status::Unavailable
            | Status::Internal
            | Status::Cancelled
            | Status::Failed
            | Status::Deadline => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure that this program finds itself, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The command line makes no sense; `message` names the argument and the fix.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// There is no trusted gateway to talk to.
    pub(crate) fn connection(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Connection, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_keeps_its_meaning_under_what_is_said_around_it() {
        let refused = |status| RequestError::Refused { status, detail: String::new(), retry_after_ms: 0 };
        for (err, expected) in [
            (anyhow::Error::from(Failure::usage("x")), Exit::Usage),
            (anyhow::Error::from(refused(Status::Denied)), Exit::Denied),
            (anyhow::Error::from(refused(Status::Busy)).context("around"), Exit::Busy),
            (anyhow::Error::from(refused(Status::Expired)), Exit::Connection),
            (anyhow::Error::from(refused(Status::NotFound)), Exit::Failed),
            (anyhow::Error::from(RequestError::Silent), Exit::Connection),
            (anyhow::Error::from(RequestError::Source(io::ErrorKind::IsADirectory.into())), Exit::Usage),
            (anyhow::Error::from(SyncError::Worker), Exit::Failed),
            (anyhow::anyhow!("anything else"), Exit::Failed),
        ] {
            assert_eq!(Exit::of(&err), expected, "{err:#}");
        }
    }

    #[test]
    fn a_closed_output_is_no_failure() {
        let closed: io::Result<()> = Err(io::ErrorKind::BrokenPipe.into());
        assert_eq!(Exit::of(&closed.context("failed to print").unwrap_err()), Exit::Done);
    }
}
