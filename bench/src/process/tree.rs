//! A process and all that descend from it, as `/proc` shows them at one moment, and the memory that they have resident together.
//!
//! Processes come and go while it is read: what has gone by then is left out, which is why peaks are taken over many looks.

use std::{fs, time::Duration};

/// All processes that descend from `ancestor`, without itself.
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let mut found = vec![];
    let mut next = children(ancestor);
    while let Some(process) = next.pop() {
        next.extend(children(process));
        found.push(process);
    }
    found
}

/// Memory that `processes` have resident, added up; pages that they share count for each.
pub fn resident_bytes(processes: &[u32]) -> u64 {
    processes.iter().map(|process| resident_pages(*process)).sum::<u64>() * rustix::param::page_size() as u64
}

/// Processor time of a process, to a tick of the kernel's clock; of one that is gone, none.
pub fn cpu_time(process: u32) -> Duration {
    let Ok(text) = fs::read_to_string(format!("/proc/{process}/stat")) else { return Duration::ZERO };
    // The program's name may have anything in it; what follows are numbers. User and kernel are the 14th and 15th of all.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_nanos(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second())
}

/// How many files a process has open.
pub fn descriptors(process: u32) -> usize {
    entries(&format!("/proc/{process}/fd"))
}

/// How many threads a process has.
pub fn threads(process: u32) -> usize {
    entries(&format!("/proc/{process}/task"))
}

fn entries(directory: &str) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

/// The children of every thread of `process`; proc(5), `task/*/children`.
fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return vec![] };
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The second number of `/proc/PID/statm`.
fn resident_pages(process: u32) -> u64 {
    let Ok(numbers) = fs::read_to_string(format!("/proc/{process}/statm")) else { return 0 };
    numbers.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_process_uses_is_read() {
        let process = std::process::id();
        let before = cpu_time(process);
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(50) {}
        assert!(cpu_time(process) > before);
        assert!(descriptors(process) > 0 && threads(process) > 0);
        assert_eq!(descriptors(u32::MAX) + threads(u32::MAX), 0);
    }

    #[test]
    fn a_child_is_a_descendant_with_memory_and_none_once_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let found = descendants(std::process::id());
        assert!(found.contains(&child.id()), "{found:?}");
        assert!(resident_bytes(&[child.id()]) > 0);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!descendants(std::process::id()).contains(&child.id()));
    }
}
