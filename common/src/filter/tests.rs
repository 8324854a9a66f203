//! Tables of what is taken and left, and what a hostile peer can ask for.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use crate::{
    codec::{decode, encode},
    limits::OPEN_FRAME_BYTES_MAX,
    wire::{
        sync::{Rule, Selection as Wire},
        tests::strategies,
    },
};

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn file(size: u64, seconds: i64) -> Subject {
    Subject::File { size, mtime: Timestamp { seconds, nanoseconds: 0 } }
}

/// Rules as `+pattern` and `-pattern`, in the order of the command line.
fn rules(typed: &[&str]) -> Selection {
    let rule = |text: &&str| Rule { takes: text.starts_with('+'), pattern: text[1..].to_owned() };
    Selection::from_wire(Wire { rules: typed.iter().map(rule).collect(), ..Wire::default() }).unwrap()
}

/// Whether the entry takes part; a trailing slash makes it a directory.
fn takes(selection: &Selection, entry: &str) -> bool {
    let subject = if entry.ends_with('/') { Subject::Directory } else { file(1, 0) };
    selection.decide(&path(entry), subject) == Verdict::Take
}

#[test]
fn patterns_mean_what_they_mean_in_gitignore() {
    for (pattern, fits, passes) in [
        ("*.log", &["a.log", "d/e/a.log", ".log", "x.log/"][..], &["a.logs", "log"][..]),
        ("a", &["a", "d/a", "a/"], &["ab", "d/ab"]),
        ("/a", &["a", "a/"], &["d/a"]),
        ("d/a", &["d/a"], &["x/d/a", "a"]),
        ("/d/a", &["d/a"], &["x/d/a"]),
        ("a/", &["a/", "d/a/"], &["a", "d/a"]),
        ("/d/*", &["d/x", "d/y/"], &["d/", "d/x/y"]),
        ("**/a", &["a", "d/a", "d/e/a"], &["ab"]),
        ("d/**", &["d/x", "d/x/y", "d/x/"], &["d/", "d", "e/x"]),
        ("d/**/z", &["d/z", "d/x/z", "d/x/y/z"], &["z", "d/x"]),
        ("a?c", &["abc", "a.c"], &["ac", "a/c", "abbc"]),
        ("[a-c]x", &["ax", "cx"], &["dx"]),
        ("[!a-c]x", &["dx"], &["ax"]),
        ("[]{]x", &["]x", "{x"], &["x"]),
        ("{a,b}", &["{a,b}"], &["a", "b"]),
        (r"\*", &["*"], &["a"]),
        (r"\!x", &["!x"], &["x"]),
        ("!x", &["!x"], &["x"]),
        ("*", &["a", "d/", "d/a"], &[]),
        ("ö*", &["öx"], &["ox"]),
    ] {
        let selection = rules(&[&format!("-{pattern}")]);
        for entry in fits {
            assert!(!takes(&selection, entry), "`{pattern}` fits `{entry}`");
        }
        for entry in passes {
            assert!(takes(&selection, entry), "`{pattern}` passes `{entry}`");
        }
    }
}

#[test]
fn names_that_are_no_text_are_matched_as_bytes() {
    let selection = rules(&["-*.log"]);
    let name = RelPath::from_wire(b"d/\xff\n.log".to_vec()).unwrap();
    assert_eq!(selection.decide(&name, file(1, 0)), Verdict::Leave);
}

#[test]
fn the_first_rule_that_fits_decides_and_a_directory_that_is_left_is_pruned() {
    let selection = rules(&["+keep.log", "-*.log", "-/tmp/", "+*"]);
    for (entry, expected) in [
        ("keep.log", true),
        ("a.log", false),
        ("a.txt", true),
        ("tmp/", false),
        ("tmp", true),
        ("x/tmp/", true),
    ] {
        assert_eq!(takes(&selection, entry), expected, "{entry}");
    }
    assert_eq!(selection.decide(&path("tmp"), Subject::Directory), Verdict::Prune);
    assert_eq!(selection.decide(&path("a.log"), Subject::Other), Verdict::Leave);
}

#[test]
fn a_file_of_rules_is_read_as_git_reads_it() {
    let text =
        "\u{feff}# all logs\r\n*.log\r\n\n!keep.log\n/only-here  \nspace\\ \n\\#hash\n\\!bang\n!\n   \n";
    let rules = parse_rules(text.as_bytes()).unwrap();
    let shown: Vec<String> =
        rules.iter().map(|rule| format!("{}{}", if rule.takes { '+' } else { '-' }, rule.pattern)).collect();
    // The last one that fits decides in the file, so it comes first.
    assert_eq!(shown, ["-\\!bang", "-\\#hash", "-space\\ ", "-/only-here", "+keep.log", "-*.log"]);
    let selection = Selection::from_wire(Wire { rules, ..Wire::default() }).unwrap();
    for (entry, expected) in
        [("a.log", false), ("d/keep.log", true), ("space ", false), ("space", true), ("#hash", false)]
    {
        assert_eq!(takes(&selection, entry), expected, "{entry}");
    }
}

#[test]
fn a_file_of_rules_that_makes_no_sense_names_the_line() {
    for (text, told) in [
        (&b"a\n[z-a]\n"[..], "line 2: the pattern `[z-a]` cannot be read"),
        (b"\xff", "line 1: it is not UTF-8"),
        (b"a\nb\n/\n", "line 3: the pattern `/` names nothing"),
    ] {
        let err = parse_rules(text).unwrap_err().to_string();
        assert!(err.starts_with(told), "{err}");
    }
}

#[test]
fn an_expression_is_about_files_and_links_and_their_whole_path() {
    let selection =
        Selection::from_wire(Wire { matching: Some("^a/.*\\.log$".into()), ..Wire::default() }).unwrap();
    for (entry, expected) in [("a/x.log", true), ("b/x.log", false), ("x.log", false), ("b/", true)] {
        assert_eq!(takes(&selection, entry), expected, "{entry}");
    }
    assert_eq!(selection.decide(&path("a/x"), Subject::Other), Verdict::Leave);
}

#[test]
fn bounds_are_about_regular_files_and_include_their_ends() {
    let at = |seconds| Some(Timestamp { seconds, nanoseconds: 0 });
    let wire = Wire {
        size_min: Some(10),
        size_max: Some(20),
        mtime_min: at(-5),
        mtime_max: at(100),
        ..Wire::default()
    };
    let selection = Selection::from_wire(wire).unwrap();
    for (subject, expected) in [
        (file(9, 0), Verdict::Leave),
        (file(10, 0), Verdict::Take),
        (file(20, 100), Verdict::Take),
        (file(21, 0), Verdict::Leave),
        (file(15, -6), Verdict::Leave),
        (file(15, -5), Verdict::Take),
        (file(15, 101), Verdict::Leave),
        (Subject::Directory, Verdict::Take),
        (Subject::Other, Verdict::Take),
    ] {
        assert_eq!(selection.decide(&path("x"), subject), expected, "{subject:?}");
    }
}

fn list(paths: &[&str]) -> List {
    let mut list = List::default();
    paths.iter().try_for_each(|text| list.push(path(text))).unwrap();
    list
}

#[test]
fn a_list_takes_what_is_in_it_with_what_is_below_and_the_way_there() {
    let selection = Selection::default().listing(list(&["b/c", "a", "b/c", "d-e", "d/e/f"]));
    for (entry, expected) in [
        ("a", true),
        ("a/", true),
        ("a/x/y", true),
        ("ab", false),
        ("b/", true),
        ("b", false),
        ("b/x", false),
        ("b/c", true),
        ("b/c/d", true),
        ("d/", true),
        ("d/e/", true),
        ("d/e/g", false),
        ("e/", false),
    ] {
        assert_eq!(takes(&selection, entry), expected, "{entry}");
    }
    assert_eq!(selection.list().unwrap().paths().len(), 4, "doubles are dropped");
    let all = Selection::default().listing(list(&["."]));
    assert!(takes(&all, "x/y") && takes(&all, "x/"));
    let none = Selection::default().listing(list(&[]));
    assert!(!takes(&none, "x") && !takes(&none, "x/"));
}

#[test]
fn a_list_that_is_too_long_for_the_opening_travels_apart_and_comes_together_again() {
    let mut long = List::default();
    for number in 0..10_000 {
        long.push(path(&format!("some/directory/with-a-name/{number:06}"))).unwrap();
    }
    let selection = Selection::default().listing(long);
    assert_eq!(selection.to_wire().listed, WireListed::Apart);
    let received = Selection::from_wire(selection.to_wire()).unwrap();
    assert!(received.awaits_list() && !received.is_everything());
    let portions: Vec<_> = selection.list_apart().unwrap().portions().collect();
    assert!(portions.len() > 1 && portions.iter().all(|portion| !portion.is_empty()));
    let mut again = List::default();
    portions.into_iter().try_for_each(|portion| again.extend(portion)).unwrap();
    assert_eq!(received.listing(again).list(), selection.list());

    let short = Selection::default().listing(list(&["a", "b/c"]));
    assert!(short.list_apart().is_none());
    assert_eq!(Selection::from_wire(short.to_wire()).unwrap().list(), short.list());
}

#[test]
fn what_a_selection_leaves_out_is_protected_at_the_destination() {
    let bounded = Selection::from_wire(Wire { size_max: Some(10), ..Wire::default() }).unwrap();
    let matching = Selection::from_wire(Wire { matching: Some("log$".into()), ..Wire::default() }).unwrap();
    let apart = Selection::from_wire(Wire { listed: WireListed::Apart, ..Wire::default() }).unwrap();
    for (selection, protected, free) in [
        (Selection::default(), &[][..], &["a", "d/"][..]),
        (rules(&["+a/keep", "-/a/", "-*.log"]), &["a/", "a/x", "a/keep", "d/x.log"], &["a", "d/x", "d/"]),
        (matching, &["a", "d/e"], &["a.log", "d/"]),
        (bounded, &["a", "d/e"], &["d/"]),
        (Selection::default().listing(list(&["d/e"])), &["a", "d/", "d/f"], &["d/e", "d/e/f", "d/e/g/"]),
        (apart, &["a", "d/"], &[]),
    ] {
        for entry in protected {
            assert!(selection.protects(&path(entry), entry.ends_with('/')), "{entry} is protected");
        }
        for entry in free {
            assert!(!selection.protects(&path(entry), entry.ends_with('/')), "{entry} is not protected");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let rule = |pattern: &str| Rule { takes: false, pattern: pattern.to_owned() };
    let with = |rules: Vec<Rule>| Wire { rules, ..Wire::default() };
    let matching = |text: &str| Wire { matching: Some(text.to_owned()), ..Wire::default() };
    let listed = |paths: Vec<Vec<u8>>| Wire { listed: WireListed::Paths(paths), ..Wire::default() };
    let at = |seconds| Some(Timestamp { seconds, nanoseconds: 0 });
    for (wire, told) in [
        (with(vec![rule("")]), "names nothing"),
        (with(vec![rule("/")]), "names nothing"),
        (with(vec![rule("a[")]), "cannot be read"),
        (with(vec![rule(&"a".repeat(5000))]), "longer than any path"),
        (with(vec![rule("a"); limits::PATTERNS_MAX + 1]), "more patterns than 1024"),
        (with(vec![rule(&"a".repeat(4000)); 7]), "more than 24576 bytes"),
        (matching("("), "unclosed group"),
        (matching(&"a".repeat(limits::MATCH_BYTES_MAX + 1)), "more than 4096 bytes"),
        (matching("((a{99}){99}){99}"), "size limit"),
        (listed(vec![b"/a".to_vec()]), "is absolute"),
        (listed(vec![b"a/../b".to_vec()]), "`..`"),
        (listed(vec![vec![b'a'; 200]; 100]), "the list has more"),
        (Wire { size_min: Some(2), size_max: Some(1), ..Wire::default() }, "no file has"),
        (Wire { mtime_min: at(2), mtime_max: at(1), ..Wire::default() }, "no file is both"),
    ] {
        let told_in_fact = Selection::from_wire(wire).unwrap_err().to_string();
        assert!(told_in_fact.contains(told), "{told:?} is not in {told_in_fact:?}");
    }
}

#[test]
fn the_largest_selection_that_is_allowed_fits_the_opening_frame() {
    let pattern = "x".repeat(limits::PATTERN_BYTES_MAX / limits::PATTERNS_MAX);
    let mut longest = List::default();
    // One byte is the worst for a path, and only so many differ.
    for number in 0..4096 {
        longest.push(path(&format!("{number:x}"))).unwrap();
    }
    let time = Some(Timestamp { seconds: i64::MIN, nanoseconds: 999_999_999 });
    let wire = Wire {
        rules: vec![Rule { takes: false, pattern }; limits::PATTERNS_MAX],
        matching: Some("x".repeat(limits::MATCH_BYTES_MAX)),
        size_max: Some(u64::MAX),
        mtime_min: time,
        mtime_max: Some(Timestamp { seconds: i64::MAX, nanoseconds: 0 }),
        ..Wire::default()
    };
    let selection = Selection::from_wire(wire).unwrap().listing(longest);
    assert!(encode(&selection.to_wire()).len() + limits::PATH_BYTES_MAX + 64 <= OPEN_FRAME_BYTES_MAX);
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_a_peer_asks_for_is_refused_or_answers_without_panic(
        wire in strategies::selection(),
        entry in "[ab]{1,2}(/[ab.]{1,2}){0,3}",
        bytes in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let wire = decode::<Wire, OPEN_FRAME_BYTES_MAX>(&encode(&wire)).unwrap();
        let Ok(selection) = Selection::from_wire(wire) else { return Ok(()) };
        prop_assert_eq!(selection.awaits_list(), selection.to_wire().listed == WireListed::Apart);
        for path in [RelPath::from_wire(entry.into_bytes()), RelPath::from_wire(bytes)].into_iter().flatten() {
            for subject in [file(5, 5), Subject::Directory, Subject::Other] {
                let verdict = selection.decide(&path, subject);
                prop_assert_eq!(verdict == Verdict::Prune, verdict != Verdict::Take && subject == Subject::Directory);
                selection.protects(&path, subject == Subject::Directory);
            }
        }
    }
}
