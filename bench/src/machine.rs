//! What a report says about the machine that it was made on, read from the kernel and from git.
//!
//! Whatever cannot be read is called `unknown`: a measurement is not refused for it. The programs under test are not looked up here; the
//! runner adds them. Only what a reader needs to judge the figures is kept: no host name, no address, no user.

use std::{fs, path::Path, process::Output};

use anyhow::{Context, Result};

use crate::{process, record::Machine};

/// What stands for a fact that this system does not tell.
const UNKNOWN: &str = "unknown";

impl Machine {
    /// This machine, now; `command` is what was asked of the laboratory. No peers are known yet.
    pub fn read(command: String) -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo").context("failed to read /proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo").context("failed to read /proc/meminfo")?;
        Ok(Self {
            date: today(),
            revision: revision(),
            processor: processor(&processors).unwrap_or(UNKNOWN).to_owned(),
            cores: cores(&processors),
            memory_bytes: memory_bytes(&memory).context("failed to find MemTotal in /proc/meminfo")?,
            kernel: setting("/proc/sys/kernel/osrelease")
                .map_or_else(|| UNKNOWN.to_owned(), |text| release(&text)),
            tcp: setting("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_else(|| UNKNOWN.to_owned()),
            peers: Vec::new(),
            command,
        })
    }
}

/// The day in UTC, `2026-11-21`.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: the day of a measurement is the day on which it is made"
)]
fn today() -> String {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    now.split_once('T').map_or(now.as_str(), |(day, _)| day).to_owned()
}

/// The commit of the sources that this program was built from, with `+` if they have changed since.
fn revision() -> String {
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return UNKNOWN.to_owned() };
    let changes = git(&["status", "--porcelain", "--untracked-files=no"]);
    let mark = if changes.is_none_or(|changes| changes.is_empty()) { "" } else { "+" };
    format!("{commit}{mark}")
}

fn git(arguments: &[&str]) -> Option<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Output { status, stdout, .. } =
        process::command("git").current_dir(sources).args(arguments).output().ok()?;
    status.success().then(|| String::from_utf8_lossy(&stdout).trim().to_owned())
}

fn setting(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The values of a field of `/proc/cpuinfo` or `/proc/meminfo`.
fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (field, value) = line.split_once(':')?;
        (field.trim() == name).then_some(value.trim())
    })
}

/// The processor's name, which not every architecture tells.
fn processor(cpuinfo: &str) -> Option<&str> {
    values(cpuinfo, "model name").next()
}

/// Processors that are online.
fn cores(cpuinfo: &str) -> u64 {
    values(cpuinfo, "processor").count() as u64
}

/// The memory that the kernel manages; the file counts in units of 1024 bytes.
fn memory_bytes(meminfo: &str) -> Option<u64> {
    let kibibytes: u64 = values(meminfo, "MemTotal").next()?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The major and minor version of a release such as `6.18.5-generic`: the rest differs between builds of the same kernel.
fn release(text: &str) -> String {
    text.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_and_its_cores_are_read_from_the_kernels_table() {
        let table =
            "processor\t: 0\nmodel name\t: Example 3000\n\nprocessor\t: 1\nmodel name\t: Example 3000\n";
        assert_eq!((processor(table), cores(table)), (Some("Example 3000"), 2));
        assert_eq!(processor("processor\t: 0\n"), None);
    }

    #[test]
    fn memory_is_counted_in_bytes() {
        assert_eq!(memory_bytes("MemTotal:       24576 kB\nMemFree: 1 kB\n"), Some(24 << 20));
        assert_eq!(memory_bytes("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn the_kernel_is_known_by_its_major_and_minor_version() {
        assert_eq!([release("6.18.5-generic"), release("7.0")], ["6.18", "7.0"]);
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read("cargo lab".into()).unwrap();
        assert!(machine.cores > 0 && machine.memory_bytes > 0);
        assert_eq!((machine.date.len(), machine.command.as_str()), (10, "cargo lab"));
    }
}
