//! `ping`: every frame comes back, until the peer finishes its stream. Needs no grant beyond being known.

use std::sync::Arc;

use swarmwire_common::{
    channel::{Channel, FrameError},
    limits,
    wire::status::Status,
};
use tokio::time::timeout;

use super::{Request, status_at_end};
use crate::opening::Refusal;

pub(super) async fn serve(mut request: Request) -> Status {
    let Ok(_room) = Arc::clone(&request.session.pings).try_acquire_owned() else {
        let refusal = Refusal::busy("too many pings of this connection at a time", super::BUSY_RETRY_AFTER);
        return request.refuse(refusal).await;
    };
    let echoed = async {
        request.accept(&()).await?;
        let Channel { send, recv } = &mut request.channel;
        while let Some(frame) = recv.try_recv_bytes(limits::PING_BYTES_MAX).await? {
            // A peer that does not read its echo keeps no room here.
            timeout(limits::REPLY_TIMEOUT, send.send_bytes(&frame))
                .await
                .map_err(|_| FrameError::Silent)??;
        }
        Ok(())
    };
    match echoed.await {
        Ok(()) => request.finish().await,
        Err(err) => {
            let status = status_at_end(&err);
            request.channel.send.reset(status);
            request.channel.recv.stop(status);
            status
        }
    }
}
