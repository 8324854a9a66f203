//! qcp: `qcp -r -p`, which starts its server through our sshd and then moves files over QUIC. It sends everything each time, follows symbolic links, and
//! deletes nothing.
//!
//! Two settings leave its defaults. 16 files at once instead of one, as its manual advises for many small files. And a rate of 1 Gbit/s instead of a tenth of
//! it, which its manual calls the one important setting: with the default round trip of 300 ms that is a window of 37 MB, three times what a link of
//! 1 Gbit/s and 100 ms holds. The server has no settings, so the client's hold for both. As with scp, the source is written `directory/.`.

use std::ffi::OsString;

use anyhow::{Context, Result};

use super::{
    Description, Prepared, Site, Transfer, Transport, command_at_home, find_program, first_line, ssh,
};

/// The description.
pub(super) const PEER: Description = Description {
    id: "qcp",
    what: "qcp -r -p: started through ssh, data over QUIC, everything each time",
    encrypted: true,
    transport: Transport::Udp,
    install: "cargo install qcp --locked",
    find: || ssh::find_with(first_line("qcp", &["--version"])),
    prepare,
    remembers: false,
};

/// Bytes per second that it may expect of the network each way: 1 Gbit/s, the fastest link that is emulated.
const RATE: &str = "125M";

/// Files at once. Chosen: in single runs on a busy machine's loopback 8 and 16 were faster than 2 and 32; where each file costs round trips, more at
/// once is better.
const PARALLEL: &str = "16";

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    let server = ssh::Server::start(site)?;
    let program = find_program("ssh").context("failed to find ssh; is it installed?")?;
    let config = server.client_config();
    let mut client = command_at_home("qcp", site)?;
    client.args(["-r", "-p", "-q", "--rx", RATE, "--tx", RATE, "--parallel", PARALLEL]);
    client.arg("--ssh").arg(program).arg("--ssh-config").arg(&config);
    client.args(["-S", "-F", "-S"]).arg(&config);
    let [mut from, to]: [OsString; 2] = transfer.places(|near| near.as_os_str().to_owned(), ssh::place);
    from.push("/.");
    client.arg("--").arg(from).arg(to);
    Ok(Prepared { server: Some(server.into_process()), client })
}
