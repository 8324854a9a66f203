//! syq: `syq cp`, which starts itself at the far end through our sshd and then moves data over TCP connections of its own, encrypted by itself.
//!
//! syq tunes the number of connections as it goes and remembers what was good in a history, which stays in the peer's home. Only what must be equal
//! for everybody is set: no compression (which it would turn on when a link is slow), the modes and, as root, the owners. The far end is named by its
//! address, so that syq's own connections need no name resolution; it listens on a port from 47600 to 47699.

use std::ffi::OsStr;

use anyhow::{Context, Result};

use super::{
    Description, Mode, Prepared, Site, Transfer, Transport, command_at_home, find_program, first_line, ssh,
};

/// The description.
pub(super) const PEER: Description = Description {
    id: "syq",
    what: "syq cp: started through ssh, data over encrypted TCP connections of its own",
    encrypted: true,
    transport: Transport::Tcp,
    install: "cargo install syq --locked",
    find: || ssh::find_with(first_line("syq", &["--version"])),
    prepare,
    remembers: false,
};

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    let server = ssh::Server::start(site)?;
    let remote = find_program("syq").context("failed to find syq; is it installed?")?;
    let address = server.address().ip().to_string();
    let mut client = command_at_home("syq", site)?;
    client.args(["cp", "--quiet", "--no-progress", "--no-compress", "--preserve"]);
    client.arg(kept(rustix::process::geteuid().is_root()));
    client.arg("--rsh").arg(server.shell()?).arg("--syq-path").arg(remote);
    if transfer.mirror {
        client.arg("--prune");
    }
    client.arg("--srcs-in").arg(transfer.source());
    client.arg(side(transfer.mode)).arg(address).arg("--into").arg(transfer.destination());
    Ok(Prepared { server: Some(server.into_process()), client })
}

/// What it keeps besides times, which it keeps always. Only root can give files away.
fn kept(by_root: bool) -> &'static OsStr {
    OsStr::new(if by_root { "permissions,ownership" } else { "permissions" })
}

/// The option that names the far end.
fn side(mode: Mode) -> &'static str {
    match mode {
        Mode::Push => "--to",
        Mode::Pull => "--from",
    }
}
