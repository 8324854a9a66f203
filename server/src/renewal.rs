//! A gateway that runs for months presents a new certificate before the old one ends.
//!
//! The key stays, so pins hold. Connections that stand keep the certificate they were made with. A renewal that fails is tried
//! again; until it succeeds the old certificate serves, as long as it lasts.

use std::{
    io,
    time::{Duration, SystemTime},
};

use quinn::Endpoint;
use swarmwire_certs::{KeyExchange, identity::Identity, verify};
use swarmwire_common::{
    transport::{self, Congestion},
    wire,
};
use tokio::time::sleep;

use crate::{
    gateway::{BindError, wall_clock},
    state::State,
};

/// How often the time of day is compared with the certificate's, and how long until a failed renewal is tried again. The last
/// third of a year has room for thousands of tries, and a clock that was set or a machine that slept is noticed.
const LOOK_INTERVAL: Duration = Duration::from_secs(3600);

/// What presents the certificate.
#[derive(Debug)]
pub(crate) struct Presenter {
    pub(crate) state: State,
    pub(crate) endpoint: Endpoint,
    pub(crate) key_exchange: KeyExchange,
    pub(crate) congestion: Congestion,
}

/// Looks after the certificate until it is dropped.
pub(crate) async fn renew_task(presenter: Presenter, mut identity: Identity) {
    loop {
        sleep(LOOK_INTERVAL).await;
        let now = wall_clock();
        if now < identity.renewal_due() {
            continue;
        }
        match presenter.renew(now).await {
            Ok(renewed) => identity = renewed,
            Err(err) => tracing::error!(%err, "could not renew the certificate; trying again"),
        }
    }
}

impl Presenter {
    /// Issues a certificate that is good at `now` and presents it from here on.
    async fn renew(&self, now: SystemTime) -> Result<Identity, BindError> {
        let state = self.state.clone();
        let issued = tokio::task::spawn_blocking(move || state.identity(now)).await;
        let identity = issued.map_err(|err| BindError::Thread(io::Error::other(err)))??;
        let tls = verify::server_config(&identity, wire::ALPN, self.key_exchange)?;
        let config = transport::server_config(tls, self.congestion).map_err(BindError::Transport)?;
        self.endpoint.set_server_config(Some(config));
        tracing::info!(fingerprint = %identity.fingerprint(), "renewed the certificate");
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_certificate_over_the_same_key_is_presented_to_who_comes_next() {
        let temp = tempfile::tempdir().unwrap();
        let state = State::open(&temp.path().join("state")).unwrap();
        let identity = state.identity(wall_clock()).unwrap();
        let (key_exchange, congestion) = (KeyExchange::Classical, Congestion::default());
        let tls = verify::server_config(&identity, wire::ALPN, key_exchange).unwrap();
        let endpoint = transport::bind_gateway(([127, 0, 0, 1], 0).into(), tls, congestion).unwrap();
        let presenter = Presenter { state, endpoint: endpoint.clone(), key_exchange, congestion };
        let renewed = presenter.renew(identity.renewal_due()).await.unwrap();
        assert_eq!(renewed.fingerprint(), identity.fingerprint());
        assert_ne!(renewed.certificate(), identity.certificate());
        assert!(renewed.renewal_due() > identity.renewal_due());
    }
}
