//! The arguments of `call`, `stream`, `send` and `services`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::Args;

use crate::units::parse_duration;

/// Whom to call, and with what.
#[derive(Args)]
pub(crate) struct CalledArguments {
    /// Name of the gateway
    #[arg(value_name = "GW")]
    pub(crate) gateway: OsString,
    /// Name of the subroutine, as `swarm services` tells it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its arguments by position: JSON where they are (`5`, `true`, `null`, `[1,2]`, `'"5"'`), otherwise text
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    pub(crate) positional: Vec<String>,
    /// An argument by name; may be given several times
    #[arg(long = "arg", value_name = "KEY=VALUE")]
    pub(crate) named: Vec<String>,
    /// All arguments from a file: a JSON array by position, an object by name, or `{"args": […], "kwargs": {…}}`; `-` is standard input
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["positional", "named"])]
    pub(crate) json_args: Option<PathBuf>,
    /// Bytes as they are in place of arguments, for a subroutine that takes those (`codec = "raw"`); `-` is standard input
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["positional", "named", "json_args"])]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
}

/// How long a call may take.
#[derive(Args)]
pub(crate) struct LimitArguments {
    /// How long it may take from the start of the command, connecting included, at both ends; each of several calls has
    /// what that left [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// How long to try again while the gateway, or the subroutine, is busy
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub(crate) wait: Duration,
}

#[derive(Args)]
pub(crate) struct CallArguments {
    #[command(flatten)]
    pub(crate) called: CalledArguments,
    /// The bytes as they are, with no newline after them, be it for a terminal or between results
    #[arg(long)]
    pub(crate) raw: bool,
    /// One JSON object per call, failed ones too, and a summary
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// How many calls at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) parallel: u32,
    /// How many calls in all; their results come in the order of their ids, unless with --raw each with a newline at its end
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
}

#[derive(Args)]
pub(crate) struct StreamArguments {
    #[command(flatten)]
    pub(crate) called: CalledArguments,
    /// Each item as a length (4 bytes, big-endian) and its bytes, instead of a line
    #[arg(long)]
    pub(crate) raw: bool,
    /// One JSON object per item, one if the call fails, and a summary
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// Stop after so many items
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

#[derive(Args)]
pub(crate) struct SendArguments {
    /// Name of the gateway
    #[arg(value_name = "GW")]
    pub(crate) gateway: OsString,
    /// Name of the subroutine, as `swarm services` tells it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What to send; `-` is standard input
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    pub(crate) data: PathBuf,
    /// One JSON object, with the integer or why the call failed
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
}

#[derive(Args)]
pub(crate) struct ServicesArguments {
    /// Name of the gateway
    #[arg(value_name = "GW")]
    pub(crate) gateway: OsString,
    /// One JSON object per subroutine
    #[arg(long)]
    pub(crate) json: bool,
}
