//! The journal: what was interrupted, by what terms, and what is left of it after a rotation.

use std::fs;

use swarmwire_common::entry::Timestamp;

use super::*;

const USAGE: Usage = Usage { used: 8120, total: 10_000 };

fn open(dir: &PrivateDir) -> Option<Journal> {
    open_on(dir, b"terms")
}

fn open_on(dir: &PrivateDir, terms: &[u8]) -> Option<Journal> {
    let title = "offload gw:logs to /archive\n";
    Journal::open(dir.clone(), (b"gw:logs", terms), title, || SystemTime::UNIX_EPOCH).unwrap()
}

fn is_unfinished(journal: &Journal) -> bool {
    journal.interrupted().unwrap().is_some()
}

fn terms() -> Terms {
    Terms::new("75%".parse().unwrap(), "25%".parse().unwrap()).unwrap()
}

#[test]
fn what_has_moved_something_is_unfinished_until_its_end() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(temp.path().join("offload")).unwrap();
    let journal = Arc::new(open(&dir).unwrap());
    assert!(open(&dir).is_none(), "it has a lock");
    assert!(!is_unfinished(&journal));
    journal.begin(&terms(), USAGE).unwrap();
    assert!(!is_unfinished(&journal), "nothing has been moved");
    let path = RelPath::parse(b"a b\n.log").unwrap();
    let mtime = Timestamp { seconds: -5, nanoseconds: 7 };
    let moved = Moved { path: path.clone(), size: 12, mtime, hash: [0xab; 32] };
    let ledger = BatchLedger::new(Arc::clone(&journal));
    ledger.enter(std::slice::from_ref(&moved)).unwrap();
    assert_eq!(ledger.take(), [moved]);
    assert!(is_unfinished(&journal));
    journal.stays(&[(path, "it has\nchanged".to_owned())]).unwrap();
    let at = journal.path();
    drop((journal, ledger));
    let journal = open(&dir).unwrap();
    assert!(is_unfinished(&journal), "after a crash, too");
    journal.end(USAGE).unwrap();
    assert!(!is_unfinished(&journal));
    let time = "1970-01-01T00:00:00.000Z";
    assert_eq!(
        fs::read_to_string(at).unwrap(),
        format!(
            "# offload gw:logs to /archive\\x0a\n\
             {time} begin terms={} above=75% until=25% used=8120 of=10000\n\
             {time} safe size=12 mtime=-4.999999993 blake3={} a b\\x0a.log\n\
             {time} stays a b\\x0a.log: it has\\x0achanged\n\
             {time} end used=8120 of=10000\n",
            id(b"terms"),
            "ab".repeat(32)
        )
    );
}

#[test]
fn a_torn_line_says_nothing_and_the_next_one_is_whole() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(temp.path().join("offload")).unwrap();
    let journal = open(&dir).unwrap();
    journal.enter(&["safe a".to_owned()]).unwrap();
    let at = journal.path();
    drop(journal);
    File::options().append(true).open(&at).unwrap().write_all(b"1970-01-01T00:00:00.000Z end us").unwrap();
    let journal = open(&dir).unwrap();
    assert!(is_unfinished(&journal));
    journal.end(USAGE).unwrap();
    assert!(!is_unfinished(&journal));
    assert_eq!(fs::read_to_string(at).unwrap().lines().count(), 4);
}

#[test]
fn a_journal_is_bounded_and_begins_anew_in_the_middle_of_an_offload() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(temp.path().join("offload")).unwrap();
    let journal = open(&dir).unwrap();
    journal.begin(&terms(), USAGE).unwrap();
    let at = journal.path();
    File::options().write(true).open(&at).unwrap().set_len(limits::JOURNAL_BYTES_MAX - 10).unwrap();
    journal.enter(&["safe a".to_owned()]).unwrap();
    assert!(is_unfinished(&journal));
    assert!(fs::metadata(&at).unwrap().len() < 200);
    let text = fs::read_to_string(&at).unwrap();
    assert!(!text.contains("goes-on"), "nothing had been moved: {text}");
    let old = dir.path().join(format!("{}.old", journal.name));
    assert_eq!(fs::metadata(old).unwrap().len(), limits::JOURNAL_BYTES_MAX - 10);
}

#[test]
fn an_interruption_is_known_however_much_was_entered_after_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(temp.path().join("offload")).unwrap();
    let journal = open(&dir).unwrap();
    journal.begin(&terms(), USAGE).unwrap();
    journal.enter(&["safe a".to_owned()]).unwrap();
    let stays = |count: usize| {
        let path = RelPath::parse(b"some/file").unwrap();
        journal.stays(&vec![(path, "x".repeat(4096)); count]).unwrap();
    };
    stays(1024);
    assert!(fs::metadata(journal.path()).unwrap().len() > 4 * 1024 * 1024);
    let asked = |terms: &[u8]| Journal::was_interrupted(&dir, (b"gw:logs", terms)).unwrap().is_some();
    assert!(is_unfinished(&journal) && asked(b"terms") && !asked(b"others"));
    // Until it begins anew, with nothing in it but what stays.
    stays(4096);
    let text = fs::read_to_string(journal.path()).unwrap();
    assert_eq!(text.lines().nth(1).unwrap().split(' ').nth(1), Some("goes-on"));
    assert!(is_unfinished(&journal) && asked(b"terms") && !asked(b"others"));
    journal.end(USAGE).unwrap();
    assert!(!is_unfinished(&journal) && !asked(b"terms"));
}

/// Story: what had arrived and was not removed stayed at both places where what had gone was enough.
#[test]
fn the_last_batch_is_known_until_the_end_and_through_a_rotation() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(temp.path().join("offload")).unwrap();
    let journal = open(&dir).unwrap();
    let place = |seconds, path: &[u8]| (Timestamp { seconds, nanoseconds: 7 }, RelPath::parse(path).unwrap());
    let (first, second) = (place(-2, b"a"), place(5, b"b c\n/\xff"));
    journal.begin(&terms(), USAGE).unwrap();
    journal.batch(&first).unwrap();
    let told = || journal.interrupted().unwrap().map(|interrupted| interrupted.last);
    assert_eq!(told(), Some(Some(first)));
    journal.enter(&["safe a".to_owned()]).unwrap();
    journal.batch(&second).unwrap();
    let line = "batch mtime=5.000000007 path=6220630a2fff\n";
    assert!(fs::read_to_string(journal.path()).unwrap().ends_with(line));
    assert_eq!(told(), Some(Some(second.clone())));
    File::options()
        .write(true)
        .open(journal.path())
        .unwrap()
        .set_len(limits::JOURNAL_BYTES_MAX - 10)
        .unwrap();
    File::options().append(true).open(journal.path()).unwrap().write_all(b"\n").unwrap();
    journal.enter(&["safe b".to_owned()]).unwrap();
    let text = fs::read_to_string(journal.path()).unwrap();
    assert!(text.lines().count() == 4 && text.contains("goes-on") && text.contains(line), "{text}");
    assert_eq!(told(), Some(Some(second)));
    journal.end(USAGE).unwrap();
    assert_eq!(told(), None);
}

#[test]
fn what_was_interrupted_on_other_terms_is_not_gone_on_with() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(temp.path().join("offload")).unwrap();
    let journal = open(&dir).unwrap();
    journal.begin(&terms(), USAGE).unwrap();
    journal.enter(&["safe a".to_owned()]).unwrap();
    drop(journal);
    let other = open_on(&dir, b"others").unwrap();
    assert!(!is_unfinished(&other));
    drop(other);
    assert!(is_unfinished(&open(&dir).unwrap()));
}
