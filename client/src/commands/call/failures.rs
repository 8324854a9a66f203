//! What is told of several calls that failed: how many, and how, each way once. Bounded, whatever the gateway says.

use swarmwire_client::RequestError;

use crate::{commands::calling::Callee, exit::Exit, output::calls_failed};

/// Ways to fail that are told. Chosen: they fit on a screen with the last words of a program each.
const WAYS_MAX: usize = 8;

/// Calls that failed.
#[derive(Debug, Default)]
pub(super) struct Failures {
    ways: Vec<Way>,
    /// Those that failed in further ways.
    others: usize,
    last: Option<RequestError>,
}

/// Those that failed with the same status and words.
#[derive(Debug)]
struct Way {
    told: String,
    calls: usize,
    /// The number of the first.
    first: usize,
}

impl Failures {
    /// Takes the failure of the call of this number.
    pub(super) fn add(&mut self, call: usize, err: RequestError) {
        let told = err.to_string();
        match self.ways.iter().position(|way| way.told == told) {
            Some(place) => self.ways[place].calls += 1,
            None if self.ways.len() < WAYS_MAX => self.ways.push(Way { told, calls: 1, first: call }),
            None => self.others += 1,
        }
        self.last = Some(err);
    }

    pub(super) fn count(&self) -> usize {
        self.ways.iter().map(|way| way.calls).sum::<usize>() + self.others
    }

    /// Tells of them on standard error, and gives what they mean for all `calls`. One call fails as it does alone; of several, some may have been of use.
    pub(super) fn end(self, callee: Callee<'_>, calls: usize) -> anyhow::Result<Exit> {
        let failed = self.count();
        let Some(last) = self.last.map(anyhow::Error::from) else { return Ok(Exit::Done) };
        if calls == 1 {
            return Err(last);
        }
        calls_failed(&format!("{callee}: {failed} of {calls} calls failed"));
        for Way { told, calls, first } in &self.ways {
            let which = if *calls == 1 { String::new() } else { format!("{calls} calls, the first ") };
            calls_failed(&format!("failed: {which}call {first}: {told}"));
        }
        if self.others > 0 {
            calls_failed(&format!("failed: {} more calls, in other ways", self.others));
        }
        Ok(if failed == calls { Exit::of(&last) } else { Exit::Partial })
    }
}
