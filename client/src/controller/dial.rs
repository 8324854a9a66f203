//! From a target to a connection: every address of the host, and the verdict on what answers.
//!
//! Addresses are tried in the resolver's order, each a little after the one before (RFC 8305, "happy eyeballs"), because a UDP
//! port where nobody listens says nothing. The first handshake that completes wins and the others are dropped. All of it ends
//! within the time of the options.

use std::{net::SocketAddr, time::Duration};

use quinn::{Connecting, Connection, Endpoint};
use swarmwire_certs::{
    Identity,
    verify::{Observed, PinError, client_config},
};
use swarmwire_common::{transport, wire};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use super::{ConnectError, ConnectOptions, Target};

/// How far behind its predecessor the next address is tried (RFC 8305 §5: "Connection Attempt Delay", 250 ms).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of one host that are tried. Chosen, not measured: both families of a few interfaces.
const ADDRESSES_MAX: usize = 8;

pub(super) struct Dialled {
    pub(super) connection: Connection,
    pub(super) endpoint: Endpoint,
    pub(super) address: SocketAddr,
}

/// Dials `target`. Cancel-safe.
pub(super) async fn dial(
    target: &Target,
    identity: &Identity,
    options: ConnectOptions,
) -> Result<Dialled, ConnectError> {
    let deadline = Instant::now() + options.timeout;
    let silence = || ConnectError::NoAnswer { address: target.to_string(), within: options.timeout };
    let mut attempts: JoinSet<Result<Dialled, ConnectError>> = JoinSet::new();
    let mut delay = Duration::ZERO;
    for address in resolve(target, deadline).await? {
        let (tls, observed) = client_config(identity, target.gateway, wire::ALPN, options.key_exchange)
            .map_err(|err| local(target, &err))?;
        let target = target.clone();
        attempts.spawn(async move {
            sleep(delay).await;
            let (endpoint, connecting) =
                transport::dial(address, tls, options.congestion).map_err(|err| local(&target, &err))?;
            let connection = shake_hands(&target, connecting, &observed).await?;
            Ok(Dialled { connection, endpoint, address })
        });
        delay += ATTEMPT_DELAY;
    }
    let mut told = silence();
    while let Ok(Some(result)) = timeout_at(deadline, attempts.join_next()).await {
        match result.expect("nobody aborts an attempt and it does not panic") {
            Ok(dialled) => return Ok(dialled),
            Err(err) if err.says_more_than(&told) => told = err,
            Err(err) => tracing::debug!(%err, "an address of the gateway did not answer"),
        }
    }
    Err(told)
}

async fn resolve(target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
    let fail = |reason| ConnectError::Resolve { host: target.host.clone(), reason };
    let addresses = timeout_at(deadline, tokio::net::lookup_host((target.host.as_str(), target.port)))
        .await
        .map_err(|_| fail(std::io::Error::from(std::io::ErrorKind::TimedOut)))?
        .map_err(fail)?;
    Ok(addresses.take(ADDRESSES_MAX).collect())
}

/// Something on this side is in the way.
fn local(target: &Target, err: &dyn std::error::Error) -> ConnectError {
    ConnectError::Local { address: target.to_string(), reason: err.to_string() }
}

async fn shake_hands(
    target: &Target,
    connecting: Connecting,
    observed: &Observed,
) -> Result<Connection, ConnectError> {
    connecting.await.map_err(|err| match observed.rejection() {
        Some(rejection) => from_rejection(target, &rejection),
        None => ConnectError::from_handshake(target.to_string(), err),
    })
}

/// Our own verifier refused what the gateway presented.
fn from_rejection(target: &Target, rejection: &PinError) -> ConnectError {
    let address = target.to_string();
    let problem = match rejection {
        PinError::WrongKey { expected, found } => {
            return ConnectError::WrongKey { address, expected: *expected, found: *found };
        }
        PinError::Expired => {
            "has expired; restart swarmd there, which renews it, or set this machine's clock if that is wrong"
        }
        PinError::NotYetValid => "is not valid yet; one of the two clocks is wrong",
        PinError::Malformed => "makes no sense; is it a swarmd?",
        PinError::NotHeld => {
            "is the right one, but what answers does not hold its key; somebody else answers at this address"
        }
    };
    ConnectError::Certificate { address, problem }
}
