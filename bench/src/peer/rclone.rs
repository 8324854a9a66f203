//! `rclone copy`, or `rclone sync` for a mirror, between a local directory and the SFTP server of our sshd, with rclone's own ssh client.
//!
//! The configuration is a file of ours. It differs from rclone's defaults where its manual advises so for a server that is OpenSSH: requests of 255 KiB, and no
//! `md5sum` run on the remote after each file, which would cost a remote process per file (ssh's own integrity check remains, and the runner
//! verifies everybody's trees). More files at once than the default 4, since most of ours are small. rclone carries neither modes nor symbolic links.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;

use super::{
    Description, Prepared, Site, Transfer, Transport, command_at_home, first_line, plain, ssh, write,
};

/// The description.
pub(super) const PEER: Description = Description {
    id: "rclone",
    what: "rclone copy or sync over SFTP: AES-128-GCM, 16 files at once",
    encrypted: true,
    transport: Transport::Tcp,
    install: "apt-get install rclone openssh-client openssh-server",
    find: || ssh::find_with(first_line("rclone", &["version"])),
    prepare,
    remembers: false,
};

/// Files at once, in comparison and in transfer; our sshd allows far more sessions. Chosen: on loopback one run with 8 lay between two with 16, so it
/// decides nothing there; where each file costs round trips, more at once is better.
const PARALLEL: &str = "16";

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    let server = ssh::Server::start(site)?;
    let config = site.home.join("rclone.conf");
    write(&config, &remote(server.address(), &server.user_key(), &server.known_hosts())?)?;
    let mut client = command_at_home("rclone", site)?;
    client.arg(if transfer.mirror { "sync" } else { "copy" }).arg("--config").arg(config);
    client.args(["--quiet", "--skip-links", "--create-empty-src-dirs"]);
    client.args(["--transfers", PARALLEL, "--checkers", PARALLEL]);
    client.arg("--").args(transfer.places(|near| near.as_os_str().to_owned(), ssh::place));
    Ok(Prepared { server: Some(server.into_process()), client })
}

fn remote(address: SocketAddr, key: &Path, hosts: &Path) -> Result<String> {
    Ok(format!(
        "[{}]
type = sftp
host = {}
port = {}
key_file = {}
known_hosts_file = {}
shell_type = unix
disable_hashcheck = true
chunk_size = 255Ki
",
        ssh::HOST,
        address.ip(),
        address.port(),
        plain(key)?,
        plain(hosts)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remote_names_the_server_by_its_address() {
        let text =
            remote("192.0.2.1:2022".parse().unwrap(), Path::new("/h/key"), Path::new("/h/hosts")).unwrap();
        assert!(text.starts_with("[lab]\ntype = sftp\nhost = 192.0.2.1\nport = 2022\n"), "{text}");
        assert!(text.contains("\nkey_file = /h/key\nknown_hosts_file = /h/hosts\n"), "{text}");
    }
}
