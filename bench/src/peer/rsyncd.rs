//! An rsync daemon of our own on the far root, and `rsync -a` against it: rsync at its fastest, without encryption.
//!
//! Whether files cross whole or as differences is left to rsync, which over a network sends differences. `--delete` only for a mirror. rsync's `--fsync`
//! stays off: the runner makes everybody's files durable in the same way.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, Result};

use super::{Description, Prepared, Site, Transfer, Transport, command, first_line, plain, write};

/// The description.
pub(super) const PEER: Description = Description {
    id: "rsyncd",
    what: "rsync -a to an rsync daemon: plain TCP",
    encrypted: false,
    transport: Transport::Tcp,
    install: "apt-get install rsync",
    find,
    prepare,
    remembers: false,
};

/// The name of the daemon's one module.
const MODULE: &str = "tree";

/// rsync's version.
pub(super) fn find() -> Option<String> {
    first_line("rsync", &["--version"])
}

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    let far = site.ground.far();
    let address = SocketAddr::new(far.address(), far.free_port()?);
    let path = site.home.join("rsyncd.conf");
    write(&path, &configuration(site.root, rustix::process::geteuid().is_root())?)?;
    let mut daemon = command("rsync")?;
    daemon.args(["--daemon", "--no-detach", "--log-file=/dev/stderr"]);
    daemon.arg(format!("--address={}", address.ip())).arg(format!("--port={}", address.port()));
    daemon.arg("--config").arg(path);
    let server = far.spawn(&daemon)?;
    far.await_tcp(&server, address.port())?;
    let remote = transfer.far.strip_prefix(site.root).context("the far tree is below the root")?;
    let mut client = client(transfer)?;
    client.args(transfer.places(
        |near| near.join("").into_os_string(),
        |_| Path::new(&format!("rsync://{address}/{MODULE}")).join(remote).join("").into_os_string(),
    ));
    Ok(Prepared { server: Some(server), client })
}

/// `rsync` with the options that all ways of using it share; the two places are to be added. `-s` keeps remote shells and globs off the paths.
pub(super) fn client(transfer: &Transfer) -> Result<Command> {
    let mut client = command("rsync")?;
    client.args(["-a", "-s"]);
    if transfer.mirror {
        client.arg("--delete");
    }
    Ok(client)
}

/// A name for the client's address may take seconds to be not found.
fn configuration(root: &Path, by_root: bool) -> Result<String> {
    // A daemon run by root would serve files as `nobody`, who may not read or own them; others can only be themselves. Only root can give it
    // a root directory of its own, without which it takes the leading slash from the targets of symbolic links that arrive.
    let identity = if by_root { "uid = root\ngid = root\nuse chroot = yes" } else { "use chroot = no" };
    Ok(format!(
        "{identity}
munge symlinks = no
reverse lookup = no
[{MODULE}]
path = {}
read only = no
",
        plain(root)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_daemon_changes_its_identity() {
        let text = |by_root| configuration(Path::new("/lab/a b"), by_root).unwrap();
        assert!(text(true).contains("uid = root\n") && !text(false).contains("uid"));
        assert!(text(false).contains("[tree]\npath = /lab/a b\nread only = no\n"));
    }
}
