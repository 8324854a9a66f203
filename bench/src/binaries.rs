//! The release builds of `swarmd` and `swarm`, made with the cargo that runs us.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Where the two programs are.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// The gateway.
    pub(crate) swarmd: PathBuf,
    /// The controller.
    pub(crate) swarm: PathBuf,
}

impl Binaries {
    /// Builds both, or finds them up to date. cargo's own messages go to standard error as usual.
    pub(crate) fn build() -> Result<Self> {
        let workspace =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("failed to find the workspace")?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(&cargo);
        build
            .args(["build", "--quiet", "--release", "--message-format=json-render-diagnostics"])
            .args(["-p", "swarmwire-server", "-p", "swarmwire-client", "--bin", "swarmd", "--bin", "swarm"])
            .current_dir(workspace)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let output = build.output().with_context(|| format!("failed to start {}", cargo.display()))?;
        if !output.status.success() {
            bail!("failed to build swarmd and swarm: cargo's messages are above");
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let executable = |name| {
            find_executable(&messages, name)
                .with_context(|| format!("failed to find {name} in what cargo has built"))
        };
        Ok(Self { swarmd: executable("swarmd")?, swarm: executable("swarm")? })
    }
}

/// The path of a binary in cargo's JSON messages, one per line.
fn find_executable(messages: &str, name: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let artifact = artifacts.into_iter().find(|message| {
        message["reason"] == "compiler-artifact"
            && message["target"]["name"] == name
            && message["executable"].is_string()
    })?;
    artifact["executable"].as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"swarm"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"swarm"},"executable":"/t/release/swarm"}"#,
        );
        assert_eq!(find_executable(messages, "swarm"), Some("/t/release/swarm".into()));
        assert_eq!(find_executable(messages, "swarmd"), None);
    }
}
