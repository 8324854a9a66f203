//! The same subroutine on several handlers at a time.

use futures_util::{StreamExt, stream};

use super::{BatchReply, CallOptions, Controller, Payload, RequestError};

/// Calls with several handlers at a time.
#[derive(Clone, Copy, Debug)]
pub struct Swarm<'a> {
    controller: &'a Controller,
    handlers: usize,
}

impl<'a> Swarm<'a> {
    pub(super) fn new(controller: &'a Controller, handlers: usize) -> Self {
        Self { controller, handlers: handlers.max(1) }
    }

    /// Calls the batch once on each handler; what they give in the order of the ids, and then what failed.
    pub async fn call(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Vec<Result<BatchReply, RequestError>> {
        let payload = arguments.into();
        self.calls(name, std::iter::repeat_n(payload, self.handlers), options).await
    }

    /// Calls the batch with each of the arguments, on as many handlers at a time as there are; otherwise as [`Self::call`].
    pub async fn calls(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = Payload>,
        options: CallOptions,
    ) -> Vec<Result<BatchReply, RequestError>> {
        let replies = self.numbered_calls(name, arguments, options).await;
        replies.into_iter().map(|(_, reply)| reply).collect()
    }

    /// As [`Self::calls`], each with its place among the arguments, from 0; what failed in the order of those.
    pub async fn numbered_calls(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = Payload>,
        options: CallOptions,
    ) -> Vec<(usize, Result<BatchReply, RequestError>)> {
        let calls = arguments
            .into_iter()
            .enumerate()
            .map(async |(place, payload)| (place, self.controller.call_batch(name, payload, options).await));
        let mut replies: Vec<_> = stream::iter(calls).buffer_unordered(self.handlers).collect().await;
        replies.sort_by_key(|(place, reply)| (reply.as_ref().map_or(u64::MAX, |reply| reply.id), *place));
        replies
    }
}
