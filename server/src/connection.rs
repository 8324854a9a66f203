//! One connection: who the peer is, and what it may open.
//!
//! A known identity opens as many channels as it likes; its grant is looked up for each, and running channels keep the one
//! they were opened under. An unknown identity may open one channel, for `join`, within `limits::REPLY_TIMEOUT`, and is closed
//! if that does not make it known. An identity that is known no longer loses its connection at once.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use quinn::{Connection, Incoming, RecvStream, SendStream};
use swarmwire_common::{
    channel::Channel,
    limits,
    sync::Router,
    transport::{self, ChannelRoom, FlowControl, SeenPath},
    wire::status::Status,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tracing::Instrument;

use crate::{
    gateway::{Shared, wall_clock},
    grants::Grant,
    handshake::{self, Failure, Peer},
    metrics::NO_SERVICE,
    opening, service,
};

/// Channels of one connection whose opening frame is being read, at 64 KiB each at most.
const OPENINGS_MAX: usize = 64;

/// Pings of one connection at a time, at 1 MiB each at most. They take no handler, so they have a bound of their own.
const PINGS_MAX: usize = 16;

/// How long channels may take to notice that their connection is gone, before they are broken off.
const AFTERMATH_MAX: Duration = Duration::from_secs(5);

/// An authenticated connection, as its channels see it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) gateway: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) peer: Peer,
    pub(crate) router: Router,
    pub(crate) pings: Arc<Semaphore>,
    openings: Arc<Semaphore>,
    flow: OnceLock<FlowControl>,
}

/// Drives one connection attempt from its handshake to the connection's end.
pub(crate) async fn serve(gateway: Arc<Shared>, incoming: Incoming, room: Option<OwnedSemaphorePermit>) {
    let address = incoming.remote_address();
    let handshake = handshake::run(incoming).await;
    drop(room);
    let (connection, peer) = match handshake {
        Ok(done) => done,
        Err(failure) => {
            gateway.metrics.handshake_failed(failure);
            tracing::debug!(%address, reason = failure.as_str(), "a handshake failed");
            return;
        }
    };
    gateway.metrics.connections.inc();
    let session = Arc::new(Session {
        gateway,
        connection,
        peer,
        router: Router::new(),
        pings: Arc::new(Semaphore::new(PINGS_MAX)),
        openings: Arc::new(Semaphore::new(OPENINGS_MAX)),
        flow: OnceLock::new(),
    });
    let span = tracing::info_span!("connection", peer = peer.short());
    session.run().instrument(span).await;
}

impl Session {
    /// What the peer may do now; `None` if it is not known.
    pub(crate) fn grant(&self) -> Option<Arc<Grant>> {
        self.gateway.clients.grant(&self.peer.fingerprint)
    }

    /// The connection's windows, which are those of a stranger until this is asked for.
    pub(crate) fn flow(&self) -> &FlowControl {
        self.flow.get_or_init(|| FlowControl::of(&self.connection, Some(self.gateway.flow_budget.clone())))
    }

    /// Tells the connection apart from all others that are there.
    pub(crate) fn id(&self) -> usize {
        self.connection.stable_id()
    }

    async fn run(self: Arc<Self>) {
        let _open = self.gateway.metrics.paths.watch(self.connection.clone());
        tracing::debug!(address = %self.peer.address, known = self.grant().is_some(), "connected");
        let mut channels = JoinSet::new();
        let is_known = self.grant().is_some() || self.admit_stranger(&mut channels).await;
        if is_known {
            self.resume_path();
            self.serve_known(&mut channels).await;
            self.remember_path();
        }
        // Whoever ended it, every channel has an error coming. What does not see it in time is dropped, and with it its handler.
        let aftermath = async { while channels.join_next().await.is_some() {} };
        if timeout(AFTERMATH_MAX, aftermath).await.is_err() {
            tracing::warn!(channels = channels.len(), "broke off channels that outlived their connection");
        }
        tracing::debug!("disconnected");
    }

    /// Begins with what an earlier connection of this identity from the same address has found out about the path.
    fn resume_path(&self) {
        let Peer { fingerprint, address } = self.peer;
        let paths = self.gateway.paths.lock().expect("no holder panics");
        if let Some(path) = paths.get(fingerprint, address.ip(), wall_clock()) {
            path.resume(&self.connection);
        }
    }

    /// Keeps what this connection has found out about the path for the next one.
    fn remember_path(&self) {
        if let Some(path) = SeenPath::of(&self.connection) {
            let Peer { fingerprint, address } = self.peer;
            let mut paths = self.gateway.paths.lock().expect("no holder panics");
            paths.note(fingerprint, address.ip(), &path, wall_clock());
        }
    }

    /// Serves the one channel that an unknown identity may open; says whether it is known afterwards.
    async fn admit_stranger(self: &Arc<Self>, channels: &mut JoinSet<Status>) -> bool {
        let Ok(_room) = Arc::clone(&self.gateway.strangers).try_acquire_owned() else {
            self.gateway.metrics.handshake_failed(Failure::Refused);
            self.close(Status::Busy, "too many unknown identities at a time");
            return false;
        };
        let deadline = Instant::now() + limits::REPLY_TIMEOUT;
        let status = tokio::select! {
            accepted = self.accept() => match accepted {
                Some(accepted) => {
                    self.spawn_channel(channels, accepted);
                    tokio::select! {
                        ended = channels.join_next() => ended.map_or(Status::Internal, status_of),
                        () = sleep_until(deadline) => Status::Timeout,
                    }
                }
                None => return false,
            },
            () = sleep_until(deadline) => Status::Timeout,
        };
        if self.grant().is_some() {
            return true;
        }
        let status = if status == Status::Ok { Status::Unknown } else { status };
        self.close(status, status.meaning());
        false
    }

    async fn serve_known(self: &Arc<Self>, channels: &mut JoinSet<Status>) {
        let mut known = self.gateway.clients.subscribe();
        // What has changed since the grant was looked up counts, too.
        known.mark_changed();
        self.flow();
        let mut routing = JoinSet::new();
        let (router, connection) = (self.router.clone(), self.connection.clone());
        routing.spawn(async move { router.run(connection).await });
        let mut room = ChannelRoom::new();
        loop {
            tokio::select! {
                accepted = self.accept() => match accepted {
                    Some(accepted) => {
                        self.spawn_channel(channels, accepted);
                        room.keep(&self.connection, channels.len());
                    }
                    None => return,
                },
                changed = known.changed() => {
                    if changed.is_err() || !known.borrow_and_update().contains_key(&self.peer.fingerprint) {
                        tracing::info!("this identity is not known any longer");
                        return self.close(Status::Unknown, "revoked");
                    }
                }
                Some(ended) = channels.join_next() => { status_of(ended); }
            }
        }
    }

    /// The next channel, with the right to be read; `None` when the connection is over. Cancel-safe.
    async fn accept(&self) -> Option<Accepted> {
        let permit =
            Arc::clone(&self.openings).acquire_owned().await.expect("this semaphore is never closed");
        let (send, recv) = self.connection.accept_bi().await.ok()?;
        Some(Accepted { send, recv, permit })
    }

    fn spawn_channel(self: &Arc<Self>, channels: &mut JoinSet<Status>, accepted: Accepted) {
        let session = Arc::clone(self);
        channels.spawn(serve_channel(session, accepted).in_current_span());
    }

    /// Closes the connection, and with it all its channels.
    pub(crate) fn close(&self, status: Status, reason: &str) {
        tracing::debug!(status = status.as_str(), reason, "closed the connection");
        transport::close(&self.connection, status, reason.as_bytes());
    }
}

/// A stream that the peer has opened and that nobody has read.
struct Accepted {
    send: SendStream,
    recv: RecvStream,
    permit: OwnedSemaphorePermit,
}

/// Serves a channel to its end. What is given stays where it is in the future, instead of being moved to a place of its own.
fn serve_channel(session: Arc<Session>, accepted: Accepted) -> impl Future<Output = Status> + Send + use<> {
    let Accepted { send, recv, permit } = accepted;
    let id = send.id().into();
    let mut channel = Channel::new(send, recv);
    async move {
        let gateway = Arc::clone(&session.gateway);
        let opened = opening::accept(&mut channel).await;
        drop(permit);
        let (service, status) = match opened {
            Ok(open) => {
                let (service, serving) = service::begin(session, id, channel, open);
                (service, serving.await)
            }
            // Apart from the future of every channel, few of which end so.
            Err(Some(refusal)) => (NO_SERVICE, Box::pin(opening::refuse(channel, refusal)).await),
            Err(None) => (NO_SERVICE, Status::Cancelled),
        };
        gateway.metrics.channel_ended(service, status);
        status
    }
}

fn status_of(ended: Result<Status, JoinError>) -> Status {
    ended.unwrap_or_else(|err| {
        tracing::error!(%err, "a channel's task died");
        Status::Internal
    })
}
