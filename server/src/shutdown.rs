//! How a gateway ends: asked once, then draining, then closed.
//!
//! [`ShutdownHandle`] asks, from any task, thread or service. The gateway itself moves the phase from draining to closed.

use tokio::sync::watch;

/// Where the gateway is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// It takes no new channels and waits for those it has.
    Draining {
        /// Why, for the log.
        reason: String,
    },
}

/// Ends a gateway. Clones end the same one.
#[derive(Clone, Debug)]
pub struct ShutdownHandle {
    phase: watch::Sender<Phase>,
}

impl ShutdownHandle {
    pub(crate) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving) }
    }

    /// Asks the gateway to drain and stop; `reason` goes to its log. Later calls change nothing. `Gateway::join` waits for the end.
    pub fn shutdown(&self, reason: &str) {
        self.phase.send_if_modified(|phase| {
            let is_first = *phase == Phase::Serving;
            if is_first {
                *phase = Phase::Draining { reason: reason.to_owned() };
            }
            is_first
        });
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }

    /// Waits until somebody asks for the end; gives the reason. Cancel-safe.
    pub(crate) async fn requested(&self) -> String {
        let mut phase = self.phase.subscribe();
        loop {
            if let Phase::Draining { reason } = &*phase.borrow_and_update() {
                return reason.clone();
            }
            phase.changed().await.expect("this handle holds a sender");
        }
    }
}
