//! Invitations: made by the operator, redeemed once, forgotten when they expire.
//!
//! `invitations.toml` holds hashes of tokens, never a token. Every use reads the file under its lock and writes it before the
//! grant is given, so an invitation that `swarmd invite` makes beside a running gateway works at once and none works twice.
//! [`JoinLimiter`] bounds how fast tokens can be tried.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use swarmwire_certs::{PrivateDir, Token};

use crate::{
    clients::{parse_path, path_text},
    grants::Grant,
    state::{INVITATIONS, INVITATIONS_LOCK, State},
    store::{self, StoreError},
};

/// How long an invitation works unless the operator says otherwise: long enough to walk to another machine.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Stores the hash of `token`, which gives `grant` to whoever presents it first, until `expires`. Blocks.
pub fn create(
    state: &State,
    token: &Token,
    grant: &Grant,
    now: SystemTime,
    expires: SystemTime,
) -> Result<(), StoreError> {
    let dir = state.dir();
    let _lock = dir.lock_blocking(INVITATIONS_LOCK)?;
    let mut file = read_unexpired(dir, now)?;
    file.invitation.push(Record {
        hash: token.hash().to_string(),
        allow: grant.allow.to_string(),
        path: path_text(&grant.path)?,
        expires: seconds(expires),
    });
    store::write(dir, INVITATIONS, &file)
}

/// Uses up the invitation of `token`; `None` if it is used, expired or was never issued. Blocks.
pub fn redeem(state: &State, token: &Token, now: SystemTime) -> Result<Option<Grant>, StoreError> {
    let dir = state.dir();
    let _lock = dir.lock_blocking(INVITATIONS_LOCK)?;
    let mut file = read_unexpired(dir, now)?;
    let hash = token.hash();
    let Some(position) = file.invitation.iter().position(|record| record.hash.parse() == Ok(hash)) else {
        return Ok(None);
    };
    let record = file.invitation.swap_remove(position);
    let malformed = |reason| StoreError::malformed(dir, INVITATIONS, reason);
    let grant = Grant {
        allow: record.allow.parse().map_err(|err| malformed(format!("allow: {err}")))?,
        path: parse_path(&record.path).map_err(|err| malformed(format!("path: {err}")))?,
    };
    store::write(dir, INVITATIONS, &file)?;
    Ok(Some(grant))
}

fn read_unexpired(dir: &PrivateDir, now: SystemTime) -> Result<InvitationsFile, StoreError> {
    let mut file: InvitationsFile = store::read(dir, INVITATIONS)?;
    let now = seconds(now);
    file.invitation.retain(|record| now < record.expires);
    Ok(file)
}

/// Seconds since 1970. A clock before it makes every invitation look fresh, but none can then have been issued by it either.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvitationsFile {
    #[serde(default)]
    invitation: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// `TokenHash` in hexadecimal.
    hash: String,
    allow: String,
    path: String,
    /// Seconds since 1970.
    expires: u64,
}

/// Failed attempts that one source may make in a row. A person mistypes; a program guesses.
const SOURCE_BURST: u32 = 5;
/// Time after which a source has one attempt more. With 160 random bits in a token any rate is safe; this keeps logs short.
const SOURCE_REFILL: Duration = Duration::from_secs(10);
/// Failed attempts that all sources together may make in a row.
const GLOBAL_BURST: u32 = 50;
/// Time after which all sources together have one attempt more.
const GLOBAL_REFILL: Duration = Duration::from_secs(1);
/// Sources that are remembered: 64 bytes each.
const SOURCES_MAX: usize = 1024;

/// Bounds attempts to join, by source and in all. Pure: time is an argument.
///
/// An attempt takes a token from two buckets before it is made, and a successful one gives them back, so that many at the
/// same moment do not slip through together.
#[derive(Debug)]
pub(crate) struct JoinLimiter {
    global: Bucket,
    sources: HashMap<IpAddr, Bucket>,
}

impl JoinLimiter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { global: Bucket::full(GLOBAL_BURST, GLOBAL_REFILL, now), sources: HashMap::new() }
    }

    /// Takes an attempt for `source`, or says how long to wait for one.
    pub(crate) fn take(&mut self, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let source = network(source);
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            self.sources.retain(|_, bucket| !bucket.is_full(now));
            if self.sources.len() >= SOURCES_MAX {
                return Err(SOURCE_REFILL);
            }
        }
        let bucket =
            self.sources.entry(source).or_insert_with(|| Bucket::full(SOURCE_BURST, SOURCE_REFILL, now));
        bucket.take(now)?;
        self.global.take(now).inspect_err(|_| bucket.give_back())
    }

    /// The attempt succeeded.
    pub(crate) fn give_back(&mut self, source: IpAddr) {
        self.global.give_back();
        if let Some(bucket) = self.sources.get_mut(&network(source)) {
            bucket.give_back();
        }
    }
}

/// What one owner of addresses can vary at will counts as one source: the lower half of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// A token bucket, kept as the moment at which it will be full (GCRA).
#[derive(Debug)]
struct Bucket {
    full_at: Instant,
    burst: u32,
    refill: Duration,
}

impl Bucket {
    fn full(burst: u32, refill: Duration, now: Instant) -> Self {
        Self { full_at: now, burst, refill }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + self.refill;
        let excess = full_at.duration_since(now).saturating_sub(self.refill * self.burst);
        if !excess.is_zero() {
            return Err(excess);
        }
        self.full_at = full_at;
        Ok(())
    }

    fn give_back(&mut self) {
        self.full_at -= self.refill;
    }
}

#[cfg(test)]
mod tests {
    use swarmwire_common::path::RelPath;

    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;
    const LATER: Duration = Duration::from_secs(60);

    fn grant() -> Grant {
        Grant { allow: "pull".parse().unwrap(), path: RelPath::parse(b"logs").unwrap() }
    }

    #[test]
    fn an_invitation_works_once_and_only_until_it_expires() {
        let home = tempfile::tempdir().unwrap();
        let state = State::open(&home.path().join("state")).unwrap();
        let [used, expired, never] = ['a', 'b', 'c'].map(|digit| Token::parse(&token_text(digit)).unwrap());
        for token in [&used, &expired] {
            create(&state, token, &grant(), NOW, NOW + LATER).unwrap();
        }
        assert_eq!(redeem(&state, &never, NOW).unwrap(), None);
        assert_eq!(redeem(&state, &used, NOW + LATER / 2).unwrap(), Some(grant()));
        assert_eq!(redeem(&state, &used, NOW + LATER / 2).unwrap(), None);
        assert_eq!(redeem(&state, &expired, NOW + LATER).unwrap(), None);
    }

    #[test]
    fn the_file_holds_no_token() {
        let home = tempfile::tempdir().unwrap();
        let state = State::open(&home.path().join("state")).unwrap();
        let text = token_text('x');
        create(&state, &Token::parse(&text).unwrap(), &grant(), NOW, NOW + LATER).unwrap();
        let file = String::from_utf8(state.dir().read(INVITATIONS).unwrap().unwrap()).unwrap();
        assert!(file.contains("pull") && !file.contains(&text), "{file}");
    }

    fn token_text(digit: char) -> String {
        digit.to_string().repeat(32)
    }

    #[test]
    fn a_source_that_fails_often_waits_and_recovers() {
        let start = Instant::now();
        let mut limiter = JoinLimiter::new(start);
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..SOURCE_BURST {
            limiter.take(source, start).unwrap();
        }
        assert_eq!(limiter.take(source, start), Err(SOURCE_REFILL));
        limiter.take("192.0.2.2".parse().unwrap(), start).unwrap();
        limiter.take(source, start + SOURCE_REFILL).unwrap();
        assert!(limiter.take(source, start + SOURCE_REFILL).is_err());
    }

    #[test]
    fn success_costs_nothing() {
        let start = Instant::now();
        let mut limiter = JoinLimiter::new(start);
        let source: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..10 * GLOBAL_BURST {
            limiter.take(source, start).unwrap();
            limiter.give_back(source);
        }
    }

    #[test]
    fn neither_many_sources_nor_one_network_get_around_it_or_fill_the_memory() {
        let start = Instant::now();
        let mut limiter = JoinLimiter::new(start);
        let passed =
            (0..10_000u32).filter(|&n| limiter.take(IpAddr::V4((n << 8).into()), start).is_ok()).count();
        assert_eq!(passed, 50);
        assert!(limiter.sources.len() <= SOURCES_MAX);

        let mut limiter = JoinLimiter::new(start);
        let within = |n: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | n));
        let passed = (0..100).filter(|&n| limiter.take(within(n), start).is_ok()).count();
        assert_eq!(passed, 5);
    }
}
