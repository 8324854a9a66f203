//! The table of what a push and a TCP connection took of the link that they shared.
//!
//! The first seconds are not counted: who begins, and how both find the link's rate, is a matter of luck.

use crate::record::Sharing;

use super::table::markdown_row;

/// What is not counted at the start: connecting, and both finding the link's rate. Chosen.
pub(crate) const WARM_UP_SECONDS: f64 = 5.0;

/// Two that shared a link, and what each had sent by when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair<'a> {
    pub(crate) link: &'a str,
    pub(crate) congestion: &'a str,
    pub(crate) beside: &'a str,
    /// At least two, in the order of their time.
    pub(crate) looks: Vec<&'a Sharing>,
}

/// What one of the two did in a span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) mbit_per_second: f64,
    pub(crate) dropped_percent: f64,
}

impl Pair<'_> {
    /// What is seen of the push and of the TCP connection after the warm-up, if it was outlived.
    pub(crate) fn parts(&self) -> Option<[Part; 2]> {
        let first = self.looks.iter().find(|look| look.seconds >= WARM_UP_SECONDS)?;
        let last = self.looks.last().filter(|last| last.seconds > first.seconds)?;
        Some(between(first, last))
    }

    /// What it is called in a picture.
    pub(crate) fn title(&self) -> String {
        format!("{} beside {}", self.congestion, self.beside)
    }
}

/// What the push and the TCP connection did between two looks.
pub(crate) fn between(earlier: &Sharing, later: &Sharing) -> [Part; 2] {
    let seconds = later.seconds - earlier.seconds;
    let part = |count: fn(&Sharing) -> [u64; 3]| {
        let [packets, drops, bytes] = [0, 1, 2].map(|of| (count(later)[of] - count(earlier)[of]) as f64);
        Part { mbit_per_second: bytes * 8e-6 / seconds, dropped_percent: 100.0 * drops / packets.max(1.0) }
    };
    [
        part(|look| [look.swarm_packets, look.swarm_drops, look.swarm_bytes]),
        part(|look| [look.tcp_packets, look.tcp_drops, look.tcp_bytes]),
    ]
}

/// The pairs in `rows`. A time that falls back begins another one, which takes the place of an earlier one of the same two.
pub(crate) fn pairs(rows: &[Sharing]) -> Vec<Pair<'_>> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut last: Option<&Sharing> = None;
    for row in rows {
        let key = |look: &Sharing| (look.link.clone(), look.congestion.clone(), look.beside.clone());
        let (link, congestion, beside) = (row.link.as_str(), row.congestion.as_str(), row.beside.as_str());
        if !last.is_some_and(|last| key(last) == key(row) && last.seconds < row.seconds) {
            pairs.retain(|pair| (pair.link, pair.congestion, pair.beside) != (link, congestion, beside));
            pairs.push(Pair { link, congestion, beside, looks: Vec::new() });
        }
        if let Some(pair) = pairs.last_mut() {
            pair.looks.push(row);
        }
        last = Some(row);
    }
    pairs.retain(|pair| pair.looks.len() > 1);
    pairs
}

/// The section's text, without its heading.
pub(crate) fn section(rows: &[Sharing]) -> String {
    let mut text = format!(
        "A push and a TCP connection that send for the whole time over one link; *share* is the push's part of what got through after the first {WARM_UP_SECONDS} s, \
         *dropped* the part of a sender's packets that did not fit into the queue.\n\n"
    );
    text.push_str(&markdown_row(&[
        "link",
        "congestion",
        "beside",
        "share",
        "swarm Mbit/s",
        "TCP Mbit/s",
        "dropped of swarm",
        "dropped of TCP",
    ]));
    text.push_str(&markdown_row(&["---", "---", "---", "---:", "---:", "---:", "---:", "---:"]));
    for pair in pairs(rows) {
        if let Some(parts) = pair.parts() {
            let [share, swarm, tcp, swarm_drops, tcp_drops] = figures(&parts);
            let cells =
                [pair.link, pair.congestion, pair.beside, &share, &swarm, &tcp, &swarm_drops, &tcp_drops];
            text.push_str(&markdown_row(&cells));
        }
    }
    text
}

/// The push's share, both rates in Mbit/s and what was dropped of each.
pub(crate) fn figures(parts: &[Part; 2]) -> [String; 5] {
    let [swarm, tcp] = parts;
    let all = swarm.mbit_per_second + tcp.mbit_per_second;
    [
        format!("{:.2}", swarm.mbit_per_second / all),
        format!("{:.1}", swarm.mbit_per_second),
        format!("{:.1}", tcp.mbit_per_second),
        format!("{:.2} %", swarm.dropped_percent),
        format!("{:.2} %", tcp.dropped_percent),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(beside: &str, seconds: f64, swarm: u64, tcp: u64) -> Sharing {
        Sharing {
            link: "rtt=40ms,rate=100mbit".into(),
            congestion: "auto".into(),
            beside: beside.into(),
            seconds,
            swarm_packets: swarm / 1_000,
            swarm_drops: swarm / 100_000,
            swarm_bytes: swarm,
            tcp_packets: tcp / 1_000,
            tcp_drops: tcp / 50_000,
            tcp_bytes: tcp,
        }
    }

    #[test]
    fn shares_are_of_what_passed_after_the_warm_up() {
        let rows = [
            look("cubic", 0.0, 0, 0),
            look("cubic", 5.0, 9_000_000, 0),
            look("cubic", 6.0, 10_000_000, 3_000_000),
        ];
        let pairs = pairs(&rows);
        assert_eq!(
            figures(&pairs[0].parts().unwrap()),
            ["0.25", "8.0", "24.0", "1.00 %", "2.00 %"].map(str::to_owned)
        );
        assert!(Pair { looks: pairs[0].looks[..2].to_vec(), ..pairs[0].clone() }.parts().is_none());
    }

    #[test]
    fn a_pair_that_is_measured_again_is_the_later_one() {
        let rows = [
            look("bbr", 0.5, 1, 1),
            look("bbr", 6.0, 2, 2),
            look("cubic", 1.0, 3, 3),
            look("cubic", 6.0, 4, 4),
            look("bbr", 0.5, 5, 5),
            look("bbr", 7.0, 6, 6),
        ];
        let pairs = pairs(&rows);
        let ends: Vec<_> =
            pairs.iter().map(|pair| (pair.beside, pair.looks.last().unwrap().swarm_bytes)).collect();
        assert_eq!(ends, [("cubic", 4), ("bbr", 6)]);
    }
}
