//! Two ends of one connection on loopback, each with an identity of its own, for tests that need real streams.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use swarmwire_certs::{
    KeyExchange,
    identity::{CertificateNames, Identity},
    private::PrivateDir,
    verify,
};
use swarmwire_common::{
    channel::{self, Channel},
    limits::OPEN_FRAME_BYTES_MAX,
    sync::{Destination, Link, Outcome, Router, Source, Tally, receive, send},
    transport::{self, Congestion, FlowControl},
    wire,
    wire::{
        open::{Open, SERVICE_SYNC},
        sync::SyncOptions,
    },
};

/// A controller's and a gateway's end of one connection.
pub(crate) struct Pair {
    pub(crate) controller: quinn::Connection,
    pub(crate) gateway: quinn::Connection,
    flows: [FlowControl; 2],
    _endpoints: [quinn::Endpoint; 2],
    _state: tempfile::TempDir,
}

impl Pair {
    pub(crate) async fn connect() -> Self {
        Self::connect_with(None).await
    }

    /// As [`Self::connect`], to a gateway whose QUIC is configured otherwise.
    #[expect(clippy::disallowed_methods, reason = "certificates need the time of day")]
    pub(crate) async fn connect_with(other: Option<quinn::TransportConfig>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let identity = |name: &str| {
            let dir = PrivateDir::open_or_create(state.path().join(name)).unwrap();
            Identity::open_or_create(&dir, &CertificateNames::new(name), SystemTime::now()).unwrap()
        };
        let (gateway, controller) = (identity("gateway"), identity("controller"));
        let congestion = Congestion::default();
        let tls = verify::server_config(&gateway, wire::ALPN, KeyExchange::Classical).unwrap();
        let listening =
            transport::bind_gateway(SocketAddr::from(([127, 0, 0, 1], 0)), tls.clone(), congestion).unwrap();
        if let Some(other) = other {
            let mut config = transport::server_config(tls, congestion).unwrap();
            listening.set_server_config(Some(config.transport_config(Arc::new(other)).clone()));
        }
        let address = listening.local_addr().unwrap();
        let pin = gateway.fingerprint();
        let (tls, _) = verify::client_config(&controller, pin, wire::ALPN, KeyExchange::Classical).unwrap();
        let (dialling, dial) = transport::dial(address, tls, congestion).unwrap();
        let answer = async { listening.accept().await.unwrap().await.unwrap() };
        let (controller, gateway) = tokio::join!(dial, answer);
        let controller = controller.unwrap();
        let flows = [&controller, &gateway].map(|connection| FlowControl::of(connection, None));
        Self { controller, gateway, flows, _endpoints: [listening, dialling], _state: state }
    }

    /// A channel between the two, open at both ends: the controller's first.
    pub(crate) async fn channel(&self) -> [Channel; 2] {
        let answer = async {
            let (send, recv) = self.gateway.accept_bi().await.unwrap();
            let mut channel = Channel::new(send, recv);
            channel.recv.recv::<Open, OPEN_FRAME_BYTES_MAX>().await.unwrap();
            channel.reply_ok(&()).await.unwrap();
            channel
        };
        let (opened, answered) = tokio::join!(channel::open(&self.controller, SERVICE_SYNC, &()), answer);
        [opened.unwrap().0, answered]
    }

    /// Syncs from the controller to the gateway; gives the outcomes of the source and the destination.
    pub(crate) async fn sync(
        &self,
        source: Source,
        destination: Destination,
        options: SyncOptions,
    ) -> [Outcome; 2] {
        self.sync_counting(source, destination, options, &<[Arc<Tally>; 2]>::default()).await
    }

    /// As [`Self::sync`], with the counts of the source and the destination.
    pub(crate) async fn sync_counting(
        &self,
        source: Source,
        destination: Destination,
        options: SyncOptions,
        tallies: &[Arc<Tally>; 2],
    ) -> [Outcome; 2] {
        let destination =
            if options.compares_listings() { destination.comparing(source.name()) } else { destination };
        let source = source.comparing(destination.compares());
        let [from, to] = self.channel().await;
        let routers = [Router::new(), Router::new()];
        let source_link = self.controller_link(&routers[0], from);
        let destination_link = self.gateway_link(&routers[1], to);
        let both = async {
            tokio::join!(
                send(source_link, source, options, Arc::clone(&tallies[0])),
                receive(destination_link, destination, options, Arc::clone(&tallies[1])),
            )
        };
        tokio::select! {
            (sent, received) = both => [sent, received],
            () = routers[0].run(self.controller.clone()) => panic!("the controller's connection ended"),
            () = routers[1].run(self.gateway.clone()) => panic!("the gateway's connection ended"),
        }
    }

    /// What a sync on the controller's end of a channel runs over.
    pub(crate) fn controller_link(&self, router: &Router, channel: Channel) -> Link {
        let data = router.register(channel.id());
        Link { connection: self.controller.clone(), flow: self.flows[0].clone(), channel, data }
    }

    /// The same at the gateway's end.
    pub(crate) fn gateway_link(&self, router: &Router, channel: Channel) -> Link {
        let data = router.register(channel.id());
        Link { connection: self.gateway.clone(), flow: self.flows[1].clone(), channel, data }
    }
}
