//! sparsync: `sparsync sync -a` to a `sparsync serve`, over QUIC.
//!
//! The configuration is that of its published benchmark (16 files at once, 8 workers that scan and 16 that hash, no compression, the server known by its
//! certificate and the client by nothing) with the metadata of `-a`, which that leaves out. The server serves one directory, the far one; the path in
//! the address that the client takes is ignored. Both sides need `io_uring`, which a kernel may refuse; then the server says so and no run begins.
//!
//! It remembers: the client in a cache of hashes, the server in its memory. A server that starts again has forgotten what is there and receives all of it
//! again; what a change costs shows only if the *same* server has received the tree before, by the same prepared client, which may run repeatedly.
//!
//! The server leaves a directory `.sparsync` in the tree that it has received. Times of directories are not kept. In a pull the client makes every file
//! durable as it arrives, and has no option to leave that out.

use std::{ffi::OsString, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Description, PREPARATION_PATIENCE, Prepared, Site, Transfer, Transport, command_at_home, first_line,
    write,
};
use crate::ground::await_ready;

/// The description.
pub(super) const PEER: Description = Description {
    id: "sparsync",
    what: "sparsync sync -a over QUIC, through io_uring",
    encrypted: true,
    transport: Transport::Udp,
    install: "cargo install sparsync --locked",
    find: || first_line("sparsync", &["--version"]),
    prepare,
    remembers: true,
};

/// The name of the profile, and of the server in its certificate.
const NAME: &str = "lab";

/// The options of its published benchmark.
const BENCHMARK: [&str; 6] = ["--parallel-files", "16", "--scan-workers", "8", "--hash-workers", "16"];

/// How long one operation may take, in milliseconds; over a bad link the default of 15 s gives up. Chosen: a run over a link ends after a minute.
const OPERATION_MS_MAX: &str = "60000";

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    let [certificate, key] = ["certificate.der", "key.der"].map(|name| site.home.join(name));
    if !certificate.exists() {
        let mut make = command_at_home("sparsync", site)?;
        make.args(["gen-cert", "--name", NAME, "--cert"]).arg(&certificate).arg("--key").arg(&key);
        site.ground.far().run(&make, PREPARATION_PATIENCE)?.success()?;
    }
    let far = site.ground.far();
    let address = SocketAddr::new(far.address(), far.free_port()?);
    let mut serve = command_at_home("sparsync", site)?;
    serve.args(["serve", "--preserve-metadata", "--bind", &address.to_string()]);
    serve.arg("--destination").arg(&transfer.far).arg("--cert").arg(&certificate).arg("--key").arg(&key);
    let server = far.spawn(&serve)?;
    await_ready(&server, || Ok(server.stdout()?.contains("server started").then_some(())))
        .context("sparsync needs io_uring; see /proc/sys/kernel/io_uring_disabled")?;
    write(&site.home.join("profiles.json"), &profiles(address, &certificate)?)?;
    Ok(Prepared { server: Some(server), client: client(site, transfer, address)? })
}

fn client(site: &Site, transfer: &Transfer, address: SocketAddr) -> Result<Command> {
    let mut client = command_at_home("sparsync", site)?;
    client.env("SPARSYNC_CONFIG_DIR", site.home);
    client.args(["sync", "-a", "--transport", "quic", "--bootstrap", "none", "--profile", NAME]);
    client.args(BENCHMARK).args(["--op-timeout-ms", OPERATION_MS_MAX]);
    if transfer.mirror {
        client.arg("--delete");
    }
    client.arg("--").args(transfer.places(
        |near| near.as_os_str().to_owned(),
        |far| {
            let mut place = OsString::from(format!("sparsync://{address}"));
            place.push(far);
            place
        },
    ));
    Ok(client)
}

/// The file in which the client looks the server up.
fn profiles(server: SocketAddr, certificate: &Path) -> Result<String> {
    let certificate = certificate.to_str().context("failed to name sparsync's certificate in JSON")?;
    let profile = json!({ "name": NAME, "server": server, "server_name": NAME, "ca": certificate });
    Ok(json!({ "profiles": [profile] }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_names_the_server_by_its_address() {
        let text = profiles("192.0.2.1:7".parse().unwrap(), Path::new("/h/c.der")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["profiles"][0]["server"], "192.0.2.1:7");
        assert_eq!(value["profiles"][0]["ca"], "/h/c.der");
    }
}
