//! What a sync is to do: two arguments to one direction, one gateway and one local path. Pure.

use std::{ffi::OsStr, path::PathBuf, sync::Arc, time::Duration};

use swarmwire_client::controller::RemotePath;
use swarmwire_common::{
    escape::escape,
    filter::Selection,
    limits,
    path::RelPath,
    wire::sync::{Deletion, Direction, Keep, SyncOptions},
};

use super::selecting::Ages;
use crate::{
    cli::{SyncArguments, VerifyArguments},
    exit::Failure,
    place::{GatewayRef, Place, Remote},
    units::ByteRate,
};

/// How long a lost connection is tried to be got back, unless somebody says otherwise: a gateway restarts in less. A sync that goes on
/// has no end of its own, and so no such limit.
const RETRY_DEFAULT: Duration = Duration::from_secs(30);

/// One sync, as the command line asks for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) direction: Direction,
    pub(super) gateway: GatewayRef,
    pub(super) remote: RemotePath,
    pub(super) local: PathBuf,
    pub(super) options: SyncOptions,
    /// Everything, until something else is set.
    pub(super) selection: Arc<Selection>,
    /// Bounds that move with the time.
    pub(super) ages: Ages,
    /// Where old versions go, below the destination.
    pub(super) backup: Option<RelPath>,
    /// Bytes of unfinished files that are kept here.
    pub(super) partial_bytes_max: u64,
    pub(super) retry: Duration,
}

impl Job {
    pub(super) fn new(arguments: &SyncArguments) -> Result<Self, Failure> {
        let (direction, remote, local) = sides(&arguments.source, &arguments.destination)?;
        let options = options(arguments);
        if let Some(reason) = options.contradiction() {
            return Err(Failure::usage(format!(
                "--remove-source-files: {reason}; leave `--durability none` away"
            )));
        }
        let Remote { gateway, path: remote } = remote;
        Ok(Self {
            direction,
            gateway,
            remote,
            local,
            options,
            selection: Arc::default(),
            ages: Ages::of(&arguments.selecting),
            partial_bytes_max: partial_bytes_max(direction, arguments.partial_limit)?,
            backup: arguments.backup_dir.clone(),
            retry: arguments.retry.unwrap_or(if arguments.watch { Duration::MAX } else { RETRY_DEFAULT }),
        })
    }

    /// A comparison, which is a dry run that tells everything.
    pub(super) fn comparing(arguments: &VerifyArguments) -> Result<Self, Failure> {
        let (direction, remote, local) = sides(&arguments.source, &arguments.destination)?;
        let options = SyncOptions {
            jobs: arguments.jobs,
            delete: Deletion::All,
            itemize: true,
            dry_run: true,
            verify: true,
            ..SyncOptions::default()
        };
        let Remote { gateway, path: remote } = remote;
        let (selection, retry) = (Arc::default(), arguments.retry);
        let (backup, partial_bytes_max) = (None, limits::PARTIAL_BYTES_DEFAULT);
        let ages = Ages::of(&arguments.selecting);
        Ok(Self {
            direction,
            gateway,
            remote,
            local,
            options,
            selection,
            ages,
            backup,
            partial_bytes_max,
            retry,
        })
    }

    /// The options of the next attempt, after `deleted` entries are known to have been removed by those before.
    pub(super) fn options_after(&self, deleted: u64) -> SyncOptions {
        SyncOptions { delete: left_of(self.options.delete, deleted), ..self.options }
    }

    /// The command line's word for the side at the gateway.
    pub(super) fn remote_argument(&self) -> &'static str {
        match self.direction {
            Direction::Push => "DST",
            Direction::Pull => "SRC",
        }
    }
}

fn partial_bytes_max(direction: Direction, asked: Option<u64>) -> Result<u64, Failure> {
    match (direction, asked) {
        (Direction::Push, Some(_)) => Err(Failure::usage(
            "--partial-limit is about DST on this machine; a gateway keeps what `swarmd --partial-limit` lets it",
        )),
        (_, asked) => Ok(asked.unwrap_or(limits::PARTIAL_BYTES_DEFAULT)),
    }
}

fn left_of(delete: Deletion, deleted: u64) -> Deletion {
    match delete {
        Deletion::AtMost(count) => Deletion::AtMost(count.saturating_sub(deleted)),
        delete => delete,
    }
}

fn options(arguments: &SyncArguments) -> SyncOptions {
    let delete = match arguments.max_delete {
        _ if !arguments.delete => Deletion::None,
        None => Deletion::All,
        Some(count) => Deletion::AtMost(count),
    };
    let keep = match (arguments.update, arguments.ignore_existing) {
        (false, false) => Keep::None,
        (true, _) => Keep::Newer,
        (false, true) => Keep::Existing,
    };
    SyncOptions {
        checksum: arguments.checksum,
        durability: arguments.durability.into(),
        compress: arguments.compress,
        rate_bytes: arguments.bwlimit.map(ByteRate::bytes_per_second),
        jobs: arguments.jobs,
        delete,
        itemize: arguments.verbose || arguments.dry_run,
        dry_run: arguments.dry_run,
        keep,
        preserve: arguments.preserving.preserve(),
        remove_source: arguments.remove_source_files,
        verify: false,
    }
}

fn sides(source: &OsStr, destination: &OsStr) -> Result<(Direction, Remote, PathBuf), Failure> {
    let parse =
        |argument, name| Place::parse(argument).map_err(|err| Failure::usage(format!("{name}: {err}")));
    match (parse(source, "SRC")?, parse(destination, "DST")?) {
        (Place::Local(local), Place::Remote(remote)) => Ok((Direction::Push, remote, local)),
        (Place::Remote(remote), Place::Local(local)) => Ok((Direction::Pull, remote, local)),
        (Place::Local(_), Place::Local(_)) => Err(Failure::usage(format!(
            "neither SRC `{}` nor DST `{}` is at a gateway; write one of them as GW:PATH, like `web1:logs` \
             (`swarm gateways` lists the names)",
            escape(source.as_encoded_bytes()),
            escape(destination.as_encoded_bytes()),
        ))),
        (Place::Remote(_), Place::Remote(_)) => Err(Failure::usage(format!(
            "both SRC `{}` and DST `{}` are at a gateway; one of them must be on this machine (a local path with a `:` is \
             written `./…`)",
            escape(source.as_encoded_bytes()),
            escape(destination.as_encoded_bytes()),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_attempt_may_delete_only_what_the_first_has_left() {
        for (delete, deleted, left) in [
            (Deletion::AtMost(5), 2, Deletion::AtMost(3)),
            (Deletion::AtMost(5), 7, Deletion::AtMost(0)),
            (Deletion::All, 7, Deletion::All),
            (Deletion::None, 0, Deletion::None),
        ] {
            assert_eq!(left_of(delete, deleted), left, "{delete:?}");
        }
    }

    #[test]
    fn exactly_one_side_is_remote() {
        let told = |source: &str, destination: &str| {
            sides(OsStr::new(source), OsStr::new(destination)).map(|(direction, ..)| direction)
        };
        assert_eq!(told("a", "gw:b").unwrap(), Direction::Push);
        assert_eq!(told("gw:b", "a").unwrap(), Direction::Pull);
        for (source, destination, part) in [
            ("a", "b", "neither SRC `a` nor DST `b`"),
            ("g:a", "swarm://h/b", "both SRC `g:a` and DST `swarm://h/b`"),
            ("a", "g:/b", "DST: `g:/b`"),
            ("", "g:b", "SRC: the path is empty"),
        ] {
            let err = told(source, destination).unwrap_err().to_string();
            assert!(err.contains(part), "{err}");
        }
    }
}
