//! `swarmd revoke`: takes one identity off the list. A running gateway sees it and ends its connections.

use swarmwire_common::escape::escape_str;
use swarmwire_server::clients;

use super::{open_existing, print};
use crate::cli::RevokeArgs;

pub(super) fn run(args: &RevokeArgs) -> anyhow::Result<()> {
    let client = clients::revoke(&open_existing(&args.state)?, &args.fingerprint)?;
    Ok(print(&format!("revoked {} ({})\n", client.fingerprint, escape_str(&client.name)))?)
}
