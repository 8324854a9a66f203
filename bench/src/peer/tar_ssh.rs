//! `tar | ssh tar`: one stream of everything, the fastest way through ssh when nothing is there yet. It sends all of it each time and deletes nothing.
//!
//! A shell joins the two programs. Paths and the remote command reach it as positional parameters and are never part of the script. The status of a
//! pipeline is that of its last command; an archive that the first one cuts short makes the last one fail, or the verification find it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{Description, Mode, Prepared, Site, Transfer, Transport, command, find_program, first_line, ssh};

/// The description.
pub(super) const PEER: Description = Description {
    id: "tar-ssh",
    what: "tar | ssh tar: AES-128-GCM, no compression, everything each time",
    encrypted: true,
    transport: Transport::Tcp,
    install: "apt-get install tar openssh-client openssh-server",
    find: || ssh::find_with(find_program("sh").and_then(|_| first_line("tar", &["--version"]))),
    prepare,
    remembers: false,
};

/// Parameters: ssh's configuration, the host, the remote command, the near directory.
const PUSH: &str = r#"tar -C "$4" -cf - . | ssh -F "$1" "$2" "$3""#;
const PULL: &str = r#"mkdir -p -- "$4" && ssh -F "$1" "$2" "$3" | tar -C "$4" -xpf -"#;

fn prepare(site: &Site, transfer: &Transfer) -> Result<Prepared> {
    let server = ssh::Server::start(site)?;
    let (script, remote) = match transfer.mode {
        Mode::Push => (PUSH, extract(&transfer.far)),
        Mode::Pull => (PULL, create(&transfer.far)),
    };
    let mut client = command("sh")?;
    client.args(["-c", script, "sh"]);
    let words: [PathBuf; 4] =
        [server.client_config(), ssh::HOST.into(), remote.into(), transfer.near.clone()];
    client.args(words);
    Ok(Prepared { server: Some(server.into_process()), client })
}

/// What the far shell runs to take an archive: the directory is made first, since tar makes none for `-C`.
pub(crate) fn extract(directory: &Path) -> OsString {
    let directory = ssh::quoted(directory.as_os_str());
    let mut script = OsString::from("mkdir -p -- ");
    script.push(&directory);
    script.push(" && tar -C ");
    script.push(&directory);
    script.push(" -xpf -");
    script
}

/// What the far shell runs to give one.
fn create(directory: &Path) -> OsString {
    let mut script = OsString::from("tar -C ");
    script.push(ssh::quoted(directory.as_os_str()));
    script.push(" -cf - .");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_shell_sees_the_directory_as_one_word() {
        let odd = Path::new("/far/it's $HOME");
        assert_eq!(create(odd), r"tar -C '/far/it'\''s $HOME' -cf - .");
        let expected = r"mkdir -p -- '/far/it'\''s $HOME' && tar -C '/far/it'\''s $HOME' -xpf -";
        assert_eq!(extract(odd), expected);
    }
}
