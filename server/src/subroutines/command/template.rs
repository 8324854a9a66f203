//! The words of a command, with places for arguments. Pure.

use std::{borrow::Cow, ffi::OsString, os::unix::ffi::OsStringExt};

use swarmwire_common::{
    limits,
    value::{Arguments, Value, too_many},
};

/// Words, some of which have places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    words: Vec<Vec<Piece>>,
    /// What is taken, in its order; none if anything is.
    arguments: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The place of an argument.
    Place(String),
}

/// Why a command is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no program.
    #[error("`command` is empty; name the program and its arguments")]
    Empty,
    /// A place without an end, or with something that is no name in it.
    #[error(
        "`{0}` has a `{{` that is no place for an argument; write `{{name}}`, or `{{{{` for the character"
    )]
    Place(String),
    /// A place of an argument that is not taken.
    #[error("`{{{0}}}` is not among the `arguments`")]
    Unknown(String),
    /// A name that two arguments have.
    #[error("`{0}` is among the `arguments` twice")]
    Twice(String),
    /// Places where no argument comes.
    #[error(
        "a send, and a subroutine that takes raw bytes, has no arguments: `command` cannot have `{{{0}}}`"
    )]
    NoArguments(String),
    /// Places in what is started for more than one call.
    #[error(
        "a worker gets the arguments of each call through its standard input: `command` cannot have `{{{0}}}`; name them in `arguments`"
    )]
    Worker(String),
    /// A variable that no program can be given.
    #[error(
        "`environment` cannot have {0:?}: a name is not empty and has no `=` and no NUL in it, and a value no NUL"
    )]
    Variable(String),
    /// A word that no program can be given.
    #[error("`command` cannot have {0:?}: no program can be given a NUL")]
    Nul(String),
    /// Numbers of workers that cannot be.
    #[error("`workers`: give `max` a number from 1 to {most}, and `min` none above it", most = limits::WORKERS_MAX)]
    Workers,
    /// The program's own name comes from the caller.
    #[error("the program itself cannot be an argument of the call")]
    Program,
}

/// Why arguments do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FillError {
    #[error("argument mismatch: argument `{0}` is missing")]
    Missing(String),
    #[error("argument mismatch: argument `{0}` has a NUL in it, which no program can be given")]
    Nul(String),
}

impl Template {
    pub(super) fn new(command: &[String], arguments: &[String]) -> Result<Self, TemplateError> {
        if command.is_empty() {
            return Err(TemplateError::Empty);
        }
        if let Some(word) = command.iter().find(|word| word.contains('\0')) {
            return Err(TemplateError::Nul(word.clone()));
        }
        let words: Vec<Vec<Piece>> = command.iter().map(|word| pieces(word)).collect::<Result<_, _>>()?;
        let is_place = |piece: &Piece| matches!(piece, Piece::Place(_));
        if words[0].iter().any(is_place) {
            return Err(TemplateError::Program);
        }
        let mut named: Vec<String> = Vec::new();
        for piece in words.iter().flatten() {
            if let Piece::Place(name) = piece
                && !named.contains(name)
            {
                named.push(name.clone());
            }
        }
        let is_earlier = |&(at, name): &(usize, &String)| arguments[..at].contains(name);
        if let Some((_, twice)) = arguments.iter().enumerate().find(is_earlier) {
            return Err(TemplateError::Twice(twice.clone()));
        }
        if !arguments.is_empty()
            && let Some(unknown) = named.iter().find(|name| !arguments.contains(name))
        {
            return Err(TemplateError::Unknown(unknown.clone()));
        }
        let taken = if arguments.is_empty() { named } else { arguments.to_vec() };
        Ok(Self { words, arguments: (!taken.is_empty()).then_some(taken) })
    }

    /// The name of a place, if there is one.
    pub(super) fn first_place(&self) -> Option<&str> {
        self.words.iter().flatten().find_map(|piece| match piece {
            Piece::Place(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// An argument that is taken, if any is by name.
    pub(super) fn first_argument(&self) -> Option<&str> {
        self.arguments.as_ref()?.first().map(String::as_str)
    }

    /// Bytes of each word, without what comes from a caller.
    pub(super) fn lengths(&self) -> Vec<usize> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Place(_) => 0,
        };
        self.words.iter().map(|pieces| pieces.iter().map(text).sum()).collect()
    }

    /// What is taken, in words.
    pub(super) fn describe(&self) -> String {
        self.arguments.as_ref().map_or_else(String::new, |names| names.join(", "))
    }

    /// Arguments by name, and nothing that is not taken.
    pub(super) fn by_name(&self, given: &Arguments) -> Result<Vec<(String, Value)>, String> {
        let Some(names) = &self.arguments else { return Ok(given.named.clone()) };
        let (count, most) = (given.positional.len(), names.len());
        if count > most {
            return Err(format!("argument mismatch: {}", too_many(count, names)));
        }
        let mut all: Vec<(String, Value)> =
            names.iter().cloned().zip(given.positional.iter().cloned()).collect();
        for (name, value) in &given.named {
            if !names.contains(name) {
                let known = names.join("`, `");
                return Err(format!("argument mismatch: there is no argument `{name}`; there are `{known}`"));
            }
            if all.iter().any(|(other, _)| other == name) {
                return Err(format!("argument mismatch: argument `{name}` was given twice"));
            }
            all.push((name.clone(), value.clone()));
        }
        Ok(all)
    }

    /// The words, with the arguments in their places.
    pub(super) fn fill(&self, arguments: &[(String, Value)]) -> Result<Vec<OsString>, FillError> {
        let fill_word = |pieces: &Vec<Piece>| {
            let mut word = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => word.extend_from_slice(text.as_bytes()),
                    Piece::Place(name) => {
                        let found = arguments.iter().find(|(other, _)| other == name);
                        let (_, value) = found.ok_or_else(|| FillError::Missing(name.clone()))?;
                        let text = text_of(value);
                        if text.contains(&0) {
                            return Err(FillError::Nul(name.clone()));
                        }
                        word.extend_from_slice(&text);
                    }
                }
            }
            Ok(OsString::from_vec(word))
        };
        self.words.iter().map(fill_word).collect()
    }
}

/// An argument as a program reads it.
fn text_of(value: &Value) -> Cow<'_, [u8]> {
    match value {
        Value::Null => Cow::Borrowed(b""),
        Value::Text(text) => text.as_bytes().into(),
        Value::Bytes(bytes) => bytes.into(),
        other => other.to_json().to_string().into_bytes().into(),
    }
}

fn pieces(word: &str) -> Result<Vec<Piece>, TemplateError> {
    let wrong = || TemplateError::Place(word.to_owned());
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(['{', '}']) {
        text += &rest[..at];
        let bracket = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(bracket) {
            text += bracket;
            rest = after;
            continue;
        }
        let (name, after) = rest.split_once('}').filter(|_| bracket == "{").ok_or_else(wrong)?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return Err(wrong());
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(Piece::Place(name.to_owned()));
        rest = after;
    }
    text += rest;
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &[&str]) -> Vec<String> {
        command.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_argument_stays_within_its_word_whatever_it_is() {
        let template =
            Template::new(&words(&["grep", "-e", "{what}", "--max={n}", "{{x}}", ""]), &[]).unwrap();
        assert_eq!(template.describe(), "what, n");
        assert_eq!(template.lengths(), [4, 2, 0, 6, 3, 0]);
        let given = Arguments::new().with("a b; $(rm -rf /) 'c").with_named("n", 3_i64);
        let named = template.by_name(&given).unwrap();
        let filled = template.fill(&named).unwrap();
        assert_eq!(filled, ["grep", "-e", "a b; $(rm -rf /) 'c", "--max=3", "{x}", ""]);
    }

    #[test]
    fn what_does_not_fit_names_the_argument() {
        let template = Template::new(&words(&["p", "{a}"]), &words(&["a", "b"])).unwrap();
        for (given, said) in [
            (Arguments::new().with_named("c", 1_u8), "there is no argument `c`; there are `a`, `b`"),
            (Arguments::new().with(1_u8).with_named("a", 1_u8), "argument `a` was given twice"),
            (Arguments::new().with(1_u8).with(2_u8).with(3_u8), "3 positional arguments"),
        ] {
            assert!(template.by_name(&given).unwrap_err().contains(said), "{said}");
        }
        let missing = template.fill(&template.by_name(&Arguments::new()).unwrap()).unwrap_err().to_string();
        assert!(missing.contains("argument `a` is missing"), "{missing}");
        let nul = template.by_name(&Arguments::new().with("a\0b")).unwrap();
        assert_eq!(template.fill(&nul), Err(FillError::Nul("a".into())));
    }

    #[test]
    fn a_command_that_makes_no_sense_is_refused() {
        for (command, arguments, expected) in [
            (&[][..], &[][..], TemplateError::Empty),
            (&["{a}"], &[], TemplateError::Program),
            (&["p", "{a"], &[], TemplateError::Place("{a".into())),
            (&["p", "a}"], &[], TemplateError::Place("a}".into())),
            (&["p", "{a b}"], &[], TemplateError::Place("{a b}".into())),
            (&["p", "{c}"], &["a"], TemplateError::Unknown("c".into())),
        ] {
            assert_eq!(Template::new(&words(command), &words(arguments)), Err(expected), "{command:?}");
        }
    }
}
