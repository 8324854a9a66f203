//! Where log lines go: to standard error, as text or JSON, filtered by `SWARMWIRE_LOG` or else `RUST_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::{cli::LogFormat, config::UsageError};

/// What is shown unless the environment says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Begins to log. To be called once.
pub(crate) fn start(format: LogFormat) -> Result<(), UsageError> {
    let set =
        ["SWARMWIRE_LOG", "RUST_LOG"].into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let (name, filter) = set.unwrap_or(("", DEFAULT_FILTER.to_owned()));
    let filter = EnvFilter::try_new(&filter)
        .map_err(|err| UsageError(format!("{name}={filter:?} is not a log filter ({err}); try `info`")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
