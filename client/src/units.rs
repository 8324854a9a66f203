//! Sizes, rates, counts and times as people write and read them. Pure.

use std::time::Duration;

pub(crate) use swarmwire_common::size::parse_size;
use swarmwire_common::{limits, wire::sync::Compress};

/// Bytes per second, at least `limits::RATE_BYTES_MIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRate(u64);

impl ByteRate {
    pub(crate) fn bytes_per_second(self) -> u64 {
        self.0
    }
}

/// Reads a rate such as `10MiB/s` or `500KiB/s`; a number without a unit means bytes per second.
pub(crate) fn parse_rate(text: &str) -> Result<ByteRate, String> {
    let bytes = parse_size(text.strip_suffix("/s").unwrap_or(text)).map_err(
        |_| "write a whole number of bytes per second, or with a unit like `500KiB/s` or `10MiB/s`",
    )?;
    if bytes < limits::RATE_BYTES_MIN {
        return Err(format!(
            "the least is {} bytes per second; without the option there is no limit",
            limits::RATE_BYTES_MIN
        ));
    }
    Ok(ByteRate(bytes))
}

/// Reads `auto`, `never` or a level of zstd.
pub(crate) fn parse_compress(text: &str) -> Result<Compress, String> {
    match text {
        "auto" => return Ok(Compress::Auto),
        "never" => return Ok(Compress::Never),
        _ => {}
    }
    let level = text.parse().ok().filter(|level| (1..=limits::COMPRESS_LEVEL_MAX).contains(level));
    level
        .map(Compress::Level)
        .ok_or_else(|| format!("write `auto`, `never` or a level from 1 to {}", limits::COMPRESS_LEVEL_MAX))
}

/// Reads a duration such as `30s` or `5m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|err| format!("{err}; write a number and a unit, like `30s` or `5m`"))
}

/// Bytes with one decimal: `12.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const NAMES: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // 1,023.95 would be shown as 1024.0.
    while value >= 1023.95 && unit + 1 < NAMES.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", NAMES[unit])
}

/// Bytes in a time, as bytes per second; nothing for a time too short to divide by.
pub(crate) fn rate(count: u64, time: Duration) -> Option<String> {
    let nanoseconds = time.as_nanos();
    if nanoseconds < 1_000_000 {
        return None;
    }
    let per_second = u128::from(count) * 1_000_000_000 / nanoseconds;
    Some(format!("{}/s", bytes(u64::try_from(per_second).unwrap_or(u64::MAX))))
}

/// A count with commas: `20,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time of whole seconds, in its two largest units.
pub(crate) fn time(time: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_two_units() {
        for (seconds, text) in [(3, "3s"), (190, "3m 10s"), (90_061, "1day 1h")] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn sizes_are_read_as_they_are_documented() {
        for (text, expected) in [
            ("0", Some(0)),
            ("64", Some(64)),
            ("64B", Some(64)),
            ("64KiB", Some(65_536)),
            ("64MiB", Some(67_108_864)),
            ("1 MB", Some(1_000_000)),
            ("", None),
            ("-1", None),
            ("1.5MiB", None),
            ("1XiB", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(parse_size(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn rates_and_levels_are_read_as_they_are_documented() {
        for (text, expected) in [
            ("10MiB/s", Some(10 << 20)),
            ("500KiB/s", Some(500 << 10)),
            ("2 MB/s", Some(2_000_000)),
            ("4096", Some(4096)),
            ("1024/s", Some(1024)),
            ("1023", None),
            ("0", None),
            ("", None),
            ("/s", None),
            ("10MiB/min", None),
            ("-1MiB/s", None),
            ("fast", None),
        ] {
            assert_eq!(parse_rate(text).ok().map(ByteRate::bytes_per_second), expected, "{text:?}");
        }
        for (text, expected) in [
            ("auto", Some(Compress::Auto)),
            ("never", Some(Compress::Never)),
            ("1", Some(Compress::Level(1))),
            ("19", Some(Compress::Level(19))),
            ("0", None),
            ("20", None),
            ("256", None),
            ("-3", None),
            ("zstd", None),
            ("", None),
        ] {
            assert_eq!(parse_compress(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_shown_for_people() {
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (12_897_485, "12.3 MiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), shown);
        }
        assert_eq!(rate(10 << 20, Duration::from_millis(500)).as_deref(), Some("20.0 MiB/s"));
        assert_eq!(rate(10, Duration::ZERO), None);
    }
}
