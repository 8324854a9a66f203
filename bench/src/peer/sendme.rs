//! sendme: `sendme send` of the far tree and a timed `sendme receive` of its ticket, over QUIC, with relays off and the far address in the ticket, so
//! that nothing but the two ends takes part.
//!
//! It has no way to push: its sender waits until somebody fetches, and `prepare` says so. Nor can it bring a tree up to date: a destination with anything in it is
//! refused. The sender reads and hashes the whole tree before there is a ticket; that is part of preparing and is *not* in the time of the transfer, which
//! must be said wherever its figures stand. It carries names and contents of files alone: no modes, times, links or empty directories.
//!
//! The receiver works in a directory beside the destination and names the tree as its source is named; a shell moves it to its place in the end.

use std::{
    ffi::OsStr,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    Description, Mode, Prepared, Site, Transfer, Transport, command, command_at_home, find_program,
    first_line,
};
use crate::process::Process;

/// The description.
pub(super) const PEER: Description = Description {
    id: "sendme",
    what: "sendme receive over QUIC, from a sender that has hashed the tree before; pull only",
    encrypted: true,
    transport: Transport::Udp,
    install: "cargo install sendme --locked",
    find: || find_program("sh").and_then(|_| first_line("sendme", &["--version"])),
    prepare,
    remembers: false,
};

/// How long the sender may take to hash the tree. Measured: 3,000 small files a second; the largest tree has a million.
const HASHING_PATIENCE: Duration = Duration::from_secs(600);

/// How often the sender is asked for its ticket.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Parameters: the directory to work in, the program, the ticket, the tree's name at the source, the destination.
const RECEIVE: &str = r#"cd -- "$1" && "$2" receive "$3" --relay disabled --no-progress && mv -T -- "$4" "$5" && cd / && rmdir -- "$1""#;

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    if transfer.mode == Mode::Push {
        bail!("sendme cannot push: its sender waits until somebody fetches; measure it with pull");
    }
    expect_nothing_at(&transfer.near)?;
    let source = fs::canonicalize(&transfer.far)
        .with_context(|| format!("failed to find {}", transfer.far.display()))?;
    let name = source.file_name().context("sendme cannot send a tree that has no name")?;
    let server = send(site, &source)?;
    let ticket = await_ticket(&server)?;
    let client = receive(site, &ticket, name, &transfer.near)?;
    Ok(Prepared { server: Some(server), client })
}

/// A destination that is missing or empty is what it can fill.
fn expect_nothing_at(destination: &Path) -> Result<()> {
    match fs::read_dir(destination).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(false) => bail!(
            "sendme cannot update {}: it only fetches whole trees; measure it without a change",
            destination.display()
        ),
        Err(error) => Err(error).with_context(|| format!("failed to look into {}", destination.display())),
    }
}

/// Starts the sender. It works in a directory of the peer's home, where one that was ended leaves its store.
fn send(site: &Site, source: &Path) -> Result<Process> {
    let work = fresh_directory(site.home.join("send"))?;
    let far = site.ground.far();
    let address = SocketAddr::new(far.address(), far.free_port()?);
    let bind = if address.is_ipv4() { "--magic-ipv4-addr" } else { "--magic-ipv6-addr" };
    let mut send = command_at_home("sendme", site)?;
    send.current_dir(work).arg("send").arg(source);
    send.args(["--relay", "disabled", "--ticket-type", "addresses", "--no-progress"]);
    send.arg(bind).arg(address.to_string());
    far.spawn(&send)
}

/// Waits for longer than other servers take to start, since this one hashes first.
fn await_ticket(server: &Process) -> Result<String> {
    let start = Instant::now();
    loop {
        if let Some(ticket) = ticket(&server.stdout()?) {
            return Ok(ticket);
        }
        if server.ended_within(LOOK_INTERVAL)? {
            bail!("sendme ended before it gave a ticket\n{}", server.last_words());
        }
        if start.elapsed() > HASHING_PATIENCE {
            bail!("sendme gave no ticket within {} s\n{}", HASHING_PATIENCE.as_secs(), server.last_words());
        }
    }
}

fn receive(site: &Site, ticket: &str, name: &OsStr, destination: &Path) -> Result<Command> {
    let program = find_program("sendme").context("failed to find sendme; is it installed?")?;
    let parent = destination.parent().context("the destination is in a directory")?;
    let work = fresh_directory(parent.join(".sendme"))?;
    let mut client = command("sh")?;
    client.env("HOME", site.home).args(["-c", RECEIVE, "sh"]);
    client.arg(work).arg(program).arg(ticket).arg(name).arg(destination);
    Ok(client)
}

/// An empty directory in place of what an earlier run has left there.
fn fresh_directory(path: PathBuf) -> Result<PathBuf> {
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to remove {}", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    fs::create_dir(&path).with_context(|| format!("failed to make {}", path.display()))?;
    Ok(path)
}

/// The ticket in what the sender prints.
fn ticket(output: &str) -> Option<String> {
    output
        .lines()
        .find_map(|line| line.strip_prefix("sendme receive "))
        .map(|ticket| ticket.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticket_is_found_behind_other_lines() {
        let output = "imported directory x, 1 B, hash y\nto get this data, use\nsendme receive blobab\n";
        assert_eq!(ticket(output).as_deref(), Some("blobab"));
        assert_eq!(ticket("to get this data, use\n"), None);
    }

    #[test]
    fn only_a_destination_without_content_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        expect_nothing_at(&directory.path().join("missing")).unwrap();
        expect_nothing_at(directory.path()).unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = expect_nothing_at(directory.path()).unwrap_err().to_string();
        assert!(error.contains("cannot update"), "{error}");
    }
}
