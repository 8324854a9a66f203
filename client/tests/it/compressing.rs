//! `swarm sync --compress`, `--bwlimit` and `--jobs` from end to end: what goes over the wire, what arrives, what is refused.

use std::fs;

use serde_json::Value;

use crate::world::{ControllerHome, World, refused, stdout, summary, text};

const EVERYTHING: &str = "list,pull,push";

/// A world with `logs`, 3 MB of text, and `media`, 1.5 MB that do not become smaller.
fn world_with_trees() -> (World, ControllerHome) {
    let world = World::start();
    let home = world.joined(EVERYTHING);
    let (logs, media) = (world.beside("logs"), world.beside("media"));
    fs::create_dir(&logs).unwrap();
    fs::create_dir(&media).unwrap();
    for number in 0..20 {
        let lines = (0..2000)
            .map(|line| format!("2026-11-25 12:00 INFO request {} of {number} took {line} ms\n", line * 7));
        fs::write(logs.join(format!("{number}.log")), lines.collect::<String>()).unwrap();
    }
    // Xorshift (Marsaglia 2003): no compressor finds anything in it.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = (0..1_500_000).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    });
    fs::write(media.join("noise.gz"), noise.collect::<Vec<u8>>()).unwrap();
    (world, home)
}

fn numbers(summary: &Value) -> (u64, u64, u64) {
    let number = |key: &str| summary[key].as_u64().unwrap();
    (number("bytes_sent"), number("bytes_wire_sent"), number("bytes_wire_received"))
}

#[test]
fn text_takes_a_fraction_of_its_size_on_the_wire_in_both_directions() {
    let (world, home) = world_with_trees();
    let (logs, back) = (world.beside("logs"), world.beside("back"));
    let up = summary(home.swarm(["sync", text(&logs), "gw:", "--compress", "3", "--json"]), 0);
    let (content, sent, _) = numbers(&up);
    assert!(content > 2_000_000 && sent < content / 3, "{up}");
    let down =
        summary(home.swarm(["sync", "gw:logs/", text(&back), "--compress", "3", "--jobs", "4", "--json"]), 0);
    let (again, _, received) = numbers(&down);
    assert!(again == content && received < content / 3, "{down}");
    for file in fs::read_dir(&logs).unwrap() {
        let name = file.unwrap().file_name();
        assert_eq!(fs::read(logs.join(&name)).unwrap(), fs::read(back.join(&name)).unwrap());
    }
    let plain = summary(home.swarm(["sync", text(&logs), "gw:again", "--compress", "never", "--json"]), 0);
    let (_, sent, _) = numbers(&plain);
    assert!(sent > content, "{plain}");
}

#[test]
fn what_is_compressed_already_does_not_grow() {
    let (world, home) = world_with_trees();
    let media = world.beside("media");
    for compress in ["never", "auto", "3"] {
        let place = format!("gw:{compress}");
        let up = summary(home.swarm(["sync", text(&media), &place, "--compress", compress, "--json"]), 0);
        let (content, sent, _) = numbers(&up);
        assert!(content == 1_500_000 && sent < content + content / 8, "{compress}: {up}");
    }
}

#[test]
fn a_limit_holds_in_both_directions() {
    let (world, home) = world_with_trees();
    let (media, back) = (world.beside("media"), world.beside("back"));
    let up = summary(home.swarm(["sync", text(&media), "gw:", "--bwlimit", "2MB/s", "--json"]), 0);
    let down = summary(home.swarm(["sync", "gw:media", text(&back), "--bwlimit", "2MB/s", "--json"]), 0);
    for summary in [up, down] {
        // 0.75 s, less the burst.
        assert!(summary["seconds"].as_f64().unwrap() >= 0.64, "{summary}");
    }
}

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    let home = ControllerHome::new();
    for (option, value, part) in [
        ("--compress", "0", "1 to 19"),
        ("--compress", "20", "1 to 19"),
        ("--compress", "gzip", "`never`"),
        ("--bwlimit", "0", "1024"),
        ("--bwlimit", "10MiB/min", "10MiB/s"),
        ("--bwlimit", "fast", "10MiB/s"),
        ("--jobs", "0", "1..=64"),
        ("--jobs", "65", "1..=64"),
        ("--jobs", "many", "--jobs"),
    ] {
        refused(home.swarm(["sync", ".", "gw:x", option, value]), 2, &[option, value, part]);
    }
    refused(home.swarm(["sync", ".", "gw:x", "--compress", "3", "--compress", "never"]), 2, &["--compress"]);
}

#[test]
fn metrics_count_content_and_the_time_of_its_compression() {
    let (world, home) = world_with_trees();
    let (logs, file) = (world.beside("logs"), world.beside("swarm.prom"));
    let told = ["sync", text(&logs), "gw:", "--compress", "3", "--metrics-file", text(&file)];
    stdout(home.swarm(told));
    let content: u64 = fs::read_dir(&logs).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let metrics = fs::read_to_string(&file).unwrap();
    let value = |series: &str| {
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("{metrics}"));
        line.trim().parse::<f64>().unwrap()
    };
    assert_eq!(value("swarmwire_bytes_total{direction=\"out\",service=\"sync\"}"), content as f64);
    assert!(value("swarmwire_stage_seconds_total{side=\"source\",stage=\"compress\"}") > 0.0);
}
