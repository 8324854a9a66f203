//! What each of two that share a queue sends, and what the queue drops of it, over time: a picture for each link, a row of panels for each pair.

use anyhow::Result;

use super::{
    Plot, Section,
    axis::Scale,
    canvas::colour,
    chart::{self, Chart, Curve, Legend, Side, range, width_of},
    file_name,
    line::Line,
};
use crate::{
    record::Sharing,
    report::{
        cases::SWARM,
        sharing::{Pair, Part, between, pairs},
    },
};

/// Seconds that a point stands for at least: the swings of a probe are seen, bursts are not.
const POINT_SECONDS: f64 = 0.5;

/// One picture for each link.
pub(super) fn draw(rows: &[Sharing]) -> Result<Vec<Plot>> {
    let pairs = pairs(rows);
    let mut links: Vec<&str> = pairs.iter().map(|pair| pair.link).collect();
    links.dedup();
    let mut plots = Vec::new();
    for link in links {
        let own = pairs.iter().filter(|pair| pair.link == link);
        let charts: Vec<Chart> = own.flat_map(charts).collect();
        let title = format!("One queue, two senders: {}", Line::parse(link).text());
        let svg = chart::draw(&title, &charts, Legend::Shared)?;
        plots.push(Plot { file: file_name("sharing", link), title, section: Section::Sharing, svg });
    }
    Ok(plots)
}

/// Rates on the left, drops on the right.
fn charts(pair: &Pair) -> [Chart; 2] {
    let points = points(&pair.looks);
    let chart = |title: String, unit: &str, value: fn(&Part) -> f64| {
        let curve = |of: usize, name: &str, colour| Curve {
            name: name.to_owned(),
            colour,
            width: width_of(name),
            points: points.iter().map(|(seconds, parts)| (*seconds, value(&parts[of]))).collect(),
        };
        // The thick line is drawn first, so that it does not cover the other one.
        let beside = format!("TCP, {}", pair.beside);
        let curves =
            vec![curve(0, SWARM, colour(SWARM, "")), curve(1, &beside, colour("rsyncd", pair.beside))];
        let values = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        let most = range(values).1;
        Chart {
            title,
            x: Side::new("seconds", Scale::Linear, (0.0, points.last().map_or(0.0, |point| point.0))),
            y: Side::new(unit, Scale::Linear, (0.0, most)),
            curves,
            marked: false,
        }
    };
    let title = pair.title();
    [
        chart(format!("{title}: rate"), "Mbit/s through the link", |part| part.mbit_per_second),
        chart(format!("{title}: drops"), "% of its packets dropped by the queue", |part| {
            part.dropped_percent
        }),
    ]
}

/// What both did up to each of some looks, from the one before it.
fn points(looks: &[&Sharing]) -> Vec<(f64, [Part; 2])> {
    let mut points = Vec::new();
    let Some((mut before, later)) = looks.split_first() else { return points };
    for look in later {
        if look.seconds - before.seconds >= POINT_SECONDS {
            points.push((look.seconds, between(before, look)));
            before = look;
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_looks_becomes_a_point_for_each_half_second() {
        let look = |number: u32| Sharing {
            seconds: f64::from(number) * 0.25,
            swarm_bytes: u64::from(number) * 250_000,
            ..Sharing::default()
        };
        let looks: Vec<Sharing> = (0..=240).map(look).collect();
        let points = points(&looks.iter().collect::<Vec<_>>());
        assert_eq!(points.len(), 120);
        assert!(points.iter().all(|(_, [swarm, _])| (swarm.mbit_per_second - 8.0).abs() < 1e-9));
    }

    #[test]
    fn all_pairs_on_a_link_share_a_picture() {
        let row = |beside: &str, seconds, bytes| Sharing {
            link: "rtt=40ms,rate=100mbit".into(),
            congestion: "auto".into(),
            beside: beside.into(),
            seconds,
            swarm_bytes: bytes,
            tcp_bytes: bytes,
            ..Sharing::default()
        };
        let rows = ["cubic", "bbr"].map(|beside| [row(beside, 0.0, 0), row(beside, 1.0, 9_000_000)]);
        let plots = draw(&rows.concat()).unwrap();
        assert_eq!(plots.len(), 1);
        assert_eq!(plots[0].file, "sharing-rtt-40ms-rate-100mbit.svg");
        for title in ["auto beside cubic: rate", "auto beside bbr: drops", "TCP, bbr"] {
            assert!(plots[0].svg.contains(title), "{title}");
        }
    }
}
