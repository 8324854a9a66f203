//! Waiting for a moment, to the microsecond, on a tokio runtime.
//!
//! tokio's own timer has a resolution of a millisecond, which is ten round trips of a loopback connection. A timerfd(2) wakes the runtime as a
//! socket does; on an idle machine it is 30 to 45 µs late at the median, which every ping counts, whoever carries it. Nothing here polls or spins: processors are left to what is measured.

use std::{io, os::fd::OwnedFd, time::Instant};

use rustix::{
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use tokio::io::unix::AsyncFd;

use super::watched;

/// One timer.
#[derive(Debug)]
pub(super) struct Alarm {
    descriptor: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// A timer that is not set. Must be called within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { descriptor: watched(timerfd_create(TimerfdClockId::Monotonic, flags)?)? })
    }

    /// Returns at `moment`, or at once if that has passed. Cancel-safe.
    pub(super) async fn wait_until(&mut self, moment: Instant) -> io::Result<()> {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let it_value = Timespec::try_from(left).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(self.descriptor.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.descriptor.readable().await?;
            let mut expirations = [0; size_of::<u64>()];
            match rustix::io::read(ready.get_inner(), &mut expirations) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_never_rings_early_and_at_once_for_the_past() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::new().unwrap();
            let start = Instant::now();
            alarm.wait_until(start).await.unwrap();
            for microseconds in [300, 100, 700] {
                let moment = start + Duration::from_micros(microseconds);
                alarm.wait_until(moment).await.unwrap();
                assert!(Instant::now() >= moment);
            }
        });
    }
}
