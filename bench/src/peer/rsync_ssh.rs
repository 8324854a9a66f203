//! `rsync -a` over ssh, as most people use it, with an ssh server of our own.
//!
//! rsync's options are those of the daemon's description; only what carries its bytes differs. The remote rsync is found on the sessions' search path.

use anyhow::Result;

use super::{Description, Prepared, Site, Transfer, Transport, rsyncd, ssh};

/// The description.
pub(super) const PEER: Description = Description {
    id: "rsync-ssh",
    what: "rsync -a over ssh: AES-128-GCM, no compression",
    encrypted: true,
    transport: Transport::Tcp,
    install: "apt-get install rsync openssh-client openssh-server",
    find: || ssh::find_with(rsyncd::find()),
    prepare,
    remembers: false,
};

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    let server = ssh::Server::start(site)?;
    let mut client = rsyncd::client(transfer)?;
    client.arg("-e").arg(server.shell()?);
    client.args(transfer.places(|near| near.join("").into_os_string(), |far| ssh::place(&far.join(""))));
    Ok(Prepared { server: Some(server.into_process()), client })
}
