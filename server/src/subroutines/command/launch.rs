//! How a program is started: its words, its environment, its pipes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use tokio::{net::unix::pipe, task::spawn_blocking};

use super::{group::Group, running::Running, unstarted::Unstarted, words::Words};
use crate::subroutines::{Context, Room, processes::Processes};

/// What a program finds of the gateway's own environment.
pub(super) const ENVIRONMENT_KEPT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// Bytes of JSON that fit into the environment: Linux takes 128 KiB for one variable (`MAX_ARG_STRLEN`), its name included.
const ENVIRONMENT_BYTES_MAX: usize = 120 * 1024;

/// How to start a program.
pub(super) struct Launch<'a> {
    pub(super) words: Vec<OsString>,
    pub(super) directory: Option<&'a Path>,
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) user: Option<(u32, u32)>,
    pub(super) subroutine: Arc<str>,
    pub(super) processes: &'a Processes,
    /// None where it is started for more than one.
    pub(super) call: Option<ForCall<'a>>,
}

/// What a program that is started for one call finds of it.
pub(super) struct ForCall<'a> {
    pub(super) context: &'a Context,
    pub(super) json: Option<&'a str>,
}

/// A program that runs, and its pipes.
pub(super) struct Launched {
    pub(super) running: Running,
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
}

impl Launch<'_> {
    /// Starts it, on another thread: a directory on a dead network file system holds up whoever starts something there.
    pub(super) async fn start(self) -> io::Result<Launched> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env_clear().process_group(0);
        for name in ENVIRONMENT_KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.environment);
        if let Some(call) = &self.call {
            command
                .env("SWARMWIRE_CALLER", call.context.caller().to_string())
                .env("SWARMWIRE_CALL_ID", call.context.id().to_string());
            if let Some(json) = call.json.filter(|json| json.len() <= ENVIRONMENT_BYTES_MAX) {
                command.env("SWARMWIRE_ARGS", json);
            }
        }
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let room: Option<Arc<Room>> = self.call.as_ref().map(|call| Arc::clone(&call.context._room));
        if let Some(room) = &room {
            room.gets_process();
        }
        let mark = self.processes.mark();
        let unstarted = Unstarted {
            program: self.words[0].clone(),
            directory: self.directory.map(Path::to_owned),
            path: self.environment.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH")),
            user: self.user,
        };
        // Whoever gives up meanwhile leaves it to end as it would when it runs.
        let spawning = spawn_blocking(move || {
            let spawned = command.spawn().map_err(|err| unstarted.explain(err));
            spawned.map(|child| Group::new(child, room, mark))
        });
        let mut group = spawning.await.map_err(io::Error::other)??;
        let child = group.child.as_mut().expect("it is there until it is reaped");
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let taken = "it was piped, and is taken once";
        let stderr = pipe::Receiver::from_owned_fd(stderr.expect(taken).into())?;
        let call = self.call.map(|call| call.context.id());
        Ok(Launched {
            stdin: pipe::Sender::from_owned_fd(stdin.expect(taken).into())?,
            stdout: pipe::Receiver::from_owned_fd(stdout.expect(taken).into())?,
            running: Running::new(group, Words::new(stderr, self.subroutine, call))?,
        })
    }
}
