//! Who takes part: a peer, and for those that use TCP each way in which TCP is set up for it.

use std::{fmt, str::FromStr};

use anyhow::{Context, Result, bail};

use crate::{
    binaries::Binaries,
    peer::{self, Description, Transport},
};

/// What `+large` raises the maxima of TCP's buffers to: the window that 1 Gbit/s needs at 500 ms.
const LARGE_BUFFER_BYTES: u64 = 64 * 1024 * 1024;

/// One column of a comparison.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    /// The program.
    pub(crate) peer: &'static Description,
    /// How TCP is set up for it; nothing leaves it as the machine has it.
    pub(crate) tcp: Option<Tcp>,
    /// Its version, or nothing if it is missing.
    pub(crate) version: Option<String>,
}

/// How TCP is set up: `cubic`, `bbr`, `bbr+large`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The congestion control, as the kernel names it.
    control: String,
    /// Whether buffers may grow to 64 MiB.
    large: bool,
}

/// A contestant with the Swarmwire that it stands for, and the name under which it appears.
#[derive(Clone, Debug)]
pub(crate) struct Entrant {
    pub(crate) contestant: Contestant,
    pub(crate) name: String,
    pub(crate) binaries: Binaries,
}

impl Entrant {
    /// A contestant under its peer's name.
    pub(crate) fn new(contestant: Contestant, binaries: &Binaries) -> Self {
        Self { name: contestant.peer.id.to_owned(), contestant, binaries: binaries.clone() }
    }

    /// A name for its directory.
    pub(super) fn directory(&self) -> String {
        self.contestant.to_string().replace('/', "-") + &self.name
    }
}

/// Peers as they are asked for on the command line: names with commas, or `all`.
#[derive(Clone, Debug)]
pub struct Peers(Vec<&'static Description>);

impl Peers {
    /// Everybody who takes part, missing ones among them.
    pub(crate) fn contestants(&self, tcp: &[Tcp]) -> Vec<Contestant> {
        let mut contestants = vec![];
        for peer in &self.0 {
            let version = (peer.find)();
            let contestant = |tcp| Contestant { peer, tcp, version: version.clone() };
            if peer.transport == Transport::Tcp && !tcp.is_empty() {
                contestants.extend(tcp.iter().map(|tcp| contestant(Some(tcp.clone()))));
            } else {
                contestants.push(contestant(None));
            }
        }
        contestants
    }
}

impl Tcp {
    /// The congestion control, as the kernel names it.
    pub(crate) fn control(&self) -> &str {
        &self.control
    }

    /// What its buffers may grow to, if that is not as the machine has it.
    pub(crate) fn buffer_max(&self) -> Option<u64> {
        self.large.then_some(LARGE_BUFFER_BYTES)
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tcp {
            Some(tcp) => write!(f, "{}/{tcp}", self.peer.id),
            None => f.write_str(self.peer.id),
        }
    }
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.control, if self.large { "+large" } else { "" })
    }
}

impl FromStr for Tcp {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (control, large) = match text.strip_suffix("+large") {
            Some(control) => (control, true),
            None => (text, false),
        };
        const LIST: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";
        let known = std::fs::read_to_string(LIST).with_context(|| format!("failed to read {LIST}"))?;
        if !known.split_whitespace().any(|name| name == control) {
            bail!("unknown congestion control {control:?}; this kernel has {}", known.trim());
        }
        Ok(Self { control: control.to_owned(), large })
    }
}

impl FromStr for Peers {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "all" {
            return Ok(Self(peer::ALL.to_vec()));
        }
        let mut peers: Vec<&'static Description> = vec![];
        for id in text.split(',') {
            let peer = Description::of_id(id)?;
            if peers.iter().any(|other| other.id == peer.id) {
                bail!("{id} is named twice");
            }
            peers.push(peer);
        }
        Ok(Self(peers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_peer_is_told_the_known_ones() {
        let error = "swarm,rsink".parse::<Peers>().unwrap_err().to_string();
        assert!(error.contains("\"rsink\"") && error.contains("rsyncd"), "{error}");
        assert!("swarm,swarm".parse::<Peers>().is_err());
    }

    #[test]
    fn each_congestion_control_makes_a_contestant_of_a_tcp_peer_alone() {
        let reno = |large| Tcp { control: "reno".to_owned(), large };
        let peers: Peers = "swarm,rsyncd".parse().unwrap();
        let names = |tcp: &[Tcp]| peers.contestants(tcp).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&[]), ["swarm", "rsyncd"]);
        assert_eq!(names(&[reno(false), reno(true)]), ["swarm", "rsyncd/reno", "rsyncd/reno+large"]);
    }

    #[test]
    fn an_unknown_congestion_control_is_told_the_known_ones() {
        let error = "vegan".parse::<Tcp>().unwrap_err().to_string();
        assert!(error.contains("unknown congestion control \"vegan\"; this kernel has"), "{error}");
    }
}
