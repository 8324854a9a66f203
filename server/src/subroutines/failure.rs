//! Why a call failed, as its caller is told.

use std::{any::Any, fmt::Display};

use swarmwire_common::{
    limits,
    value::{ArgumentError, JsonError},
    wire::status::Status,
};

/// A failed call. Made of any error that can be shown, by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) status: Status,
    pub(crate) reason: String,
}

impl Failure {
    /// With a text of the subroutine's own.
    pub fn new(reason: impl Into<String>) -> Self {
        Self::of(Status::Failed, reason)
    }

    /// Because of what the caller gave.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::of(Status::Invalid, reason)
    }

    /// What was said of it.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn of(status: Status, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > limits::CALL_REASON_BYTES_MAX {
            // The end says most: the last lines of a program, the cause of a cause.
            let from = reason.ceil_char_boundary(reason.len() - limits::CALL_REASON_BYTES_MAX);
            reason.drain(..from);
        }
        Self { status, reason }
    }

    pub(crate) fn argument(err: &ArgumentError) -> Self {
        Self::invalid(format!("argument mismatch: {err}"))
    }

    pub(crate) fn json(err: &JsonError) -> Self {
        Self::invalid(format!("argument mismatch: {err}"))
    }

    /// What a function panicked with.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::new(format!("the subroutine panicked: {}", text.unwrap_or("without a text")))
    }
}

impl<E: Display> From<E> for Failure {
    fn from(err: E) -> Self {
        Self::new(format!("{err:#}"))
    }
}
