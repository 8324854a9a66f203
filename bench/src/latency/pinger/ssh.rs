//! Pings to a `cat` at the far end of a session of a shared ssh connection, and archives through other sessions of it.
//!
//! All sessions belong to one master (`ControlMaster`), which has started before. A session is a small process that hands its descriptors to
//! the master and waits; what crosses takes the master's way alone. A session that does not find the master fails: ssh by itself would quietly
//! open a connection of its own, and the pings would not share one with the archives any more.

use std::{
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::{Receiver, Sender},
};

use super::{Arguments, Incoming, Outgoing, PING_BYTES, Sample, watched};
use crate::peer::{self, ssh, tar_ssh};

/// A shared connection.
#[derive(Clone, Copy, Debug)]
struct Shared<'a> {
    config: &'a Path,
    control: &'a Path,
}

/// A child that ends with its owner.
#[derive(Debug)]
struct Running {
    name: &'static str,
    child: Child,
}

/// Pings as told, through the master that listens at `control`.
pub(super) async fn measure(config: &Path, control: &Path, arguments: &Arguments) -> Result<Sample> {
    let shared = Shared { config, control };
    let mut cat = Running::start("ssh", shared.session("cat")?.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let (stdin, stdout) = (cat.child.stdin.take(), cat.child.stdout.take());
    let out = Sender::from_owned_fd(OwnedFd::from(stdin.context("its input is a pipe")?))?;
    let back = Receiver::from_owned_fd(OwnedFd::from(stdout.context("its output is a pipe")?))?;
    let push = async |tree: &Path, name: &str| shared.push(tree, &arguments.into.join(name)).await;
    super::measure(out, back, arguments, push).await
}

impl Shared<'_> {
    /// A session in which the far shell runs `script`.
    fn session(&self, script: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let mut command = peer::command("ssh")?;
        command.arg("-F").arg(self.config).arg("-S").arg(self.control);
        // What ssh would connect through if it did not find the master.
        command.args(["-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-T", ssh::HOST]).arg(script);
        Ok(command)
    }

    /// Sends the contents of `tree` as an archive that is unpacked in the directory `to`.
    async fn push(&self, tree: &Path, to: &Path) -> Result<()> {
        let mut pack = peer::command("tar")?;
        pack.arg("-C").arg(tree).args(["-cf", "-", "."]);
        let mut tar = Running::start("tar", pack.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let archive = tar.child.stdout.take().context("its output is a pipe")?;
        let mut unpack = self.session(tar_ssh::extract(to))?;
        let ssh = Running::start("ssh", unpack.stdin(archive).stdout(Stdio::null()))?;
        ssh.succeed().await?;
        tar.succeed().await
    }
}

impl Running {
    fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        Ok(Self { name, child })
    }

    /// Waits for its end, which is an error unless it succeeds.
    async fn succeed(mut self) -> Result<()> {
        let descriptor = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        watched(descriptor)?.readable().await?.retain_ready();
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} failed ({status})", self.name);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended and was waited for is left alone by both.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outgoing for Sender {
    async fn send(&mut self, ping: &[u8; PING_BYTES]) -> Result<()> {
        Ok(self.write_all(ping).await?)
    }
}

impl Incoming for Receiver {
    async fn receive(&mut self) -> Result<[u8; PING_BYTES]> {
        let mut echo = [0; PING_BYTES];
        self.read_exact(&mut echo).await?;
        Ok(echo)
    }
}
