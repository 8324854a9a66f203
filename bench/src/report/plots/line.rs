//! What a plot reads off a link's name, such as `rtt=100ms,loss=0.1%,rate=1gbit,queue=2mb`.
//!
//! Only for grouping and labels: whatever is not understood is left out, and the name itself is still shown.

use std::cmp::Ordering;

/// The properties of a link that plots are ordered by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line {
    name: String,
    /// In bits per second.
    pub(super) rate: Option<f64>,
    /// In milliseconds.
    pub(super) rtt_ms: Option<f64>,
    /// In percent.
    pub(super) loss_percent: Option<f64>,
    /// The properties that are not among those above.
    rest: String,
}

impl Line {
    pub(super) fn parse(name: &str) -> Self {
        let mut line = Self { name: name.to_owned(), ..Self::default() };
        let mut rest = Vec::new();
        for part in name.split(',') {
            match part.split_once('=') {
                Some(("rate", value)) => line.rate = bits(value),
                Some(("rtt", value)) => {
                    line.rtt_ms = humantime::parse_duration(value).ok().map(|time| time.as_secs_f64() * 1e3);
                }
                Some(("loss", value)) => line.loss_percent = value.trim_end_matches('%').parse().ok(),
                _ => rest.push(part),
            }
        }
        line.rest = rest.join(",");
        line
    }

    /// Whether it has properties of a long line, other than loopback or two bare namespaces.
    pub(super) fn is_emulated(&self) -> bool {
        self.rate.is_some() || self.rtt_ms.is_some() || self.loss_percent.is_some()
    }

    /// From fast to slow, from no loss to much, from short to long: pairs of lengths beside each other.
    pub(super) fn by_loss(&self, other: &Self) -> Ordering {
        self.rank(other, |line| [line.loss_percent, line.rtt_ms])
    }

    /// From fast to slow, from short to long, from no loss to much.
    pub(super) fn by_length(&self, other: &Self) -> Ordering {
        self.rank(other, |line| [line.rtt_ms, line.loss_percent])
    }

    fn rank(&self, other: &Self, then: impl Fn(&Self) -> [Option<f64>; 2]) -> Ordering {
        let key = |line: &Self| {
            let [second, third] = then(line).map(|value| value.unwrap_or(0.0));
            [-line.rate.unwrap_or(f64::MAX), second, third]
        };
        let pairs = key(self).into_iter().zip(key(other));
        pairs
            .map(|(mine, theirs)| mine.total_cmp(&theirs))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// For people: `1 Gbit/s, 100 ms, 0.1 % loss`.
    pub(super) fn text(&self) -> String {
        if !self.is_emulated() {
            return self.name.clone();
        }
        let rate = self.rate.map(|_| self.rate_text());
        let rtt = self.rtt_ms.map(|_| self.rtt_text());
        let rest = (!self.rest.is_empty()).then(|| self.rest.clone());
        let parts = [rate, rtt, Some(format!("{} loss", self.loss_text())), rest];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    pub(super) fn rate_text(&self) -> String {
        match self.rate {
            Some(rate) if rate >= 1e9 => format!("{} Gbit/s", rate / 1e9),
            Some(rate) => format!("{} Mbit/s", rate / 1e6),
            None => "no limit".to_owned(),
        }
    }

    pub(super) fn rtt_text(&self) -> String {
        format!("{} ms", self.rtt_ms.unwrap_or(0.0))
    }

    pub(super) fn loss_text(&self) -> String {
        format!("{} %", self.loss_percent.unwrap_or(0.0))
    }
}

/// `100mbit` in bits per second.
fn bits(text: &str) -> Option<f64> {
    let text = text.to_ascii_lowercase();
    let (digits, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic())?);
    let factor = match unit {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return None,
    };
    digits.trim().parse::<f64>().ok().map(|value| value * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_properties_of_a_link_are_read_off_its_name() {
        let line = Line::parse("rtt=100ms,loss=0.1%,rate=1gbit,queue=2mb");
        assert_eq!((line.rtt_ms, line.loss_percent, line.rate), (Some(100.0), Some(0.1), Some(1e9)));
        assert_eq!(line.text(), "1 Gbit/s, 100 ms, 0.1 % loss, queue=2mb");
    }

    #[test]
    fn loopback_and_bare_namespaces_are_no_long_lines() {
        for name in ["loopback", "veth,mtu=1500"] {
            assert!(!Line::parse(name).is_emulated());
            assert_eq!(Line::parse(name).text(), name);
        }
    }

    #[test]
    fn links_are_ordered_by_rate_and_then_by_what_is_asked_for() {
        let mut names = [
            "rtt=9ms,loss=1%,rate=1gbit",
            "rtt=1ms,rate=100mbit",
            "rtt=50ms,rate=1gbit",
            "rtt=9ms,rate=1gbit",
        ];
        names.sort_by(|one, other| Line::parse(one).by_loss(&Line::parse(other)));
        assert_eq!(
            names,
            [
                "rtt=9ms,rate=1gbit",
                "rtt=50ms,rate=1gbit",
                "rtt=9ms,loss=1%,rate=1gbit",
                "rtt=1ms,rate=100mbit"
            ]
        );
    }
}
