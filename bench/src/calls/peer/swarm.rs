//! Ours: a gateway with functions under names, and a controller, through the libraries.

use std::{
    net::SocketAddr,
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use swarmwire_client::{
    ConnectOptions, Controller,
    controller::{
        RemotePath,
        calling::{self, CallOptions, Payload},
    },
};
use swarmwire_common::{
    path::RelPath,
    root::Root,
    sync::{Source, Tally},
    value::Arguments,
    wire::{
        call::{CallKind, Codec},
        sync::{Compress, Durability, SyncOptions},
    },
};
use swarmwire_server::{
    Gateway, GatewayOptions,
    subroutines::{Args, Context, Failure, Input, Subroutine, Subroutines, command::CommandOptions},
};

use super::{Caller, content};
use crate::{
    calls::{
        end::{Place, Target},
        leaks,
        measure::{self, Measuring, Meter},
    },
    latency::pinger::bulk::Rounds,
    record::Call,
};

/// Calls at a time: as many as a controller may have channels.
const HANDLERS: usize = 16_384;

/// Bytes of an item of a stream that ends.
const SOME_ITEM_BYTES: u32 = 1000;

const OPTIONS: CallOptions = CallOptions { deadline: None, wait: Duration::ZERO };

pub(super) async fn serve(place: &Place, listen: SocketAddr) -> Result<()> {
    log("info");
    place.begin()?;
    let mut options = GatewayOptions::new(place.root(), place.state(), listen);
    options.handlers = HANDLERS;
    options.metrics = Some(SocketAddr::new(listen.ip(), listen.port()));
    options.subroutines = subroutines()?;
    let gateway = Gateway::bind(&options)?;
    place.announce(gateway.local_addr(), gateway.fingerprint())?;
    gateway.join().await;
    Ok(())
}

/// Logs as the two programs do, which costs something where nothing is logged, too.
fn log(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::new(filter);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn subroutines() -> Result<Subroutines> {
    let subroutines = Subroutines::new();
    let echo = Subroutine::batch(async |_: Context, args: Args| Ok::<_, Failure>(args.bytes().clone()));
    let items = Subroutine::stream(async |_: Context, bytes: u32| {
        let item = content(bytes);
        Ok::<_, Failure>(stream::iter(0..i64::MAX).map(move |ident| Ok((ident, item.clone()))))
    });
    let some = Subroutine::stream(async |_: Context, count: i64| {
        let item = content(SOME_ITEM_BYTES);
        Ok::<_, Failure>(stream::iter(0..count).map(move |ident| Ok((ident, item.clone()))))
    });
    let idle = Subroutine::stream(async |_: Context, (): ()| Ok::<_, Failure>(stream::pending()));
    let count = Subroutine::send(async |_: Context, mut input: Input| {
        let mut count = 0;
        while let Some(bytes) = input.next().await? {
            count += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        }
        Ok::<_, Failure>(count)
    });
    let all = [("echo", echo), ("items", items), ("some", some), ("idle", idle), ("count", count)];
    for (name, subroutine) in all {
        subroutines.register(name, subroutine)?;
    }
    subroutines.register("cat", program(&["cat"], CallKind::Batch)?)?;
    subroutines.register("yes", program(&["yes"], CallKind::Stream)?)?;
    Ok(subroutines)
}

fn program(command: &[&str], kind: CallKind) -> Result<Subroutine> {
    let options = CommandOptions::new(command.iter().copied(), kind);
    let options = CommandOptions { max_output: u64::MAX, codec: Codec::Raw, ..options };
    Ok(Subroutine::command(options)?)
}

/// A controller.
pub(super) struct Client {
    controller: Controller,
}

impl Client {
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        log("error");
        let connecting = Controller::connect(&target.gateway, &target.identity, ConnectOptions::default());
        Ok(Self { controller: connecting.await.context("failed to connect to the gateway")? })
    }

    /// Calls while a tree is pushed over the same connection, again and again.
    pub(super) async fn beside(self, measuring: &Measuring) -> Result<Call> {
        let (tree, into) = measuring.beside.as_ref().context("there is nothing to sync")?;
        let rounds = Rounds::new(tree, into)?;
        let payload = content(measuring.work.bytes);
        let push = async |tree: &Path, name: &str| self.push(tree, name).await;
        let mut pushing = pin!(rounds.run(push));
        let work = async {
            measure::calls(&self, &payload, measuring.work.at_a_time, measuring.time / 5).await?;
            let (start, before) = (Instant::now(), rounds.arrived_bytes());
            let meter = Meter::start(measuring);
            let times = measure::calls(&self, &payload, measuring.work.at_a_time, measuring.time).await?;
            let row = measure::with_quantiles(meter.stop(times.len() as u64), times);
            let arrived = rounds.arrived_bytes().saturating_sub(before);
            let bulk_bytes_per_second = arrived as f64 / start.elapsed().as_secs_f64();
            anyhow::Ok(Call { bulk_bytes_per_second, ..row })
        };
        tokio::select! {
            row = work => row,
            Err(error) = &mut pushing => Err(error.context("failed to push beside the calls")),
        }
    }

    async fn push(&self, tree: &Path, name: &str) -> Result<()> {
        let tree = tree.to_owned();
        let open = move || anyhow::Ok(Source::open(Arc::new(Root::open(&tree)?), RelPath::root(), None)?);
        let source = tokio::task::spawn_blocking(open).await??;
        let options =
            SyncOptions { durability: Durability::None, compress: Compress::Never, ..SyncOptions::default() };
        let to = RemotePath { path: RelPath::parse(name.as_bytes())?, trailing_slash: true };
        let outcome =
            Box::pin(self.controller.push(source, &to, options, Arc::new(Tally::default()))).await?;
        if let Some(error) = outcome.error {
            return Err(error.into());
        }
        match outcome.report.failed.first() {
            Some(failure) => bail!("{} failed: {}", failure.path, failure.reason),
            None => Ok(()),
        }
    }

    /// Calls much and in many ways, and looks at what is left of it.
    pub(super) async fn leak(
        self,
        target: &Target,
        arguments: &leaks::Arguments,
    ) -> Result<Vec<leaks::Held>> {
        leaks::rounds(&self.controller, target.address()?, arguments).await
    }
}

/// Items of a stream.
pub(super) struct Items(calling::Items);

impl Caller for Client {
    type Items = Items;
    type Idle = calling::Items;

    async fn call(&self, payload: Bytes) -> Result<Bytes> {
        Ok(self.controller.call("echo", Payload::raw(payload), OPTIONS).await?)
    }

    async fn items(&self, bytes: u32) -> Result<Items> {
        Ok(Items(self.controller.stream("items", Arguments::new().with(bytes), OPTIONS).await?))
    }

    async fn idle(&self) -> Result<calling::Items> {
        Ok(self.controller.stream("idle", (), OPTIONS).await?)
    }
}

impl super::Items for Items {
    async fn take(&mut self) -> Result<u64> {
        self.0.next().await?.context("the stream is at its end")?;
        Ok(1)
    }
}
