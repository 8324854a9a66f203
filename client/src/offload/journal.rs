//! What was offloaded when: a text that is only ever appended to, and whose last line says whether an offload has come to its end.
//!
//! It lies in the controller's state directory, under a name that is made of what is offloaded, beside the lock that only one process at a time has. A
//! line is a time, a word, and what belongs to it:
//!
//! ```text
//! # offload vault:logs to /archive
//! 2026-03-01T04:00:00.102Z begin terms=91c5a0be72d40f38 above=75% until=25% used=8120 of=10000
//! 2026-03-01T04:00:00.104Z batch mtime=1772337660.000000000 path=6170702e6c6f672e32
//! 2026-03-01T04:00:00.310Z safe size=5020 mtime=1772337600.000000000 blake3=4f0c… app.log.3
//! 2026-03-01T04:00:00.311Z stays app.log.2: it was not removed: it has changed since it was read, and what is at the destination is what it was then
//! 2026-03-01T04:00:00.324Z end used=3100 of=10000
//! ```
//!
//! A `batch` is there before anything of it is sent, with the last of its files: it and all that are older and may go, or as old and before it by the bytes
//! of their paths, which are written in hexadecimal. `safe` is on the disk before the file may be removed where it was. Any of them without an `end` means
//! that an offload was interrupted, and the next one goes on with it if it has the same terms (what `terms` is the hash of): it moves what is left of the last
//! batch, of which nobody knows how much is at both places, and goes on until it is done, even if it is not fuller than *above* any longer. A text that grows
//! past `limits::JOURNAL_BYTES_MAX` becomes `….old`; one that begins in the middle of an offload says so by `goes-on`.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};

use data_encoding::HEXLOWER;
use swarmwire_certs::{
    PrivateDir,
    private::{FileLock, PrivateError},
};
use swarmwire_common::{
    entry::Timestamp,
    escape::{escape, escape_str},
    limits,
    path::RelPath,
    sync::{Ledger, Moved},
};

use super::terms::{Terms, Usage};

/// Bytes that are read at a time, from the end on. Chosen, not measured: the last line mostly says it.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Lines of files that stay that are entered at a time, each with up to `limits::REASON_BYTES_MAX` of a peer's words.
const STAYS_LINES: usize = 256;

/// An offload that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The last file of the batch that it was at.
    pub(super) last: Option<Place>,
}

/// The place of a file among those that go.
pub(super) type Place = (Timestamp, RelPath);

/// The journal of one directory that is offloaded, and the right to be the one process of this machine's identity that does. Calls block.
#[derive(Debug)]
pub struct Journal {
    dir: PrivateDir,
    name: String,
    title: String,
    /// What tells the terms apart from others.
    terms: String,
    clock: fn() -> SystemTime,
    file: Mutex<File>,
    locks: Vec<FileLock>,
}

impl Journal {
    /// Opens the journal of what `subject` tells apart from all else; `None` where another process has it. `title` says the same to people, and `terms`
    /// tells apart what is done.
    pub(super) fn open(
        dir: PrivateDir,
        (subject, terms): (&[u8], &[u8]),
        title: &str,
        clock: fn() -> SystemTime,
    ) -> Result<Option<Self>, PrivateError> {
        let (id, terms) = (id(subject), id(terms));
        let Some(lock) = Self::lock(&dir, subject)? else { return Ok(None) };
        let name = format!("{id}.journal");
        let title = escape_str(title).into_owned();
        let file = Mutex::new(dir.append(&name)?);
        Ok(Some(Self { dir, name, title, terms, clock, file, locks: vec![lock] }))
    }

    /// The lock of what `subject` tells apart from all else; `None` where another process has it.
    pub(super) fn lock(dir: &PrivateDir, subject: &[u8]) -> Result<Option<FileLock>, PrivateError> {
        dir.lock(&format!("{}.lock", id(subject)))
    }

    /// The same, with another lock for as long as it is open.
    pub(super) fn locking(mut self, lock: Option<FileLock>) -> Self {
        self.locks.extend(lock);
        self
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    /// The last offload, if it has not come to its end, and was on the same terms.
    pub fn interrupted(&self) -> io::Result<Option<Interrupted>> {
        self.interrupted_in(&self.file())
    }

    fn interrupted_in(&self, file: &File) -> io::Result<Option<Interrupted>> {
        let (mut search, mut later) = (Search::new(&self.terms), Vec::new());
        let mut end = file.metadata()?.len();
        while end > 0 {
            let start = end.saturating_sub(BLOCK_BYTES);
            let mut text = vec![0; usize::try_from(end - start).expect("at most a block")];
            file.read_exact_at(&mut text, start)?;
            // The line at the beginning of the block may have begun before it. One that is longer than a block is none of ours.
            let first = text.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            text.append(&mut later);
            let whole = text.split_off(if start > 0 { first } else { 0 });
            if let Some(is_unfinished) = search.backwards(&whole) {
                return Ok(search.found(is_unfinished));
            }
            (later, end) = (text, start);
        }
        Ok(search.at_beginning())
    }

    /// The same of a journal that is not opened, for who only wants to look.
    pub(super) fn was_interrupted(
        dir: &PrivateDir,
        (subject, terms): (&[u8], &[u8]),
    ) -> Result<Option<Interrupted>, PrivateError> {
        let text = dir.read(&format!("{}.journal", id(subject)))?.unwrap_or_default();
        let terms = id(terms);
        let mut search = Search::new(&terms);
        Ok(match search.backwards(&text) {
            Some(is_unfinished) => search.found(is_unfinished),
            None => search.at_beginning(),
        })
    }

    pub(super) fn begin(&self, terms: &Terms, usage: Usage) -> io::Result<()> {
        let Usage { used, total } = usage;
        let (above, until) = (terms.above, terms.until);
        let hash = &self.terms;
        self.enter(&[format!("begin terms={hash} above={above} until={until} used={used} of={total}")])
    }

    /// Enters that files are about to be moved, up to this one.
    pub(super) fn batch(&self, last: &Place) -> io::Result<()> {
        self.enter(&[batch_line(last)])
    }

    pub(super) fn stays(&self, files: &[(RelPath, String)]) -> io::Result<()> {
        let line = |(path, reason): &(RelPath, String)| format!("stays {path}: {}", escape_str(reason));
        files.chunks(STAYS_LINES).try_for_each(|some| self.enter(&some.iter().map(line).collect::<Vec<_>>()))
    }

    pub(super) fn end(&self, usage: Usage) -> io::Result<()> {
        self.enter(&[format!("end used={} of={}", usage.used, usage.total)])
    }

    /// Appends lines and waits until they are on the disk.
    fn enter(&self, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let now = humantime::format_rfc3339_millis((self.clock)());
        let mut text = String::new();
        for line in lines {
            // A text takes anything.
            let _ = writeln!(text, "{now} {line}");
        }
        let mut file = self.file();
        let mut size = file.metadata()?.len();
        if size > 0
            && size.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX)) > limits::JOURNAL_BYTES_MAX
        {
            if let Some(Interrupted { last }) = self.interrupted_in(&file)? {
                let batch = last.map(|last| format!("{now} {}\n", batch_line(&last))).unwrap_or_default();
                text.insert_str(0, &format!("{now} goes-on terms={}\n{batch}", self.terms));
            }
            let fail = |err: PrivateError| io::Error::other(err.to_string());
            self.dir.rename(&self.name, &format!("{}.old", self.name)).map_err(fail)?;
            (*file, size) = (self.dir.append(&self.name).map_err(fail)?, 0);
        }
        let before = if size == 0 {
            format!("# {}\n", self.title)
        } else {
            let mut last = [0];
            file.read_exact_at(&mut last, size - 1)?;
            // Of a line that a crash has torn.
            if last == *b"\n" { String::new() } else { "\n".to_owned() }
        };
        file.write_all((before + &text).as_bytes())?;
        file.sync_data()
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().expect("no holder panics")
    }
}

/// What a journal is called, before its suffix.
fn id(subject: &[u8]) -> String {
    HEXLOWER.encode(&blake3::hash(subject).as_bytes()[..8])
}

fn batch_line((mtime, path): &Place) -> String {
    format!("batch mtime={} path={}", mtime.to_decimal(), HEXLOWER.encode(path.as_bytes()))
}

fn parse_batch<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Place> {
    let mtime = std::str::from_utf8(words.next()?.strip_prefix(b"mtime=")?).ok()?;
    let path = HEXLOWER.decode(words.next()?.strip_prefix(b"path=")?).ok()?;
    Some((Timestamp::from_decimal(mtime)?, RelPath::from_wire(path).ok()?))
}

/// Whether a journal ends within an offload, as its lines tell it from the last to the first. One that was at no batch is not missed.
struct Search<'a> {
    terms: &'a str,
    /// Something was moved, or about to be, after whatever comes before.
    has_moved: bool,
    /// The last file of the last batch.
    last: Option<Place>,
}

impl<'a> Search<'a> {
    fn new(terms: &'a str) -> Self {
        Self { terms, has_moved: false, last: None }
    }

    /// Goes on with the lines before; says it once it is known.
    fn backwards(&mut self, text: &[u8]) -> Option<bool> {
        // What follows the last newline was torn off by a crash, and nothing followed from it.
        let lines = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
        lines.rev().find_map(|line| self.line(line))
    }

    fn line(&mut self, line: &[u8]) -> Option<bool> {
        let mut words = line.trim_ascii().split(|&byte| byte == b' ').skip(1);
        match words.next() {
            Some(b"safe") => {
                self.has_moved = true;
                None
            }
            Some(b"batch") => {
                self.has_moved = true;
                self.last = self.last.take().or_else(|| parse_batch(words));
                None
            }
            Some(b"end") => Some(self.has_moved),
            Some(b"begin") if !self.has_moved => Some(false),
            Some(b"begin" | b"goes-on") => {
                // One of an earlier release says nothing of them.
                let terms = words.next().and_then(|word| word.strip_prefix(b"terms="));
                Some(terms.is_none_or(|terms| terms == self.terms.as_bytes()))
            }
            _ => None,
        }
    }

    fn found(self, is_unfinished: bool) -> Option<Interrupted> {
        is_unfinished.then_some(Interrupted { last: self.last })
    }

    fn at_beginning(self) -> Option<Interrupted> {
        let has_moved = self.has_moved;
        self.found(has_moved)
    }
}

/// What of one batch has been entered.
#[derive(Debug)]
pub(super) struct BatchLedger {
    journal: Arc<Journal>,
    entered: Mutex<Vec<Moved>>,
}

impl BatchLedger {
    pub(super) fn new(journal: Arc<Journal>) -> Self {
        Self { journal, entered: Mutex::default() }
    }

    pub(super) fn take(&self) -> Vec<Moved> {
        std::mem::take(&mut *self.entered.lock().expect("no holder panics"))
    }
}

impl Ledger for BatchLedger {
    fn enter(&self, files: &[Moved]) -> io::Result<()> {
        let line = |Moved { path, size, mtime, hash }: &Moved| {
            let (mtime, hash, path) = (mtime.to_decimal(), HEXLOWER.encode(hash), escape(path.as_bytes()));
            format!("safe size={size} mtime={mtime} blake3={hash} {path}")
        };
        self.journal.enter(&files.iter().map(line).collect::<Vec<_>>())?;
        self.entered.lock().expect("no holder panics").extend_from_slice(files);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
