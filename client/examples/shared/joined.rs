//! The connection to a gateway that `swarm join` has stored.

use std::{error::Error, time::SystemTime};

use swarmwire_client::{ConnectOptions, Controller, Home};

/// Dials the gateway of this name.
pub(crate) async fn connect(name: &str) -> Result<Controller, Box<dyn Error>> {
    let home = Home::from_environment()?;
    let gateways = home.gateways()?;
    let target =
        gateways.get(&name.parse()?).ok_or_else(|| format!("`{name}` is no gateway that was joined"))?;
    Ok(Controller::connect(target, &home.identity(now())?, ConnectOptions::default()).await?)
}

#[expect(clippy::disallowed_methods, reason = "an edge: a new identity is dated by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
