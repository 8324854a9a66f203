//! The options of `swarm sync` that say which entries take part.
//!
//! `--include` and `--exclude` are one list, since their order on the command line counts. clap's derive keeps an order within an
//! option alone, so [`RuleArguments`] puts the two together by their positions.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::Error};
use swarmwire_common::{filter, wire::sync::Rule};

use crate::units::{parse_duration, parse_size};

#[derive(Args)]
#[command(next_help_heading = "Which entries take part")]
pub(crate) struct SelectingArguments {
    #[command(flatten)]
    pub(crate) rules: RuleArguments,
    /// Rules as in a `.gitignore` file (`-` is standard input); they come after --include and --exclude
    #[arg(long, value_name = "FILE")]
    pub(crate) filter_from: Option<PathBuf>,
    /// Only files and links in whose path below SRC this regular expression is found
    #[arg(long = "match", value_name = "REGEX", value_parser = parse_match)]
    pub(crate) matching: Option<String>,
    /// Only these paths below SRC, one per line, and what is below them (`-` is standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from: Option<PathBuf>,
    /// The paths of --files-from end with a zero byte instead of a line's end
    #[arg(long, requires = "files_from")]
    pub(crate) from0: bool,
    /// Only files of at least this size
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_size: Option<u64>,
    /// Only files of at most this size
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) max_size: Option<u64>,
    /// Only files that were modified at least this long ago
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) older_than: Option<Duration>,
    /// Only files that were modified at most this long ago
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) newer_than: Option<Duration>,
    /// Do not enter directories on another file system than SRC
    #[arg(long, short = 'x')]
    pub(crate) one_file_system: bool,
    /// Send links as what they lead to, as long as that is below SRC
    #[arg(long, short = 'L')]
    pub(crate) copy_links: bool,
}

/// `--include` and `--exclude`, in the order in which they were typed.
pub(crate) struct RuleArguments(pub(crate) Vec<Rule>);

const OPTIONS: [(&str, bool, &str); 2] = [
    ("include", true, "Take what fits this pattern; of --include and --exclude the first that fits decides"),
    ("exclude", false, "Leave out what fits this pattern, written as in a `.gitignore` file"),
];

impl Args for RuleArguments {
    fn augment_args(command: Command) -> Command {
        command.args(OPTIONS.map(|(name, _, help)| {
            let parser = |text: &str| parse_pattern(text);
            Arg::new(name)
                .long(name)
                .value_name("GLOB")
                .help(help)
                .action(ArgAction::Append)
                .value_parser(parser)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RuleArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut typed: Vec<(usize, Rule)> = Vec::new();
        for (name, takes, _) in OPTIONS {
            let patterns = matches.get_many::<String>(name).into_iter().flatten();
            let rules = patterns.map(|pattern| Rule { takes, pattern: pattern.clone() });
            typed.extend(matches.indices_of(name).into_iter().flatten().zip(rules));
        }
        typed.sort_by_key(|(position, _)| *position);
        Ok(Self(typed.into_iter().map(|(_, rule)| rule).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn parse_pattern(text: &str) -> Result<String, String> {
    filter::check_pattern(text).map(|()| text.to_owned()).map_err(|err| err.to_string())
}

fn parse_match(text: &str) -> Result<String, String> {
    filter::check_match(text).map(|()| text.to_owned()).map_err(|err| err.to_string())
}
