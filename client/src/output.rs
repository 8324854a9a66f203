//! Results on standard output: lines for people, JSON objects for programs.
//!
//! Names are exact in JSON (`path`, or `path_base64` where they are not UTF-8) and escaped everywhere else. Output is buffered
//! and written through [`Output`] alone, so that a reader who goes away is an error like any other and never a panic.

use std::io::{self, BufWriter, StdoutLock, Write};

use data_encoding::BASE64;
use serde::Serialize;
use swarmwire_common::{
    entry::SpecialKind,
    escape::{escape, escape_str},
    root::describe,
};

/// Standard output, buffered until [`Output::flush`]. Its errors say what cannot be written, and keep their kind.
pub(crate) struct Output(BufWriter<Stdout>);

struct Stdout(StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|err| unwritten(&err))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(|err| unwritten(&err))
    }
}

fn unwritten(err: &io::Error) -> io::Error {
    io::Error::new(err.kind(), format!("standard output cannot be written: {}", describe(err)))
}

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(Stdout(io::stdout().lock())))
    }

    /// One line of text, which the caller has escaped.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.0, "{text}")
    }

    /// One object on a line of its own.
    pub(crate) fn json<T: Serialize>(&mut self, object: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, object)?;
        writeln!(self.0)
    }

    /// One object on a line of its own, let out at once.
    pub(crate) fn object<T: Serialize>(object: &T) -> io::Result<()> {
        let mut output = Self::new();
        output.json(object)?;
        output.flush()
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Lets everything out. To be called at the end, since dropping hides errors.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Tells a failure of one entry on standard error; the others go on.
pub(crate) fn entry_failed(path: &[u8], reason: &str) {
    let path = if path.is_empty() { ".".into() } else { escape(path) };
    // Nobody is left to tell where standard error is closed.
    let _ = writeln!(io::stderr(), "swarm: failed: {path}: {}", escape_str(reason));
}

/// Tells of calls that failed; what comes from a peer in it has been escaped.
pub(crate) fn calls_failed(text: &str) {
    // As above.
    let _ = writeln!(io::stderr(), "swarm: {text}");
}

/// A path in JSON: `path`, or `path_base64` where it is not UTF-8.
#[derive(Debug, Serialize)]
pub(crate) struct JsonPath {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl JsonPath {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok("") => Self { path: Some(".".to_owned()), path_base64: None },
            Ok(text) => Self { path: Some(text.to_owned()), path_base64: None },
            Err(_) => Self { path: None, path_base64: Some(BASE64.encode(bytes)) },
        }
    }
}

/// What an entry is called in JSON that is neither file, directory nor link: in listings and summaries alike.
pub(crate) fn special_word(kind: SpecialKind) -> &'static str {
    match kind {
        SpecialKind::Device => "device",
        SpecialKind::Fifo => "fifo",
        SpecialKind::Socket => "socket",
        SpecialKind::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::JsonPath;

    #[test]
    fn a_path_is_exact_in_json() {
        for (bytes, expected) in [
            (&b"a/b"[..], r#"{"path":"a/b"}"#),
            ("größe\n".as_bytes(), r#"{"path":"größe\n"}"#),
            (b"", r#"{"path":"."}"#),
            (b"a\xff", r#"{"path_base64":"Yf8="}"#),
        ] {
            assert_eq!(serde_json::to_string(&JsonPath::new(bytes)).unwrap(), expected);
        }
    }
}
