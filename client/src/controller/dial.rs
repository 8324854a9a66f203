//! From a target to a connection: every address of the host, and the verdict on what answers.
//!
//! Addresses are tried in the resolver's order, each a little after the one before (RFC 8305, "happy eyeballs"), because a UDP
//! port where nobody listens says nothing. The first handshake that completes wins and the others are dropped. All of it ends
//! within the time of the options.

use std::{net::SocketAddr, time::Duration};

use quinn::{ClientConfig, Connection, Endpoint};
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

/// The name in the TLS handshake. Gateways have one certificate and are known by its key, so the name says nothing, and the
/// host's own is nobody's business on the way.
const SERVER_NAME: &str = "swarmwire";

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
    let mut attempts = JoinSet::new();
    let mut delay = Duration::ZERO;
    for address in resolve(target, deadline).await? {
        let (config, observed) = configure(target, identity, options)?;
        let target = target.clone();
        attempts.spawn(async move {
            sleep(delay).await;
            attempt(&target, address, config, &observed).await
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

fn configure(
    target: &Target,
    identity: &Identity,
    options: ConnectOptions,
) -> Result<(ClientConfig, Observed), ConnectError> {
    let fail = |reason| ConnectError::Local { address: target.to_string(), reason };
    let (tls, observed) = client_config(identity, target.gateway, wire::ALPN, options.key_exchange)
        .map_err(|err| fail(err.to_string()))?;
    let config = transport::client_config(tls, options.congestion).map_err(|err| fail(err.to_string()))?;
    Ok((config, observed))
}

async fn attempt(
    target: &Target,
    address: SocketAddr,
    config: ClientConfig,
    observed: &Observed,
) -> Result<Dialled, ConnectError> {
    let fail = |reason| ConnectError::Local { address: target.to_string(), reason };
    let endpoint = transport::bind_controller(address).map_err(|err| fail(err.to_string()))?;
    let connecting =
        endpoint.connect_with(config, address, SERVER_NAME).map_err(|err| fail(err.to_string()))?;
    match connecting.await {
        Ok(connection) => Ok(Dialled { connection, endpoint, address }),
        Err(err) => Err(match observed.rejection() {
            Some(rejection) => from_rejection(target, &rejection),
            None => ConnectError::from_handshake(target.to_string(), err),
        }),
    }
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
