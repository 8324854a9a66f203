//! Why a program could not be started, in more words than the system has for it. Looks at the disk, and so blocks.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User};
use rustix::io::Errno;

/// What was to be started.
pub(super) struct Unstarted {
    pub(super) program: OsString,
    pub(super) directory: Option<PathBuf>,
    /// Where programs without a `/` are looked for.
    pub(super) path: Option<OsString>,
    pub(super) user: Option<(u32, u32)>,
}

impl Unstarted {
    /// The same error, and what it is about as far as can be told.
    pub(super) fn explain(&self, err: io::Error) -> io::Error {
        let is = |errno: Errno| err.raw_os_error() == Some(errno.raw_os_error());
        let text = match self.user {
            Some((uid, _)) if is(Errno::PERM) => {
                format!("the gateway may not run it as user `{}`: {err}", name_of(uid))
            }
            // The system does not say which.
            user if is(Errno::ACCESS) => {
                let who = user
                    .map_or_else(|| "the gateway".to_owned(), |(uid, _)| format!("user `{}`", name_of(uid)));
                let place = self.directory.as_ref().map_or("", |_| " or not enter its working directory");
                format!("{who} may not run it{place}: {err}")
            }
            _ if is(Errno::NOENT) && self.directory.as_ref().is_some_and(|directory| !directory.is_dir()) => {
                format!("its working directory is missing: {err}")
            }
            _ if is(Errno::NOENT) && self.is_there() => {
                format!("it is there, and the interpreter that its first line names is missing: {err}")
            }
            _ if is(Errno::NOENT) => format!("it is missing: {err}"),
            _ => return err,
        };
        io::Error::new(err.kind(), text)
    }

    fn is_there(&self) -> bool {
        let program = Path::new(&self.program);
        if program.components().count() > 1 || program.is_absolute() {
            return self.directory.as_ref().map_or(program.into(), |at| at.join(program)).is_file();
        }
        let path = self.path.as_ref();
        path.is_some_and(|path| std::env::split_paths(path).any(|at| at.join(program).is_file()))
    }
}

fn name_of(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let script = temp.path().join("script");
        fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let told = |program: &str, directory: Option<PathBuf>| {
            let path = Some(temp.path().into());
            let err = Command::new(temp.path().join(program)).spawn().unwrap_err();
            let program = program.into();
            Unstarted { program, directory, path, user: None }.explain(err).to_string()
        };
        let here = Some(temp.path().to_owned());
        for program in ["script", "./script"] {
            assert!(told(program, here.clone()).starts_with("it is there, and the interpreter"), "{program}");
        }
        assert!(told("other", here).starts_with("it is missing: No such file"));
        assert!(told("script", Some("/nowhere".into())).starts_with("its working directory is missing"));
    }

    #[test]
    fn the_user_is_named_where_it_cannot_be_set() {
        let unstarted = |user| Unstarted { program: "sh".into(), directory: None, path: None, user };
        let told = |user, errno: Errno| unstarted(user).explain(errno.into()).to_string();
        assert!(told(Some((0, 0)), Errno::PERM).starts_with("the gateway may not run it as user `root`: "));
        assert!(told(Some((4_000_000_000, 0)), Errno::PERM).contains("as user `4000000000`"));
        assert_eq!(told(None, Errno::PERM), io::Error::from(Errno::PERM).to_string());
        assert!(told(Some((0, 0)), Errno::ACCESS).starts_with("user `root` may not run it: "));
        let placed = Unstarted { directory: Some("/secret".into()), ..unstarted(None) };
        let told = placed.explain(Errno::ACCESS.into()).to_string();
        assert!(
            told.starts_with("the gateway may not run it or not enter its working directory: "),
            "{told}"
        );
        assert!(!told.contains("secret"), "a caller need not know where: {told}");
    }
}
