//! Something that answers in the gateway's way, in one respect differently.

use std::{sync::mpsc, thread::JoinHandle};

use swarmwire_certs::{CertificateNames, Fingerprint, Identity, KeyExchange, PrivateDir, verify};
use swarmwire_common::transport::{self, Congestion};

use crate::world::{ControllerHome, now};

/// Its key is pinned as `gw`. It takes one connection after the other.
pub(crate) struct Stranger {
    endpoint: quinn::Endpoint,
    fingerprint: Fingerprint,
    serving: Option<JoinHandle<()>>,
}

impl Stranger {
    pub(crate) fn start(alpn: &'static [u8], serve: impl AsyncFn(quinn::Incoming) + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1);
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let temp = tempfile::tempdir().unwrap();
                let dir = PrivateDir::open_or_create(temp.path().join("identity")).unwrap();
                let names = CertificateNames::new("stranger");
                let identity = Identity::open_or_create(&dir, &names, now()).unwrap();
                let tls = verify::server_config(&identity, alpn, KeyExchange::default()).unwrap();
                let endpoint =
                    transport::bind_gateway(([127, 0, 0, 1], 0).into(), tls, Congestion::default()).unwrap();
                sender.send((endpoint.clone(), identity.fingerprint())).unwrap();
                while let Some(incoming) = endpoint.accept().await {
                    serve(incoming).await;
                }
            });
        });
        let (endpoint, fingerprint) = receiver.recv().unwrap();
        Self { endpoint, fingerprint, serving: Some(serving) }
    }

    pub(crate) fn pinned(&self) -> ControllerHome {
        let home = ControllerHome::new();
        home.pin("gw", self.endpoint.local_addr().unwrap(), self.fingerprint);
        home
    }

    pub(crate) fn end(mut self) {
        self.endpoint.close(0u32.into(), b"");
        self.serving.take().unwrap().join().unwrap();
    }
}
