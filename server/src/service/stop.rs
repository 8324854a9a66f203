//! `stop`: the gateway drains and ends, as on SIGTERM. Needs `admin`. The reply is on its way before the end begins.

use swarmwire_common::wire::status::Status;

use super::Request;
use crate::grants::Operation;

pub(super) async fn serve(mut request: Request) -> Status {
    let granted = request.grant().and_then(|grant| Ok(grant.require(&Operation::Admin)?));
    if let Err(refusal) = granted {
        return request.refuse(refusal).await;
    }
    let status = request.answer(&()).await;
    // Whoever may stop the gateway has asked for it, also if the answer got lost.
    request.gateway().shutdown.shutdown(&format!("identity {} asked for it", request.session.peer.short()));
    status
}
