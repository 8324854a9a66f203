//! The controller for programs without async: each method blocks until it is done.
//!
//! A thread of its own drives the connection, so it stays alive between calls. May be used from several threads at a time; not from within an async
//! runtime, where it would block that.

use std::{io, sync::mpsc, thread, time::Duration};

use bytes::Bytes;
use swarmwire_certs::Identity;
use swarmwire_common::wire::call::ServiceInfo;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::controller::{
    self, ConnectError, ConnectOptions, RequestError, Target,
    calling::{BatchReply, CallOptions, Payload},
};

/// A connection to a gateway.
#[derive(Debug)]
pub struct Controller {
    /// Taken when it is closed.
    inner: Option<controller::Controller>,
    driver: Driver,
}

/// Items of a stream, for a `for` loop. Dropping it ends the stream.
#[derive(Debug)]
pub struct Items<'a> {
    items: controller::calling::Items,
    driver: &'a Driver,
}

impl Controller {
    /// Dials `target` and checks its key.
    pub fn connect(
        target: &Target,
        identity: &Identity,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let driver = Driver::start().map_err(|err| ConnectError::Local {
            address: target.to_string(),
            reason: format!("no thread for the connection: {err}"),
        })?;
        let inner = driver.wait(controller::Controller::connect(target, identity, options))?;
        Ok(Self { inner: Some(inner), driver })
    }

    /// Sends `payload` and gives the time until it was back.
    pub fn ping(&self, payload: &[u8]) -> Result<Duration, RequestError> {
        self.driver.wait(self.inner().ping(payload))
    }

    /// Calls a batch, and gives all that it gives.
    pub fn call(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Bytes, RequestError> {
        Ok(self.call_batch(name, arguments, options)?.bytes)
    }

    /// Calls a batch, and gives all that it gives, with its id.
    pub fn call_batch(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<BatchReply, RequestError> {
        self.driver.wait(self.inner().call_batch(name, arguments, options))
    }

    /// Begins a stream.
    pub fn stream(
        &self,
        name: &str,
        arguments: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Items<'_>, RequestError> {
        let items = self.driver.wait(self.inner().stream(name, arguments, options))?;
        Ok(Items { items, driver: &self.driver })
    }

    /// Sends a buffer, and gives the integer that comes back.
    pub fn send(&self, name: &str, buffer: &[u8], options: CallOptions) -> Result<i64, RequestError> {
        self.driver.wait(self.inner().send(name, buffer, options))
    }

    /// What subroutines there are, among those that this identity may call.
    pub fn services(&self) -> Result<Vec<ServiceInfo>, RequestError> {
        self.driver.wait(self.inner().services())
    }

    fn inner(&self) -> &controller::Controller {
        self.inner.as_ref().expect("it is taken when this is dropped")
    }
}

/// Says goodbye.
impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.driver.wait(inner.close());
        }
    }
}

impl Iterator for Items<'_> {
    type Item = Result<(i64, Bytes), RequestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.driver.wait(self.items.next()).transpose()
    }
}

/// A thread with a runtime. It ends when this is dropped.
#[derive(Debug)]
struct Driver {
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Driver {
    fn start() -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel::<()>();
        let drive = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(err) => return drop(sender.send(Err(err))),
            };
            if sender.send(Ok(runtime.handle().clone())).is_ok() {
                // Either it is said, or nobody is left to say it.
                let _said = runtime.block_on(ended);
            }
            // A look-up of a name may take longer than anybody waits.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("swarmwire".to_owned()).spawn(drive)?;
        let runtime = receiver.recv().map_err(|_| io::Error::other("the thread died"))??;
        Ok(Self { runtime, end: Some(end), thread: Some(thread) })
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a connection died");
        }
    }
}
