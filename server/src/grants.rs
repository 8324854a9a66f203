//! What one identity may do: operations, and the prefix below which it may do them.
//!
//! Pure values. Text comes from the command line and the state files and is parsed once; a word that is not known makes
//! the whole list an error, so that a grant that cannot be read allows nothing.

use std::{collections::BTreeSet, fmt, str::FromStr};

use swarmwire_common::path::{Name, RelPath};

/// The words of a list, for error messages and help.
const KNOWN_WORDS: &str = "list, pull, push, delete, call, call:GLOB, admin";

/// What an invitation allows unless it says otherwise: everything that a sync needs and that cannot destroy.
pub const DEFAULT_OPERATIONS: &str = "list,pull,push";

/// One thing that an identity may be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// See names, metadata and hashes.
    List,
    /// Read content.
    Pull,
    /// Create and replace.
    Push,
    /// Remove.
    Delete,
    /// Call the subroutines whose names match.
    Call(CallGlob),
    /// Stop the gateway.
    Admin,
}

impl FromStr for Operation {
    type Err = OperationError;

    fn from_str(word: &str) -> Result<Self, OperationError> {
        Ok(match word {
            "list" => Self::List,
            "pull" => Self::Pull,
            "push" => Self::Push,
            "delete" => Self::Delete,
            "call" => Self::Call(CallGlob::any()),
            "admin" => Self::Admin,
            _ => match word.strip_prefix("call:") {
                Some(glob) => Self::Call(glob.parse()?),
                None => return Err(OperationError::UnknownWord(word.to_owned())),
            },
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Call(glob) => return write!(f, "call:{}", glob.0),
            Self::Admin => "admin",
        })
    }
}

/// A pattern of subroutine names: letters, digits, `.`, `_`, `-`, and the wildcards `*` and `?`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallGlob(String);

impl CallGlob {
    /// Every subroutine.
    pub fn any() -> Self {
        Self("*".to_owned())
    }
}

impl CallGlob {
    /// Whether the pattern stands for `name`.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut of) = (0, 0);
        // Where the last `*` stands, and how much of the name it takes.
        let mut star = None;
        while of < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, of));
                    at += 1;
                }
                Some(&c) if c == b'?' || c == name[of] => (at, of) = (at + 1, of + 1),
                _ => match &mut star {
                    Some((star_at, taken)) => {
                        *taken += 1;
                        (at, of) = (*star_at + 1, *taken);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&c| c == b'*')
    }
}

impl FromStr for CallGlob {
    type Err = OperationError;

    fn from_str(glob: &str) -> Result<Self, OperationError> {
        let valid = |c: char| c.is_ascii_alphanumeric() || "._-*?".contains(c);
        if glob.is_empty() || !glob.chars().all(valid) {
            return Err(OperationError::BadGlob(glob.to_owned()));
        }
        Ok(Self(glob.to_owned()))
    }
}

/// A set of operations, written as a comma-separated list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operations(BTreeSet<Operation>);

impl Operations {
    /// Whether `operation` is in the set.
    pub fn allows(&self, operation: &Operation) -> bool {
        self.0.contains(operation)
    }

    /// Whether the subroutine `name` may be called.
    pub fn allows_call(&self, name: &str) -> bool {
        self.0.iter().any(|operation| matches!(operation, Operation::Call(glob) if glob.matches(name)))
    }
}

impl Default for Operations {
    fn default() -> Self {
        DEFAULT_OPERATIONS.parse().expect("a constant list of known words")
    }
}

impl FromStr for Operations {
    type Err = OperationError;

    fn from_str(list: &str) -> Result<Self, OperationError> {
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        let operations: BTreeSet<_> = words.map(str::parse).collect::<Result<_, _>>()?;
        if operations.is_empty() {
            return Err(OperationError::Empty);
        }
        Ok(Self(operations))
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, operation) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            operation.fmt(f)?;
        }
        Ok(())
    }
}

/// Why a text is not a list of operations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// A word that names no operation.
    #[error("unknown operation {0:?}; known are {KNOWN_WORDS}")]
    UnknownWord(String),
    /// A call pattern with something else than name characters and wildcards.
    #[error("{0:?} is no pattern of subroutine names; use letters, digits, `.`, `_`, `-`, `*` and `?`")]
    BadGlob(String),
    /// No word at all.
    #[error("no operation given; known are {KNOWN_WORDS}")]
    Empty,
}

/// What one identity may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which operations.
    pub allow: Operations,
    /// Below which path; the root for all of it.
    pub path: RelPath,
}

impl Grant {
    /// Asks for `operation`, which concerns no path.
    pub fn require(&self, operation: &Operation) -> Result<(), Denied> {
        if self.allow.allows(operation) { Ok(()) } else { Err(Denied::Operation(operation.clone())) }
    }

    /// Asks for the subroutine `name`.
    pub fn require_call(&self, name: &str) -> Result<(), Denied> {
        if self.allow.allows_call(name) { Ok(()) } else { Err(Denied::Call(name.to_owned())) }
    }

    /// Asks for `operation` at `path`. To be called before anything at the path is opened.
    pub fn require_at(&self, operation: &Operation, path: &RelPath) -> Result<(), Denied> {
        self.require(operation)?;
        if !path.starts_with(&self.path) {
            return Err(Denied::Outside { path: path.clone(), prefix: self.path.clone() });
        }
        // Staging places hold what other identities are sending, unverified.
        if path.components().any(Name::is_reserved) {
            return Err(Denied::Reserved { path: path.clone() });
        }
        Ok(())
    }
}

/// What a grant lacks, in words for its holder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The operation is not granted.
    #[error("this identity is not granted `{0}`")]
    Operation(Operation),
    /// No pattern of the grant stands for the subroutine.
    #[error("this identity is not granted `call:{0}`")]
    Call(String),
    /// The path is not below the granted prefix.
    #[error("`{path}` is outside `{prefix}`, the only path that this identity is granted")]
    Outside {
        /// What was asked for.
        path: RelPath,
        /// What is granted.
        prefix: RelPath,
    },
    /// The path leads into what Swarmwire keeps for itself.
    #[error("`{path}` has a name that begins with `.swarmwire-`, which is kept for unfinished transfers")]
    Reserved {
        /// What was asked for.
        path: RelPath,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_is_shown() {
        for (typed, shown) in [
            ("list,pull,push", "list,pull,push"),
            (" push , list,push,", "list,push"),
            ("call", "call:*"),
            ("call:build-*,admin,delete", "delete,call:build-*,admin"),
        ] {
            let operations: Operations = typed.parse().unwrap();
            assert_eq!(operations.to_string(), shown);
            assert_eq!(shown.parse(), Ok(operations));
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_names_the_word_and_the_known_ones() {
        let message = "list,wipe".parse::<Operations>().unwrap_err().to_string();
        assert!(message.contains("\"wipe\"") && message.contains("delete"), "{message}");
        for bad in ["", ",", "List", "call:", "call:a b", "call:../x", "pull:x"] {
            assert!(bad.parse::<Operations>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_stands_for_the_names_that_it_should() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("build", "build", true),
            ("build", "builds", false),
            ("build-*", "build-", true),
            ("build-*", "build", false),
            ("*-?", "a-b-c", true),
            ("*-?", "a-b-cd", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("?", "", false),
        ] {
            assert_eq!(pattern.parse::<CallGlob>().unwrap().matches(name), expected, "{pattern} {name}");
        }
        let only_builds = Grant { allow: "call:build-*".parse().unwrap(), path: RelPath::root() };
        let denied = only_builds.require_call("deploy").unwrap_err().to_string();
        assert!(denied.contains("`call:deploy`"), "{denied}");
    }

    #[test]
    fn what_is_not_granted_is_denied_and_says_what_is_lacking() {
        let path = |text: &str| RelPath::parse(text.as_bytes()).unwrap();
        let grant = Grant { allow: "pull,call".parse().unwrap(), path: path("logs") };
        assert_eq!(grant.require_at(&Operation::Pull, &path("logs/app")), Ok(()));
        assert_eq!(grant.require_call("build"), Ok(()));
        for (operation, at, said) in [
            (Operation::Push, "logs", "`push`"),
            (Operation::Pull, "", "outside `logs`"),
            (Operation::Pull, "logs2", "outside `logs`"),
            (Operation::Pull, "logs/.swarmwire-0123/0", ".swarmwire-"),
            (Operation::Admin, "logs", "`admin`"),
        ] {
            let denied = grant.require_at(&operation, &path(at)).unwrap_err().to_string();
            assert!(denied.contains(said), "{denied}");
        }
    }
}
