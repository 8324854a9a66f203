//! How long a call may take, and how often it is tried.

use std::time::Duration;

use swarmwire_common::wire::status::Status;
use tokio::time::{Instant, sleep, timeout_at};

use super::CallOptions;
use crate::controller::RequestError;

/// How soon a busy gateway is asked again at most, whatever it says. Chosen: nothing that a person notices, and no loop that is.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The options of a call, from its beginning on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) deadline: Option<Instant>,
    /// Until when a busy gateway is asked again; none for ever.
    wait_until: Option<Instant>,
}

impl Limits {
    pub(super) fn new(options: CallOptions) -> Self {
        let start = Instant::now();
        // What no clock can show is as good as for ever.
        let deadline = options.deadline.and_then(|time| start.checked_add(time));
        Self { deadline, wait_until: start.checked_add(options.wait) }
    }

    /// Tries until there is a handler.
    pub(super) async fn until_free<T>(
        self,
        mut attempt: impl AsyncFnMut() -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        loop {
            let err = match before(self.deadline, attempt()).await? {
                Err(err) if err.status() == Some(Status::Busy) => err,
                ended => return ended,
            };
            let RequestError::Refused { retry_after_ms, .. } = &err else { return Err(err) };
            let pause = Duration::from_millis((*retry_after_ms).into()).max(PAUSE_MIN);
            let left = self.wait_until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(err);
            }
            before(self.deadline, sleep(left.map_or(pause, |left| pause.min(left)))).await?;
        }
    }
}

/// Gives up at the deadline.
pub(super) async fn before<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = T>,
) -> Result<T, RequestError> {
    let Some(deadline) = deadline else { return Ok(work.await) };
    timeout_at(deadline, work).await.map_err(|_| RequestError::Refused {
        status: Status::Deadline,
        detail: String::new(),
        retry_after_ms: 0,
    })
}
