//! The release builds of `swarmd` and `swarm`, made with the cargo that runs us.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::Nursery;

/// How long a build may take. Chosen: from nothing it takes five minutes on two cores.
const BUILD_PATIENCE: Duration = Duration::from_secs(3600);

/// Where the two programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The gateway.
    pub swarmd: PathBuf,
    /// The controller.
    pub swarm: PathBuf,
}

impl Binaries {
    /// Builds both, or finds them up to date. cargo's messages are shown if it fails.
    pub(crate) fn build(nursery: &Nursery) -> Result<Self> {
        Self::build_in(workspace(), None, nursery)
    }

    /// Builds both in another workspace of this project; `target` is where cargo puts what it makes.
    pub(crate) fn build_in(workspace: &Path, target: Option<&Path>, nursery: &Nursery) -> Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(&cargo);
        build
            .args(["build", "--quiet", "--release", "--message-format=json-render-diagnostics"])
            .args(["-p", "swarmwire-server", "-p", "swarmwire-client", "--bin", "swarmd", "--bin", "swarm"])
            .current_dir(workspace);
        if let Some(target) = target {
            build.env("CARGO_TARGET_DIR", target);
        }
        let messages = nursery.run(&build, None, BUILD_PATIENCE)?.success()?;
        let executable = |name| {
            find_executable(&messages, name)
                .with_context(|| format!("failed to find {name} in what cargo has built"))
        };
        Ok(Self { swarmd: executable("swarmd")?, swarm: executable("swarm")? })
    }
}

/// The workspace that this program was built from.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a member of a workspace")
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
