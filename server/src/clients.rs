//! The identities that the gateway knows, each with its grant: `clients.toml`, and the live view of it.
//!
//! [`load`], [`admit`] and [`revoke`] work on the file, from any process. [`Clients`] is what a running gateway believes: it
//! follows the file within `POLL_INTERVAL`. It fails closed: while the file cannot be read or understood, nobody is known.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use swarmwire_certs::{Fingerprint, PrivateDir};
use swarmwire_common::path::RelPath;
use tokio::sync::watch;

use crate::{
    grants::Grant,
    state::{CLIENTS, CLIENTS_LOCK, State},
    store::{self, StoreError},
};

/// How often the gateway reads the file: a quarter of the second within which a revocation is promised. Whether it has changed
/// is told by its content, since a time stamp can stay the same and a directory can be moved.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// An identity that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its key.
    pub fingerprint: Fingerprint,
    /// What it calls itself. From the peer: escape it before showing it.
    pub name: String,
    /// What it may do.
    pub grant: Grant,
    /// When it joined last.
    pub joined: SystemTime,
}

/// Everybody in the file. Blocks.
pub fn load(state: &State) -> Result<Vec<Client>, StoreError> {
    decode(state, state.dir().read(CLIENTS)?.as_deref())
}

fn decode(state: &State, bytes: Option<&[u8]>) -> Result<Vec<Client>, StoreError> {
    let dir = state.dir();
    let file: ClientsFile = store::decode(dir, CLIENTS, bytes)?;
    file.client.into_iter().map(|record| record.into_client(dir)).collect()
}

/// Adds `client`, or replaces what stood there for its key. Blocks.
pub fn admit(state: &State, client: Client) -> Result<(), StoreError> {
    let _lock = state.dir().lock_blocking(CLIENTS_LOCK)?;
    let mut clients = load(state)?;
    clients.retain(|known| known.fingerprint != client.fingerprint);
    clients.push(client);
    save(state, &clients)
}

/// Removes the one client whose fingerprint begins with `prefix`, at least 8 hexadecimal digits, and gives it back. Blocks.
pub fn revoke(state: &State, prefix: &str) -> Result<Client, StoreError> {
    let prefix = prefix.to_ascii_lowercase();
    if !(8..=64).contains(&prefix.len()) || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(StoreError::BadFingerprint(prefix));
    }
    let _lock = state.dir().lock_blocking(CLIENTS_LOCK)?;
    let (mut matching, others): (Vec<_>, Vec<_>) =
        load(state)?.into_iter().partition(|client| client.fingerprint.to_string().starts_with(&prefix));
    let revoked = match matching.len() {
        1 => matching.remove(0),
        0 => return Err(StoreError::NoSuchClient(prefix)),
        count => return Err(StoreError::Ambiguous { prefix, count }),
    };
    save(state, &others)?;
    Ok(revoked)
}

fn save(state: &State, clients: &[Client]) -> Result<(), StoreError> {
    let client = clients.iter().map(Record::of_client).collect::<Result<_, _>>()?;
    store::write(state.dir(), CLIENTS, &ClientsFile { client })
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientsFile {
    #[serde(default)]
    client: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    fingerprint: String,
    name: String,
    allow: String,
    path: String,
    joined: String,
}

impl Record {
    fn of_client(client: &Client) -> Result<Self, StoreError> {
        Ok(Self {
            fingerprint: client.fingerprint.to_string(),
            name: client.name.clone(),
            allow: client.grant.allow.to_string(),
            path: path_text(&client.grant.path)?,
            joined: humantime::format_rfc3339_seconds(client.joined).to_string(),
        })
    }

    fn into_client(self, dir: &PrivateDir) -> Result<Client, StoreError> {
        let malformed =
            |what: &str, reason: String| StoreError::malformed(dir, CLIENTS, format!("{what}: {reason}"));
        Ok(Client {
            fingerprint: self
                .fingerprint
                .parse()
                .map_err(|err| malformed("fingerprint", format!("{err}")))?,
            grant: Grant {
                allow: self.allow.parse().map_err(|err| malformed("allow", format!("{err}")))?,
                path: parse_path(&self.path).map_err(|err| malformed("path", err))?,
            },
            joined: humantime::parse_rfc3339(&self.joined)
                .map_err(|err| malformed("joined", err.to_string()))?,
            name: self.name,
        })
    }
}

/// A grant's prefix as it stands in a state file.
pub(crate) fn path_text(path: &RelPath) -> Result<String, StoreError> {
    String::from_utf8(path.as_bytes().to_vec()).map_err(|_| StoreError::NotText(path.to_string()))
}

/// The prefix that a state file holds. Only the canonical form: what an operator wrote by hand is not guessed at.
pub(crate) fn parse_path(text: &str) -> Result<RelPath, String> {
    RelPath::from_wire(text.as_bytes().to_vec()).map_err(|err| err.to_string())
}

/// Who is known, at one moment.
pub(crate) type Known = Arc<HashMap<Fingerprint, Arc<Grant>>>;

/// The running gateway's view of the file. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    state: State,
    known: watch::Sender<Known>,
    /// What was read last. Held locked while it is read anew, so that an older reading never replaces a newer one.
    read: Arc<Mutex<Option<Content>>>,
}

/// What the file held, or why it could not be read.
type Content = Result<Option<Vec<u8>>, String>;

impl Clients {
    /// The file as it stands. Blocks.
    pub(crate) fn open(state: State) -> Self {
        let clients = Self { state, known: watch::Sender::new(Known::default()), read: Arc::default() };
        clients.reload();
        clients
    }

    /// Reads the file again, and follows it where it has changed. Blocks.
    pub(crate) fn reload(&self) {
        let mut read = self.read.lock().expect("no holder panics");
        let content = self.state.dir().read(CLIENTS).map_err(|err| chain(&err));
        if read.as_ref() == Some(&content) {
            return;
        }
        let clients = match &content {
            Ok(bytes) => decode(&self.state, bytes.as_deref()).map_err(|err| chain(&err)),
            Err(reason) => Err(reason.clone()),
        };
        let clients = clients.unwrap_or_else(|reason| {
            tracing::error!("nobody is let in: {reason}");
            Vec::new()
        });
        let known = clients.into_iter().map(|client| (client.fingerprint, Arc::new(client.grant))).collect();
        self.known.send_replace(Arc::new(known));
        *read = Some(content);
    }

    /// What `fingerprint` may do; `None` if it is not known.
    pub(crate) fn grant(&self, fingerprint: &Fingerprint) -> Option<Arc<Grant>> {
        self.known.borrow().get(fingerprint).cloned()
    }

    /// How many are known.
    pub(crate) fn count(&self) -> usize {
        self.known.borrow().len()
    }

    /// Sees every change of the view.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }
}

/// Keeps the view of a running gateway up to date until it is dropped.
///
/// A thread of its own, so that a revocation never waits behind file work for a blocking thread of the runtime.
#[derive(Debug)]
pub(crate) struct Follower {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub(crate) fn spawn(clients: Clients) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let follow = move || {
            while stopped.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                clients.reload();
            }
        };
        let thread = thread::Builder::new().name("clients".to_owned()).spawn(follow)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that follows the list of clients died");
        }
    }
}

/// An error with its sources, as one line.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(err.source(), |&err| err.source());
    sources.fold(err.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let home = tempfile::tempdir().unwrap();
        let state = State::open(&home.path().join("state")).unwrap();
        (home, state)
    }

    fn client(first: u8, name: &str) -> Client {
        let mut bytes = [0xab; 32];
        bytes[4] = first;
        Client {
            fingerprint: Fingerprint::from_bytes(bytes),
            name: name.to_owned(),
            grant: Grant {
                allow: "list,call:x*".parse().unwrap(),
                path: RelPath::parse(b"logs/web").unwrap(),
            },
            joined: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        }
    }

    #[test]
    fn who_joined_is_found_again_and_joining_again_replaces() {
        let (_home, state) = state();
        admit(&state, client(1, "web\n\"1\"")).unwrap();
        admit(&state, client(2, "web2")).unwrap();
        admit(&state, client(1, "renamed")).unwrap();
        assert_eq!(load(&state).unwrap(), [client(2, "web2"), client(1, "renamed")]);
    }

    #[test]
    fn a_prefix_revokes_only_when_it_means_one() {
        let (_home, state) = state();
        admit(&state, client(1, "a")).unwrap();
        admit(&state, client(2, "b")).unwrap();
        assert!(matches!(revoke(&state, "abababab"), Err(StoreError::Ambiguous { count: 2, .. })));
        assert!(matches!(revoke(&state, "cdcdcdcd"), Err(StoreError::NoSuchClient(_))));
        for bad in ["ababab", "", "not hexadecimal", &"ab".repeat(33)] {
            assert!(matches!(revoke(&state, bad), Err(StoreError::BadFingerprint(_))), "{bad:?}");
        }
        assert_eq!(revoke(&state, "ABABABAB01").unwrap(), client(1, "a"));
        assert_eq!(load(&state).unwrap(), [client(2, "b")]);
    }

    #[test]
    fn a_file_that_cannot_be_read_lets_nobody_in() {
        let (_home, state) = state();
        admit(&state, client(1, "a")).unwrap();
        let clients = Clients::open(state.clone());
        assert_eq!(clients.count(), 1);
        let good = String::from_utf8(state.dir().read(CLIENTS).unwrap().unwrap()).unwrap();
        for bad in [
            "client = 7".to_owned(),
            good.replace("list", "everything"),
            good.replace("logs/web", "../web"),
            good.replace("joined", "jointed"),
            "\u{0}".to_owned(),
        ] {
            state.dir().write(CLIENTS, bad.as_bytes()).unwrap();
            clients.reload();
            assert_eq!(clients.count(), 0, "{bad}");
        }
        state.dir().write(CLIENTS, good.as_bytes()).unwrap();
        clients.reload();
        assert_eq!(clients.grant(&client(1, "a").fingerprint), Some(Arc::new(client(1, "a").grant)));
    }
}
