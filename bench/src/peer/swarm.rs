//! Swarmwire itself: `swarmd` on the far root, and a `swarm sync` of the release build. The controller joins before its first transfer.

use std::ffi::OsString;

use anyhow::{Context, Result};

use super::{Description, Prepared, Site, Transfer, Transport};
use crate::gateway::{self, Gateway, State};

/// The description, and what all variants have in common. It does not compress, since nobody else does.
pub(super) const PEER: Description = Description {
    id: "swarm",
    what: "swarm sync to swarmd: QUIC, AES-128-GCM, every file verified by BLAKE3",
    encrypted: true,
    transport: Transport::Udp,
    install: "cargo build --release",
    find: || Some(format!("swarmwire {}", env!("CARGO_PKG_VERSION"))),
    prepare: |site, transfer| prepare(site, transfer, "never"),
    remembers: true,
};

/// As users get it who say nothing of compression.
pub(super) const AUTO: Description = Description {
    id: "swarm-auto",
    what: "swarm with --compress auto, which is its default",
    prepare: |site, transfer| prepare(site, transfer, "auto"),
    ..PEER
};

/// Compressing everything, for little of the processor's time.
pub(super) const ZSTD_1: Description = Description {
    id: "swarm-zstd1",
    what: "swarm with --compress 1",
    prepare: |site, transfer| prepare(site, transfer, "1"),
    ..PEER
};

/// Compressing everything, as zstd does by itself.
pub(super) const ZSTD_3: Description = Description {
    id: "swarm-zstd3",
    what: "swarm with --compress 3",
    prepare: |site, transfer| prepare(site, transfer, "3"),
    ..PEER
};

fn prepare(site: &Site, transfer: &Transfer, compress: &str) -> Result<Prepared> {
    let state = State::at(site.home, site.binaries);
    let gateway = Gateway::start(&state, site.ground, site.root)?;
    let remote = transfer.far.strip_prefix(site.root).context("the far tree is below the root")?;
    let [from, to] = transfer.places(
        |near| with_slash(near.as_os_str().to_owned()),
        |far| {
            let mut place = OsString::from(format!("{}:", gateway::NAME));
            place.push(far.strip_prefix(site.root).unwrap_or(remote));
            with_slash(place)
        },
    );
    let mut client = state.swarm();
    // A connection that is lost is no transfer.
    client.args(["sync", "--quiet", "--retry", "0s", "--durability"]);
    client.arg(if transfer.durable { "batch" } else { "none" });
    // An older build that a change is measured against never compresses, and does not know the option.
    if state.offers("--compress")? {
        client.args(["--compress", compress]);
    }
    if transfer.mirror && state.offers("--delete")? {
        client.arg("--delete");
    }
    client.arg(from).arg(to);
    Ok(Prepared { server: Some(gateway.into_process()), client })
}

fn with_slash(mut place: OsString) -> OsString {
    place.push("/");
    place
}
