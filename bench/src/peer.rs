//! The programs that move the same trees, ours among them, each behind one small description in a file of its own.
//!
//! A description says how to find the program, how to install it, and how to prepare one transfer: which server to start at the far end, and which
//! command of the near end does the work and is timed. The runner knows no peer by name; a new one is a file here and a line in [`ALL`].

use std::{
    env, fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{Access, access};

use crate::{
    binaries::Binaries,
    ground::Ground,
    process::{self, Process},
};

mod cp;
mod qcp;
mod rclone;
mod rsync_ssh;
mod rsyncd;
mod scp;
mod sendme;
mod sparsync;
pub(crate) mod ssh;
mod swarm;
mod syq;
pub(crate) mod tar_ssh;

/// Every peer, in the order in which reports show them.
pub const ALL: [&Description; 11] = [
    &swarm::PEER,
    &rsyncd::PEER,
    &rsync_ssh::PEER,
    &tar_ssh::PEER,
    &scp::PEER,
    &rclone::PEER,
    &cp::PEER,
    &sparsync::PEER,
    &syq::PEER,
    &qcp::PEER,
    &sendme::PEER,
];

/// Ours with other options, to be compared with itself.
const VARIANTS: [&Description; 3] = [&swarm::AUTO, &swarm::ZSTD_1, &swarm::ZSTD_3];

/// How long what only prepares a transfer may take: a key, an answer about a version. Chosen: each takes milliseconds.
const PREPARATION_PATIENCE: Duration = Duration::from_secs(30);

/// Where daemons are that the search path of an ordinary user leaves out.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Beginnings of the names of environment variables by which a user sets these programs up. A run must not depend on who starts it.
const SETTINGS: [&str; 11] = [
    "IROH_",
    "QCP_",
    "RCLONE_",
    "RSYNC_",
    "SENDME_",
    "SPARGIO_",
    "SPARSYNC_",
    "SSH_",
    "SYQ_",
    "TAR_",
    "XDG_",
];

/// One program as a means of moving trees.
#[derive(Debug)]
pub struct Description {
    /// Its name on the command line and in reports.
    pub id: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// Whether what crosses is encrypted.
    pub encrypted: bool,
    /// How it reaches the other end.
    pub transport: Transport,
    /// The one command that installs it.
    pub install: &'static str,
    /// The program's version if all that it needs is installed.
    pub find: fn() -> Option<String>,
    /// Prepares one transfer. Starts the server, waits until it is ready, and says which command does the transfer. Nothing of this is timed.
    pub prepare: fn(&Site, &Transfer) -> Result<Prepared>,
    /// Whether it remembers former syncs, so that the tree must be brought to the destination by itself before a change is measured.
    pub remembers: bool,
}

/// How a peer reaches the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Over TCP: measured with each congestion control that is asked for.
    Tcp,
    /// Over QUIC, or another protocol of its own.
    Udp,
    /// Not at all: it copies within one machine.
    Local,
}

/// Where a peer works.
#[derive(Debug)]
pub struct Site<'a> {
    /// The two ends.
    pub ground: &'a Ground,
    /// A directory for the peer's configuration, keys and state: its own, kept from run to run.
    pub home: &'a Path,
    /// What a server serves; every far tree is below it.
    pub root: &'a Path,
    /// The Swarmwire to measure.
    pub binaries: &'a Binaries,
}

/// One transfer: the contents of one directory become the contents of another.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Which way.
    pub mode: Mode,
    /// The near directory. The destination may not exist yet; its parent does.
    pub near: PathBuf,
    /// The far directory, likewise.
    pub far: PathBuf,
    /// Whether names that only the destination has shall go, if the peer can do that.
    pub mirror: bool,
    /// Whether the peer shall make everything durable by its own means as well, if it has any.
    pub durable: bool,
}

/// Which way a transfer goes, seen from the near end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To the far end.
    Push,
    /// To the near end.
    Pull,
}

/// A transfer that can start.
#[derive(Debug)]
pub struct Prepared {
    /// What runs at the far end; nothing for a peer that has no server.
    pub server: Option<Process>,
    /// What to run, and to time, at the near end.
    pub client: Command,
}

impl Description {
    /// The peer called `id`.
    pub fn of_id(id: &str) -> Result<&'static Self> {
        match known().find(|peer| peer.id == id) {
            Some(peer) => Ok(peer),
            None => {
                bail!(
                    "unknown peer {id:?}; known are {}",
                    known().map(|peer| peer.id).collect::<Vec<_>>().join(", ")
                )
            }
        }
    }
}

/// All that can be named.
fn known() -> impl Iterator<Item = &'static Description> {
    ALL.into_iter().chain(VARIANTS)
}

/// Says which peers are found, and how to install the others.
pub fn list(out: &mut impl Write) -> Result<()> {
    for peer in known() {
        match (peer.find)() {
            Some(version) => writeln!(out, "{:<11} found    {version}", peer.id)?,
            None => writeln!(out, "{:<11} MISSING  install it with: {}", peer.id, peer.install)?,
        }
        writeln!(out, "{:<11}          {}", "", peer.what)?;
    }
    Ok(())
}

impl Transfer {
    /// Where the tree comes from.
    pub fn source(&self) -> &Path {
        match self.mode {
            Mode::Push => &self.near,
            Mode::Pull => &self.far,
        }
    }

    /// Where it goes.
    pub fn destination(&self) -> &Path {
        match self.mode {
            Mode::Push => &self.far,
            Mode::Pull => &self.near,
        }
    }

    /// The two places in the order in which most programs take them: from, to. Each is made by the function for its end.
    pub fn places<T>(&self, near: impl FnOnce(&Path) -> T, far: impl FnOnce(&Path) -> T) -> [T; 2] {
        let (near, far) = (near(&self.near), far(&self.far));
        match self.mode {
            Mode::Push => [near, far],
            Mode::Pull => [far, near],
        }
    }
}

impl FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "push" => Ok(Self::Push),
            "pull" => Ok(Self::Pull),
            _ => bail!("unknown mode {text:?}; known are push, pull"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Push => "push",
            Self::Pull => "pull",
        })
    }
}

/// The first line that `program arguments` writes, to either output, if it can be run and succeeds; its runs of spaces become one.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = command(program).ok()?.args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    output.status.success().then(|| line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A command of an installed program, by its absolute path, in an environment that holds nobody's settings of these programs.
pub(crate) fn command(program: &str) -> Result<Command> {
    let path =
        find_program(program).with_context(|| format!("failed to find {program}; is it installed?"))?;
    let mut command = process::command(path);
    for (name, _) in env::vars_os() {
        if SETTINGS.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes())) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// The same with the peer's home as `HOME`, for programs that look there for settings or leave caches there.
fn command_at_home(program: &str, site: &Site) -> Result<Command> {
    let mut command = command(program)?;
    command.env("HOME", site.home);
    Ok(command)
}

/// Where a program is: on the search path, where daemons are, or where `cargo install` puts programs.
fn find_program(name: &str) -> Option<PathBuf> {
    let mut candidates = search_path().into_iter().map(|directory| directory.join(name));
    candidates.find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}

/// The directories in which programs are looked for.
fn search_path() -> Vec<PathBuf> {
    let cargo = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
        .chain(cargo.map(|cargo| cargo.join("bin")))
        .filter(|directory| directory.is_absolute())
        .collect()
}

/// A path as a word of a configuration file. Each format has its own characters with a meaning; a path that has one of any of them is refused.
fn plain(path: &Path) -> Result<&str> {
    let special = |c: char| c.is_control() || "\"'\\%$#;".contains(c);
    match path.to_str() {
        Some(text) if path.is_absolute() && !text.contains(special) => Ok(text),
        _ => bail!(
            "failed to name {} in configuration files; work in a directory whose absolute path has no quotes, backslashes, or any of % $ # ;",
            path.display()
        ),
    }
}

/// Writes a file of a peer's own.
fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_found_by_its_id_and_another_is_told_the_known_ones() {
        for peer in ALL {
            assert_eq!(Description::of_id(peer.id).unwrap().id, peer.id);
        }
        let error = Description::of_id("ftp").unwrap_err().to_string();
        assert!(error.contains("\"ftp\"") && error.contains("rsyncd"), "{error}");
    }

    #[test]
    fn places_come_in_the_order_from_and_to() {
        let transfer =
            |mode| Transfer { mode, near: "/n".into(), far: "/f".into(), mirror: false, durable: false };
        let places = |mode| transfer(mode).places(Path::to_owned, Path::to_owned);
        assert_eq!(places(Mode::Push), [PathBuf::from("/n"), "/f".into()]);
        assert_eq!(places(Mode::Pull), [PathBuf::from("/f"), "/n".into()]);
        assert_eq!(transfer(Mode::Pull).source(), Path::new("/f"));
        assert_eq!(transfer(Mode::Pull).destination(), Path::new("/n"));
    }

    #[test]
    fn a_path_that_a_configuration_file_would_read_otherwise_is_refused() {
        assert_eq!(plain(Path::new("/tmp/a b")).unwrap(), "/tmp/a b");
        for odd in ["relative", "/a\"b", "/50%", "/$HOME", "/a\nb", "/a#b"] {
            assert!(plain(Path::new(odd)).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(first_line("swarmwire-has-no-such-program", &["--version"]), None);
        assert!(command("swarmwire-has-no-such-program").unwrap_err().to_string().contains("installed"));
    }
}
