//! Log lines as services write them: times, levels, hosts, request ids, and a stack trace now and then. They compress as real logs do: `zstd -1`
//! (1.5.4) makes 3 MiB of them 4.96 times smaller, 64 KiB 4.75 times, and files of 2 to 8 KiB, each alone, 3.3 times.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use crate::random::Random;

/// One service's log, line after line.
pub(crate) struct LogText {
    random: Random,
    host: String,
    service: String,
    at: Duration,
}

const LEVELS: [&str; 8] = ["INFO", "INFO", "INFO", "INFO", "INFO", "DEBUG", "DEBUG", "WARN"];

const EVENTS: [&str; 10] = [
    "request finished",
    "cache miss, asking the database",
    "connection accepted",
    "connection closed by peer",
    "job taken from the queue",
    "job done",
    "token refreshed",
    "configuration reloaded, nothing changed",
    "retrying after a timeout",
    "slow query",
];

const PATHS: [&str; 8] = [
    "/api/v1/orders",
    "/api/v1/orders/items",
    "/api/v1/users/session",
    "/healthz",
    "/static/app.js",
    "/api/v2/search?q=lamp&sort=price",
    "/login",
    "/api/v1/carts/merge",
];

const FRAMES: [&str; 8] = [
    "orders::repository::load (src/orders/repository.rs:214)",
    "orders::service::checkout (src/orders/service.rs:88)",
    "http::router::dispatch (src/http/router.rs:341)",
    "pool::worker::run (src/pool/worker.rs:57)",
    "db::connection::query (src/db/connection.rs:190)",
    "db::retry::with_backoff (src/db/retry.rs:33)",
    "payments::gateway::authorise (src/payments/gateway.rs:129)",
    "core::panicking::catch_unwind (library/core/src/panicking.rs:512)",
];

impl LogText {
    /// The log that `service` on `host` writes from `start` on.
    pub(crate) fn new(random: Random, host: &str, service: &str, start: Duration) -> Self {
        Self { random, host: host.to_owned(), service: service.to_owned(), at: start }
    }

    /// Appends exactly `bytes` bytes; the last line is cut short and ended.
    pub(crate) fn fill(&mut self, content: &mut Vec<u8>, bytes: usize) {
        let end = content.len() + bytes;
        while content.len() < end {
            self.line(content).expect("a vector takes every write");
        }
        content.truncate(end);
        if let Some(last) = content.last_mut() {
            *last = b'\n';
        }
    }

    fn line(&mut self, content: &mut Vec<u8>) -> std::io::Result<()> {
        let random = &mut self.random;
        self.at += Duration::from_micros(random.below(400_000));
        let time = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + self.at);
        let (host, service, request) = (&self.host, &self.service, random.next());
        match random.below(100) {
            0..30 => writeln!(
                content,
                "10.20.{}.{} - - [{time}] \"GET {} HTTP/1.1\" {} {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:144.0)\" rt=0.{:03} rid={request:016x}",
                random.below(8),
                random.below(250),
                random.pick(&PATHS),
                random.pick(&[200, 200, 200, 204, 301, 404, 500]),
                random.below(40_000),
                random.below(1000),
            ),
            30..98 => writeln!(
                content,
                "{time} {:<5} {host} {service}[{}] request_id={request:016x} span={:08x} {} path={} user={} took={}ms",
                random.pick(&LEVELS),
                1200 + random.below(8),
                random.below(1 << 32),
                random.pick(&EVENTS),
                random.pick(&PATHS),
                random.below(1_000_000),
                random.below(900),
            ),
            _ => {
                writeln!(
                    content,
                    "{time} ERROR {host} {service}[1201] request_id={request:016x} request failed: connection reset by peer"
                )?;
                (0..4 + random.below(8))
                    .try_for_each(|depth| writeln!(content, "    {depth:>2}: {}", random.pick(&FRAMES)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_exactly_the_size_asked_for_and_ends_with_a_line_end() {
        for bytes in [1, 2, 100, 4096, 70_000] {
            let mut content = Vec::new();
            LogText::new(Random::new(5), "h", "s", Duration::from_secs(1)).fill(&mut content, bytes);
            assert_eq!(content.len(), bytes);
            assert_eq!(content.last(), Some(&b'\n'));
            assert!(content.is_ascii());
        }
    }
}
