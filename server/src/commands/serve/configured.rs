//! The subroutines of the configuration file, and of what that says after a SIGHUP.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use swarmwire_server::subroutines::Subroutines;
use tokio::{signal::unix::Signal, task::spawn_blocking};

use crate::config::{self, Definition};

/// What of a gateway's subroutines the file has said.
#[derive(Debug)]
pub(super) struct Configured {
    subroutines: Subroutines,
    commands: BTreeMap<String, Definition>,
    /// What else the file said at the start, which is what holds.
    others: toml::Table,
}

impl Configured {
    /// Registers them.
    pub(super) fn register(
        subroutines: Subroutines,
        commands: BTreeMap<String, Definition>,
        others: toml::Table,
    ) -> anyhow::Result<Self> {
        let mut configured = Self { subroutines, commands: BTreeMap::new(), others };
        configured.become_these(commands)?;
        Ok(configured)
    }

    /// Reads the file again at each signal. One that cannot be used changes nothing.
    pub(super) async fn follow(mut self, mut hangup: Signal, file: Option<&Path>) {
        while hangup.recv().await.is_some() {
            let Some(file) = file else {
                tracing::info!("there is no configuration file to read again");
                continue;
            };
            let path = file.to_owned();
            let read = spawn_blocking(move || config::read_again(&path)).await;
            let changed = match read {
                Ok(Ok((commands, others))) => {
                    self.warn_of_changes(&others);
                    self.become_these(commands)
                }
                Ok(Err(err)) => Err(err.into()),
                Err(err) => Err(err.into()),
            };
            match changed {
                Ok(()) => {
                    tracing::info!(count = self.commands.len(), "the configured subroutines were read again");
                }
                Err(err) => {
                    let reason = format_args!("{err:#}");
                    tracing::error!(%reason, "the configured subroutines stay as they were");
                }
            }
        }
        // No signal comes any more; the gateway goes on.
        std::future::pending::<()>().await;
    }

    /// Names what has no effect before the next start.
    fn warn_of_changes(&self, others: &toml::Table) {
        let changed = config::changed_keys(&self.others, others);
        if !changed.is_empty() {
            let keys = changed.join(", ");
            tracing::warn!(
                keys,
                "these keys of the configuration file have changed; restart `swarmd` for them to have an effect"
            );
        }
    }

    /// What has not changed goes on as it is, and running calls go on anyway.
    fn become_these(&mut self, commands: BTreeMap<String, Definition>) -> anyhow::Result<()> {
        let mut made = Vec::new();
        for (name, options) in &commands {
            if self.commands.get(name) != Some(options) {
                let subroutine = options.subroutine();
                made.push((name, subroutine.with_context(|| format!("subroutine `{name}`"))?));
            }
        }
        for (name, subroutine) in made {
            self.subroutines.replace(name, subroutine)?;
        }
        for name in self.commands.keys().filter(|name| !commands.contains_key(*name)) {
            self.subroutines.remove(name);
        }
        self.commands = commands;
        Ok(())
    }
}
