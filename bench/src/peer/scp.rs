//! `scp -r -p` over ssh. It sends everything each time, follows symbolic links, and deletes nothing.
//!
//! The source is written `directory/.`: so its contents go to the destination whether that exists or not, instead of a directory of the same name
//! below one that exists. `-s` is the SFTP protocol, the default since OpenSSH 9.0, in which no remote shell reads the paths.

use std::ffi::OsString;

use anyhow::Result;

use super::{Description, Prepared, Site, Transfer, Transport, command, find_program, ssh};

/// The description.
pub(super) const PEER: Description = Description {
    id: "scp",
    what: "scp -r -p: SFTP over ssh, AES-128-GCM, everything each time",
    encrypted: true,
    transport: Transport::Tcp,
    install: "apt-get install openssh-client openssh-server",
    find: || find_program("scp").and_then(|_| ssh::find()),
    prepare,
    remembers: false,
};

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    let server = ssh::Server::start(site)?;
    let mut client = command("scp")?;
    client.arg("-F").arg(server.client_config()).args(["-q", "-r", "-p", "-s", "--"]);
    let [from, to] = transfer.places(|near| near.as_os_str().to_owned(), ssh::place);
    client.arg(contents(from)).arg(to);
    Ok(Prepared { server: Some(server.into_process()), client })
}

/// `directory/.`, made as text: a path drops the dot.
fn contents(mut place: OsString) -> OsString {
    place.push("/.");
    place
}
