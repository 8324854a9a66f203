//! `call`: runs a subroutine for a controller. Needs `call` for its name.
//!
//! A call that is over within a moment is answered in one frame; of others the reply says that they go on, and the rest follows (`caller`). Whatever
//! waits here ends when the caller reads no more, when the deadline passes, or when the connection is lost: the function is dropped then.

mod caller;
mod deadline;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use swarmwire_common::{
    channel::Channel,
    escape::escape_str,
    limits,
    wire::{
        call::{CallKind, CallMessage, CallRequest, Codec},
        status::Status,
    },
};
use tokio::time::timeout;

use self::{
    caller::{Caller, Ended},
    deadline::Deadline,
};
use super::{Request, Serving};
use crate::{
    connection::Session,
    opening::Refusal,
    subroutines::{Args, Cancel, Context, Failure, Function, Input, Items, Lookup, Registered, Reply, Room},
};

/// Bytes of a failure's reason that are logged. Chosen: a line of a traceback, and no page.
const REASON_BYTES_MAX: usize = 1024;

/// Looks whether the call may be made, and gives its work or the refusal's.
pub(super) fn serve(mut request: Request) -> Serving {
    match admit(&mut request) {
        Ok(admitted) => Box::pin(run(request.session, request.channel, admitted)),
        Err(refusal) => Box::pin(request.refuse(refusal)),
    }
}

/// Makes the call. What it begins with stays where it is in the future, instead of being moved to a place of its own.
fn run(
    session: Arc<Session>,
    channel: Channel,
    (registered, asked, room): Admitted,
) -> impl Future<Output = Status> + Send + use<> {
    let Channel { send, recv } = channel;
    let CallRequest { codec, deadline_ms, input, continues, .. } = asked;
    let (start, id) = (Instant::now(), registered.next_id());
    let running = registered.mark_running();
    // Until the caller has its answer; the handler is free before.
    let answering = session.gateway.pool.answering();
    let options = &registered.subroutine.options;
    let deadline = Deadline::earlier(start, deadline_ms, (&registered.name, options.timeout));
    let ends_at = deadline.as_ref().map(|deadline| deadline.at);
    let cancelled = Arc::new(AtomicBool::new(false));
    let cancel = Cancel(Arc::clone(&cancelled));
    let context = Context {
        subroutine: Arc::clone(&registered.name),
        caller: session.peer.fingerprint,
        id,
        deadline: ends_at,
        cancelled: Arc::clone(&cancelled),
        session: Arc::clone(&session),
        _room: Arc::clone(&room),
    };
    let taken_up = Arc::downgrade(&room);
    let mut caller = Caller::new(send, id, start, deadline, options.output_bytes_max);
    let mut input = Input::new(input.into(), continues.then_some(recv), ends_at, cancelled);
    async move {
        let (_running, _answering) = (running, answering);
        let function = &registered.subroutine.function;
        let given = match before(function, &mut caller, &mut input, (codec, continues)).await {
            Ok(args) => match function {
                Function::Batch(function) => batch(&mut caller, function(context, args), room).await,
                Function::Stream(function) => stream(&mut caller, function(context, args), room).await,
                Function::Send(function) => send_into(&mut caller, function(context, input), room).await,
            },
            Err(ended) => {
                // As after a function, the handler is free before the caller hears of it.
                drop((context, input, room));
                Err(ended)
            }
        };
        drop(cancel);
        let given = caller.judge(given);
        if let Err(Ended::Failed(failure)) = &given {
            log_failure((&registered, id), &session, failure, start.elapsed());
            // As after a success, its place is free before the caller hears of it.
            caller.after(registered.left(&taken_up)).await;
        }
        let status = caller.end(given).await;
        session.gateway.metrics.call_ended(&registered.name, status, start.elapsed());
        caller.taken().await;
        status
    }
}

/// What went wrong, and whose call it was; the further lines of a program's last words are in the log already.
fn log_failure((registered, call): (&Registered, u64), session: &Session, failure: &Failure, time: Duration) {
    let (subroutine, peer, seconds) = (&*registered.name, session.peer.short(), time.as_secs_f64());
    let paced = registered.log_failure();
    if let Some(calls) = paced.left_out {
        tracing::info!(subroutine, calls, "left out calls that failed");
    }
    if paced.is_logged {
        let line = failure.reason().lines().next().unwrap_or_default().trim_end_matches(':');
        let reason = escape_str(&line[..line.floor_char_boundary(REASON_BYTES_MAX)]);
        let status = failure.status.as_str();
        tracing::info!(subroutine, call, peer, status, %reason, seconds, "a call failed");
    }
}

type Admitted = (Arc<Registered>, CallRequest, Arc<Room>);

/// The subroutine that is asked for, if it may be called, and so, and now.
fn admit(request: &mut Request) -> Result<Admitted, Refusal> {
    let asked: CallRequest = request.decode()?;
    request.body = Vec::new();
    if asked.name.len() > limits::SUBROUTINE_NAME_BYTES_MAX {
        return Err(Refusal::new(Status::NotFound, "no subroutine has so long a name"));
    }
    let grant = request.grant()?;
    grant.require_call(&asked.name)?;
    let subroutines = &request.gateway().subroutines;
    let registered = match subroutines.look_up(&asked.name, |name| grant.allow.allows_call(name)) {
        Lookup::Found(registered) => registered,
        Lookup::Missing(near) => return Err(not_found(&asked.name, &near)),
    };
    let kind = registered.subroutine.kind();
    if kind != asked.kind {
        let verb = if kind == CallKind::Batch { "call" } else { kind.as_str() };
        let detail = format!("`{}` is a {}: use `{verb}` for it", asked.name, kind.as_str());
        return Err(Refusal::new(Status::Invalid, detail));
    }
    if kind != CallKind::Send {
        check_codec(&asked, &registered.subroutine.options.codecs)?;
    }
    let occupied = registered.take_room().ok_or_else(|| {
        let name = &asked.name;
        let detail = format!(
            "`{name}` is called as often as it may be at a time; try again in a moment, or wait longer (`--wait`)"
        );
        Refusal::busy(detail, super::BUSY_RETRY_AFTER)
    })?;
    let processes = subroutines.processes().clone();
    let room = Room {
        _share: request.session.flow().share(1),
        _handler: request.handler.take(),
        _occupied: occupied,
        processes,
        has_process: AtomicBool::new(false),
    };
    Ok((registered, asked, Arc::new(room)))
}

/// Tells whoever has typed the call what to type instead.
fn check_codec(asked: &CallRequest, taken: &[Codec]) -> Result<(), Refusal> {
    if taken.contains(&asked.codec) {
        return Ok(());
    }
    let said = match (asked.codec, taken) {
        (_, [Codec::Raw]) => "takes bytes as they are and no arguments (`--data`)".to_owned(),
        (Codec::Raw, _) => "takes arguments and no bytes as they are (`--data`)".to_owned(),
        (codec, _) => format!("does not take {} arguments", codec.as_str()),
    };
    Err(Refusal::new(Status::Invalid, format!("`{}` {said}", asked.name)))
}

fn not_found(name: &str, near: &[String]) -> Refusal {
    let hint = if near.is_empty() {
        "`swarm services GW` tells which there are".to_owned()
    } else {
        format!("do you mean `{}`?", near.join("` or `"))
    };
    Refusal::new(Status::NotFound, format!("there is no subroutine `{name}`; {hint}"))
}

/// What comes before the function: its arguments, once all of them have come.
async fn before(
    function: &Function,
    caller: &mut Caller,
    input: &mut Input,
    (codec, continues): (Codec, bool),
) -> Result<Args, Ended> {
    let bytes = match function {
        Function::Send(_) => {
            // Of what is to come it is not known how long it takes, and the caller may wait for a handler.
            if continues {
                caller.begin().await?;
            }
            Bytes::new()
        }
        Function::Batch(_) | Function::Stream(_) => match input.whole() {
            Some(bytes) => bytes,
            // Few are that long, and the future of every call would have room for it.
            None => caller.wait(Box::pin(rest(input, codec))).await??,
        },
    };
    Ok(Args { codec, bytes })
}

/// Arguments that come in several frames.
async fn rest(input: &mut Input, codec: Codec) -> Result<Bytes, Failure> {
    // Whoever makes values of bytes takes many times their memory.
    let limit =
        if codec == Codec::Raw { limits::ARGUMENTS_BYTES_MAX } else { limits::CONTROL_FRAME_BYTES_MAX };
    // However little comes at a time, so that a handler is not kept by it.
    let all = timeout(limits::ARGUMENTS_TIME_MAX, input.read_to_end(limit)).await;
    let late = || Failure::of(Status::Timeout, "the arguments took too long to come");
    Ok(all.map_err(|_| late())??.into())
}

async fn batch(
    caller: &mut Caller,
    work: BoxFuture<'static, Result<Reply, Failure>>,
    room: Arc<Room>,
) -> Result<(), Ended> {
    match caller.wait(work).await?? {
        Reply::Whole(bytes) if caller.fits_reply(&bytes) => {
            // A handler is free before the caller hears that it is done.
            drop(room);
            caller.whole(bytes).await
        }
        Reply::Whole(bytes) => {
            caller.part(bytes).await?;
            drop(room);
            caller.complete().await
        }
        Reply::Parts(mut parts) => {
            while let Some(part) = caller.wait(parts.next()).await? {
                caller.part(part?).await?;
            }
            drop((parts, room));
            caller.complete().await
        }
    }
}

async fn send_into(
    caller: &mut Caller,
    work: BoxFuture<'static, Result<i64, Failure>>,
    room: Arc<Room>,
) -> Result<(), Ended> {
    let value = caller.wait(work).await??;
    drop(room);
    caller.returned(value).await
}

async fn stream(
    caller: &mut Caller,
    work: BoxFuture<'static, Result<Items, Failure>>,
    room: Arc<Room>,
) -> Result<(), Ended> {
    let mut items = caller.wait(work).await??;
    caller.begin().await?;
    loop {
        let first = caller.wait(items.next()).await?;
        let mut frame = ItemFrame::default();
        let end = frame.fill(first, &mut items, caller);
        caller.items(frame.count, frame.bytes.freeze()).await?;
        if let Some(end) = end {
            end?;
            drop((items, room));
            return caller.last(&CallMessage::End).await;
        }
    }
}

/// Items that travel together.
#[derive(Debug, Default)]
struct ItemFrame {
    count: u32,
    bytes: BytesMut,
}

type Item = Result<(i64, Bytes), Failure>;

impl ItemFrame {
    /// Takes `first` and what is there already, as far as it may be given; says how the stream ended, if it did.
    fn fill(
        &mut self,
        first: Option<Item>,
        items: &mut Items,
        caller: &mut Caller,
    ) -> Option<Result<(), Failure>> {
        let mut next = Some(first);
        while let Some(taken) = next {
            let Some(item) = taken else { return Some(Ok(())) };
            let pushed = item.and_then(|(ident, bytes)| {
                caller.spend(bytes.len())?;
                self.push(ident, &bytes)
            });
            if pushed.is_err() {
                return Some(pushed);
            }
            if self.bytes.len() >= limits::ITEMS_BYTES_TARGET {
                break;
            }
            next = items.next().now_or_never();
        }
        None
    }

    fn push(&mut self, ident: i64, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() > limits::ITEM_BYTES_MAX {
            let (size, limit) = (bytes.len(), limits::ITEM_BYTES_MAX);
            return Err(Failure::of(
                Status::TooLarge,
                format!("an item has {size} bytes, {limit} are allowed"),
            ));
        }
        self.count += 1;
        self.bytes.reserve(12 + bytes.len());
        self.bytes.put_i64(ident);
        self.bytes.put_u32(u32::try_from(bytes.len()).expect("far below 4 GiB"));
        self.bytes.put_slice(bytes);
        Ok(())
    }
}
