//! What changes at the gateway, as a [`News`] that a task fills from the channel.

use std::{sync::Arc, time::Instant};

use swarmwire_common::{
    channel::{Channel, FrameReceiver},
    filter::Selection,
    limits,
    path::RelPath,
    watch::{End, News},
    wire::{
        open::SERVICE_WATCH,
        watch::{WatchMessage, WatchRequest},
    },
};
use tokio::{task::JoinSet, time::timeout};

use super::{Controller, RequestError};

/// A place at the gateway that is watched. Dropping it ends that.
#[derive(Debug)]
pub struct Watching {
    news: Arc<News>,
    _task: JoinSet<()>,
}

impl Watching {
    /// What is heard. Ends with `Gone` when the channel is lost, too.
    pub fn news(&self) -> &Arc<News> {
        &self.news
    }
}

impl Controller {
    /// Asks to be told of what changes at `path`, as far as it is selected.
    pub async fn watch(&self, path: &RelPath, selection: &Selection) -> Result<Watching, RequestError> {
        let request = WatchRequest { path: path.as_bytes().to_vec(), selection: selection.to_wire() };
        let (channel, _) = self.open(SERVICE_WATCH, &request).await?;
        let news = Arc::new(News::default());
        let mut task = JoinSet::new();
        let told = Arc::clone(&news);
        task.spawn(async move { told.tell_end(listen(channel, &told).await) });
        Ok(Watching { news, _task: task })
    }
}

/// Passes on what is told until there is nothing more.
async fn listen(channel: Channel, news: &News) -> End {
    // The gateway watches until our half ends.
    let Channel { send: _send, mut recv } = channel;
    loop {
        match next(&mut recv).await {
            Some(WatchMessage::Ready) => news.tell_ready(),
            Some(WatchMessage::Changed(paths)) => {
                let Ok(paths) = paths.into_iter().map(RelPath::from_wire).collect::<Result<Vec<_>, _>>()
                else {
                    return End::Refused("the gateway tells of something that is no path".to_owned());
                };
                news.tell(paths, Instant::now());
            }
            Some(WatchMessage::Alive) => {}
            Some(WatchMessage::Refused { reason }) => return End::Refused(reason),
            Some(WatchMessage::Gone) | None => return End::Gone,
        }
    }
}

async fn next(recv: &mut FrameReceiver) -> Option<WatchMessage> {
    let message = recv.recv::<WatchMessage, { limits::CONTROL_FRAME_BYTES_MAX }>();
    match timeout(limits::SYNC_SILENCE_MAX, message).await {
        Ok(Ok(message)) => Some(message),
        Ok(Err(err)) => {
            tracing::debug!(%err, "the gateway tells no more of what changes");
            None
        }
        Err(_) => None,
    }
}
