//! `join`: an invitation's token makes the peer's identity known. Open to everybody, and therefore rate limited.
//!
//! The invitation is used up before the identity is added, so that a crash between the two costs an invitation, never gives
//! one away twice. When the reply goes out the gateway already knows the identity.

use std::time::{Duration, Instant};

use swarmwire_certs::Token;
use swarmwire_common::{
    escape::escape_str,
    wire::{
        open::{JoinReply, JoinRequest},
        status::Status,
    },
};
use tokio::task::spawn_blocking;

use super::Request;
use crate::{
    clients::{self, Client, chain},
    gateway::wall_clock,
    grants::Grant,
    invitations,
    metrics::JoinResult,
    opening::Refusal,
    store::StoreError,
};

/// Bytes of the name that a controller gives itself.
const NAME_BYTES_MAX: usize = 255;

pub(super) async fn serve(mut request: Request) -> Status {
    let (result, joined) = join(&request).await;
    request.gateway().metrics.join_ended(result);
    let grant = match joined {
        Ok(grant) => grant,
        Err(refusal) => return request.refuse(refusal).await,
    };
    let reply = JoinReply { allow: grant.allow.to_string(), path: grant.path.as_bytes().to_vec() };
    request.answer(&reply).await
}

async fn join(request: &Request) -> (JoinResult, Result<Grant, Refusal>) {
    let gateway = request.gateway();
    let source = request.session.peer.address.ip();
    let taken = gateway.limiter.lock().expect("no holder panics").take(source, Instant::now());
    if let Err(wait) = taken {
        // No louder: the limit is there to keep the log short as well, and the metric counts them.
        tracing::debug!(address = %source, "too many attempts to join");
        let pause = humantime::format_duration(Duration::from_secs(wait.as_secs() + 1));
        return (
            JoinResult::Limited,
            Err(Refusal::busy(format!("too many attempts to join; try again in {pause}"), wait)),
        );
    }
    match redeem(request).await {
        Ok(grant) => {
            gateway.limiter.lock().expect("no holder panics").give_back(source);
            (JoinResult::Accepted, Ok(grant))
        }
        Err(refusal) => {
            let status = refusal.status;
            tracing::warn!(address = %source, status = status.as_str(), "an attempt to join was refused");
            let result = if status == Status::Internal { JoinResult::Failed } else { JoinResult::Refused };
            (result, Err(refusal))
        }
    }
}

async fn redeem(request: &Request) -> Result<Grant, Refusal> {
    let JoinRequest { token, name } = request.decode()?;
    if name.len() > NAME_BYTES_MAX {
        return Err(Refusal::new(Status::Invalid, format!("the name is longer than {NAME_BYTES_MAX} bytes")));
    }
    // A text that cannot be a token is answered like one that was never issued.
    let token = Token::parse(&token).map_err(|_| expired())?;
    let gateway = request.gateway().clone();
    let fingerprint = request.session.peer.fingerprint;
    let admitted = spawn_blocking(move || {
        let now = wall_clock();
        let Some(grant) = invitations::redeem(&gateway.state, &token, now)? else { return Ok(None) };
        let client = Client { fingerprint, name, grant, joined: now };
        clients::admit(&gateway.state, client.clone())?;
        gateway.clients.reload();
        Ok::<_, StoreError>(Some(client))
    });
    match admitted.await {
        Ok(Ok(Some(client))) => {
            let Grant { allow, path } = &client.grant;
            tracing::info!(%fingerprint, name = %escape_str(&client.name), %allow, %path, "a controller joined");
            Ok(client.grant)
        }
        Ok(Ok(None)) => Err(expired()),
        Ok(Err(err)) => {
            tracing::error!("nobody can join: {}", chain(&err));
            Err(Refusal::internal())
        }
        Err(err) => {
            tracing::error!(%err, "an attempt to join died");
            Err(Refusal::internal())
        }
    }
}

fn expired() -> Refusal {
    let detail = "the invitation is used, expired or was never issued; ask for a new one (`swarmd invite`)";
    Refusal::new(Status::Expired, detail)
}
