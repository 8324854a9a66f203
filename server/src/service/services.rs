//! `services`: which subroutines there are, among those that the identity may call. Needs no more than being known.

use swarmwire_common::{
    channel::FrameError,
    limits,
    wire::{call::ServicesPage, status::Status},
};
use tokio::time::timeout;

use super::{Request, status_of};

/// Subroutines in a frame: with the longest names and some words to each, a part of what a frame may have.
const PAGE_SERVICES: usize = 256;

pub(super) async fn serve(mut request: Request) -> Status {
    let services = match request.grant() {
        Ok(grant) => request.gateway().subroutines.list(|name| grant.allow.allows_call(name)),
        Err(refusal) => return request.refuse(refusal).await,
    };
    let told = async {
        request.accept(&()).await?;
        for page in services.chunks(PAGE_SERVICES) {
            let page = ServicesPage { services: page.to_vec() };
            let sent = timeout(limits::REPLY_TIMEOUT, request.channel.send.send(&page)).await;
            sent.map_err(|_| FrameError::Silent)??;
        }
        Ok(())
    };
    match told.await {
        Ok(()) => request.finish().await,
        Err(err) => {
            let status = status_of(&err);
            request.channel.send.reset(status);
            status
        }
    }
}
