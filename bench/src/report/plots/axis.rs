//! An axis: where a value lies in pixels, and which values are named beside it.
//!
//! It knows nothing of drawing. A range that is empty or not positive where a logarithm is needed is widened, never refused.

use crate::figures::significant;

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// In proportion, from zero.
    Linear,
    /// By their logarithm.
    Log,
}

/// Values from `low` to `high` over the pixels from `start` to `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    start: i32,
    end: i32,
}

impl Axis {
    /// From zero to a little over `high`.
    pub(super) fn linear(high: f64, (start, end): (i32, i32)) -> Self {
        let high = if high > 0.0 { high * 1.04 } else { 1.0 };
        Self { scale: Scale::Linear, low: 0.0, high, start, end }
    }

    /// From a little under `low` to a little over `high`.
    pub(super) fn log(low: f64, high: f64, (start, end): (i32, i32)) -> Self {
        let low = if low > 0.0 { low } else { 1e-3 };
        let high = high.max(low * 1.5);
        Self { scale: Scale::Log, low: low / 1.12, high: high * 1.12, start, end }
    }

    pub(super) fn scale(&self) -> Scale {
        self.scale
    }

    /// The pixel of a value; one that lies outside is drawn at the end.
    pub(super) fn at(&self, value: f64) -> i32 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        let pixel = f64::from(self.start) + share.clamp(0.0, 1.0) * f64::from(self.end - self.start);
        #[expect(clippy::cast_possible_truncation, reason = "between two pixels, both i32")]
        let pixel = pixel.round() as i32;
        pixel
    }

    /// Round values along the axis, two to six of them.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => self.linear_ticks(),
            Scale::Log => self.log_ticks(),
        }
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let decade = 10_f64.powf(self.high.log10().floor());
        let steps = [0.1, 0.2, 0.5, 1.0, 2.0].map(|factor| factor * decade);
        let step = steps.into_iter().find(|step| self.high / step <= 5.0).unwrap_or(decade);
        (0..=5).map(|count| f64::from(count) * step).filter(|tick| *tick <= self.high).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let factors: &[f64] = match decades {
            decades if decades > 2.5 => &[1.0],
            decades if decades > 1.6 => &[1.0, 3.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let first = self.low.log10().floor();
        let decade = |number: i32| 10_f64.powf(first + f64::from(number));
        let ticks = (0..16).flat_map(|number| factors.iter().map(move |factor| factor * decade(number)));
        ticks.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

/// A value as it stands beside an axis: no more zeros than it needs.
pub(super) fn label(value: f64) -> String {
    let text = significant(value);
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_at_zero_and_names_round_values() {
        let axis = Axis::linear(0.9, (100, 200));
        assert_eq!((axis.at(0.0), axis.at(0.936), axis.at(7.0)), (100, 200, 200));
        assert_eq!(
            axis.ticks().into_iter().map(label).collect::<Vec<_>>(),
            ["0", "0.2", "0.4", "0.6", "0.8"]
        );
    }

    #[test]
    fn a_logarithmic_axis_names_powers_of_ten() {
        let axis = Axis::log(0.2, 300.0, (0, 100));
        assert_eq!(axis.ticks().into_iter().map(label).collect::<Vec<_>>(), ["1", "10", "100"]);
        assert!(axis.at(1.0) < axis.at(2.0));
    }

    #[test]
    fn an_axis_of_nothing_is_still_an_axis() {
        assert!(!Axis::linear(0.0, (0, 9)).ticks().is_empty());
        assert_eq!(Axis::log(0.0, 0.0, (0, 9)).at(0.0), 0);
    }
}
