//! The same subroutine on several handlers at a time.

mod ordered;

use futures_util::{Stream, StreamExt};

use self::ordered::in_order;
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

    /// Calls the batch once on each handler; what failed, and then what they give in the order of the ids. All of it is in memory.
    pub async fn call(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Vec<Result<BatchReply, RequestError>> {
        let payload = arguments.into();
        let replies = self.calls(name, std::iter::repeat_n(payload, self.handlers), options);
        replies.map(|(_, reply)| reply).collect().await
    }

    /// Calls the batch with each of the arguments, on as many handlers at a time as there are. Gives each reply with its place among the arguments, from 0: those
    /// of calls that succeeded in the order of their ids, those of others, which have none, as they come.
    ///
    /// The calls begin in the order of the arguments, and none before all but `handlers - 1` of those before it have ended. At most twice as many replies
    /// as there are handlers are in memory, however slowly they are taken; while none is taken no call begins, and those that run go on as far as
    /// their windows let them. Dropping the stream ends what runs.
    pub fn calls(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = Payload>,
        options: CallOptions,
    ) -> impl Stream<Item = (usize, Result<BatchReply, RequestError>)> {
        let controller = self.controller;
        let call = move |(place, payload): (usize, Payload)| async move {
            (place, controller.call_batch(name, payload, options).await)
        };
        in_order(arguments.into_iter().enumerate().map(call), self.handlers)
    }
}
