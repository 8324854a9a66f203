//! How TCP behaves in a namespace: its congestion control and its buffers.
//!
//! Only the initial namespace may make every congestion control its default; others may use those of its `tcp_allowed_congestion_control`,
//! and widening that list would outlive us. A route may name any (`congctl` of ip-route(8)), and a connection takes the route's before the
//! default, at both ends. So the routes say it, and the default as well where the kernel lets it. What was set is always read back.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::Namespace;

/// The default of connections without a route that says otherwise.
const CONTROL: &str = "net/ipv4/tcp_congestion_control";

/// The kernel's words for the least, default and most bytes of the buffers that receive and send.
const BUFFERS: [&str; 2] = ["net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem"];

impl Namespace {
    /// Sets the congestion control of TCP and, if given, the most bytes that its buffers grow to, for connections made from now on.
    pub fn set_tcp(&self, control: &str, buffer_max: Option<u64>) -> Result<()> {
        expect_offered(control)?;
        let routes = self.ip(&["route", "show"])?;
        for route in routes.lines() {
            let words = without_control(route);
            self.ip(&[&["route", "change"], &words[..], &["congctl", control]].concat())?;
        }
        let default = self.set(CONTROL, control);
        if routes.trim().is_empty() {
            default.context(
                "without a route, only a congestion control that the kernel allows everybody can be set",
            )?;
        }
        if let Some(max) = buffer_max {
            for name in BUFFERS {
                self.set(name, &with_maximum(&self.get(name)?, max)?)?;
            }
        }
        let is = self.tcp_control()?;
        ensure!(is == control, "TCP was set to {control} and says {is}");
        Ok(())
    }

    /// What TCP is set to: `bbr, rmem 4096 131072 6291456, wmem 4096 16384 4194304`.
    pub fn tcp(&self) -> Result<String> {
        let [receive, send] = BUFFERS.map(|name| self.get(name));
        Ok(format!("{}, rmem {}, wmem {}", self.tcp_control()?, receive?, send?))
    }

    /// The congestion control that every route names, else the default.
    fn tcp_control(&self) -> Result<String> {
        let routes = self.ip(&["route", "show"])?;
        let mut named = routes.lines().map(control_of);
        match named.next().flatten() {
            Some(control) if named.all(|other| other == Some(control)) => Ok(control.to_owned()),
            _ => self.get(CONTROL),
        }
    }
}

/// Refuses a congestion control that the kernel does not have.
fn expect_offered(control: &str) -> Result<()> {
    const OFFERED: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let offered = fs::read_to_string(OFFERED).with_context(|| format!("failed to read {OFFERED}"))?;
    if !offered.split_whitespace().any(|name| name == control) {
        bail!(
            "this kernel has no congestion control {control:?}, only {}; modprobe tcp_{control} may add it",
            offered.trim()
        );
    }
    Ok(())
}

/// The words of a route as `ip` prints it, without the congestion control.
fn without_control(route: &str) -> Vec<&str> {
    let words: Vec<&str> = route.split_whitespace().collect();
    match words.iter().position(|word| *word == "congctl") {
        Some(position) => [&words[..position], &words[(position + 2).min(words.len())..]].concat(),
        None => words,
    }
}

/// The congestion control of a route as `ip` prints it.
fn control_of(route: &str) -> Option<&str> {
    route.split_whitespace().skip_while(|word| *word != "congctl").nth(1)
}

/// `least default most` of tcp(7) with another most, which pulls down the others where it is below them.
fn with_maximum(triple: &str, max: u64) -> Result<String> {
    let sizes: Vec<u64> = triple.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [least, default, _] = sizes[..] else {
        bail!("{triple:?} is not the kernel's three sizes of a TCP buffer");
    };
    Ok(format!("{} {} {max}", least.min(max), default.min(max)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_congestion_control_of_a_route_is_found_and_taken_out() {
        let route = "10.83.0.0/24 dev link0 proto kernel scope link src 10.83.0.1 congctl cubic";
        assert_eq!(control_of(route), Some("cubic"));
        assert_eq!(without_control(route).join(" "), route.trim_end_matches(" congctl cubic"));
        assert_eq!(without_control("default congctl bbr dev x"), ["default", "dev", "x"]);
        assert_eq!(control_of("default dev x"), None);
    }

    #[test]
    fn a_small_maximum_pulls_the_other_sizes_down() {
        assert_eq!(with_maximum("4096\t131072\t6291456", 64_000_000).unwrap(), "4096 131072 64000000");
        assert_eq!(with_maximum("4096 131072 6291456", 65_536).unwrap(), "4096 65536 65536");
        assert!(with_maximum("1 2", 3).is_err());
    }

    #[test]
    fn an_unknown_congestion_control_is_refused_with_those_that_there_are() {
        let error = expect_offered("pigeon").unwrap_err().to_string();
        assert!(error.contains("no congestion control \"pigeon\"") && error.contains("reno"), "{error}");
    }
}
