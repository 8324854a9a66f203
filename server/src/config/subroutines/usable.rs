//! Whether what a section of the file names is there, and can be used: better told at the start than to the first caller.

use std::{
    ffi::OsStr,
    io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::{Group, Uid, User};

/// A start in none says of the program that it is not there.
pub(super) fn require_directory(directory: &Path) -> Result<(), String> {
    let place = directory.display();
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(format!("`working_directory`: `{place}` is no directory")),
        Err(err) => Err(format!("`working_directory`: `{place}` cannot be used: {err}")),
    }
}

/// Better now than at the first call.
pub(super) fn require_executable(
    program: &str,
    directory: Option<&Path>,
    path: Option<&String>,
) -> Result<(), String> {
    let is_executable = |path: &Path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let place = directory.map_or_else(|| PathBuf::from(program), |directory| directory.join(program));
        return match place.try_exists() {
            Ok(true) if is_executable(&place) => Ok(()),
            Ok(true) => Err(format!("`{program}` is not executable")),
            Ok(false) => Err(format!("there is no `{program}`")),
            Err(err) => Err(format!("`{program}` cannot be looked at: {err}")),
        };
    }
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = path.map_or(inherited.as_os_str(), |path| OsStr::new(path.as_str()));
    if std::env::split_paths(path).any(|directory| is_executable(&directory.join(program))) {
        return Ok(());
    }
    Err(format!("there is no program `{program}` in PATH"))
}

/// Permission bits do not say who may be whom, and enter where; so it is tried, by a shell that does nothing.
pub(super) fn require_user((user, group): (u32, u32), directory: Option<&Path>) -> Result<(), String> {
    let started = |directory: &Path| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", ":"]).env_clear().current_dir(directory).uid(user).gid(group);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    let denied = |directory: &Path| {
        started(directory).err().filter(|err| err.kind() == io::ErrorKind::PermissionDenied)
    };
    let found = User::from_uid(Uid::from_raw(user)).ok().flatten();
    let name = found.map_or_else(|| user.to_string(), |user| user.name);
    if let Some(err) = denied(Path::new("/")) {
        return Err(format!("`user`: this process may not run programs as `{name}` with that group: {err}"));
    }
    match directory.and_then(|directory| Some((directory, denied(directory)?))) {
        Some((directory, err)) => {
            let place = directory.display();
            Err(format!("`user`: `{name}` may not enter the `working_directory` `{place}`: {err}"))
        }
        None => Ok(()),
    }
}

/// User and group of `user` or `user:group`, by name.
pub(super) fn ids_of(text: &str) -> Result<(u32, u32), String> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let failed = |err: nix::Error| format!("`user`: {err}");
    let user =
        User::from_name(user).map_err(failed)?.ok_or_else(|| format!("`user`: there is no user `{user}`"))?;
    let gid = match group {
        Some(group) => {
            let found = Group::from_name(group).map_err(failed)?;
            found.ok_or_else(|| format!("`user`: there is no group `{group}`"))?.gid
        }
        None => user.gid,
    };
    Ok((user.uid.as_raw(), gid.as_raw()))
}
