//! One sequence: the two trees, the steps, and what must hold after each.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use swarmwire_common::limits::CHUNK_BYTES;
use swarmwire_server::{grants::Grant, invitations, state::State};
use tempfile::TempDir;

use super::{
    arguments::arguments,
    edits::{edit, edit_unseen},
    expect::{Expected, expect},
    gateway::Running,
    options::{Options, one_in, pick},
    tree::{RESERVED, Tree, difference, read},
    verdict::{check_broken_off, check_done, check_source, check_source_broken_off, check_told, is_limited},
};
use crate::{
    placement::Way,
    world::{ControllerHome, last_event, now, text},
};

/// What no sync of these trees takes; then it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(seed: u64, steps: &Mutex<Vec<String>>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(steps);
    let side = pick(&mut rng, &[Side::Left, Side::Right]);
    for _ in 0..rng.usize(3..15) {
        world.edit(&mut rng, side);
    }
    for _ in 0..rng.usize(5..14) {
        match rng.u32(..11) {
            0..5 => {
                let side = pick(&mut rng, &[Side::Left, Side::Right]);
                (0..rng.usize(1..6)).for_each(|_| world.edit(&mut rng, side));
            }
            5..8 => {
                let way = pick(&mut rng, &[Way::Push, Way::Pull]);
                let options = {
                    let (source, destination) = world.trees(way);
                    Options::random(&mut rng, (&source, &destination))
                };
                world.sync(way, &options);
            }
            8..10 => world.crash(&mut rng),
            _ => world.sync_by_content(&mut rng),
        }
    }
    let way = pick(&mut rng, &[Way::Push, Way::Pull]);
    let options = Options::mirror(&mut rng);
    world.sync(way, &options);
}

#[derive(Clone, Copy, Debug)]
enum Side {
    /// The controller's.
    Left,
    /// The gateway's.
    Right,
}

struct World<'a> {
    temp: TempDir,
    home: ControllerHome,
    gateway: Option<Running>,
    /// How long the last sync took that nobody disturbed.
    usual: Duration,
    steps: &'a Mutex<Vec<String>>,
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// `swarm`; of a push the gateway as well, which would go on with what it has.
    Controller,
    /// `swarm` in a push, while the gateway lives on and has to notice.
    ControllerAlone,
    /// `swarm`, by SIGINT, after which it puts its things in order.
    ControllerAsked,
    Gateway,
    /// The gateway, which is there again before the controller gives up.
    GatewayForAMoment,
}

/// When.
#[derive(Clone, Copy, Debug)]
enum Moment {
    AfterStart(Duration),
    /// After the destination has begun to write.
    AfterBegin(Duration),
}

impl<'a> World<'a> {
    fn new(steps: &'a Mutex<Vec<String>>) -> Self {
        let temp = tempfile::tempdir().unwrap();
        for directory in ["left", "gateway/root/right", "gateway/root/beside"] {
            fs::create_dir_all(temp.path().join(directory)).unwrap();
        }
        fs::write(temp.path().join("gateway/root/beside/file"), "stays").unwrap();
        let mut world = Self {
            temp,
            home: ControllerHome::new(),
            gateway: None,
            usual: Duration::from_millis(100),
            steps,
        };
        world.start_gateway();
        let state = State::open(&world.gateway_home().join("state")).unwrap();
        let token = swarmwire_certs::Token::random().unwrap();
        let allow = "list,pull,push,delete,admin".parse().unwrap();
        let grant = Grant { allow, path: swarmwire_common::path::RelPath::root() };
        invitations::create(&state, &token, &grant, now(), now() + PATIENCE).unwrap();
        let gateway = world.gateway.as_ref().unwrap();
        let (host, port) = (gateway.address.ip().to_string(), gateway.address.port());
        let uri = swarmwire_certs::JoinUri { host, port, gateway: gateway.fingerprint, token };
        world.home.swarm(["join", &uri.to_string_with_secret(), "--name", "gw"]).success();
        world
    }

    /// Starts the gateway, where it was if it was there before.
    fn start_gateway(&mut self) {
        let home = self.gateway_home();
        let Some(before) = self.gateway.take().map(|running| running.address) else {
            self.gateway = Some(Running::start(&home));
            return;
        };
        let running = Running::start_at(&home, before);
        self.home.pin("gw", running.address, running.fingerprint);
        self.gateway = Some(running);
    }

    fn edit(&self, rng: &mut fastrand::Rng, side: Side) {
        let told = edit(rng, &self.tree(side));
        self.note(format!("{side:?}: {told}"));
    }

    /// What is remembered hides no change.
    fn sync_by_content(&mut self, rng: &mut fastrand::Rng) {
        let way = pick(rng, &[Way::Push, Way::Pull]);
        let options = Options { checksum: true, ..Options::mirror(rng) };
        self.sync(way, &options);
        for _ in 0..2 {
            let side = pick(rng, &[Side::Left, Side::Right]);
            let told = edit_unseen(rng, &self.tree(side));
            self.note(format!("{side:?}: {told}"));
            self.sync(way, &options);
        }
    }

    /// Syncs, checks what came of it, and does it again.
    fn sync(&mut self, way: Way, options: &Options) {
        let (source, before) = self.trees(way);
        let expected = expect(&source, &before, options);
        let arguments = self.arguments(way, options, "0s");
        self.note(format!("sync {}", arguments.join(" ")));
        let start = Instant::now();
        let output = self.finish(self.spawn(&arguments));
        self.usual = start.elapsed();
        self.check(way, options, (&source, &before, &expected), &output);
        let told = output.summary();
        let counts = ["entries_total", "entries_deleted"].map(|name| told[name].as_u64().unwrap());
        check_told(options, &expected, output.changes(), counts.into());
        // What names of one file take from each other they may take back.
        assert_eq!(told["files_removed"], expected.removed.len(), "files removed at the source");
        if output.code != Some(0) || options.dry_run || !expected.loose.is_empty() {
            return;
        }
        self.note("the same again".to_owned());
        let (source, settled) = self.trees(way);
        let again = expect(&source, &settled, options);
        let output = self.finish(self.spawn(&arguments));
        self.check(way, options, (&source, &settled, &again), &output);
        let told = output.summary();
        // Further names of files that were moved go with the second sync, and an empty one is sent for that.
        let is_moved_on = !again.removed.is_empty();
        assert!(told["bytes_sent"] == 0 && (told["files_sent"] == 0 || is_moved_on), "sent again: {told}");
        // Directories from which something was removed have got other times, which was looked at already.
        if expected.removed.is_empty() {
            assert_eq!(difference(&settled, &self.trees(way).1), [""; 0], "changed by doing it again");
        }
    }

    /// What must hold after a sync that has come to its end.
    fn check(
        &self,
        way: Way,
        options: &Options,
        (source, before, expected): (&Tree, &Tree, &Expected),
        output: &Output,
    ) {
        let (source_now, found) = self.trees(way);
        check_source(expected, source, &source_now);
        let is_limited = is_limited(options, expected);
        let is_done = expected.failed.is_empty() && !is_limited;
        assert_eq!(output.code, Some(if is_done { 0 } else { 3 }));
        check_done(options, before, expected, &found);
        if !is_limited {
            let told = output.summary();
            let failed = told["failed"].as_array().unwrap().iter();
            let failed: BTreeSet<_> =
                failed.map(|failed| failed["path"].as_str().unwrap().to_owned()).collect();
            assert_eq!(failed, expected.failed);
        }
        self.check_surroundings();
        // A dry run touches nothing, not even what a crash has left.
        if !options.dry_run {
            self.check_leftovers(way, (&source_now, &found, expected));
        }
    }

    fn check_surroundings(&self) {
        let names = |path: PathBuf| -> BTreeSet<String> {
            let names =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !name.starts_with(RESERVED)).collect()
        };
        assert_eq!(names(self.gateway_home().join("root")), ["beside", "right"].map(str::to_owned).into());
        let file = self.gateway_home().join("root/beside/file");
        assert_eq!(fs::read_to_string(file).unwrap(), "stays");
    }

    /// No staging place is left, nor an unfinished file of one that is complete.
    fn check_leftovers(&self, way: Way, (source, found, expected): (&Tree, &Tree, &Expected)) {
        let reserved = self.reserved(way);
        assert_eq!(self.places(way), [""; 0], "places are left");
        for (path, node) in found {
            let is_whole = source.get(path) == Some(node) && node.size() > Some(CHUNK_BYTES);
            if !is_whole || !expected.changes.contains_key(path) {
                continue;
            }
            let below = if matches!(way, Way::Push) { format!("right/{path}") } else { path.clone() };
            let name = format!("{PARTIAL}{}", &blake3::hash(below.as_bytes()).to_hex()[..15]);
            assert!(!reserved.contains(&name), "{name} of {path:?} is left, which is complete");
        }
    }

    /// A sync that is killed.
    fn crash(&mut self, rng: &mut fastrand::Rng) {
        let way = pick(rng, &[Way::Push, Way::Pull]);
        let (source, before) = self.trees(way);
        let options = Options { dry_run: false, ..Options::random(rng, (&source, &before)) };
        let expected = expect(&source, &before, &options);
        let victims =
            [Victim::Controller, Victim::ControllerAsked, Victim::Gateway, Victim::GatewayForAMoment];
        let mut victim = pick(rng, &victims);
        if one_in(rng, 20) && matches!(way, Way::Push) {
            victim = Victim::ControllerAlone;
        }
        let moment = if one_in(rng, 3) {
            Moment::AfterStart(self.usual.mul_f64(rng.f64()))
        } else {
            // As many soon after the beginning as late.
            Moment::AfterBegin(self.usual.mul_f64(rng.f64().powi(4)))
        };
        let retry = if matches!(victim, Victim::GatewayForAMoment) { "20s" } else { "0s" };
        let arguments = self.arguments(way, &options, retry);
        self.note(format!("sync {}, {victim:?} killed {moment:?}", arguments.join(" ")));
        // What an earlier crash has left stays if this sync does not get as far as to remove it.
        let left = self.places(way);
        let mut running = self.spawn(&arguments);
        self.wait_until((way, &left), moment, &mut running.child);
        let (ended, address) = (running.child.try_wait().unwrap(), self.gateway.as_ref().unwrap().address);
        let output = match victim {
            Victim::Controller | Victim::ControllerAlone => {
                running.child.kill().unwrap();
                let output = self.finish(running);
                match (victim, way) {
                    (Victim::ControllerAlone, _) => self.wait_for_the_handler(way, &left),
                    (_, Way::Push) => self.start_gateway_anew(),
                    (_, Way::Pull) => {}
                }
                output
            }
            Victim::ControllerAsked => {
                let pid = Pid::from_child(&running.child);
                let _over = ended.is_none().then(|| kill_process(pid, Signal::INT));
                let output = self.finish(running);
                self.wait_for_the_handler(way, &left);
                output
            }
            Victim::Gateway => {
                self.gateway.as_mut().unwrap().kill();
                let output = self.finish(running);
                self.start_gateway();
                output
            }
            Victim::GatewayForAMoment => {
                self.start_gateway_anew();
                self.finish(running)
            }
        };
        let (source_now, found) = self.trees(way);
        check_source_broken_off(&expected, &source, &source_now, &found);
        check_broken_off(&options, &before, &expected, &found);
        self.check_surroundings();
        let was_there_again =
            matches!(victim, Victim::GatewayForAMoment) && self.gateway.as_ref().unwrap().address == address;
        // A second attempt finds a source from which the first has removed files, with other times of directories; and a limit does not count
        // what a gateway removed that was killed before it could tell.
        let is_as_once = !options.remove_source && !is_limited(&options, &expected);
        if ended.is_some() || was_there_again && is_as_once && output.code != Some(4) {
            self.check(way, &options, (&source, &before, &expected), &output);
        }
    }

    fn wait_until(&self, (way, left): (Way, &[String]), moment: Moment, child: &mut Child) {
        let pause = match moment {
            Moment::AfterStart(pause) => pause,
            Moment::AfterBegin(pause) => {
                let has_begun = || self.places(way).iter().any(|name| !left.contains(name));
                while child.try_wait().unwrap().is_none() && !has_begun() {
                    std::thread::yield_now();
                }
                pause
            }
        };
        // Nothing is waited for: any moment will do.
        std::thread::sleep(pause);
    }

    /// The gateway gives up a lost controller, and its staging place goes. It ends then itself, since a handler that was all but done might
    /// be at its last directories still.
    fn wait_for_the_handler(&mut self, way: Way, left: &[String]) {
        let start = Instant::now();
        while self.places(way).iter().any(|name| !left.contains(name)) {
            assert!(start.elapsed() < PATIENCE, "the gateway does not notice that its controller is lost");
            std::thread::yield_now();
        }
        self.start_gateway_anew();
    }

    fn start_gateway_anew(&mut self) {
        self.gateway.as_mut().unwrap().kill();
        self.start_gateway();
    }

    fn arguments(&self, way: Way, options: &Options, retry: &str) -> Vec<String> {
        let (left, right) = (format!("{}/", text(&self.tree(Side::Left))), "gw:right/".to_owned());
        let places = match way {
            Way::Push => [left, right],
            Way::Pull => [right, left],
        };
        let mut typed: Vec<_> = ["sync", "--json"].map(str::to_owned).into();
        typed.extend(places);
        typed.push(format!("--retry={retry}"));
        typed.extend(arguments(options, &self.temp.path().join("list")));
        typed
    }

    fn spawn(&self, arguments: &[String]) -> Started {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
        for name in ["LOG", "RETRY", "DURABILITY", "KEY_EXCHANGE", "COMPRESS", "BWLIMIT", "JOBS"] {
            command.env_remove(format!("SWARMWIRE_{name}"));
        }
        let files = ["out", "err"].map(|name| self.temp.path().join(name));
        let child = command
            .args(arguments)
            .env("SWARMWIRE_HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(File::create(&files[0]).unwrap())
            .stderr(File::create(&files[1]).unwrap())
            .spawn()
            .unwrap();
        Started { child, files }
    }

    /// Waits for the end. A process that hangs is killed, which fails the test.
    fn finish(&self, mut started: Started) -> Output {
        let pid = Pid::from_child(&started.child);
        let (ended, has_ended) = std::sync::mpsc::sync_channel::<()>(1);
        let watch = std::thread::spawn(move || {
            let hangs = has_ended.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if hangs {
                let _ = kill_process(pid, Signal::KILL);
            }
            hangs
        });
        let status = started.child.wait().unwrap();
        drop(ended);
        let [out, err] = started.files.map(|file| fs::read(file).unwrap());
        let output = Output { code: status.code(), out, err };
        self.note(format!("it ended: {output}"));
        assert!(!watch.join().unwrap(), "it hangs: {output}");
        output
    }

    /// The source's tree and the destination's.
    fn trees(&self, way: Way) -> (Tree, Tree) {
        let [left, right] = [Side::Left, Side::Right].map(|side| read(&self.tree(side)).0);
        if matches!(way, Way::Push) { (left, right) } else { (right, left) }
    }

    /// Reserved names where a sync this way stages.
    fn reserved(&self, way: Way) -> Vec<String> {
        let parent = match way {
            Way::Push => self.gateway_home().join("root"),
            Way::Pull => self.tree(Side::Left),
        };
        let names = fs::read_dir(parent).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(RESERVED)).collect()
    }

    /// Those of them that are staging places.
    fn places(&self, way: Way) -> Vec<String> {
        let mut names = self.reserved(way);
        names.retain(|name| !name.starts_with(PARTIAL));
        names
    }

    fn tree(&self, side: Side) -> PathBuf {
        match side {
            Side::Left => self.temp.path().join("left"),
            Side::Right => self.gateway_home().join("root/right"),
        }
    }

    fn gateway_home(&self) -> PathBuf {
        self.temp.path().join("gateway")
    }

    fn note(&self, step: String) {
        self.steps.lock().unwrap().push(step);
    }
}

const PARTIAL: &str = ".swarmwire-part-";

struct Started {
    child: Child,
    files: [PathBuf; 2],
}

struct Output {
    code: Option<i32>,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Output {
    fn summary(&self) -> Value {
        last_event(&self.out)
    }

    /// Changes as they were told, by path.
    fn changes(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let lines = self.out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let events = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        let entries = events.filter(|event| event["event"] == "entry");
        entries.map(|event| (text(&event["path"]), text(&event["action"]))).collect()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [out, err] = [&self.out, &self.err].map(|bytes| String::from_utf8_lossy(bytes));
        write!(f, "exit code {:?}\n{out}{err}", self.code)
    }
}
