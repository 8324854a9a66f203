//! WIRE.md says what the code does: numbers, names, limits and the worked examples.

use super::{from_hex, to_hex};
use crate::{
    codec::encode,
    limits,
    wire::{
        ALPN, VERSION,
        open::{
            Open, Reply, SERVICE_CALL, SERVICE_JOIN, SERVICE_LIST, SERVICE_OFFLOAD, SERVICE_PING,
            SERVICE_SERVICES, SERVICE_STOP, SERVICE_SYNC, SERVICE_WATCH,
        },
        status::Status,
        sync::{Direction, Selection, SyncOptions, SyncReply, SyncRequest},
    },
};

const DOCUMENT: &str = include_str!("../../../../WIRE.md");

/// The text between the heading that ends in `title` and the next heading of any level.
fn section(title: &str) -> &'static str {
    let (_, rest) = DOCUMENT
        .split_once(&format!("# {title}\n"))
        .unwrap_or_else(|| panic!("WIRE.md has no section `{title}`"));
    rest.split("\n#").next().unwrap_or_default()
}

/// The cells of the first table of a section, without its head.
fn table(title: &str) -> Vec<Vec<&'static str>> {
    section(title)
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect()
}

#[test]
fn the_status_table_is_the_codes() {
    let documented = table("Status codes");
    let in_code: Vec<Vec<String>> = Status::ALL
        .iter()
        .map(|status| vec![status.code().to_string(), status.as_str().into(), status.meaning().into()])
        .collect();
    assert_eq!(documented, in_code);
}

#[test]
fn the_limits_are_the_codes() {
    macro_rules! in_code {
        ($($name:ident)*) => { vec![$((stringify!($name), Unit::show(limits::$name)),)*] };
    }
    let documented = table("Limits");
    let documented: Vec<(&str, String)> = documented.iter().map(|row| (row[0], row[1].to_owned())).collect();
    assert_eq!(
        documented,
        in_code![
            OPEN_FRAME_BYTES_MAX CONTROL_FRAME_BYTES_MAX UNIT_HEADER_BYTES_MAX PING_BYTES_MAX OFFLOAD_FRAME_BYTES_MAX
            NAME_BYTES_MAX PATH_BYTES_MAX LINK_TARGET_BYTES_MAX XATTRS_MAX XATTR_BYTES_MAX XATTR_SETS_BYTES_MAX
            REASON_BYTES_MAX SUBROUTINE_NAME_BYTES_MAX CALL_INLINE_BYTES_MAX CALL_FRAME_BYTES_MAX ARGUMENTS_BYTES_MAX
            ITEM_BYTES_MAX CALL_REASON_BYTES_MAX ENTRIES_MAX BLOCK_ENTRIES_MAX
            CHUNK_BYTES PACK_BYTES_MAX PACK_FILES_MAX PACK_SEGMENTS_MAX SIGNATURE_CHUNKS_MAX
            SIGNATURE_CHUNKS_TOLD_MAX DIGEST_ENTRIES_AHEAD_MAX DATA_STREAMS_MAX CHUNKS_AHEAD_MAX FILES_OPEN_MAX
            FILE_WIRE_BYTES_MIN CHUNK_RATIO_MAX PATTERNS_MAX PATTERN_BYTES_MAX MATCH_BYTES_MAX MATCH_PROGRAM_BYTES_MAX
            LISTED_INLINE_BYTES_MAX LISTED_PATHS_MAX LISTED_BYTES_MAX LINK_HOPS_MAX
            READ_ATTEMPTS_MAX COMPRESS_LEVEL_MAX RATE_BYTES_MIN PEER_JOBS_MAX
            CHANNELS_MAX CHANNELS_OFFERED DATA_STREAMS_OFFERED STREAM_WINDOW_BYTES CONNECTION_WINDOW_BYTES CONNECTION_WINDOW_BYTES_MAX
            STRANGER_WINDOW_BYTES
            DATAGRAM_BYTES_INITIAL DATAGRAM_BYTES_MAX
            CONNECT_TIMEOUT REPLY_TIMEOUT TAKE_OVER_TIME_MAX CALL_REPLY_DELAY ARGUMENTS_TIME_MAX SYNC_SILENCE_MAX HEARTBEAT_INTERVAL PROGRESS_INTERVAL
            IDLE_TIMEOUT KEEP_ALIVE_INTERVAL
        ]
    );
}

/// A limit as the document writes it.
trait Unit {
    fn show(self) -> String;
}

macro_rules! plain_unit {
    ($($number:ty)*) => { $(
        impl Unit for $number {
            fn show(self) -> String {
                let digits = self.to_string();
                let groups: Vec<&str> = digits
                    .as_bytes()
                    .rchunks(3)
                    .rev()
                    .map(|group| std::str::from_utf8(group).unwrap())
                    .collect();
                groups.join(",")
            }
        }
    )* };
}

plain_unit!(u8 u16 u32 u64 usize);

impl Unit for std::time::Duration {
    fn show(self) -> String {
        match self.subsec_millis() {
            0 => format!("{} s", self.as_secs()),
            _ => format!("{} ms", self.as_millis()),
        }
    }
}

#[test]
fn names_and_versions_are_the_codes() {
    let alpn = std::str::from_utf8(ALPN).unwrap();
    assert!(DOCUMENT.starts_with(&format!("# The protocol `{alpn}`\n")));
    assert!(section("Opening a channel").contains(&format!("`version`: {VERSION}")));
    let documented: Vec<&str> = table("Services").iter().map(|row| row[0]).collect();
    assert_eq!(
        documented,
        [
            SERVICE_PING,
            SERVICE_JOIN,
            SERVICE_LIST,
            SERVICE_SYNC,
            SERVICE_WATCH,
            SERVICE_OFFLOAD,
            SERVICE_CALL,
            SERVICE_SERVICES,
            SERVICE_STOP
        ]
    );
}

#[test]
fn the_worked_examples_are_real_frames() {
    let frame = |body: Vec<u8>| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat();
    let open = |service: &str, request: Vec<u8>| {
        frame(encode(&Open { version: VERSION, service: service.into(), request }))
    };
    let sync = SyncRequest {
        direction: Direction::Push,
        path: b"logs".to_vec(),
        trailing_slash: false,
        options: SyncOptions::default(),
        selection: Selection::default(),
        top: b"logs".to_vec(),
        compares: false,
        backup: None,
    };
    let body = encode(&SyncReply { compares: true });
    let ok = Reply { status: Status::Ok.into(), detail: String::new(), retry_after_ms: 0, body };
    let in_code = [open(SERVICE_PING, Vec::new()), open(SERVICE_SYNC, encode(&sync)), frame(encode(&ok))];
    let documented = DOCUMENT.split("```hex\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let documented: Vec<String> = documented.map(|example| to_hex(&from_hex(example))).collect();
    assert_eq!(documented, in_code.map(|frame| to_hex(&frame)));
}
