//! `cp -a` within the machine: the floor, since no network, encryption or comparison costs anything. It deletes nothing.
//!
//! Clones of blocks, which some file systems can make without copying, are turned off: every byte is read and written, as by everybody else.

use anyhow::Result;

use super::{Description, Prepared, Site, Transfer, Transport, command, first_line};

/// The description.
pub(super) const PEER: Description = Description {
    id: "cp",
    what: "cp -a, no network: the floor",
    encrypted: false,
    transport: Transport::Local,
    install: "apt-get install coreutils",
    // Other implementations have neither `-T` nor `--reflink`.
    find: || first_line("cp", &["--version"]).filter(|version| version.contains("GNU")),
    prepare,
    remembers: false,
};

fn prepare(_: &Site, transfer: &Transfer) -> Result<Prepared> {
    let mut client = command("cp")?;
    // `-T` makes the destination the copy, whether it exists or not, instead of the directory to copy into.
    client.args(["-a", "-T", "--reflink=never", "--"]).arg(transfer.source()).arg(transfer.destination());
    Ok(Prepared { server: None, client })
}
