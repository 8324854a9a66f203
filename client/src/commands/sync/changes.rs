//! The changes of a sync, shown as they come (`--verbose`): a line for people, an object for programs.
//!
//! A dry run has nothing to show but them and no hurry: they are kept until it has ended, so that a reader who takes his time does
//! not keep the gateway waiting.
//!
//! Standard output is written to on a blocking thread, one piece at a time, and nothing more is taken from the engine meanwhile: a reader
//! who stalls (a pager, say) makes the sync wait, but neither keeps the connection from being alive nor a signal from being heard.

use std::{io, time::Duration};

use serde::Serialize;
use swarmwire_common::{
    path::RelPath,
    sync::Event,
    wire::change::{Aspects, Change, Difference},
};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::output::{JsonPath, Output};

/// How long a reader may take for what is on its way to him when the sync has been interrupted. One who reads needs no time for it.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(1);

/// How changes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Objects,
}

/// What a change is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wording {
    /// By what is done.
    Changes,
    /// By how the destination differs.
    Differences,
}

/// What a comparison has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) missing: u64,
    pub(super) extra: u64,
    pub(super) differing: u64,
}

impl Counts {
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }
}

/// What has been and is to be shown.
#[derive(Debug)]
pub(super) struct Changes {
    form: Form,
    wording: Wording,
    /// In a dry run, what is shown at its end.
    kept: Option<Vec<Event>>,
    /// What is being written.
    showing: Option<JoinHandle<io::Result<()>>>,
    /// Why nothing can be shown any longer.
    error: Option<io::Error>,
}

impl Changes {
    pub(super) fn new(form: Form, dry_run: bool) -> Self {
        Self { form, wording: Wording::Changes, kept: dry_run.then(Vec::new), showing: None, error: None }
    }

    /// Of a comparison, which is a dry run.
    pub(super) fn of_comparison(form: Form) -> Self {
        Self { wording: Wording::Differences, ..Self::new(form, true) }
    }

    /// In a comparison, what was found.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for event in self.kept.iter().flatten() {
            match event.change {
                Change::Delete => counts.extra += 1,
                Change::Create | Change::MakeDirectory | Change::MakeSymlink => counts.missing += 1,
                Change::Differs(_) | Change::Update(_) | Change::Metadata => counts.differing += 1,
            }
        }
        counts
    }

    /// Forgets what an attempt at a dry run has told before it was lost.
    pub(super) fn begin(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.clear();
        }
    }

    /// Takes these changes. To be called while nothing is being shown.
    pub(super) fn take(&mut self, events: Vec<Event>) {
        match &mut self.kept {
            Some(kept) => kept.extend(events),
            None => {
                let (form, wording) = (self.form, self.wording);
                self.write(move || show(form, wording, events.into_iter()));
            }
        }
    }

    /// Shows a line of something else. To be called while nothing is being shown.
    pub(super) fn line(&mut self, line: String) {
        self.write(move || {
            let mut output = Output::new();
            output.line(&line)?;
            output.flush()
        });
    }

    fn write(&mut self, write: impl FnOnce() -> io::Result<()> + Send + 'static) {
        if self.error.is_none() {
            self.showing = Some(spawn_blocking(write));
        }
    }

    /// Whether something is being shown, for which somebody may have to be waited.
    pub(super) fn is_showing(&self) -> bool {
        self.showing.is_some()
    }

    /// Whether nothing can be shown any longer.
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Waits until all that was taken is shown. Cancel-safe.
    pub(super) async fn shown(&mut self) {
        let Some(showing) = &mut self.showing else { return };
        let written = showing.await.unwrap_or_else(|err| Err(io::Error::other(err)));
        self.showing = None;
        self.error = written.err();
    }

    /// In a dry run, how many files would be sent.
    pub(super) fn files_to_send(&self) -> Option<u64> {
        let kept = self.kept.as_ref()?;
        let is_sent = |event: &&Event| matches!(event.change, Change::Create | Change::Update(_));
        u64::try_from(kept.iter().filter(is_sent).count()).ok()
    }

    /// Shows what was kept; says whether somebody reads it. Nobody does where a sync was interrupted while it waited for that.
    pub(super) async fn finish(mut self) -> io::Result<bool> {
        if timeout(LAST_WORDS_TIME_MAX, self.shown()).await.is_err() {
            return Ok(false);
        }
        match self.error {
            Some(err) => Err(err),
            None => show(self.form, self.wording, self.kept.into_iter().flatten()).map(|()| true),
        }
    }
}

fn show(form: Form, wording: Wording, events: impl Iterator<Item = Event>) -> io::Result<()> {
    let mut output = Output::new();
    for event in events {
        match form {
            Form::Lines => output.line(&line(&event.path, event.change, wording))?,
            Form::Objects => output.json(&Entry::new(&event.path, event.change, wording))?,
        }
    }
    output.flush()
}

fn line(path: &RelPath, change: Change, wording: Wording) -> String {
    let reasons: Vec<_> = reasons(change).map(|word| if word == "mtime" { "time" } else { word }).collect();
    if reasons.is_empty() {
        return format!("{}  {path}", word(change, wording));
    }
    format!("{}  {path} ({})", word(change, wording), reasons.join(", "))
}

/// The object of one entry; the names are a contract.
#[derive(Debug, Serialize)]
struct Entry {
    event: &'static str,
    #[serde(flatten)]
    path: JsonPath,
    action: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reason: Vec<&'static str>,
}

impl Entry {
    fn new(path: &RelPath, change: Change, wording: Wording) -> Self {
        let path = JsonPath::new(path.as_bytes());
        Self { event: "entry", path, action: word(change, wording), reason: reasons(change).collect() }
    }
}

fn word(change: Change, wording: Wording) -> &'static str {
    match change {
        Change::Create | Change::MakeDirectory | Change::MakeSymlink if wording == Wording::Differences => {
            "missing"
        }
        Change::Delete if wording == Wording::Differences => "extra",
        Change::Create => "create",
        Change::Update(_) => "update",
        Change::Metadata => "metadata",
        Change::MakeDirectory => "mkdir",
        Change::MakeSymlink => "symlink",
        Change::Delete => "delete",
        Change::Differs(_) => "differs",
    }
}

fn reasons(change: Change) -> impl Iterator<Item = &'static str> {
    let Aspects { kind, size, content, mode, mtime, target } = match change {
        Change::Update(Difference { size, mtime, content }) => {
            Aspects { size, mtime, content, ..Aspects::default() }
        }
        Change::Differs(aspects) => aspects,
        _ => Aspects::default(),
    };
    let named = [(kind, "type"), (size, "size"), (mtime, "mtime"), (content, "content")];
    named.into_iter().chain([(mode, "mode"), (target, "target")]).filter(|(is, _)| *is).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_line_and_one_object() {
        let path = |bytes: &[u8]| RelPath::from_wire(bytes.to_vec()).unwrap();
        let both = Change::Update(Difference { size: true, mtime: true, content: false });
        for (path, change, shown, object) in [
            (
                path(b"a\n"),
                Change::Create,
                "create  a\\x0a",
                r#"{"event":"entry","path":"a\n","action":"create"}"#,
            ),
            (
                path(b"a/b"),
                both,
                "update  a/b (size, time)",
                r#"{"event":"entry","path":"a/b","action":"update","reason":["size","mtime"]}"#,
            ),
            (
                path(b"\xff"),
                Change::Delete,
                "delete  \\xff",
                r#"{"event":"entry","path_base64":"/w==","action":"delete"}"#,
            ),
            (
                RelPath::root(),
                Change::MakeDirectory,
                "mkdir  .",
                r#"{"event":"entry","path":".","action":"mkdir"}"#,
            ),
        ] {
            assert_eq!(line(&path, change, Wording::Changes), shown);
            assert_eq!(serde_json::to_string(&Entry::new(&path, change, Wording::Changes)).unwrap(), object);
        }
        let aspects = Aspects { mode: true, mtime: true, ..Aspects::default() };
        for (change, shown) in [
            (Change::Create, "missing  a"),
            (Change::MakeDirectory, "missing  a"),
            (Change::Delete, "extra  a"),
            (Change::Differs(aspects), "differs  a (time, mode)"),
            (Change::Differs(Aspects { kind: true, ..Aspects::default() }), "differs  a (type)"),
        ] {
            assert_eq!(line(&path(b"a"), change, Wording::Differences), shown);
        }
    }
}
