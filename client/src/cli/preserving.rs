//! The options of `swarm sync` that say what else of entries is kept; the doc comments are the help.

use clap::Args;
use swarmwire_common::wire::extra::Preserve;

#[derive(Args)]
#[command(next_help_heading = "Keeping more of entries")]
pub(crate) struct PreservingArguments {
    /// Keep owners and groups, by number; DST needs the privilege, and a push `admin` in the grant
    #[arg(long)]
    pub(crate) owner: bool,
    /// Keep extended attributes: `user.*`, and where DST runs as root `trusted.*` and `security.capability`; no ACLs
    #[arg(long)]
    pub(crate) xattrs: bool,
    /// Keep hard links among the files that take part
    #[arg(long)]
    pub(crate) hard_links: bool,
    /// Send no zeros, and leave holes for them at DST
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Keep setuid, setgid and sticky bits; a push needs `admin` in the grant
    #[arg(long)]
    pub(crate) special_bits: bool,
}

impl PreservingArguments {
    /// As the request has them.
    pub(crate) fn preserve(&self) -> Preserve {
        let Self { owner, xattrs, hard_links, sparse, special_bits } = *self;
        Preserve { owner, xattrs, hard_links, sparse, special_bits }
    }
}
