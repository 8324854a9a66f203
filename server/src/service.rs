//! What a channel can talk to: one file per service, one line each in [`SERVICES`].
//!
//! [`begin`] asks, in this order: does the peer speak our version, is the gateway going on, is the identity known, is there such
//! a service, is a handler free. The service itself asks for the grant, before it opens anything.

mod call;
mod join;
mod list;
mod offload;
mod ping;
mod services;
mod stop;
mod sync;
mod watch;

use std::{pin::Pin, sync::Arc, time::Duration};

use quinn::VarInt;
use serde::{Serialize, de::DeserializeOwned};
use swarmwire_common::{
    channel::{Channel, FrameError},
    codec, limits,
    wire::{
        self,
        open::{
            Open, SERVICE_CALL, SERVICE_JOIN, SERVICE_LIST, SERVICE_OFFLOAD, SERVICE_PING, SERVICE_SERVICES,
            SERVICE_STOP, SERVICE_SYNC, SERVICE_WATCH,
        },
        status::Status,
    },
};
use tokio::time::timeout;
use tracing::{Instrument, instrument::Instrumented};

use crate::{
    connection::Session,
    gateway::Shared,
    grants::Grant,
    metrics::NO_SERVICE,
    opening::{self, Refusal},
    pool::Handler,
};

/// One line of the table.
struct Service {
    name: &'static str,
    admits: Admits,
    handlers: Handlers,
    serve: fn(Request) -> Serving,
}

/// Who may open a service's channels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admits {
    /// Identities that have joined.
    Known,
    /// Everybody.
    Anyone,
}

/// Whether a service's channels take a handler of the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handlers {
    One,
    /// It must be reachable when the pool is full, and bounds itself.
    None,
}

type Serving = Pin<Box<dyn Future<Output = Status> + Send>>;

const SERVICES: &[Service] = &[
    Service {
        name: SERVICE_PING,
        admits: Admits::Known,
        handlers: Handlers::None,
        serve: |r| Box::pin(ping::serve(r)),
    },
    Service {
        name: SERVICE_JOIN,
        admits: Admits::Anyone,
        handlers: Handlers::None,
        serve: |r| Box::pin(join::serve(r)),
    },
    Service {
        name: SERVICE_LIST,
        admits: Admits::Known,
        handlers: Handlers::One,
        serve: |r| Box::pin(list::serve(r)),
    },
    Service {
        name: SERVICE_SYNC,
        admits: Admits::Known,
        handlers: Handlers::One,
        serve: |r| Box::pin(sync::serve(r)),
    },
    Service {
        name: SERVICE_WATCH,
        admits: Admits::Known,
        handlers: Handlers::One,
        serve: |r| Box::pin(watch::serve(r)),
    },
    Service {
        name: SERVICE_OFFLOAD,
        admits: Admits::Known,
        handlers: Handlers::One,
        serve: |r| Box::pin(offload::serve(r)),
    },
    Service { name: SERVICE_CALL, admits: Admits::Known, handlers: Handlers::One, serve: call::serve },
    Service {
        name: SERVICE_SERVICES,
        admits: Admits::Known,
        handlers: Handlers::None,
        serve: |r| Box::pin(services::serve(r)),
    },
    Service {
        name: SERVICE_STOP,
        admits: Admits::Known,
        handlers: Handlers::None,
        serve: |r| Box::pin(stop::serve(r)),
    },
];

/// When a peer that found the pool full may try again. Chosen: soon, with little cost to a gateway that stays full.
const BUSY_RETRY_AFTER: Duration = Duration::from_millis(500);

/// The services' names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().map(|service| service.name)
}

/// A channel that a service is to answer.
#[derive(Debug)]
struct Request {
    session: Arc<Session>,
    channel: Channel,
    /// The service's own request, undecoded.
    body: Vec<u8>,
    /// What the identity may do; none only for services that admit anyone.
    grant: Option<Arc<Grant>>,
    /// Goes back to the pool with the request.
    handler: Option<Handler>,
}

impl Request {
    fn gateway(&self) -> &Arc<Shared> {
        &self.session.gateway
    }

    /// The service's own request, decoded.
    fn decode<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        Ok(codec::decode::<T, { limits::OPEN_FRAME_BYTES_MAX }>(&self.body)?)
    }

    /// What the identity may do. Nothing, where there is no grant.
    fn grant(&self) -> Result<&Grant, Refusal> {
        self.grant.as_deref().ok_or_else(not_joined)
    }

    /// Accepts the request. A peer that does not take the reply in time has no claim on a handler.
    async fn accept<R: Serialize + Sync>(&mut self, body: &R) -> Result<(), FrameError> {
        timeout(limits::REPLY_TIMEOUT, self.channel.reply_ok(body)).await.map_err(|_| FrameError::Silent)?
    }

    /// Accepts the request, and that is all there is to say.
    async fn answer<R: Serialize + Sync>(&mut self, body: &R) -> Status {
        if let Err(err) = self.accept(body).await {
            return status_of(&err);
        }
        self.finish().await
    }

    /// Ends our half of the channel, and waits until the peer has all of it.
    async fn finish(&mut self) -> Status {
        match timeout(limits::REPLY_TIMEOUT, opening::finish(&mut self.channel)).await {
            Ok(()) => Status::Ok,
            Err(_) => Status::Timeout,
        }
    }

    /// Declines the request. Its handler is free before the peer hears of it.
    async fn refuse(self, refusal: Refusal) -> Status {
        let Self { channel, body, handler, .. } = self;
        // A peer that does not take the answer keeps neither.
        drop((body, handler));
        Box::pin(opening::refuse(channel, refusal)).await
    }
}

/// Decides on an opened channel, which is the stream of this `id`; gives what the metrics call it, and the work to its end.
pub(crate) fn begin(
    session: Arc<Session>,
    id: VarInt,
    channel: Channel,
    open: Open,
) -> (&'static str, Instrumented<Serving>) {
    let found = SERVICES.iter().find(|service| service.name == open.service);
    let name = found.map_or(NO_SERVICE, |service| service.name);
    let id = id.into_inner();
    // To write down which channel it is costs more than a short call.
    let span = if name == SERVICE_CALL {
        tracing::debug_span!("channel", id, service = name)
    } else {
        tracing::info_span!("channel", id, service = name)
    };
    let serving: Serving = span.in_scope(|| match admit(&session, &open, found) {
        Ok((service, grant, handler)) => {
            (service.serve)(Request { session, channel, body: open.request, grant, handler })
        }
        Err(refusal) => Box::pin(opening::refuse(channel, refusal)),
    });
    (name, serving.instrument(span))
}

type Admitted<'a> = (&'a Service, Option<Arc<Grant>>, Option<Handler>);

fn admit<'a>(session: &Session, open: &Open, found: Option<&'a Service>) -> Result<Admitted<'a>, Refusal> {
    let gateway = &session.gateway;
    if open.version != wire::VERSION {
        let detail = format!("the gateway speaks version {}, the peer {}", wire::VERSION, open.version);
        return Err(Refusal::new(Status::UnsupportedVersion, detail));
    }
    if gateway.shutdown.is_draining() {
        return Err(Refusal::new(Status::ShuttingDown, Status::ShuttingDown.meaning()));
    }
    let grant = session.grant();
    if grant.is_none() && found.is_none_or(|service| service.admits == Admits::Known) {
        return Err(not_joined());
    }
    let Some(service) = found else {
        let known = names().collect::<Vec<_>>().join(", ");
        return Err(Refusal::new(Status::UnknownService, format!("the gateway has these services: {known}")));
    };
    let handler = match service.handlers {
        Handlers::None => None,
        Handlers::One => Some(gateway.pool.try_take().ok_or_else(|| {
            gateway.metrics.handlers_refused.inc();
            let limit = gateway.pool.limit();
            let detail = format!("all {limit} handlers of the gateway are in use; try again in a moment");
            Refusal::busy(detail, BUSY_RETRY_AFTER)
        })?),
    };
    Ok((service, grant, handler))
}

fn not_joined() -> Refusal {
    let detail = "this identity is not joined here; ask for an invitation (`swarmd invite`) and run `swarm join`; if it was let in before, the log of the gateway says why not now";
    Refusal::new(Status::Unknown, detail)
}

/// The status for a channel that broke where its peer had nothing to say any more but its end. A controller that is done closes its connection, and what
/// was to end the channel may still have been on its way then, and does not leave any more.
fn status_at_end(err: &FrameError) -> Status {
    match err.peer_status() {
        Some(Status::Ok) => Status::Ok,
        _ => status_of(err),
    }
}

/// The status for a channel that broke.
pub(crate) fn status_of(err: &FrameError) -> Status {
    match err {
        FrameError::Malformed(codec::DecodeError::TooLarge { .. }) => Status::TooLarge,
        FrameError::Malformed(_) | FrameError::Ended => Status::Invalid,
        FrameError::Silent => Status::Timeout,
        FrameError::Connection(_) | FrameError::Reset(_) | FrameError::Closed => Status::Cancelled,
    }
}
