//! `swarmd --root DIR`: serves until SIGTERM, SIGINT or the `stop` service; a second signal ends the drain.

use std::io::{self, IsTerminal};

use anyhow::{Context, anyhow};
use swarmwire_common::path::RelPath;
use swarmwire_server::{
    Gateway, ShutdownHandle, clients,
    grants::{Grant, Operations},
    invitations::DEFAULT_LIFETIME,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{invite, print};
use crate::{cli::ServeArgs, config::Settings, logging};

mod configured;

use configured::Configured;

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let mut settings = Settings::resolve(args)?;
    logging::start(settings.log_format)?;
    let commands = std::mem::take(&mut settings.subroutines);
    let subroutines = settings.gateway.subroutines.clone();
    let others = std::mem::take(&mut settings.others);
    let configured = Configured::register(subroutines.clone(), commands, others)?;
    // Before anybody can think the gateway ready and stop it.
    let signals = Signals::listen().context("failed to listen for signals")?;
    let signals_again = signal(SignalKind::hangup()).context("failed to listen for signals")?;
    // Its message tells its sources, which the chain would tell once more.
    let gateway = Gateway::bind(&settings.gateway).map_err(|err| anyhow!("{err}"))?;
    announce(&gateway, &settings)?;
    let shutdown = gateway.shutdown_handle();
    tokio::select! {
        () = gateway.join() => {}
        () = signals.obey(&shutdown) => tracing::warn!("ended at once by a second signal"),
        () = configured.follow(signals_again, settings.config.as_deref()) => {}
    }
    // Also after a second signal: what is left of them would outlive the threads that end them.
    subroutines.ended().await;
    Ok(())
}

/// Says where the gateway is, and how the first machine joins.
fn announce(gateway: &Gateway, settings: &Settings) -> anyhow::Result<()> {
    let (listen, fingerprint) = (gateway.local_addr(), gateway.fingerprint());
    let metrics = gateway.metrics_addr().map_or_else(|| "off".to_owned(), |address| address.to_string());
    let root = settings.gateway.root.display();
    tracing::info!(%listen, %metrics, %fingerprint, root = %root, state = %gateway.state().path().display(), "gateway is ready");
    // A list that cannot be read has been told already, and an invitation would be of no use.
    let is_first_start = clients::load(gateway.state()).is_ok_and(|clients| clients.is_empty());
    if !io::stdout().is_terminal() {
        if is_first_start {
            let command = format!("swarmd invite --state {}", gateway.state().shell_path());
            tracing::info!(command, "no machine has joined yet; this command makes an invitation");
        }
        return Ok(());
    }
    let metrics = gateway.metrics_addr().map_or(metrics, |address| format!("http://{address}/metrics"));
    let mut text = format!(
        "serving      {root}\nlisten       {listen} (UDP)\nmetrics      {metrics}\nfingerprint  {fingerprint}\n"
    );
    if is_first_start {
        let grant = Grant { allow: Operations::default(), path: RelPath::root() };
        let line = invite::make(gateway.state(), &grant, DEFAULT_LIFETIME, None)?;
        let lifetime = humantime::format_duration(DEFAULT_LIFETIME);
        text += &format!("\nNo machine has joined yet. On the other one, within {lifetime}:\n\n  {line}\n");
    }
    Ok(print(&text)?)
}

/// The signals that end a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Has the gateway drain at the first signal; returns at the second.
    async fn obey(mut self, shutdown: &ShutdownHandle) {
        shutdown.shutdown(self.next().await);
        self.next().await;
    }
}
