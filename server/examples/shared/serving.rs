//! What the examples' gateways have in common: a place, an invitation on standard output, and an end by Ctrl-C.

use std::{
    error::Error,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use swarmwire_certs::{JoinUri, Token};
use swarmwire_common::path::RelPath;
use swarmwire_server::{Gateway, GatewayOptions, grants::Grant, invitations, subroutines::Subroutines};

/// How long an invitation can be used.
const INVITATION_TIME: Duration = Duration::from_secs(15 * 60);

/// Serves these subroutines from `DIR [ADDRESS]` of the command line until Ctrl-C. Prints `invitations` lines by which controllers join.
pub(crate) async fn serve(subroutines: Subroutines, invitations: usize) -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let place: PathBuf = arguments.next().ok_or("which directory shall root and state lie in?")?.into();
    let listen: SocketAddr = match arguments.next() {
        Some(address) => address.into_string().map_err(|_| "the address is no text")?.parse()?,
        None => ([127, 0, 0, 1], 0).into(),
    };
    std::fs::create_dir_all(place.join("root"))?;
    let mut options = GatewayOptions::new(place.join("root"), place.join("state"), listen);
    options.subroutines = subroutines;
    let gateway = Gateway::bind(&options)?;
    for _ in 0..invitations {
        println!("{}", invite(&gateway)?);
    }
    let shutdown = gateway.shutdown_handle();
    tokio::select! {
        () = gateway.join() => {}
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            shutdown.shutdown("interrupted");
        }
    }
    Ok(())
}

/// `swarm://…`: for one controller, which may call everything.
fn invite(gateway: &Gateway) -> Result<String, Box<dyn Error>> {
    let (token, now) = (Token::random()?, now());
    let grant = Grant { allow: "call".parse()?, path: RelPath::root() };
    invitations::create(gateway.state(), &token, &grant, now, now + INVITATION_TIME)?;
    let (host, port) = (gateway.local_addr().ip().to_string(), gateway.local_addr().port());
    Ok(JoinUri { host, port, gateway: gateway.fingerprint(), token }.to_string_with_secret())
}

#[expect(clippy::disallowed_methods, reason = "an edge: invitations end by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
