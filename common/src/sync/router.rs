//! Which data stream belongs to which channel of a connection.
//!
//! Each side of a connection runs one [`Router`]: it accepts the unidirectional streams that the peer opens, reads their preamble and
//! hands them to the channel that was registered. Streams for unknown channels are stopped; a peer that opens a stream and says
//! nothing loses it after `limits::REPLY_TIMEOUT`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    channel::FrameReceiver,
    limits,
    transport::FlowControl,
    wire::{data::Preamble, status::Status},
};

/// Hands arriving data streams to their channels. Cheap to clone; all clones are one router.
#[derive(Clone, Debug, Default)]
pub struct Router {
    channels: Arc<Mutex<HashMap<u64, mpsc::Sender<FrameReceiver>>>>,
}

impl Router {
    /// A router with no channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the data streams of the channel `id` until the result is dropped.
    pub fn register(&self, id: u64) -> DataStreams {
        let (sender, receiver) = mpsc::channel(limits::DATA_STREAMS_MAX);
        self.channels.lock().expect("no holder panics").insert(id, sender);
        DataStreams { id, router: self.clone(), receiver, flow: None }
    }

    /// Accepts data streams until the connection ends. To be run once per connection, beside its channels.
    pub async fn run(&self, connection: quinn::Connection) {
        let mut arriving = JoinSet::new();
        loop {
            tokio::select! {
                // The others wait their turn with the peer. Those of several syncs may well arrive at the same moment.
                stream = connection.accept_uni(), if arriving.len() < limits::DATA_STREAMS_MAX => match stream {
                    Ok(stream) => {
                        let router = self.clone();
                        arriving.spawn(async move { router.deliver(FrameReceiver::new(stream)).await });
                    }
                    Err(_) => return,
                },
                Some(_) = arriving.join_next() => {}
            }
        }
    }

    async fn deliver(&self, mut stream: FrameReceiver) {
        const LIMIT: usize = 16;
        let preamble = match timeout(limits::REPLY_TIMEOUT, stream.recv::<Preamble, LIMIT>()).await {
            Ok(Ok(preamble)) => preamble,
            Ok(Err(err)) => return tracing::debug!(%err, "a data stream without a preamble"),
            Err(_) => return stream.stop(Status::Timeout),
        };
        let sender = self.channels.lock().expect("no holder panics").get(&preamble.channel).cloned();
        let refused = match sender {
            Some(sender) => sender.try_send(stream).err().map(mpsc::error::TrySendError::into_inner),
            None => Some(stream),
        };
        if let Some(mut stream) = refused {
            tracing::debug!(channel = preamble.channel, "a data stream that no channel takes");
            stream.stop(Status::Invalid);
        }
    }
}

/// The data streams of one channel, as they arrive.
#[derive(Debug)]
pub struct DataStreams {
    id: u64,
    router: Router,
    receiver: mpsc::Receiver<FrameReceiver>,
    flow: Option<FlowControl>,
}

impl DataStreams {
    /// Gives each stream its share of the connection's windows.
    pub(super) fn sharing(mut self, flow: FlowControl) -> Self {
        self.flow = Some(flow);
        self
    }

    /// The next stream. Cancel-safe. Waits for ever if the peer opens no more.
    pub async fn next(&mut self) -> Option<FrameReceiver> {
        let mut stream = self.receiver.recv().await?;
        if let Some(flow) = &self.flow {
            stream.hold(flow.share(1));
        }
        Some(stream)
    }
}

impl Drop for DataStreams {
    fn drop(&mut self) {
        self.router.channels.lock().expect("no holder panics").remove(&self.id);
    }
}
