//! A conditional backup through the library: when a directory at a gateway holds more than 75 % of what it may, its oldest files are moved here until
//! it holds no more than 25 %.
//!
//! `cargo run -p swarmwire-client --example conditional_backup -- vault logs /archive 50GB`, where `vault` is a gateway that this machine has joined
//! (`swarm join`) with the grants `list`, `pull` and `delete`. It may be interrupted at any time and run again. What `swarm offload` does beside this is to
//! read its options, to try again after a lost connection, and to tell all that is in the account.

#![expect(clippy::print_stdout, reason = "an edge: it is what the example is run for")]

use std::{error::Error, path::PathBuf, time::SystemTime};

use swarmwire_client::{
    ConnectOptions, Controller, Home,
    offload::{Account, Offload, Terms},
};
use swarmwire_common::{limits::JOBS_DEFAULT, path::RelPath, size::parse_size, wire::sync::Direction};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [gateway, path, into, capacity] = &arguments[..] else {
        return Err("usage: conditional_backup GATEWAY PATH DIRECTORY CAPACITY".into());
    };
    let account = back_up(&Home::from_environment()?, gateway, path, into.into(), capacity).await?;
    tell(&account)
}

/// Moves what has to go. `gateway` is the name under which it was joined.
async fn back_up(
    home: &Home,
    gateway: &str,
    path: &str,
    into: PathBuf,
    capacity: &str,
) -> Result<Account, Box<dyn Error>> {
    let offload = Offload {
        direction: Direction::Pull,
        remote: RelPath::parse(path.as_bytes())?,
        local: into,
        terms: Terms::new("75%".parse()?, "25%".parse()?)?.with_capacity(parse_size(capacity)?)?,
        jobs: JOBS_DEFAULT,
        hashes: None,
        clock: now,
    };
    let target = home.gateways()?.get(&gateway.parse()?).ok_or("no such gateway has been joined")?.clone();
    // Nobody else on this machine has the journal while we do.
    let journal = offload.journal(home.offloads()?, target.gateway, gateway)?;
    let controller = Controller::connect(&target, &home.identity(now())?, ConnectOptions::default()).await?;
    let mut account = Account::default();
    let ended = offload.run(&controller, &journal, &mut account).await;
    controller.close().await;
    ended?;
    Ok(account)
}

fn tell(account: &Account) -> Result<(), Box<dyn Error>> {
    println!("{:?}: {} files, {} bytes moved", account.state, account.files_moved, account.bytes_moved);
    for (path, reason) in &account.failed {
        println!("stays: {path}: {reason:?}");
    }
    if account.failed.is_empty() { Ok(()) } else { Err("some files stay".into()) }
}

#[expect(clippy::disallowed_methods, reason = "an edge: the library is told the time")]
fn now() -> SystemTime {
    SystemTime::now()
}
