//! `cp -a` within the machine: the floor, since no network, encryption or comparison costs anything. It deletes nothing.
//!
//! It copies as it does by itself: inside the kernel (copy_file_range(2)) where it can, which takes two thirds of the time of reading and writing. So on a
//! file system that clones blocks it copies nothing.

use anyhow::Result;

use super::{Description, Prepared, Site, Transfer, Transport, command, first_line};

/// The description.
pub(super) const PEER: Description = Description {
    id: "cp",
    what: "cp -a, no network: the floor",
    encrypted: false,
    transport: Transport::Local,
    install: "apt-get install coreutils",
    // Other implementations have no `-T`.
    find: || first_line("cp", &["--version"]).filter(|version| version.contains("GNU")),
    prepare,
    remembers: false,
};

fn prepare(_: &Site, transfer: &Transfer) -> Result<Prepared> {
    let mut client = command("cp")?;
    // `-T` makes the destination the copy, whether it exists or not, instead of the directory to copy into.
    client.args(["-a", "-T", "--"]).arg(transfer.source()).arg(transfer.destination());
    Ok(Prepared { server: None, client })
}
