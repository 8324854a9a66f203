//! A network namespace without a name: nothing under `/run/netns` that could be left behind. It lives as long as this value, a thread or a
//! process in it, or a socket made in it does.
//!
//! A thread enters it, does its work and ends; no thread is ever moved back, so none can be left in the wrong one. Sockets stay in the
//! namespace in which they were made, and child processes in that of the thread that started them.

use std::{
    fs::{self, File},
    os::fd::{AsFd, BorrowedFd},
    panic::resume_unwind,
    process::Stdio,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::process;

/// The namespace of the calling thread, as a file (namespaces(7)).
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    descriptor: File,
}

/// What the kernel counted at a network device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeviceCounters {
    pub(super) sent_bytes: u64,
    pub(super) sent_packets: u64,
    pub(super) send_drops: u64,
}

impl Namespace {
    /// A new, empty namespace with a working loopback device, in which no TCP connection learns from an earlier one
    /// (`tcp_no_metrics_save`), so that runs do not depend on their order.
    pub fn new() -> Result<Self> {
        expect_root()?;
        let descriptor = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("failed to make a network namespace")?;
            File::open(OWN).with_context(|| format!("failed to open {OWN}"))
        })??;
        let namespace = Self { descriptor };
        namespace.ip(&["link", "set", "lo", "up"])?;
        namespace.set("net/ipv4/tcp_no_metrics_save", "1")?;
        Ok(namespace)
    }

    /// Runs `work` on a thread of its own in the namespace, and waits for it. What it starts and the sockets that it opens stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_a_thread(|| {
            setns(&self.descriptor, CloneFlags::CLONE_NEWNET)
                .context("failed to enter a network namespace")?;
            Ok(work())
        })?
    }

    /// Bytes that have gone over the namespace's loopback device.
    pub fn loopback_bytes(&self) -> Result<u64> {
        self.run(loopback_bytes)?
    }

    /// What the kernel counted at `device`.
    pub(super) fn counters(&self, device: &str) -> Result<DeviceCounters> {
        self.run(|| counters(device))?
    }

    /// What iproute2's `ip` prints in the namespace.
    pub(super) fn ip(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(|| process::command("ip").args(arguments).stdin(Stdio::null()).output())?;
        let output = output.context("failed to start ip; it comes with iproute2")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "failed to run ip {}: {}", arguments.join(" "), words.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Sets a kernel parameter of the namespace and reads it back, because the kernel takes some values to mean others.
    pub(super) fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{name}");
        self.run(|| fs::write(&path, value))?
            .with_context(|| format!("failed to set {path} to {value:?}"))?;
        let is = self.get(name)?;
        ensure!(is == value, "{path} was set to {value:?} and is {is:?}");
        Ok(())
    }

    /// A kernel parameter of the namespace, its fields separated by single spaces.
    pub(super) fn get(&self, name: &str) -> Result<String> {
        let path = format!("/proc/sys/{name}");
        let text =
            self.run(|| fs::read_to_string(&path))?.with_context(|| format!("failed to read {path}"))?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Bytes that have gone over the loopback device of the calling thread's namespace.
pub fn loopback_bytes() -> Result<u64> {
    Ok(counters("lo")?.sent_bytes)
}

/// Refuses an ordinary user, before anything is made.
pub(super) fn expect_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "a link needs root: it makes network namespaces and TUN devices; run it with sudo, or leave out --link to measure over loopback"
        );
    }
    Ok(())
}

/// Runs `work` on a thread of its own; its panic goes on in the caller.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, work);
        let thread = thread.context("failed to start a thread")?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn counters(device: &str) -> Result<DeviceCounters> {
    const PATH: &str = "/proc/thread-self/net/dev";
    let text = fs::read_to_string(PATH).with_context(|| format!("failed to read {PATH}"))?;
    parse_counters(&text, device).with_context(|| format!("{PATH} has no device {device:?}"))
}

/// Finds `device` in the table of proc(5): eight columns of what was received, then what was sent.
fn parse_counters(text: &str, device: &str) -> Option<DeviceCounters> {
    let row = text.lines().find_map(|line| line.trim().strip_prefix(device)?.strip_prefix(':'))?;
    let mut sent = row.split_whitespace().skip(8).map(str::parse);
    let (sent_bytes, sent_packets) = (sent.next()?.ok()?, sent.next()?.ok()?);
    let _errors = sent.next();
    Some(DeviceCounters { sent_bytes, sent_packets, send_drops: sent.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A namespace, or `None` for an ordinary user, who has been refused plainly.
    fn namespace() -> Option<Namespace> {
        let namespace = Namespace::new();
        if rustix::process::geteuid().is_root() {
            return Some(namespace.unwrap());
        }
        let error = namespace.unwrap_err().to_string();
        assert!(
            error.starts_with("a link needs root: it makes network namespaces and TUN devices"),
            "{error}"
        );
        None
    }

    #[test]
    fn a_namespace_is_another_one_and_its_loopback_works_and_counts() {
        let Some(namespace) = namespace() else { return };
        let inside = namespace.run(|| fs::read_link(OWN).unwrap()).unwrap();
        assert_ne!(inside, fs::read_link(OWN).unwrap());
        let before = namespace.loopback_bytes().unwrap();
        namespace
            .run(|| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            })
            .unwrap();
        assert!(namespace.loopback_bytes().unwrap() >= before + 3 * 40);
    }

    #[test]
    fn the_kernels_table_of_devices_is_read_by_column() {
        let text = "Inter-|   Receive     |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n    \
             lo:     100       2    0    0    0     0          0         0      300       4    1    5    0     0       0          0\n  \
             lo2: 1 1 1 1 1 1 1 1 1 1 1 1\n";
        let expected = DeviceCounters { sent_bytes: 300, sent_packets: 4, send_drops: 5 };
        assert_eq!(parse_counters(text, "lo"), Some(expected));
        assert_eq!(parse_counters(text, "eth0"), None);
    }
}
