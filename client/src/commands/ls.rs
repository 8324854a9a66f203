//! `swarm ls`: what is at a path of a gateway, entry by entry as it arrives.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use swarmwire_client::{
    ConnectOptions,
    controller::{Controller, ListItem},
};
use swarmwire_common::{
    entry::{Kind, Metadata, SpecialKind, Timestamp},
    escape::escape,
    path::RelPath,
    wire::list::ListKind,
};

use super::Way;
use crate::{
    cli::LsArguments,
    exit::{Exit, Failure},
    output::{JsonPath, Output, entry_failed, special_word},
    place::{Place, Remote},
};

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    path: JsonPath,
    r#type: &'static str,
    size: u64,
    mtime_ns: i128,
    mode: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
}

pub(super) async fn run(arguments: &LsArguments, options: ConnectOptions) -> anyhow::Result<Exit> {
    let remote = match Place::parse(&arguments.place)
        .map_err(|err| Failure::usage(format!("GW:PATH: {err}")))?
    {
        Place::Remote(remote) => remote,
        Place::Local(path) => {
            let path = escape(path.as_os_str().as_encoded_bytes()).into_owned();
            let message =
                format!("GW:PATH: `{path}` is a local path; write the gateway before it, like `web1:{path}`");
            return Err(Failure::usage(message).into());
        }
    };
    let way = Way::find(&remote.gateway, "GW:PATH", options)?;
    let controller = way.connect().await?;
    let result = list(&controller, &remote, arguments).await;
    controller.close().await;
    result
}

async fn list(controller: &Controller, remote: &Remote, arguments: &LsArguments) -> anyhow::Result<Exit> {
    let mut listing = controller.list(&remote.path.path, arguments.recursive, arguments.hash).await?;
    let mut output = Output::new();
    let mut exit = Exit::Done;
    while let Some(item) = listing.next().await? {
        match item {
            ListItem::Entry { path, kind, metadata, hash } if arguments.json => {
                output.json(&json_line(&path, &kind, metadata, hash))?;
            }
            ListItem::Entry { path, kind, metadata, hash } => {
                output.line(&text_line(&path, &kind, metadata, hash))?;
            }
            ListItem::Failed { path, reason } => {
                output.flush()?;
                entry_failed(path.as_bytes(), &reason);
                exit = Exit::Partial;
            }
        }
    }
    output.flush()?;
    Ok(exit)
}

fn json_line(path: &RelPath, kind: &ListKind, metadata: Metadata, hash: Option<[u8; 32]>) -> Line {
    let (target, target_base64) = match kind {
        ListKind::Plain(Kind::Symlink { target }) => match std::str::from_utf8(target) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(data_encoding::BASE64.encode(target))),
        },
        _ => (None, None),
    };
    Line {
        path: JsonPath::new(path.as_bytes()),
        r#type: type_word(kind),
        size: size(kind),
        mtime_ns: metadata.mtime.as_nanoseconds(),
        mode: metadata.mode,
        target,
        target_base64,
        blake3: hash.map(|hash| data_encoding::HEXLOWER.encode(&hash)),
    }
}

fn text_line(path: &RelPath, kind: &ListKind, metadata: Metadata, hash: Option<[u8; 32]>) -> String {
    let mut line = format!("{} {:>12} {}", mode(kind, metadata.mode), size(kind), time(metadata.mtime));
    if let Some(hash) = hash {
        line.push_str(&format!(" {}", data_encoding::HEXLOWER.encode(&hash)));
    }
    line.push_str(&format!(" {path}"));
    if let ListKind::Plain(Kind::Symlink { target }) = kind {
        line.push_str(&format!(" -> {}", escape(target)));
    }
    line
}

fn type_word(kind: &ListKind) -> &'static str {
    match kind {
        ListKind::Plain(Kind::File { .. }) => "file",
        ListKind::Plain(Kind::Directory) => "directory",
        ListKind::Plain(Kind::Symlink { .. }) => "symlink",
        ListKind::Special(kind) => special_word(*kind),
    }
}

/// Bytes of content of a file, of the text of a link, and none of anything else.
fn size(kind: &ListKind) -> u64 {
    match kind {
        ListKind::Plain(Kind::File { size }) => *size,
        ListKind::Plain(Kind::Symlink { target }) => target.len().try_into().unwrap_or(u64::MAX),
        ListKind::Plain(Kind::Directory) | ListKind::Special(_) => 0,
    }
}

/// As `ls -l` shows it: `drwxr-xr-x`.
fn mode(kind: &ListKind, bits: u16) -> String {
    let letter = match kind {
        ListKind::Plain(Kind::File { .. }) => '-',
        ListKind::Plain(Kind::Directory) => 'd',
        ListKind::Plain(Kind::Symlink { .. }) => 'l',
        ListKind::Special(SpecialKind::Device) => 'b',
        ListKind::Special(SpecialKind::Fifo) => 'p',
        ListKind::Special(SpecialKind::Socket) => 's',
        ListKind::Special(SpecialKind::Unknown) => '?',
    };
    let permissions = "rwxrwxrwx".chars().enumerate();
    let permission = |(position, c)| if bits & (0o400_u16 >> position) == 0 { '-' } else { c };
    std::iter::once(letter).chain(permissions.map(permission)).collect()
}

/// RFC 3339 in UTC; seconds since 1970 where the year has not four digits.
fn time(timestamp: Timestamp) -> String {
    /// 10000-01-01T00:00:00Z, the first moment that RFC 3339 cannot write, in seconds since 1970.
    const YEAR_10000: i64 = 253_402_300_800;
    match u64::try_from(timestamp.seconds) {
        Ok(seconds) if timestamp.seconds < YEAR_10000 => {
            let at: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
            humantime::format_rfc3339_seconds(at).to_string()
        }
        _ => format!("@{}", timestamp.seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(mode: u16, seconds: i64) -> Metadata {
        Metadata { mode, mtime: Timestamp { seconds, nanoseconds: 5 } }
    }

    fn path(bytes: &[u8]) -> RelPath {
        RelPath::from_wire(bytes.to_vec()).unwrap()
    }

    #[test]
    fn an_entry_is_one_object_with_exact_values() {
        let json = |path: &RelPath, kind: &ListKind, metadata, hash| {
            serde_json::to_string(&json_line(path, kind, metadata, hash)).unwrap()
        };
        let file = ListKind::Plain(Kind::File { size: 7 });
        assert_eq!(
            json(&path(b"a/b"), &file, metadata(0o644, 1), Some([0xab; 32])),
            format!(
                r#"{{"path":"a/b","type":"file","size":7,"mtime_ns":1000000005,"mode":420,"blake3":"{}"}}"#,
                "ab".repeat(32)
            )
        );
        let link = ListKind::Plain(Kind::Symlink { target: b"x\xff".to_vec() });
        assert_eq!(
            json(&path(b"l\xff"), &link, metadata(0o777, -1), None),
            r#"{"path_base64":"bP8=","type":"symlink","size":2,"mtime_ns":-999999995,"mode":511,"target_base64":"eP8="}"#
        );
    }

    #[test]
    fn text_looks_like_ls_and_is_escaped() {
        let link = ListKind::Plain(Kind::Symlink { target: b"../\x1b".to_vec() });
        assert_eq!(
            text_line(&path(b"a\nb"), &link, metadata(0o777, 0), None),
            "lrwxrwxrwx            4 1970-01-01T00:00:00Z a\\x0ab -> ../\\x1b"
        );
        let directory = ListKind::Plain(Kind::Directory);
        assert_eq!(
            text_line(&path(b"d"), &directory, metadata(0o750, -1), None),
            "drwxr-x---            0 @-1 d"
        );
        assert_eq!(time(Timestamp { seconds: i64::MAX, nanoseconds: 0 }), format!("@{}", i64::MAX));
    }
}
