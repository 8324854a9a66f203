//! The engine against the model: changes at random, syncs with options at random, and a destination whose disk fails at a call, or whose process
//! dies at one, each of which a gate counts.
//!
//! The model and the changes are shared with the tests of `swarm`, which kill real processes. Here nothing depends on the moment: a seed is
//! the same sequence each time, as far as the engine's threads let it be. `SWARMWIRE_MODEL_SEED` and `SWARMWIRE_MODEL_SEQUENCES` are as there.

#[path = "../shared/model/edits.rs"]
mod edits;
#[path = "../shared/model/expect.rs"]
mod expect;
#[path = "../shared/model/options.rs"]
mod options;
#[path = "../shared/model/tree.rs"]
mod tree;
#[path = "../shared/model/verdict.rs"]
mod verdict;

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use rustix::io::Errno;
use swarmwire_common::{
    entry::Timestamp,
    filter::Selection,
    hashes::HashStore,
    path::RelPath,
    root::{
        Root,
        attributes::Namespaces,
        gate::{DiskOp, Gate},
    },
    sync::{Destination, EventQueue, Outcome, Source, events},
    wire::{
        change::Change,
        extra::Preserve,
        sync::{Compress, Deletion, Durability, Keep, Listed, Rule, Selection as Selecting, SyncOptions},
    },
};
use tempfile::TempDir;

use crate::pair::Pair;
use options::{Options, one_in, pick};
use tree::{Tree, difference, read};

/// Sequences of an ordinary run, which take some seconds.
const SEQUENCES: u64 = 5;

#[tokio::test]
async fn whatever_the_disk_does_the_destination_is_what_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("it is a number"));
    let first: u64 = number("SWARMWIRE_MODEL_SEED").unwrap_or(1);
    let sequences: u64 = number("SWARMWIRE_MODEL_SEQUENCES").unwrap_or(SEQUENCES);
    for seed in first..first + sequences {
        let mut world = World {
            seed,
            trees: [(); 2].map(|()| tempfile::tempdir().unwrap()),
            hashes: tempfile::tempdir().unwrap(),
            steps: Vec::new(),
        };
        world.run().await;
        world.steps.clear();
    }
}

/// Which calls that change the disk fail, by their number.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    /// One of them.
    Failure(usize, Errno),
    /// All from one on, which is what a death at it leaves.
    Death(usize),
}

#[derive(Debug)]
struct Faults {
    trouble: Trouble,
    seen: AtomicUsize,
}

impl Gate for Faults {
    fn pass(&self, _op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let number = self.seen.fetch_add(1, Relaxed);
        match self.trouble {
            Trouble::Failure(at, errno) if number == at => Err(errno.into()),
            Trouble::Death(at) if number >= at => Err(Errno::IO.into()),
            _ => Ok(()),
        }
    }
}

/// Two trees, between which syncs go both ways.
struct World {
    seed: u64,
    trees: [TempDir; 2],
    /// What either side remembers of its files.
    hashes: TempDir,
    steps: Vec<String>,
}

impl Drop for World {
    #[expect(
        clippy::print_stderr,
        reason = "what fails is asserted deep in; the test's output is where it is looked for"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, steps) = (self.seed, self.steps.join("\n  "));
            eprintln!(
                "seed {seed}, after these steps:\n  {steps}\nagain: SWARMWIRE_MODEL_SEED={seed} \
                SWARMWIRE_MODEL_SEQUENCES=1 cargo test -p swarmwire-common --test it model::"
            );
        }
    }
}

impl World {
    async fn run(&mut self) {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let first = rng.usize(..2);
        (0..rng.usize(3..15)).for_each(|_| self.edit(&mut rng, first));
        // How many calls the last sync made: a trouble beyond them would be none.
        let mut calls = 20;
        for _ in 0..rng.usize(5..14) {
            let source = rng.usize(..2);
            if one_in(&mut rng, 6) {
                self.sync_by_content(&mut rng, source).await;
                continue;
            }
            if one_in(&mut rng, 2) {
                (0..rng.usize(1..6)).for_each(|_| self.edit(&mut rng, source));
            }
            let options = {
                let [from, to] = [source, 1 - source].map(|tree| read(self.trees[tree].path()).0);
                Options::random(&mut rng, (&from, &to))
            };
            let errno =
                pick(&mut rng, &[Errno::NOSPC, Errno::ACCESS, Errno::ROFS, Errno::IO, Errno::NAMETOOLONG]);
            let trouble = match rng.u32(..4) {
                0 | 1 if !options.dry_run => Trouble::Death(rng.usize(..calls + 3)),
                2 if !options.dry_run => Trouble::Failure(rng.usize(..calls + 3), errno),
                _ => Trouble::None,
            };
            calls = self.sync(source, &options, trouble).await.max(8);
        }
        let options = Options::mirror(&mut rng);
        self.sync(first, &options, Trouble::None).await;
    }

    /// What is remembered hides no change.
    async fn sync_by_content(&mut self, rng: &mut fastrand::Rng, source: usize) {
        let options = Options { checksum: true, ..Options::mirror(rng) };
        self.sync(source, &options, Trouble::None).await;
        for _ in 0..2 {
            let tree = rng.usize(..2);
            let told = edits::edit_unseen(rng, self.trees[tree].path());
            self.steps.push(format!("{tree}: {told}"));
            self.sync(source, &options, Trouble::None).await;
        }
    }

    fn edit(&mut self, rng: &mut fastrand::Rng, tree: usize) {
        let told = edits::edit(rng, self.trees[tree].path());
        self.steps.push(format!("{tree}: {told}"));
    }

    /// Syncs from the tree `from` to the other one and checks what came of it; gives the number of calls that changed the disk.
    async fn sync(&mut self, from: usize, options: &Options, trouble: Trouble) -> usize {
        let [from, to] = [from, 1 - from].map(|tree| self.trees[tree].path().to_owned());
        let (source, before) = (read(&from).0, read(&to).0);
        let expected = expect::expect(&source, &before, options);
        self.steps.push(format!("sync to {}, {trouble:?}, {options:?}", to.display()));
        let gate = Arc::new(Faults { trouble, seen: AtomicUsize::new(0) });
        let (outcome, queue) = self.transfer(&from, &to, options, gate.clone()).await;
        let (found, reserved) = read(&to);
        self.steps.push(format!("it ended: {outcome:?}"));
        let source_now = read(&from).0;
        verdict::check_source_broken_off(&expected, &source, &source_now, &found);
        let calls = gate.seen.load(Relaxed);
        match trouble {
            Trouble::Failure(at, _) | Trouble::Death(at) if at < calls => {
                verdict::check_broken_off(options, &before, &expected, &found);
                // What is left of the staging place is nobody's failure.
                let is_told = outcome.error.is_some() || outcome.report.entries_failed > 0;
                let is_done = || {
                    let settled = verdict::settled(options, &before, &expected, &found);
                    difference(&settled, &found).is_empty()
                };
                assert!(is_told || !expected.touched.is_empty() || is_done(), "a failure went unnoticed");
            }
            _ => {
                verdict::check_source(&expected, &source, &source_now);
                self.check(options, (&before, &expected, &found), &outcome, &queue);
                let places = reserved.iter().filter(|name| !name.starts_with(".swarmwire-part-")).count();
                assert!(options.dry_run || places == 0, "left: {reserved:?}");
            }
        }
        calls
    }

    async fn transfer(
        &self,
        from: &Path,
        to: &Path,
        options: &Options,
        gate: Arc<dyn Gate>,
    ) -> (Outcome, EventQueue) {
        let selection = Arc::new(Selection::from_wire(selecting(options)).unwrap());
        let (telling, queue) = events();
        let source = Source::open(Arc::new(Root::open(from).unwrap()), RelPath::root(), None).unwrap();
        let source = source.selecting(selection.clone()).unwrap().carrying(Namespaces::permitted());
        let root = Arc::new(Root::open_gated(to, Some(gate)).unwrap());
        let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
        let destination = destination.telling(telling).selecting(selection);
        let destination = destination.carrying(Namespaces::permitted());
        let (source, destination) = match options.backup {
            Some(dir) => {
                let dir = RelPath::parse(dir.as_bytes()).unwrap();
                (source.backing_up(dir.clone()), destination.backing_up(dir))
            }
            None => (source, destination),
        };
        let store = |name| Arc::new(HashStore::new(self.hashes.path().join(name), now));
        let (source, destination) = if from == self.trees[0].path() {
            (source.remembering(store("0")), destination.remembering(store("1")))
        } else {
            (source.remembering(store("1")), destination.remembering(store("0")))
        };
        // One for each: reading the trees in between may take longer than a connection lives without a word.
        let [_, received] = Pair::connect().await.sync(source, destination, message(options)).await;
        (received, queue)
    }

    fn check(
        &self,
        options: &Options,
        (before, expected, found): (&Tree, &expect::Expected, &Tree),
        outcome: &Outcome,
        queue: &EventQueue,
    ) {
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        verdict::check_done(options, before, expected, found);
        let report = &outcome.report;
        let changes = std::iter::from_fn(|| queue.try_next())
            .map(|event| (shown(&event.path), word(event.change).to_owned()));
        let counts = (report.entries_total, report.entries_deleted);
        verdict::check_told(options, expected, changes.collect(), counts);
        let failed: BTreeSet<_> = report.failed.iter().map(|failure| shown(&failure.path)).collect();
        assert!(verdict::is_limited(options, expected) || failed == expected.failed, "{failed:?}");
    }
}

fn message(options: &Options) -> SyncOptions {
    let default = SyncOptions::default();
    let manner = options.manner;
    SyncOptions {
        checksum: options.checksum,
        delete: match (options.delete, options.max_delete) {
            (false, _) => Deletion::None,
            (true, None) => Deletion::All,
            (true, Some(limit)) => Deletion::AtMost(limit),
        },
        keep: match options.keep {
            options::Keep::Nothing => Keep::None,
            options::Keep::Newer => Keep::Newer,
            options::Keep::Existing => Keep::Existing,
        },
        dry_run: options.dry_run,
        itemize: true,
        remove_source: options.remove_source,
        compress: manner.compress.map_or(default.compress, |level| match level {
            0 => Compress::Never,
            level => Compress::Level(level),
        }),
        jobs: manner.jobs.unwrap_or(default.jobs),
        durability: manner.durability.map_or(default.durability, |durability| match durability {
            options::Durability::None => Durability::None,
            options::Durability::Batch => Durability::Batch,
            options::Durability::File => Durability::File,
        }),
        preserve: Preserve {
            owner: options.preserve.owner,
            xattrs: options.preserve.xattrs,
            hard_links: options.preserve.hard_links,
            special_bits: options.preserve.special_bits,
            sparse: manner.sparse,
        },
        ..default
    }
}

#[expect(clippy::disallowed_methods, reason = "the store compares it with the file system's")]
fn now() -> Timestamp {
    SystemTime::now().into()
}

fn selecting(options: &Options) -> Selecting {
    let bound =
        |age| (options.age == Some(age)).then_some(Timestamp { seconds: options::AGE_BOUND, nanoseconds: 0 });
    let rule = |(takes, pattern): &(bool, options::Pattern)| Rule { takes: *takes, pattern: pattern.typed() };
    Selecting {
        rules: options.rules.iter().map(rule).collect(),
        matching: options.matching.map(str::to_owned),
        listed: options.listed.as_ref().map_or(Listed::All, |listed| {
            Listed::Paths(listed.iter().map(|path| path.clone().into_bytes()).collect())
        }),
        size_min: options.min_size,
        size_max: options.max_size,
        mtime_min: bound(options::Age::Newer),
        mtime_max: bound(options::Age::Older),
        ..Selecting::default()
    }
}

/// As the summary of `swarm` shows it.
fn shown(path: &RelPath) -> String {
    if path.is_root() { ".".to_owned() } else { String::from_utf8(path.as_bytes().to_vec()).unwrap() }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Create => "create",
        Change::Update(_) => "update",
        Change::Metadata => "metadata",
        Change::MakeDirectory => "mkdir",
        Change::MakeSymlink => "symlink",
        Change::Delete => "delete",
        Change::Differs(_) => "differs",
    }
}
