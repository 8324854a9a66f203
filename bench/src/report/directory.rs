//! A report's directory, `<date>-<label>`: the rows as they are measured, and what is made from them.
//!
//! It is ours if it has our `machine.json`; anything else that is not empty is refused. Nothing is ever deleted: rows are added at the end of
//! their file, each one written whole, so that a killed run leaves what it measured, and files that we do not know stay as they are.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::row::Row;
use crate::record::Machine;

/// What makes a directory ours.
const MACHINE: &str = "machine.json";

/// A directory that is known to be ours.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory of a report with this label below this one, if one is asked for, of what `command` measures on this machine.
    pub(crate) fn asked_for(report: Option<&(String, PathBuf)>, command: &str) -> Result<Option<Self>> {
        let create =
            |(label, out): &(String, PathBuf)| Self::create(out, label, &Machine::read(command.to_owned())?);
        report.map(create).transpose()
    }

    /// Makes `<out>/<date>-<label>`, or adds to it if it is ours: then the machine is the new one, with the commands and the peers of both.
    pub fn create(out: &Path, label: &str, machine: &Machine) -> Result<Self> {
        ensure!(
            !label.is_empty()
                && label.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter)),
            "failed to name a report {label:?}: a label has letters, digits, '-', '_' and '.' only"
        );
        let path = out.join(format!("{}-{label}", machine.date));
        fs::create_dir_all(&path).with_context(|| format!("failed to make {}", path.display()))?;
        let empty = fs::read_dir(&path)
            .with_context(|| format!("failed to read {}", path.display()))?
            .next()
            .is_none();
        let directory = if empty { Self { path } } else { Self::open(&path)? };
        let machine = if empty { machine.clone() } else { joined(&directory.machine()?, machine) };
        let mut text = serde_json::to_string_pretty(&machine).context("failed to encode the machine")?;
        text.push('\n');
        directory.write(MACHINE, &text)?;
        Ok(directory)
    }

    /// Finds a directory that is ours.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join(MACHINE).is_file() {
            bail!(
                "{} is not a report of this laboratory: it has no {MACHINE}; name another directory, or move this one away",
                path.display()
            );
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says about the machine.
    pub fn machine(&self) -> Result<Machine> {
        let path = self.path.join(MACHINE);
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("failed to understand {}", path.display()))
    }

    /// The rows of one kind, in the order in which they were written; none if there is no such file.
    pub fn rows<R: Row>(&self) -> Result<Vec<R>> {
        let path = self.path.join(R::FILE);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let mut reader =
            csv::Reader::from_path(&path).with_context(|| format!("failed to open {}", path.display()))?;
        let rows: Result<Vec<R>, csv::Error> = reader.deserialize().collect();
        rows.with_context(|| format!("failed to understand {}", path.display()))
    }

    /// Adds rows of one kind at the end of their file.
    pub fn append<R: Row>(&self) -> Result<Appender<R>> {
        Appender::open(self.path.join(R::FILE))
    }

    /// Writes one of the files that are made from the rows.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
    }

    /// The text of a file that a person may have put there; empty if nobody did.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        let path = self.path.join(name);
        if !path.exists() {
            return Ok(String::new());
        }
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    }
}

/// Adds rows to a file, each one as soon as it is known.
#[derive(Debug)]
pub struct Appender<R> {
    file: File,
    path: PathBuf,
    headed: bool,
    rows: PhantomData<fn(&R)>,
}

impl<R: Row> Appender<R> {
    fn open(path: PathBuf) -> Result<Self> {
        let opened = OpenOptions::new().create(true).read(true).append(true).open(&path);
        let mut file = opened.with_context(|| format!("failed to open {}", path.display()))?;
        let length = whole_lines(&mut file).with_context(|| format!("failed to read {}", path.display()))?;
        file.set_len(length)
            .with_context(|| format!("failed to cut the torn last row of {}", path.display()))?;
        Ok(Self { file, path, headed: length > 0, rows: PhantomData })
    }

    /// Writes one row, whole: the operating system has it when this returns.
    pub fn write(&mut self, mut row: R) -> Result<()> {
        row.round();
        let mut writer = csv::WriterBuilder::new().has_headers(!self.headed).from_writer(Vec::new());
        writer.serialize(row).context("failed to encode a row")?;
        let line = writer.into_inner().context("failed to encode a row")?;
        self.file.write_all(&line).with_context(|| format!("failed to write {}", self.path.display()))?;
        self.headed = true;
        Ok(())
    }
}

/// The length of a file up to its last line feed: a machine that stops may leave a part of a row behind it.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;
    Ok(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position as u64 + 1))
}

/// The newer machine with what the older one was asked, and the peers that only it knew.
fn joined(older: &Machine, newer: &Machine) -> Machine {
    let mut commands: Vec<&str> = older.command.lines().collect();
    if !commands.contains(&newer.command.as_str()) {
        commands.push(&newer.command);
    }
    let mut peers = older.peers.clone();
    for (peer, version) in &newer.peers {
        match peers.iter_mut().find(|(known, _)| known == peer) {
            Some((_, known)) => known.clone_from(version),
            None => peers.push((peer.clone(), version.clone())),
        }
    }
    Machine { command: commands.join("\n"), peers, ..newer.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Call, Growth, Latency, Outcome, Progress, Run};

    fn machine(command: &str, peer: &str) -> Machine {
        Machine {
            date: "2026-11-21".into(),
            command: command.into(),
            peers: vec![(peer.into(), "1.0".into())],
            ..Machine::default()
        }
    }

    fn run(number: u32) -> Run {
        Run {
            workload: "small".into(),
            note: "times, \"modes\"\nand more".into(),
            run: number,
            outcome: Outcome::Unfinished,
            wall_seconds: 0.25,
            wire_bytes: Some(7),
            ..Run::default()
        }
    }

    fn round_trip<R: Row + Clone + PartialEq + std::fmt::Debug>(directory: &Directory, rows: &[R]) {
        assert_eq!(directory.rows::<R>().unwrap(), []);
        for row in rows {
            // Opened anew for each row, as by one command after another.
            directory.append::<R>().unwrap().write(row.clone()).unwrap();
        }
        assert_eq!(directory.rows::<R>().unwrap(), rows);
    }

    #[test]
    fn rows_come_back_from_their_files_as_they_went_in() {
        let out = tempfile::tempdir().unwrap();
        let directory = Directory::create(out.path(), "trip", &machine("one", "cp")).unwrap();
        round_trip(&directory, &[run(1), run(2)]);
        round_trip(&directory, &[Progress { seconds: 0.5, wire_bytes: 9, ..Progress::default() }]);
        round_trip(&directory, &[Latency { quantile: 0.999, microseconds: 87.25, ..Latency::default() }]);
        round_trip(&directory, &[Call { count: 1_000_000, seconds: 2.25, ..Call::default() }]);
        round_trip(&directory, &[Growth { files: 1000, wall_seconds: 0.125, ..Growth::default() }]);
    }

    #[test]
    fn floats_are_kept_to_six_significant_digits() {
        let out = tempfile::tempdir().unwrap();
        let directory = Directory::create(out.path(), "floats", &machine("one", "cp")).unwrap();
        directory.append().unwrap().write(Run { wall_seconds: 1.0 / 3.0, ..Run::default() }).unwrap();
        assert_eq!(directory.rows::<Run>().unwrap()[0].wall_seconds, 0.333_333);
    }

    #[test]
    fn a_row_that_a_crash_tore_is_cut_off_before_the_next_one() {
        let out = tempfile::tempdir().unwrap();
        let directory = Directory::create(out.path(), "torn", &machine("one", "cp")).unwrap();
        directory.append().unwrap().write(run(1)).unwrap();
        let mut file = OpenOptions::new().append(true).open(directory.path().join(Run::FILE)).unwrap();
        file.write_all(b"small,fresh,pu").unwrap();
        directory.append().unwrap().write(run(2)).unwrap();
        assert_eq!(directory.rows::<Run>().unwrap(), [run(1), run(2)]);
    }

    #[test]
    fn an_existing_directory_that_is_not_ours_is_refused_and_left_alone() {
        let out = tempfile::tempdir().unwrap();
        let foreign = out.path().join("2026-11-21-mine");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
        let error = Directory::create(out.path(), "mine", &machine("one", "cp")).unwrap_err();
        assert!(error.to_string().contains("is not a report of this laboratory"), "{error:#}");
        let names: Vec<_> = fs::read_dir(&foreign).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["thesis.txt"]);
        assert_eq!(fs::read_to_string(foreign.join("thesis.txt")).unwrap(), "years of work");
    }

    #[test]
    fn adding_to_a_directory_of_ours_keeps_rows_and_foreign_files_and_joins_the_machines() {
        let out = tempfile::tempdir().unwrap();
        let first = Directory::create(out.path(), "two", &machine("one", "cp")).unwrap();
        first.append().unwrap().write(run(1)).unwrap();
        fs::write(first.path().join("why.md"), "because").unwrap();
        let second = Directory::create(out.path(), "two", &machine("other", "scp")).unwrap();
        assert_eq!(second.rows::<Run>().unwrap(), [run(1)]);
        assert_eq!(second.text("why.md").unwrap(), "because");
        let machine = second.machine().unwrap();
        assert_eq!(machine.command, "one\nother");
        assert_eq!(machine.peers, [("cp".into(), "1.0".into()), ("scp".into(), "1.0".into())]);
    }

    #[test]
    fn a_label_cannot_lead_out_of_the_directory_of_results() {
        let out = tempfile::tempdir().unwrap();
        for label in ["", "../up", "a b"] {
            assert!(Directory::create(out.path(), label, &Machine::default()).is_err(), "{label}");
        }
    }
}
