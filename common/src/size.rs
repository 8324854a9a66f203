//! Sizes as people write them. Pure.

/// Suffixes of sizes: binary as they are shown, decimal as they may be typed.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Reads a size such as `64`, `64KiB` or `1 MiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, factor) = SIZE_UNITS
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number.trim_end(), *factor)))
        .unwrap_or((text, 1));
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "write a whole number of bytes, or with a unit like `64KiB` or `1MiB`".to_owned())
}
