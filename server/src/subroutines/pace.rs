//! How many lines of the log may come of one thing.

use std::time::{Duration, Instant};

/// Lines in a second. Chosen: more than anybody reads as they come.
const LINES_PER_SECOND: u32 = 50;

/// Counts the lines of a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    second: Instant,
    lines: u32,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paced {
    pub(crate) is_logged: bool,
    /// Lines that were left out in the second that is over by now.
    pub(crate) left_out: Option<u32>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { second: now, lines: 0 }
    }

    /// One more line.
    pub(crate) fn take(&mut self, now: Instant) -> Paced {
        let mut left_out = None;
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            left_out = self.lines.checked_sub(LINES_PER_SECOND).filter(|&lines| lines > 0);
            *self = Self::new(now);
        }
        self.lines = self.lines.saturating_add(1);
        Paced { is_logged: self.lines <= LINES_PER_SECOND, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_logged_in_a_second_and_the_others_are_counted() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let logged = (0..LINES_PER_SECOND + 7).filter(|_| pace.take(start).is_logged).count();
        assert_eq!(logged, LINES_PER_SECOND as usize);
        let next = start + Duration::from_secs(1);
        assert_eq!(pace.take(next), Paced { is_logged: true, left_out: Some(7) });
        assert_eq!(pace.take(next + Duration::from_secs(1)), Paced { is_logged: true, left_out: None });
    }
}
