//! The arguments of `offload`.

use std::{ffi::OsString, time::Duration};

use clap::Args;
use swarmwire_client::offload::Percent;
use swarmwire_common::{filter, limits};

use crate::units::{parse_duration, parse_size};

#[derive(Args)]
pub(crate) struct OffloadArguments {
    /// The directory whose files are moved: GW:PATH, swarm://HOST[:PORT]/PATH, or a local path
    #[arg(value_name = "SRC")]
    pub(crate) source: OsString,
    /// The directory that they are moved to, one of the two being at a gateway
    #[arg(value_name = "DST")]
    pub(crate) destination: OsString,
    /// Move files when more than this is in use of what there is, as df counts it; `75%`, with the sign
    #[arg(long, value_name = "PERCENT")]
    pub(crate) above: Percent,
    /// Move until no more than this is in use
    #[arg(long, value_name = "PERCENT")]
    pub(crate) until: Percent,
    /// Count the sizes of all files in SRC against this much, instead of asking how full its disk is
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) capacity: Option<u64>,
    /// Only files in whose path below SRC this regular expression is found
    #[arg(long = "match", value_name = "REGEX", value_parser = parse_match)]
    pub(crate) matching: Option<String>,
    /// Only files that were modified at least this long ago
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) older_than: Option<Duration>,
    /// Leave the N newest of all files that match
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_newest: usize,
    /// From this machine to the gateway, whichever of the two was named first
    #[arg(long)]
    pub(crate) push: bool,
    /// Say which files would be moved, and do nothing
    #[arg(long, short = 'n', conflicts_with_all = ["every", "quiet"])]
    pub(crate) dry_run: bool,
    /// Go on: look again this often, until a signal comes
    #[arg(long, value_name = "DURATION", value_parser = parse_every)]
    pub(crate) every: Option<Duration>,
    /// Threads that read or write files at each end; a gateway may start fewer
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::JOBS_DEFAULT,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(limits::JOBS_MAX)),
        env = "SWARMWIRE_JOBS"
    )]
    pub(crate) jobs: u8,
    /// How long to try again after the connection was lost
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration, env = "SWARMWIRE_RETRY")]
    pub(crate) retry: Duration,
    /// One JSON object per line on standard output, and last the summary
    #[arg(long)]
    pub(crate) json: bool,
    /// Show nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

fn parse_match(text: &str) -> Result<String, String> {
    filter::check_match(text).map(|()| text.to_owned()).map_err(|err| err.to_string())
}

/// So that the clock can count it.
const EVERY_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

fn parse_every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text)?;
    match every {
        Duration::ZERO => Err("write more than no time, like `10m`".to_owned()),
        every if every > EVERY_MAX => Err("write no more than ten years, like `10m`".to_owned()),
        every => Ok(every),
    }
}
