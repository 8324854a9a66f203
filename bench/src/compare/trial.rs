//! One run of one peer: the server is started, the client is timed, both are measured, everything is ended.
//!
//! The wall time is that of the client's whole process, from before it is started until it has ended, as its keeper measures it. CPU time covers
//! every process of an end, a server's start and end included. Memory is the greatest sum over an end's processes that a look every 20 ms has
//! found, or the greatest that the kernel has recorded for a single one of them.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    ground::{Crossed, Ground},
    peer::{Prepared, Transfer},
    process::{Finished, Process, Report, tree},
};

/// How often memory and traffic are looked at. Chosen: reading a dozen files of `/proc` takes 0.1 ms.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Points of a throughput curve that are kept: what a plot shows.
const POINTS_MAX: usize = 40;

/// What a run has shown, before its result is verified.
#[derive(Debug)]
pub(crate) struct Trial {
    /// How it ended: as it should, not in time, or with this reason.
    pub(crate) ending: Ending,
    /// Wall time, with the barrier if one was asked for.
    pub(crate) wall: Duration,
    /// The near end.
    pub(crate) client: Cost,
    /// The far end.
    pub(crate) server: Cost,
    /// What crossed meanwhile.
    pub(crate) crossed: Crossed,
    /// Bytes that had crossed at moments since the start.
    pub(crate) curve: Vec<(Duration, u64)>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The client has succeeded.
    Succeeded,
    /// The client was killed at its deadline.
    TimedOut,
    /// The client has failed.
    Failed(String),
}

/// What an end's processes have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// CPU time in user mode.
    pub(crate) user: Duration,
    /// CPU time in the kernel.
    pub(crate) system: Duration,
    /// Most memory resident at once.
    pub(crate) peak_bytes: u64,
}

/// Runs what was prepared. `within` is the client's deadline; `barrier` says that a `syncfs` of the destination belongs to the time.
pub(crate) fn run(
    ground: &Ground,
    prepared: Prepared,
    transfer: &Transfer,
    within: Duration,
    barrier: bool,
) -> Result<Trial> {
    let Prepared { server, client } = prepared;
    ground.restart();
    let before = ground.crossed()?;
    let client = ground.near().spawn(&client)?;
    let mut watch = Watch::new(client.keeper_id(), server.as_ref().map(Process::keeper_id));
    let in_time = watch.until_end(&client, within, || Ok(ground.crossed()?.since(&before).bytes))?;
    let crossed = ground.crossed()?.since(&before);
    let client = if in_time { client.finish()? } else { client.kill()? };
    let synced = if in_time && barrier { syncfs(transfer.destination())? } else { Duration::ZERO };
    let ending = match client.success() {
        _ if !in_time => Ending::TimedOut,
        Ok(_) => Ending::Succeeded,
        Err(error) => Ending::Failed(with_server(&error, server.as_ref())),
    };
    let server = server.map(|server| if in_time { server.terminate() } else { server.kill() }).transpose()?;
    Ok(Trial {
        ending,
        wall: client.report.wall + synced,
        client: Cost::of(&client.report, watch.near.peak_bytes),
        server: server
            .map_or_else(Cost::default, |server: Finished| Cost::of(&server.report, watch.far.peak_bytes)),
        crossed,
        curve: thinned(watch.curve),
    })
}

impl Cost {
    /// CPU time in both modes.
    pub(crate) fn cpu(&self) -> Duration {
        self.user + self.system
    }

    fn of(report: &Report, seen_bytes: u64) -> Self {
        Self { user: report.user, system: report.system, peak_bytes: report.peak_bytes.max(seen_bytes) }
    }
}

/// What is looked at while a run goes on.
#[derive(Debug)]
struct Watch {
    near: End,
    far: End,
    curve: Vec<(Duration, u64)>,
}

/// The processes below a keeper, if there is one, and the most memory that they were seen to have.
#[derive(Debug)]
struct End {
    keeper: Option<u32>,
    peak_bytes: u64,
}

impl Watch {
    fn new(near: u32, far: Option<u32>) -> Self {
        let end = |keeper| End { keeper, peak_bytes: 0 };
        Self { near: end(Some(near)), far: end(far), curve: vec![] }
    }

    /// Looks until the client has ended, which is true, or its time is up.
    fn until_end(
        &mut self,
        client: &Process,
        within: Duration,
        crossed: impl Fn() -> Result<u64>,
    ) -> Result<bool> {
        let start = Instant::now();
        while !client.ended_within(LOOK_INTERVAL)? {
            if start.elapsed() >= within {
                return Ok(false);
            }
            self.near.look();
            self.far.look();
            self.curve.push((start.elapsed(), crossed()?));
        }
        self.curve.push((start.elapsed(), crossed()?));
        Ok(true)
    }
}

impl End {
    fn look(&mut self) {
        if let Some(keeper) = self.keeper {
            self.peak_bytes = self.peak_bytes.max(tree::resident_bytes(&tree::descendants(keeper)));
        }
    }
}

/// At most [`POINTS_MAX`] of the points, evenly, the last among them.
fn thinned(curve: Vec<(Duration, u64)>) -> Vec<(Duration, u64)> {
    let step = curve.len().div_ceil(POINTS_MAX).max(1);
    let offset = curve.len().saturating_sub(1) % step;
    curve.into_iter().skip(offset).step_by(step).collect()
}

/// Makes everything in the file system durable, and gives the time that it took.
fn syncfs(destination: &Path) -> Result<Duration> {
    let start = Instant::now();
    let directory = File::open(destination)
        .with_context(|| format!("failed to open the result {}", destination.display()))?;
    rustix::fs::syncfs(directory)?;
    Ok(start.elapsed())
}

/// A client's failure is often explained by its server.
fn with_server(error: &anyhow::Error, server: Option<&Process>) -> String {
    let words = server.map(Process::last_words).unwrap_or_default();
    if words.is_empty() { format!("{error:#}") } else { format!("{error:#}\n{words}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_is_thinned_and_keeps_its_end() {
        for count in [0, 1, 39, 40, 41, 5000] {
            let curve: Vec<_> = (0..count).map(|at| (Duration::from_millis(at), at)).collect();
            let kept = thinned(curve.clone());
            assert!(kept.len() <= POINTS_MAX && (kept.len() == curve.len() || kept.len() > POINTS_MAX / 2));
            assert_eq!(kept.last(), curve.last());
        }
    }
}
