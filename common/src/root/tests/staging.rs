//! The private places: made, hidden, held, removed by their holder, and cleaned when nobody holds them any more.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use super::{Place, name, names_at};
use crate::{
    path::RelPath,
    root::{
        Root,
        staging::{PartialKey, Staging, TempName, clean, partials},
    },
};

const FIRST: &str = ".swarmwire-0000000000000001";
const SECOND: &str = ".swarmwire-0000000000000002";

/// A place by the first of these seeds whose name is free.
fn create(place: &Place, seeds: &[u64]) -> Staging {
    let mut seeds = seeds.iter().copied();
    Staging::create(place.top(), u64::MAX, move || seeds.next().expect("one of the names is free")).unwrap()
}

#[test]
fn a_place_is_private_hidden_and_goes_with_its_content() {
    let place = Place::new();
    let staging = create(&place, &[1]);
    assert_eq!(names_at(&place.inside("")), [FIRST]);
    assert!(place.top().names().unwrap().is_empty());
    assert_eq!(staging.dir().stat_self().unwrap().metadata.mode, 0o700);

    let temps = [staging.next_name(), staging.next_name(), staging.next_name()];
    for temp in &temps {
        staging.dir().create_file(temp.as_name()).unwrap();
    }
    assert_eq!(names_at(&place.inside(FIRST)).len(), temps.len());
    drop(staging);
    assert!(names_at(&place.inside("")).is_empty());
}

#[test]
fn a_taken_name_is_passed_over() {
    let place = Place::new();
    fs::write(place.inside(FIRST), "somebody's").unwrap();
    let staging = create(&place, &[1, 2]);
    assert_eq!(names_at(&place.inside("")), [FIRST, SECOND]);
    drop(staging);
    assert_eq!(fs::read(place.inside(FIRST)).unwrap(), b"somebody's");
}

#[test]
fn a_held_place_stays_and_an_abandoned_one_goes() {
    let place = Place::new();
    // Another handle to the same directory, as another process would have.
    let other = Root::open(&place.inside("")).unwrap();
    let held = create(&place, &[1]);
    held.dir().create_file(held.next_name().as_name()).unwrap();
    // What a crash leaves: the place with its files, and no lock.
    fs::create_dir(place.inside(SECOND)).unwrap();
    fs::write(place.inside(SECOND).join("0000000000000000"), "half").unwrap();
    assert_eq!(clean(other.top()).unwrap(), 1);
    assert_eq!(names_at(&place.inside("")), [FIRST]);
    assert_eq!(names_at(&place.inside(FIRST)).len(), 1);

    drop(held);
    assert!(names_at(&place.inside("")).is_empty());
    assert_eq!(clean(other.top()).unwrap(), 0);
}

#[test]
fn what_merely_looks_like_a_place_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.inside(".swarmwire-notes")).unwrap();
    fs::write(place.inside(".swarmwire-notes/kept"), "x").unwrap();
    fs::create_dir(place.inside(".swarmwire-000000000000000A")).unwrap();
    fs::write(place.inside(FIRST), "x").unwrap();
    symlink("../outside", place.inside(SECOND)).unwrap();
    let before = names_at(&place.inside(""));
    assert_eq!(clean(place.top()).unwrap(), 0);
    assert_eq!(names_at(&place.inside("")), before);
    assert_eq!(names_at(&place.inside(".swarmwire-notes")), ["kept"]);
    place.assert_outside_untouched();
}

#[test]
fn a_place_that_cannot_be_emptied_does_not_keep_the_others() {
    let place = Place::new();
    fs::create_dir_all(place.inside(FIRST).join("no place has a directory")).unwrap();
    fs::create_dir(place.inside(SECOND)).unwrap();
    assert_eq!(clean(place.top()).unwrap(), 1);
    assert_eq!(names_at(&place.inside("")), [FIRST]);
}

#[test]
fn links_in_an_abandoned_place_are_removed_and_not_followed() {
    let place = Place::new();
    fs::create_dir(place.inside(FIRST)).unwrap();
    symlink("../../outside", place.inside(FIRST).join("directory")).unwrap();
    symlink("../../outside/secret", place.inside(FIRST).join("file")).unwrap();
    assert_eq!(clean(place.top()).unwrap(), 1);
    place.assert_outside_untouched();
}

const PARTIAL: &str = ".swarmwire-part-00000000000000f";

/// Has a place with an unfinished file go, as a crash or an interruption leaves it.
fn interrupt(place: &Place) {
    let staging = create(place, &[1]);
    let key = partials(place.top()).unwrap().into_iter().next().unwrap();
    staging.dir().create_file(TempName::partial(&key).as_name()).unwrap().write_at(0, b"half").unwrap();
}

/// Story: a directory of that name kept the place, with all that was in it, for ever.
#[test]
fn whatever_has_the_name_of_an_unfinished_file_does_not_keep_the_place() {
    for (what, kept) in [("directory", false), ("link", true), ("shorter", true), ("longer", false)] {
        let place = Place::new();
        match what {
            "directory" => fs::create_dir_all(place.inside(PARTIAL).join("full")).unwrap(),
            "link" => symlink("../outside/secret", place.inside(PARTIAL)).unwrap(),
            "shorter" => fs::write(place.inside(PARTIAL), "ha").unwrap(),
            _ => fs::write(place.inside(PARTIAL), "half and more").unwrap(),
        }
        interrupt(&place);
        assert_eq!(names_at(&place.inside("")), [PARTIAL], "{what}");
        let is_kept = fs::read(place.inside(PARTIAL)).is_ok_and(|content| content == b"half");
        assert_eq!(is_kept, kept, "{what}");
        place.assert_outside_untouched();
    }
}

/// Story: a file that was dated by a clock that was ahead would have waited for its time to come, and a week.
#[test]
fn unfinished_files_go_after_a_week_whatever_the_clock_was() {
    let day = Duration::from_secs(24 * 60 * 60);
    let place = Place::new();
    let staging = create(&place, &[1]);
    let seconds = u64::try_from(staging.dir().stat_self().unwrap().metadata.mtime.seconds).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(seconds);
    for (time, stays) in [
        (now - 6 * day, true),
        (now - 8 * day, false),
        (now + day, true),
        (now + 8 * day, false),
        (now + 40_000 * day, false),
        (UNIX_EPOCH - day, false),
    ] {
        fs::File::create(place.inside(PARTIAL)).unwrap().set_modified(time).unwrap();
        staging.expire_partials().unwrap();
        assert_eq!(place.inside(PARTIAL).exists(), stays, "{time:?}");
    }
}

#[test]
fn makers_and_cleaners_do_not_disturb_each_other() {
    let place = Place::new();
    let (seed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let make = || {
        let root = Root::open(&place.inside("")).unwrap();
        for _ in 0..100 {
            // Few names, so that they collide and come again.
            let seed = || seed.fetch_add(1, Ordering::Relaxed) % 7;
            let staging = Staging::create(root.top(), u64::MAX, seed).unwrap();
            let temp = staging.next_name();
            staging.dir().create_file(temp.as_name()).unwrap().write_at(0, b"x").unwrap();
            staging.dir().rename(temp.as_name(), root.top(), name("result")).unwrap();
            drop(staging);
        }
    };
    thread::scope(|scope| {
        let makers = [scope.spawn(make), scope.spawn(make), scope.spawn(make)];
        let cleaner = scope.spawn(|| {
            let root = Root::open(&place.inside("")).unwrap();
            while !done.load(Ordering::Relaxed) {
                clean(root.top()).unwrap();
            }
        });
        let made = makers.map(thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Relaxed);
        cleaner.join().unwrap();
        made.into_iter().for_each(Result::unwrap);
    });
    assert_eq!(names_at(&place.inside("")), ["result"]);
}

#[test]
fn of_unfinished_files_the_youngest_are_kept_as_far_as_there_is_room() {
    const PARTS: [&str; 3] = [
        ".swarmwire-part-000000000000001",
        ".swarmwire-part-000000000000002",
        ".swarmwire-part-000000000000003",
    ];
    for (bytes_max, kept) in [(u64::MAX, 3), (30, 3), (29, 2), (20, 2), (19, 1), (10, 1), (9, 0), (0, 0)] {
        let place = Place::new();
        for (age, part) in PARTS.iter().enumerate() {
            fs::write(place.inside(part), "0123456789").unwrap();
            let hour = Duration::from_secs(3600) * u32::try_from(age).unwrap();
            let file = fs::File::open(place.inside(part)).unwrap();
            file.set_modified(file.metadata().unwrap().modified().unwrap() - hour).unwrap();
        }
        let staging = Staging::create(place.top(), bytes_max, || 1).unwrap();
        staging.expire_partials().unwrap();
        drop(staging);
        assert_eq!(names_at(&place.inside("")), PARTS[..kept], "{bytes_max}");
    }
}

#[test]
fn what_becomes_unfinished_counts_as_well_and_with_no_room_nothing_is_kept() {
    let key = PartialKey::of(&RelPath::parse(b"large").unwrap());
    for (bytes_max, kept) in [(10, 1), (9, 0), (0, 0)] {
        let place = Place::new();
        let staging = Staging::create(place.top(), bytes_max, || 1).unwrap();
        let temp = TempName::partial(&key);
        staging.dir().create_file(temp.as_name()).unwrap().write_at(0, b"0123456789").unwrap();
        drop(staging);
        assert_eq!(names_at(&place.inside("")).len(), kept, "{bytes_max}");
    }
}
