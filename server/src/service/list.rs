//! `list`: what is at a path, streamed in pages while the walk goes on.
//!
//! One blocking thread walks (`walk`), and waits when the peer does not read: a page is in the queue, one on its way. Needs
//! `list`.

mod walk;

use swarmwire_common::{
    channel::{Channel, FrameError},
    limits,
    path::RelPath,
    sync::PlaceError,
    wire::{
        list::{ListMessage, ListRequest},
        status::Status,
    },
};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

use self::walk::Walk;
use super::{Request, status_of};
use crate::{grants::Operation, opening::Refusal};

/// Pages that wait for the peer. One is enough for walk and network to overlap.
const PAGES_QUEUED_MAX: usize = 1;

pub(super) async fn serve(mut request: Request) -> Status {
    let (asked, path) = match granted(&request) {
        Ok(granted) => granted,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let root = request.gateway().root.clone();
    let (sender, mut pages) = mpsc::channel(PAGES_QUEUED_MAX);
    let opened = spawn_blocking({
        let path = path.clone();
        move || Walk::open(root, path, asked.recursive, asked.hash)
    });
    let walk = match opened.await {
        Ok(Ok(walk)) => walk,
        Ok(Err(err)) => {
            let err = PlaceError::from_io(&path, &err);
            return request.refuse(Refusal::new(err.status, err.to_string())).await;
        }
        Err(err) => {
            tracing::error!(%err, "a path could not be looked at");
            return request.refuse(Refusal::internal()).await;
        }
    };
    // Ends when it is done, or soon after `pages` is dropped.
    let walking = spawn_blocking(move || walk.run(&sender));
    let told = async {
        request.accept(&()).await?;
        while let Some(page) = pages.recv().await {
            send(&mut request.channel, &page).await?;
        }
        Ok(())
    };
    let told: Result<(), FrameError> = told.await;
    drop(pages);
    let ended = match (told, walking.await) {
        (Ok(()), Ok(())) => {
            send(&mut request.channel, &ListMessage::End).await.map_err(|err| status_of(&err))
        }
        (Err(err), _) => Err(status_of(&err)),
        (_, Err(err)) => {
            tracing::error!(%err, "a walk died");
            Err(Status::Internal)
        }
    };
    match ended {
        Ok(()) => request.finish().await,
        Err(status) => {
            request.channel.send.reset(status);
            status
        }
    }
}

/// A peer that reads nothing for a while loses the channel, and the handler is free again.
async fn send(channel: &mut Channel, message: &ListMessage) -> Result<(), FrameError> {
    timeout(limits::SYNC_SILENCE_MAX, channel.send.send(message)).await.map_err(|_| FrameError::Silent)?
}

fn granted(request: &Request) -> Result<(ListRequest, RelPath), Refusal> {
    let asked: ListRequest = request.decode()?;
    let path = RelPath::from_wire(asked.path.clone())
        .map_err(|err| Refusal::new(Status::Invalid, err.to_string()))?;
    request.grant()?.require_at(&Operation::List, &path)?;
    Ok((asked, path))
}
