//! `swarm stop`: the orderly end of a gateway, for whoever has `admin` there.

use swarmwire_client::ConnectOptions;

use super::{Way, parse_gateway};
use crate::{cli::StopArguments, exit::Exit, output::Output};

pub(super) async fn run(arguments: &StopArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let gateway = parse_gateway(&arguments.gateway)?;
    let way = Way::find(&gateway, "GW", options)?;
    let controller = way.connect().await?;
    let result = controller.stop().await;
    controller.close().await;
    result?;
    let mut output = Output::new();
    output.line(&format!("{} is stopping", way.name))?;
    output.flush()?;
    Ok(Exit::Done)
}
