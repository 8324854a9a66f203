//! An ssh server and client configuration of our own, which all peers that go through ssh share.
//!
//! `sshd` runs in the foreground as whoever runs us, with keys that live in the peer's home, and serves that user only. Nothing of the machine's or
//! the user's own ssh is read: no `~/.ssh`, no agent, no `/etc/ssh`. Both sides agree on AES-128-GCM, as QUIC does, and on no compression.
//! Sessions have the peer's home as `HOME`, so that neither shells nor peers find settings or leave caches there.
//!
//! The client knows the server as [`HOST`], whatever its address and port, and needs no name resolution.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder},
    net::SocketAddr,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{PREPARATION_PATIENCE, Site, command, find_program, first_line, plain, search_path, write};
use crate::{ground::await_ready, process::Process};

/// The server's name in the client's configuration.
pub(crate) const HOST: &str = "lab";

/// What [`Server::start`] runs besides the client.
const PROGRAMS: [&str; 2] = ["sshd", "ssh-keygen"];

/// The directory that a `sshd` of Debian's demands when root starts it.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// The one cipher: the suite that QUIC implementations prefer on machines with AES instructions.
const CIPHER: &str = "aes128-gcm@openssh.com";

/// A running server, and a client configuration that reaches it.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    files: Files,
}

/// The files in a peer's home.
#[derive(Clone, Debug)]
struct Files {
    home: PathBuf,
}

/// The version of the client, if all that [`Server::start`] needs is installed, and whoever runs us may log in.
pub(crate) fn find() -> Option<String> {
    let version = first_line("ssh", &["-V"])?;
    let complete = PROGRAMS.into_iter().all(|program| find_program(program).is_some());
    let name = version.split(',').next()?;
    (complete && may_log_in()).then(|| name.to_owned())
}

/// Whether sessions of ours would get a shell: accounts of services, such as `nobody`, have a program there that turns them away.
fn may_log_in() -> bool {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    login_shell(&accounts, rustix::process::geteuid().as_raw()).is_none_or(|shell| {
        let name = Path::new(shell).file_name();
        name.is_none_or(|name| name != "nologin" && name != "false")
    })
}

/// The login shell of a user; passwd(5).
fn login_shell(accounts: &str, user: u32) -> Option<&str> {
    let user = user.to_string();
    let mut fields = accounts.lines().map(|line| line.split(':'));
    fields.find_map(|mut fields| (fields.nth(2)? == user).then(|| fields.nth(3))?)
}

/// The version of a program that works through ssh, and that of ssh.
pub(super) fn find_with(program: Option<String>) -> Option<String> {
    Some(format!("{}, {}", program?, find()?))
}

/// `text` as one word of a POSIX shell.
pub(crate) fn quoted(text: &OsStr) -> OsString {
    let mut word = b"'".to_vec();
    for &byte in text.as_bytes() {
        match byte {
            b'\'' => word.extend_from_slice(br"'\''"),
            _ => word.push(byte),
        }
    }
    word.push(b'\'');
    OsStr::from_bytes(&word).to_owned()
}

impl Server {
    /// Starts a server at the far end and waits until it listens. The first start in a home makes the keys.
    pub(crate) fn start(site: &Site) -> Result<Self> {
        let files = Files { home: site.home.to_owned() };
        for key in [files.host_key(), files.user_key()] {
            make_key(site, &key)?;
        }
        let far = site.ground.far();
        let address = SocketAddr::new(far.address(), far.free_port()?);
        write(&files.server_config(), &server_configuration(&files, address, &session_path()?)?)?;
        write(&files.client_config(), &client_configuration(&files, address)?)?;
        let key = fs::read_to_string(files.host_key().with_extension("pub"))?;
        write(&files.known_hosts(), &known_hosts(&key, address))?;
        if rustix::process::geteuid().is_root() {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(PRIVILEGE_SEPARATION);
            made.with_context(|| format!("failed to make {PRIVILEGE_SEPARATION}, which sshd needs"))?;
        }
        let mut sshd = command("sshd")?;
        sshd.args(["-D", "-e", "-f"]).arg(files.server_config());
        let process = far.spawn(&sshd)?;
        await_ready(&process, || Ok(process.stderr()?.contains("Server listening on").then_some(())))?;
        Ok(Self { process, address, files })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The client's configuration: what `ssh -F` and its relatives take.
    pub(crate) fn client_config(&self) -> PathBuf {
        self.files.client_config()
    }

    /// The client's private key.
    pub(crate) fn user_key(&self) -> PathBuf {
        self.files.user_key()
    }

    /// The file by which clients know the server, under its name and under its address.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.files.known_hosts()
    }

    /// `ssh` with the configuration, as the one text that programs take which start ssh by themselves.
    pub(crate) fn shell(&self) -> Result<String> {
        let ssh = find_program("ssh").context("failed to find ssh; is it installed?")?;
        Ok(format!("'{}' -F '{}'", plain(&ssh)?, plain(&self.client_config())?))
    }

    /// The server's process: the far end of a transfer.
    pub(crate) fn into_process(self) -> Process {
        self.process
    }
}

/// A far path as `scp` and `rsync` write it: `host:path`.
pub(crate) fn place(path: &Path) -> OsString {
    let mut place = OsString::from(format!("{HOST}:"));
    place.push(path);
    place
}

impl Files {
    fn host_key(&self) -> PathBuf {
        self.home.join("host_key")
    }

    fn user_key(&self) -> PathBuf {
        self.home.join("user_key")
    }

    fn server_config(&self) -> PathBuf {
        self.home.join("sshd_config")
    }

    fn client_config(&self) -> PathBuf {
        self.home.join("ssh_config")
    }

    fn known_hosts(&self) -> PathBuf {
        self.home.join("known_hosts")
    }
}

fn make_key(site: &Site, path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut keygen = command("ssh-keygen")?;
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", HOST, "-f"]).arg(path);
    site.ground.near().run(&keygen, PREPARATION_PATIENCE)?.success()?;
    Ok(())
}

/// The search path of sessions: ours, so that what was found here is found there.
fn session_path() -> Result<String> {
    let path = env::join_paths(search_path())?;
    path.into_string().ok().context("failed to tell sshd the search path, which is not UTF-8")
}

fn server_configuration(files: &Files, address: SocketAddr, path: &str) -> Result<String> {
    let home = plain(&files.home)?;
    let (host_key, user_key) = (files.host_key(), files.user_key().with_extension("pub"));
    let (host_key, user_key) = (plain(&host_key)?, plain(&user_key)?);
    // `SetEnv` counts once: both variables stand on one line. Many sessions may start at once, and none is turned away for that.
    Ok(format!(
        "ListenAddress {address}
HostKey \"{host_key}\"
AuthorizedKeysFile \"{user_key}\"
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Ciphers {CIPHER}
Compression no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 200
MaxSessions 200
SetEnv \"PATH={path}\" \"HOME={home}\"
Subsystem sftp internal-sftp
"
    ))
}

fn client_configuration(files: &Files, address: SocketAddr) -> Result<String> {
    let (user_key, known_hosts) = (files.user_key(), files.known_hosts());
    let (user_key, known_hosts) = (plain(&user_key)?, plain(&known_hosts)?);
    Ok(format!(
        "Host {HOST} {ip}
HostName {ip}
Port {port}
HostKeyAlias {HOST}
StrictHostKeyChecking yes
UserKnownHostsFile \"{known_hosts}\"
GlobalKnownHostsFile /dev/null
UpdateHostKeys no
IdentityFile \"{user_key}\"
IdentitiesOnly yes
IdentityAgent none
BatchMode yes
Ciphers {CIPHER}
Compression no
LogLevel ERROR
",
        ip = address.ip(),
        port = address.port(),
    ))
}

/// The host's key under its name, and under its address for programs that have a client of their own.
fn known_hosts(key: &str, address: SocketAddr) -> String {
    let key = key.trim_end();
    format!("{HOST} {key}\n[{}]:{} {key}\n", address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        Files { home: "/lab/a b".into() }
    }

    #[test]
    fn a_quoted_word_keeps_every_character_from_the_shell() {
        assert_eq!(quoted("a b".as_ref()), "'a b'");
        assert_eq!(quoted("$(x) 'y' \\".as_ref()), r"'$(x) '\''y'\'' \'");
        assert_eq!(quoted("".as_ref()), "''");
    }

    #[test]
    fn the_login_shell_is_that_of_the_user() {
        let accounts =
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(login_shell(accounts, 0), Some("/bin/bash"));
        assert_eq!(login_shell(accounts, 65534), Some("/usr/sbin/nologin"));
        assert_eq!(login_shell(accounts, 7), None);
    }

    #[test]
    fn both_sides_agree_on_one_cipher_and_no_compression() {
        let address = "192.0.2.1:2022".parse().unwrap();
        let server = server_configuration(&files(), address, "/usr/bin").unwrap();
        let client = client_configuration(&files(), address).unwrap();
        for text in [&server, &client] {
            assert!(text.contains("\nCiphers aes128-gcm@openssh.com\nCompression no\n"), "{text}");
        }
        assert!(server.starts_with("ListenAddress 192.0.2.1:2022\n"), "{server}");
        assert!(client.contains("\nHostName 192.0.2.1\nPort 2022\n"), "{client}");
    }

    #[test]
    fn paths_with_spaces_are_one_word_and_others_that_ssh_would_expand_are_refused() {
        let address = "[::1]:22022".parse().unwrap();
        let client = client_configuration(&files(), address).unwrap();
        assert!(client.contains("IdentityFile \"/lab/a b/user_key\"\n"), "{client}");
        let odd = Files { home: "/lab/%h".into() };
        assert!(client_configuration(&odd, address).is_err());
        assert!(server_configuration(&odd, address, "").is_err());
    }

    #[test]
    fn the_host_is_known_by_name_and_by_address() {
        let text = known_hosts("ssh-ed25519 AAAA lab\n", "[::1]:2022".parse().unwrap());
        assert_eq!(text, "lab ssh-ed25519 AAAA lab\n[::1]:2022 ssh-ed25519 AAAA lab\n");
    }
}
