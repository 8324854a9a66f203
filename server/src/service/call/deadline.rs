//! When a call has taken too long, and whose bound that was.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use swarmwire_common::{limits, wire::status::Status};

use crate::subroutines::Failure;

/// The time at which a call is given up.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// How long the call may take.
    time: Duration,
    bound: Bound,
}

/// Who gives a call so long.
#[derive(Clone, Debug)]
enum Bound {
    Caller,
    /// The subroutine of this name.
    Subroutine(Arc<str>),
}

impl Deadline {
    /// The earlier of what the caller asks for, in milliseconds or 0, and what the subroutine allows.
    pub(super) fn earlier(
        start: Instant,
        asked_ms: u64,
        (subroutine, allowed): (&Arc<str>, Option<Duration>),
    ) -> Option<Self> {
        let asked = (asked_ms > 0).then(|| (Duration::from_millis(asked_ms), Bound::Caller));
        let allowed = allowed.map(|time| (time, Bound::Subroutine(Arc::clone(subroutine))));
        let (time, bound) = [allowed, asked].into_iter().flatten().min_by_key(|&(time, _)| time)?;
        Some(Self { at: start.checked_add(time)?, time, bound })
    }

    /// When the caller of a call that has begun at `start` is told that it goes on, at the latest, and gets what there is: so early that this arrives in time.
    pub(super) fn reply_at(deadline: Option<&Self>, start: Instant) -> Instant {
        let early = deadline.map(|deadline| deadline.time / 4 * 3);
        start + early.map_or(limits::CALL_REPLY_DELAY, |early| early.min(limits::CALL_REPLY_DELAY))
    }

    /// What its caller is told of a call that has taken longer.
    pub(super) fn failure(&self) -> Failure {
        let time = humantime::format_duration(self.time);
        let reason = match &self.bound {
            Bound::Caller => format!("the call took longer than the {time} that its caller gives it"),
            Bound::Subroutine(name) => format!("the call took longer than {time}, the `timeout` of `{name}`"),
        };
        Failure::of(Status::Deadline, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_one_holds_and_is_told() {
        let start = Instant::now();
        let told = |asked_ms, allowed: Option<u64>| {
            let allowed = (&"slow".into(), allowed.map(Duration::from_secs));
            let deadline = Deadline::earlier(start, asked_ms, allowed)?;
            Some((deadline.at - start, deadline.failure().reason().to_owned()))
        };
        let of_caller = |time: &str| format!("the call took longer than the {time} that its caller gives it");
        let of_subroutine = "the call took longer than 2s, the `timeout` of `slow`".to_owned();
        assert_eq!(told(0, None), None);
        assert_eq!(told(10_000, None), Some((Duration::from_secs(10), of_caller("10s"))));
        assert_eq!(told(1_500, Some(2)), Some((Duration::from_millis(1_500), of_caller("1s 500ms"))));
        for asked_ms in [0, 2_000, 10_000, u64::MAX] {
            assert_eq!(told(asked_ms, Some(2)), Some((Duration::from_secs(2), of_subroutine.clone())));
        }
    }
    #[test]
    fn a_reply_comes_well_before_the_deadline() {
        let start = Instant::now();
        let after_ms = |asked_ms, allowed_ms: Option<u64>| {
            let allowed = allowed_ms.map(Duration::from_millis);
            let deadline = Deadline::earlier(start, asked_ms, (&"slow".into(), allowed));
            (Deadline::reply_at(deadline.as_ref(), start) - start).as_millis()
        };
        for (asked_ms, allowed_ms, reply_ms) in [
            (0, None, 1000),
            (700, None, 525),
            (700, Some(400), 300),
            (0, Some(1000), 750),
            (2000, None, 1000),
            (u64::MAX, Some(u64::MAX), 1000),
        ] {
            assert_eq!(after_ms(asked_ms, allowed_ms), reply_ms, "{asked_ms} {allowed_ms:?}");
        }
    }
}
